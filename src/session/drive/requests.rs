//! What the frames of a client ask for, carried out.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use bytestring::ByteString;
use stampede_protocol::stomp::session::{Action, Connect, Request, Send, Settlement, Subscribe};
use stampede_protocol::stomp::{Fault, FaultKind, Frame, Pulse};
use tracing::debug;

use super::{Drive, Phase, Renewal};
use crate::broker::{Handover, Identity};
use crate::session::link::{Handshake, Link};
use crate::session::write::{self, Token};
use crate::telemetry::{count, metrics};

impl<L: Link> Drive<L> {
    pub(super) fn frame(&mut self, frame: Frame, now: Instant) {
        metrics().frames_received.inc();
        match self.session.handle(&self.context.session, frame) {
            Ok(request) => self.carry_out(request, now),
            Err(fault) => self.fail(fault, now),
        }
    }

    fn carry_out(&mut self, request: Request<Token>, now: Instant) {
        match request {
            Request::Connect(connect) => self.connect(&connect),
            Request::Send(send) if self.renews(&send) => self.renew(send),
            Request::Send(send) => {
                let strict = self.context.session.strict;
                if let Err(fault) = self.context.broker.send(&self.handle, send, strict, None) {
                    self.refuse(fault, now);
                }
            }
            Request::Subscribe(subscribe) => self.subscribe(subscribe, now),
            Request::Unsubscribe { slot, receipt, .. } => {
                // Confirmed when it is dropped, or later, when the rooms of all nodes know.
                let mut handover = Handover::new(Arc::clone(&self.handle), receipt);
                if let Some(slot) = self.slots.take(slot) {
                    self.context.broker.unsubscribe(&slot.placement, &mut handover);
                    if let Some(destination) = slot.joins {
                        self.context.broker.leave_by_subscription(&self.handle, &destination, &mut handover);
                    }
                }
            }
            Request::Settle { how, tokens, receipt } => {
                self.settle(how, &tokens, &mut Handover::new(Arc::clone(&self.handle), receipt));
            }
            Request::Commit { actions, receipt } => self.commit(actions, receipt, now),
            Request::Abort { receipt, .. } | Request::Confirm { receipt } => self.confirm(receipt),
            Request::Dropped { why } => count(&metrics().frames_dropped, why.as_str()),
            Request::Disconnect { receipt, .. } => {
                match receipt {
                    Some(_) => self.leave_everything(&mut Handover::of_disconnect(Arc::clone(&self.handle))),
                    None => self.leave_everything(&mut Handover::nobody()),
                }
                self.phase = Phase::Leaving { receipt };
            }
        }
    }

    fn connect(&mut self, connect: &Connect) {
        // The protocol refuses a second CONNECT, so there is a handshake.
        let Phase::Fresh(handshake) = &self.phase else { return };
        self.phase = Phase::Identifying(self.context.authenticator.identify(connect, handshake));
    }

    pub(super) fn accept(&mut self, identity: Identity, now: Instant) {
        if let Err(fault) = identity.check(self.context.user_name_size_limit) {
            return self.fail(fault, now);
        }
        let connected = self.session.accept(&self.context.session, identity.name.as_deref(), self.handle.id.as_str());
        self.expires = deadline(&identity, now);
        self.handle.identify(identity);
        if self.context.broker.is_revoked(&self.handle) {
            return self.fail(revoked(), now);
        }
        let version = self.session.version();
        self.decoder.set_version(version);
        self.decoder.set_limits(self.context.limits.1);
        // Several frames may share one message.
        self.link.limit_input(2 * (self.context.limits.1.body_bytes + self.context.limits.1.head_bytes));
        let agreed = self.session.agreed();
        if agreed.send_every.is_some() {
            self.link.application_heart_beats();
        }
        self.pulse = Pulse::new(agreed, self.context.heart_beat_tolerance, now);
        self.phase = Phase::Open;
        debug!(session.id = %self.handle.id, user = self.handle.user().map(|user| &**user), %version, "session opened");
        write::frame(&mut self.link, &connected, version);
    }

    fn renews(&self, send: &Send) -> bool {
        self.context.renew_destination.as_ref().is_some_and(|destination| **destination == *send.destination)
    }

    /// Asks again who the client is, as if the headers had come with CONNECT; what the handshake said counts no more.
    fn renew(&mut self, send: Send) {
        let header = |name| send.headers.get(name).cloned();
        let connect = Connect {
            version: self.session.version(),
            login: header("login"),
            passcode: header("passcode"),
            host: None,
            headers: send.headers.clone(),
        };
        let handshake = Handshake { endpoint: String::new(), peer: None, headers: http::HeaderMap::new(), query: None };
        let deciding = self.context.authenticator.identify(&connect, &handshake);
        self.renewing = Some(Box::new(Renewal { deciding, receipt: send.receipt }));
    }

