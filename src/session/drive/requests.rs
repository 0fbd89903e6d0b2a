//! What the frames of a client ask for, carried out.

use std::sync::Arc;
use std::time::Instant;

use bytestring::ByteString;
use stampede_protocol::stomp::session::{Action, Connect, Request, Settlement, Subscribe};
use stampede_protocol::stomp::{Frame, Pulse};
use tracing::debug;

use super::{Drive, Phase};
use crate::broker::{Handover, Identity};
use crate::session::link::Link;
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
            Request::Send(send) => {
                let strict = self.context.session.strict;
                if let Err(fault) = self.context.broker.send(&self.handle, send, strict, None) {
                    self.fail(fault, now);
                }
            }
            Request::Subscribe(subscribe) => self.subscribe(subscribe, now),
            Request::Unsubscribe { slot, receipt, .. } => {
                let mut handover = Handover::new(Arc::clone(&self.handle), receipt);
                if let Some(slot) = self.slots.take(slot) {
                    self.context.broker.unsubscribe(&slot.placement, &mut handover);
                    if let Some(destination) = slot.joins {
                        self.context.broker.leave_by_subscription(&self.handle, &destination);
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
        self.handle.identify(identity);
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
                handover.fail(fault);
                if let Err(fault) = handover.finish() {
                    self.fail(fault, now);
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
                return self.fail(fault.with_receipt(receipt), now);
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

    /// Confirms a frame that is done, behind everything that was queued before it.
    fn confirm(&self, receipt: Option<ByteString>) {
        if receipt.is_some() {
            drop(Handover::new(Arc::clone(&self.handle), receipt));
        }
    }
}
