//! SEND: where a message goes, and what of its headers goes with it.

use std::sync::Arc;

use bytes::Bytes;
use bytestring::ByteString;
use stampede_protocol::stomp::session::Send;
use stampede_protocol::stomp::{Fault, FaultKind, Headers};

use super::kept::unix_millis;
use super::routed::Incoming;
use super::together::Job;
use super::{Broker, Handover, Pending, SessionHandle};
use crate::destination::{Kind, encode_segment};
use crate::message::Message;
use crate::telemetry::{count, metrics};

/// Headers of a SEND that no subscriber gets to see: secrets, what only the server may say, and what concerns the
/// sender's own conversation (`docs/differences.md`, P26).
const PRIVATE_HEADERS: [&str; 14] = [
    "Authorization",
    "authorization",
    "login",
    "passcode",
    "receipt",
    "transaction",
    "simpOrigDestination",
    "user-name",
    "message-id",
    "subscription",
    "ack",
    "redelivered",
    "content-length",
    "heart-beat",
];

impl Broker {
    /// Carries out a SEND of a client, as a part of a transaction if there is a `whole`; its receipt comes through the
    /// session's outbox when everything is done.
    ///
    /// # Errors
    ///
    /// Why it cannot be carried out, as far as that is known at once. What a store says later comes through the outbox.
    pub fn send(
        &self,
        session: &Arc<SessionHandle>,
        mut send: Send,
        strict: bool,
        whole: Option<Arc<Pending>>,
    ) -> Result<(), Fault> {
        let receipt = send.receipt.take();
        let mut handover = match whole {
            Some(whole) => Handover::part_of(whole, Arc::clone(session), receipt),
            None => Handover::new(Arc::clone(session), receipt),
        };
        let target = self.destinations.send_target(&send.destination);
        if let Err(fault) = self.may_send(session, &target, &send.destination) {
            handover.fail(fault);
            return handover.finish();
        }
        match self.rooms.shared().filter(|queue| queue.has(&session.id)) {
            None => self.send_now(session, send, strict, &mut handover),
            Some(queue) => {
                let (session, pending) = (Arc::clone(session), handover.later());
                let offered = queue.offer(Job::Send { session, send, strict, pending });
                offered.unwrap_or_else(|fault| handover.fail(fault));
            }
        }
        handover.finish()
    }

    /// Carries out a SEND in the turn it has; whether it may was asked before.
    pub(super) fn send_now(&self, session: &Arc<SessionHandle>, send: Send, strict: bool, handover: &mut Handover) {
        let Send { destination, mut headers, body, .. } = send;
        let target = self.destinations.send_target(&destination);
        if let Kind::Application(_) = target
            && let Some(route) = self.routes.find(&destination)
        {
            let frame = Incoming { destination: &destination, headers: &headers, body: &body };
            return self.run_route(&route, session, frame, handover);
        }
        headers.remove_all(&PRIVATE_HEADERS);
        match target {
            Kind::Broker => self.deliver(self.message(destination, headers, body), None, handover),
            // Its own alone: to that of another a client writes through a route (clause P58).
            Kind::UserExplicit { addressee, rest } if *addressee == *session.id.as_str() => {
                let name = self.destinations.user_destination(&addressee, rest);
                let message = self.message(name.into(), headers, body);
                self.send_to_session(&addressee, rest, message, handover);
            }
            Kind::UserExplicit { addressee, rest } => {
                // Spring answers a user's message to himself in the sending session alone (clause P60).
                let own = session.user().is_some_and(|user| **user == *addressee).then_some(session);
                let name = match encode_segment(&addressee) {
                    // As the client wrote it: the usual case needs no new text.
                    encoded if destination[self.destinations.user_prefix().len()..].starts_with(&*encoded) => {
                        destination
                    }
                    _ => self.destinations.user_destination(&addressee, rest).into(),
                };
                self.deliver(self.message(name, headers, body), own, handover);
            }
            Kind::Application(_) | Kind::UserOwn(_) | Kind::Unknown => {
                count(&metrics().messages_dropped, "no-such-destination");
                // Spring drops it in silence; who asked for a receipt is told the truth.
                if handover.receipt_asked() || strict {
                    handover.fail(nowhere(&destination));
                }
            }
        }
    }

    /// Whether a SEND could be carried out, for transactions: its destination and its route are looked at. Whether a
    /// kept destination has room is known only when the message is there.
    ///
    /// # Errors
    ///
    /// What [`Broker::send`] would fail with.
    pub fn check(&self, session: &SessionHandle, send: &Send) -> Result<(), Fault> {
        let target = self.destinations.send_target(&send.destination);
        self.may_send(session, &target, &send.destination)?;
        if let Kind::Application(_) = target
            && let Some(route) = self.routes.find(&send.destination)
        {
            let frame = Incoming { destination: &send.destination, headers: &send.headers, body: &send.body };
            return Self::try_route(&route, session, frame);
        }
        match target {
            Kind::Broker | Kind::UserExplicit { .. } => Ok(()),
            // Never in silence: what gets lost in a transaction makes its receipt a lie (clause T15).
            Kind::Application(_) | Kind::UserOwn(_) | Kind::Unknown => Err(nowhere(&send.destination)),
        }
    }

    pub(super) fn message(&self, destination: ByteString, headers: Headers, body: Bytes) -> Arc<Message> {
        Arc::new(Message::new(self.ids.next(), destination, headers, body, unix_millis()))
    }
}

fn nowhere(destination: &str) -> Fault {
    Fault::new(FaultKind::Failed, format!("SEND to {destination:?}: no such destination is configured"))
}