    pub(super) fn renewed(&mut self, decision: Result<Identity, Fault>, now: Instant) {
        let receipt = self.renewing.take().and_then(|renewal| renewal.receipt);
        let checked = decision.and_then(|identity| match identity.name.as_ref() == self.handle.user() {
            true => Ok(identity),
            false => Err(Fault::new(
                FaultKind::Forbidden,
                "the session belongs to another user than the new token; connect again to change users",
            )),
        });
        match checked {
            Ok(identity) => {
                self.expires = deadline(&identity, now);
                self.handle.identify(identity);
                match self.context.broker.is_revoked(&self.handle) {
                    false => self.confirm(receipt),
                    true => self.fail(revoked().with_receipt(receipt), now),
                }
            }
            Err(fault) => self.fail(fault.with_receipt(receipt), now),
        }
    }

    fn subscribe(&mut self, subscribe: Subscribe, now: Instant) {
        let to = self.slots.next(subscribe.slot);
        let strict = self.context.session.strict;
        // Confirmed when it is dropped, or later, when every node knows of the subscription.
        let mut handover = Handover::new(Arc::clone(&self.handle), subscribe.receipt.clone());
        match self.context.broker.subscribe(&self.handle, to, &subscribe, strict, &mut handover) {
            Ok((placement, own)) => {
                let joins =
                    self.context.broker.follows_subscriptions().then(|| ByteString::from(&*subscribe.destination));
                self.slots.put(to, placement, own, joins);
            }
            Err(fault) => {
                // Without effect where the session goes on: the id is free again.
                self.session.refuse(subscribe.slot);
                handover.fail(fault);
                if let Err(fault) = handover.finish() {
                    self.refuse(fault, now);
                }
            }
        }
    }

    pub(super) fn settle(&self, how: Settlement, tokens: &[Token], handover: &mut Handover) {
        for token in tokens {
            let (Some(seq), Some(slot)) = (token.seq, self.slots.get(token.to)) else { continue };
            self.context.broker.settle(&slot.placement, how, seq, handover);
        }
    }

    /// All or nothing (clause T15): what is wrong with a destination or a route is found before anything is done. COMMIT
    /// is confirmed after the last of its parts.
    fn commit(&mut self, actions: Vec<Action<Token>>, receipt: Option<ByteString>, now: Instant) {
        let strict = self.context.session.strict;
        for action in &actions {
            if let Action::Send(send) = action
                && let Err(fault) = self.context.broker.check(&self.handle, send)
            {
                return self.refuse(fault.with_receipt(receipt), now);
            }
        }
        let mut whole = Handover::new(Arc::clone(&self.handle), receipt);
        for action in actions {
            match action {
                Action::Send(send) => {
                    let part = Some(whole.later());
                    if let Err(fault) = self.context.broker.send(&self.handle, send, strict, part) {
                        // The ERROR is queued first and ends the session, so the receipt behind it is never written.
                        return self.fail(fault, now);
                    }
                }
                Action::Settle { how, tokens, receipt } => {
                    self.settle(how, &tokens, &mut Handover::new(Arc::clone(&self.handle), receipt));
                }
            }
        }
    }

    /// A frame that has no effect: its client is told and the session ends, unless a frame that may not have one is to be
    /// passed over.
    fn refuse(&mut self, fault: Fault, now: Instant) {
        if self.context.broker.stays_open(&fault) {
            self.pass_over(&fault);
        } else {
            self.fail(fault, now);
        }
    }

    pub(super) fn pass_over(&self, fault: &Fault) {
        count(&metrics().frames_dropped, "forbidden");
        debug!(session.id = %self.handle.id, error = &*fault.message, "a frame that may not has no effect");
    }

    /// Confirms a frame that is done, behind everything that was queued before it.
    fn confirm(&self, receipt: Option<ByteString>) {
        if receipt.is_some() {
            drop(Handover::new(Arc::clone(&self.handle), receipt));
        }
    }
}

/// What a client is told whose user or token was revoked.
pub(super) fn revoked() -> Fault {
    Fault::new(FaultKind::Forbidden, "the user or the token was revoked")
}

/// When the session ends with what proved who the client is, by the clock that nobody sets.
fn deadline(identity: &Identity, now: Instant) -> Option<Instant> {
    let left = identity.expires?.duration_since(SystemTime::now()).unwrap_or_default();
    // An end that no clock reaches is none.
    now.checked_add(left)
}
