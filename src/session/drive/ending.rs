//! Every way a session ends goes through here once.

use std::time::Instant;

use stampede_protocol::stomp::{Fault, FaultKind};
use tracing::debug;

use super::requests::revoked;
use super::{Drive, Phase};
use crate::broker::Handover;
use crate::close::CloseReason;
use crate::outbox::{Entry, Taken};
use crate::session::link::{Gone, Link};
use crate::telemetry::{Label, count, metrics};

impl<L: Link> Drive<L> {
    /// A mistake of the client: told after everything that was answered before it; nothing more is read (clause E07).
    pub(super) fn fail(&mut self, fault: Fault, now: Instant) {
        if matches!(self.phase, Phase::Failing { .. } | Phase::Closing) {
            return;
        }
        self.leave_everything(&mut Handover::nobody());
        self.handle.outbox.answer(Entry::Failed(Box::new(fault.clone())));
        self.phase = Phase::Failing { since: now, fault: Box::new(fault) };
    }

    pub(super) fn gone(&mut self, gone: Gone, now: Instant) {
        let reason = match gone {
            _ if matches!(self.phase, Phase::Leaving { .. } | Phase::Left { .. }) => CloseReason::Disconnected,
            Gone::Closed => CloseReason::ClosedByPeer,
            Gone::Lost | Gone::Silent => CloseReason::Lost,
            Gone::Broken => CloseReason::TransportViolation,
            Gone::TooBig { size, limit } => {
                self.tell(&Fault::new(
                    FaultKind::Limit,
                    format!("message of {size} octets is over the transport's limit of {limit}"),
                ));
                CloseReason::MessageTooBig
            }
        };
        self.end(reason, now);
    }

    /// Somebody else decided that the session must end.
    pub(super) fn told_to_close(&mut self, reason: CloseReason, now: Instant) {
        if reason == CloseReason::SlowConsumer {
            let limit = self.context.send_buffer_size_limit;
            self.tell(&Fault::new(
                FaultKind::Limit,
                format!("outbox full: what waits for this session is over the limit of {limit} octets"),
            ));
        }
        if reason == CloseReason::Revoked {
            self.tell(&revoked());
        }
        self.end(reason, now);
    }

    /// Ends the session, whatever the reason; only the link still has something to say.
    pub(super) fn end(&mut self, reason: CloseReason, now: Instant) {
        if matches!(self.phase, Phase::Closing) {
            return;
        }
        self.give_back(&reason, now);
        self.link.close(reason.code(), reason.text());
    }

    pub(super) fn give_back(&mut self, reason: &CloseReason, now: Instant) {
        self.phase = Phase::Closing;
        self.leave_everything(&mut Handover::nobody());
        self.context.broker.close(&self.handle);
        self.context.wheel.remove(self.timer);
        self.handle.outbox.shut();
        self.taken = Taken::default();
        self.proofs = None;
        self.address = None;
        let metrics = metrics();
        metrics.sessions_open.get_or_create(&Label { reason: self.link.transport() }).dec();
        count(&metrics.sessions_closed, reason.label());
        debug!(
            session.id = %self.handle.id,
            reason = reason.label(),
            seconds = now.saturating_duration_since(self.opened).as_secs(),
            "session ended"
        );
    }

    pub(super) fn leave_everything(&mut self, handover: &mut Handover) {
        self.session.end();
        for slot in self.slots.drain() {
            self.context.broker.unsubscribe(&slot.placement, handover);
        }
    }
}
