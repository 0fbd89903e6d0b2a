//! When a frame counts as carried out: after the last store has what it must have.

use std::sync::Arc;

use bytestring::ByteString;
use parking_lot::Mutex;
use stampede_protocol::stomp::{Fault, FaultKind};

use super::SessionHandle;
use crate::cluster::Outcome;
use crate::mailbox::shared::Waiter;
use crate::outbox::Entry;

/// One client frame on its way through the broker. Dropping the last part of it confirms the frame, so a receipt can
/// neither be forgotten nor come early.
#[derive(Debug)]
pub struct Handover {
    /// Who waits for it; nobody for what the server says by itself.
    session: Option<Arc<SessionHandle>>,
    receipt: Option<ByteString>,
    pending: Option<Arc<Pending>>,
    failed: Option<Box<Fault>>,
    /// The transaction it is a part of, which is done only after this.
    whole: Option<Arc<Pending>>,
    /// The session waits for it although it has no receipt of its own: DISCONNECT is answered after all else.
    ends_session: bool,
    after: Option<After>,
}

/// Told at the end whether all went well.
struct After(Box<dyn FnOnce(bool) + Send + Sync>);

/// One step that ends later, on another thread perhaps.
#[derive(Debug)]
pub struct Pending {
    session: Option<Arc<SessionHandle>>,
    receipt: Option<ByteString>,
    failed: Mutex<Option<Box<Fault>>>,
    /// Dropped after this part has been concluded.
    whole: Option<Arc<Self>>,
    after: Option<After>,
}

impl Handover {
    /// Begins a frame that asked for this receipt.
    #[must_use]
    pub const fn new(session: Arc<SessionHandle>, receipt: Option<ByteString>) -> Self {
        Self::blank(Some(session), receipt)
    }

    const fn blank(session: Option<Arc<SessionHandle>>, receipt: Option<ByteString>) -> Self {
        Self { session, receipt, pending: None, failed: None, whole: None, ends_session: false, after: None }
    }

    /// What a DISCONNECT with a receipt waits for.
    #[must_use]
    pub fn of_disconnect(session: Arc<SessionHandle>) -> Self {
        let mut handover = Self::new(session, None);
        handover.ends_session = true;
        handover
    }

    /// As [`Handover::new`] for a part of a transaction, which is confirmed after it.
    #[must_use]
    pub fn part_of(whole: Arc<Pending>, session: Arc<SessionHandle>, receipt: Option<ByteString>) -> Self {
        let mut handover = Self::new(session, receipt);
        handover.whole = Some(whole);
        handover
    }

    /// What nobody waits for: if it fails, the log says so.
    #[must_use]
    pub const fn nobody() -> Self {
        Self::blank(None, None)
    }

    /// More of a frame that was begun before.
    #[must_use]
    pub(super) fn resume(pending: Arc<Pending>) -> Self {
        let mut handover = Self::nobody();
        handover.pending = Some(pending);
        handover
    }

    /// What `after` is told the end of, and `frame` waits for.
    pub(super) fn watched(frame: Option<Arc<Pending>>, after: impl FnOnce(bool) + Send + Sync + 'static) -> Self {
        let mut handover = Self::nobody();
        handover.whole = frame;
        handover.after = Some(After(Box::new(after)));
        handover
    }

    /// A step that is done when the returned part is dropped.
    pub fn later(&mut self) -> Arc<Pending> {
        let pending = self.pending.get_or_insert_with(|| {
            if let Some(session) = &self.session {
                session.begin();
            }
            Arc::new(Pending {
                session: self.session.clone(),
                receipt: self.receipt.take(),
                failed: Mutex::new(self.failed.take()),
                whole: self.whole.take(),
                after: self.after.take(),
            })
        });
        Arc::clone(pending)
    }

    /// As [`Handover::later`] for what holds up nothing but the receipt, if there is one.
    pub(super) fn later_if_asked(&mut self) -> Option<Arc<Pending>> {
        self.receipt_asked().then(|| self.later())
    }

