//! When a frame counts as carried out: after the last store has what it must have.

use std::sync::Arc;

use bytestring::ByteString;
use parking_lot::Mutex;
use stampede_protocol::stomp::{Fault, FaultKind};

use super::SessionHandle;
use crate::outbox::Entry;

/// One client frame on its way through the broker. Dropping the last part of it confirms the frame, so a receipt can
/// neither be forgotten nor come early.
#[derive(Debug)]
pub struct Handover {
    session: Arc<SessionHandle>,
    receipt: Option<ByteString>,
    pending: Option<Arc<Pending>>,
    failed: Option<Box<Fault>>,
}

/// One step that ends later, on another thread perhaps.
#[derive(Debug)]
pub struct Pending {
    session: Arc<SessionHandle>,
    receipt: Option<ByteString>,
    failed: Mutex<Option<Box<Fault>>>,
}

impl Handover {
    /// Begins a frame that asked for this receipt.
    #[must_use]
    pub const fn new(session: Arc<SessionHandle>, receipt: Option<ByteString>) -> Self {
        Self { session, receipt, pending: None, failed: None }
    }

    /// A step that is done when the returned part is dropped.
    pub fn later(&mut self) -> Arc<Pending> {
        let pending = self.pending.get_or_insert_with(|| {
            self.session.begin();
            Arc::new(Pending {
                session: Arc::clone(&self.session),
                receipt: self.receipt.take(),
                failed: Mutex::new(self.failed.take()),
            })
        });
        Arc::clone(pending)
    }

    /// The frame could not be carried out; the first reason counts.
    pub fn fail(&mut self, fault: Fault) {
        match &self.pending {
            Some(pending) => pending.fail(fault),
            None => {
                self.failed.get_or_insert_with(|| Box::new(fault));
            }
        }
    }
}

impl Drop for Handover {
    fn drop(&mut self) {
        if self.pending.is_none() {
            conclude(&self.session, self.receipt.take(), self.failed.take());
        }
    }
}

impl Pending {
    /// This step failed; the first reason counts.
    pub fn fail(&self, fault: Fault) {
        self.failed.lock().get_or_insert_with(|| Box::new(fault));
    }

    /// As [`Pending::fail`], with the text alone.
    pub fn fail_with(&self, text: impl Into<ByteString>) {
        self.fail(Fault::new(FaultKind::Failed, text));
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        conclude(&self.session, self.receipt.take(), self.failed.get_mut().take());
        self.session.done();
    }
}

fn conclude(session: &SessionHandle, receipt: Option<ByteString>, failed: Option<Box<Fault>>) {
    match failed {
        Some(mut fault) => {
            fault.receipt = fault.receipt.take().or(receipt);
            session.outbox.answer(Entry::Failed(fault));
        }
        None if receipt.is_some() => session.outbox.answer(Entry::Done(receipt)),
        None => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outbox::Taken;

    fn answers(session: &SessionHandle) -> Vec<String> {
        let mut taken = Taken::default();
        session.outbox.take(&mut taken);
        taken.entries.iter().map(|entry| format!("{entry:?}")).collect()
    }

    #[test]
    fn a_receipt_waits_for_the_last_part() {
        let session = SessionHandle::for_test();
        let mut handover = Handover::new(Arc::clone(&session), Some("r".into()));
        let (first, second) = (handover.later(), handover.later());
        drop(handover);
        drop(first);
        assert_eq!(answers(&session), Vec::<String>::new());
        assert_eq!(session.in_progress(), 1);
        drop(second);
        assert_eq!(answers(&session), ["Done(Some(\"r\"))"]);
        assert_eq!(session.in_progress(), 0);
    }

    #[test]
    fn a_failure_takes_the_place_of_the_receipt() {
        let session = SessionHandle::for_test();
        let mut handover = Handover::new(Arc::clone(&session), Some("r".into()));
        handover.later().fail_with("disk full");
        drop(handover);
        let answers = answers(&session);
        assert_eq!(answers.len(), 1);
        assert!(answers[0].starts_with("Failed(") && answers[0].contains("disk full"), "{answers:?}");
    }

    #[test]
    fn nothing_is_said_where_nothing_was_asked() {
        let session = SessionHandle::for_test();
        drop(Handover::new(Arc::clone(&session), None));
        assert_eq!(answers(&session), Vec::<String>::new());
    }
}