    /// As [`Handover::later`] for what holds up nothing but the receipt, if there is one.
    pub fn if_asked(&mut self) -> Option<Arc<dyn Outcome>> {
        self.receipt_asked().then(|| self.later() as _)
    }

    /// As [`Handover::if_asked`], for those who only drop it.
    pub fn waiter(&mut self) -> Option<Waiter> {
        self.receipt_asked().then(|| self.later() as _)
    }

    pub(super) fn receipt_asked(&self) -> bool {
        self.ends_session
            || self.receipt.is_some()
            || self.pending.as_ref().is_some_and(|pending| pending.receipt.is_some())
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

impl Handover {
    /// Ends the synchronous part.
    ///
    /// # Errors
    ///
    /// What it failed with already; the caller tells it, and nothing else will.
    pub fn finish(mut self) -> Result<(), Fault> {
        match self.failed.take() {
            Some(fault) if self.pending.is_none() => Err(fault.with_receipt(self.receipt.take())),
            failed => {
                self.failed = failed;
                Ok(())
            }
        }
    }
}

impl Drop for Handover {
    fn drop(&mut self) {
        if self.pending.is_none() {
            conclude(
                self.session.as_deref(),
                self.receipt.take(),
                self.failed.take(),
                self.whole.as_deref(),
                self.after.take(),
            );
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

impl std::fmt::Debug for After {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("After")
    }
}

impl Outcome for Pending {
    fn failed(&self, why: &str) {
        self.fail_with(why);
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        let failed = self.failed.get_mut().take();
        conclude(self.session.as_deref(), self.receipt.take(), failed, self.whole.as_deref(), self.after.take());
        if let Some(session) = &self.session {
            session.done();
        }
    }
}

fn conclude(
    session: Option<&SessionHandle>,
    receipt: Option<ByteString>,
    failed: Option<Box<Fault>>,
    whole: Option<&Pending>,
    after: Option<After>,
) {
    if let Some(After(after)) = after {
        after(failed.is_none());
    }
    let Some(session) = session else {
        if let Some(fault) = failed {
            tracing::warn!(error = %fault, "an announcement did not reach everybody");
            // Its frame is answered by the whole.
            if let Some(whole) = whole {
                whole.fail(*fault);
            }
        }
        return;
    };
    match failed {
        Some(mut fault) => {
            fault.receipt = fault.receipt.take().or(receipt);
            if whole.is_some() && fault.kind == FaultKind::Forbidden {
                // Its transaction was looked at before and has begun: to pass it over now would make COMMIT's receipt a lie.
                fault.kind = FaultKind::Failed;
            }
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
    fn a_transaction_is_confirmed_after_its_parts() {
        let session = SessionHandle::for_test();
        let mut commit = Handover::new(Arc::clone(&session), Some("commit".into()));
        let mut part = Handover::part_of(commit.later(), Arc::clone(&session), Some("send".into()));
        let store = part.later();
        assert_eq!(part.finish(), Ok(()));
        assert_eq!(commit.finish(), Ok(()));
        assert_eq!(answers(&session), Vec::<String>::new());
        drop(store);
        assert_eq!(answers(&session), ["Done(Some(\"send\"))", "Done(Some(\"commit\"))"]);
        assert_eq!(session.in_progress(), 0);
    }

    #[test]
    fn a_failure_at_once_is_for_the_caller_to_tell() {
        let session = SessionHandle::for_test();
        let mut handover = Handover::new(Arc::clone(&session), Some("r".into()));
        handover.fail(Fault::new(FaultKind::Failed, "nowhere"));
        let fault = handover.finish().unwrap_err();
        assert_eq!((&*fault.message, fault.receipt.as_deref()), ("nowhere", Some("r")));
        assert_eq!(answers(&session), Vec::<String>::new());
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
