//! Application destinations: a route runs, and what it asks for is published.

use std::sync::Arc;

use bytes::Bytes;
use bytestring::ByteString;
use parking_lot::{Mutex, MutexGuard};
use stampede_protocol::stomp::session::Subscribe;
use stampede_protocol::stomp::{Fault, FaultKind, Headers};

use super::kept::unix_millis;
use super::{Broker, Handover, SessionHandle};
use crate::destination::Kind;
use crate::ids::SessionId;
use crate::message::Message;
use crate::outbox::{Delivery, SlotRef};
use crate::rooms::Rooms;
use crate::routes::{Action, Matched, Refusal, RoomRequest, RoomState, RoomsView, SendInput, Who};
use crate::telemetry::{count, metrics};

impl SessionHandle {
    fn who(&self) -> Who<'_> {
        Who { user: self.user().map(|user| &**user), claims: self.claims(), session: self.id.as_str() }
    }
}

impl Broker {
    /// Runs the route for a SEND and publishes what comes of it.
    pub(super) fn run_route(
        &self,
        route: &Matched<'_, '_>,
        session: &SessionHandle,
        frame: Incoming<'_>,
        handover: &mut Handover,
    ) {
        let mut rooms = LazyRooms { rooms: &self.rooms, guard: None };
        match route.run(&frame.input(session), &mut rooms) {
            Ok(actions) => self.publish(actions, handover),
            Err(refusal) => {
                count(&metrics().messages_dropped, "route-refused");
                handover.fail(refused(&refusal));
            }
        }
    }

    /// Whether a route would take this frame, without doing anything.
    pub(super) fn try_route(
        route: &Matched<'_, '_>,
        session: &SessionHandle,
        frame: Incoming<'_>,
    ) -> Result<(), Fault> {
        route.run(&frame.input(session), &mut NoRooms).map(drop).map_err(|refusal| refused(&refusal))
    }

    /// Answers a SUBSCRIBE to an application destination with one MESSAGE, as Spring's `@SubscribeMapping` does.
    pub(super) fn answer_subscribe(
        &self,
        route: &Matched<'_, '_>,
        session: &Arc<SessionHandle>,
        to: SlotRef,
        subscribe: &Subscribe,
    ) -> Result<(), Fault> {
        let frame = Incoming { destination: &subscribe.destination, headers: &subscribe.headers, body: &Bytes::new() };
        let mut rooms = LazyRooms { rooms: &self.rooms, guard: None };
        let actions = route.run(&frame.input(session), &mut rooms).map_err(|refusal| refused(&refusal))?;
        let mut others = Vec::new();
        for action in actions {
            match action {
                Action::Reply { content_type, body, headers } => {
                    let destination = ByteString::from(&*subscribe.destination);
                    let message = self.message(destination, written(content_type, headers), body);
                    let overflow = crate::outbox::Overflow::Close;
                    let delivery = Delivery { message, to, kept: None, overflow };
                    // A session without room for it has been told to end.
                    let _told = session.outbox.offer(delivery, self.outbox_limit);
                }
                send @ Action::Send { .. } => others.push(send),
            }
        }
        self.publish(others, &mut Handover::nobody());
        Ok(())
    }

    /// A subscription may join a room.
    pub(super) fn join_by_subscription(&self, session: &Arc<SessionHandle>, destination: &str) -> Result<(), Fault> {
        if !self.follows_subscriptions() {
            return Ok(());
        }
        let mut rooms = self.rooms.lock();
        let actions = rooms.subscribed(destination, &session.who()).map_err(|refusal| refused(&refusal))?;
        self.publish(actions, &mut Handover::nobody());
        Ok(())
    }

    /// The end of a subscription may leave a room.
    pub fn leave_by_subscription(&self, session: &Arc<SessionHandle>, destination: &str) {
        let mut rooms = self.rooms.lock();
        let actions = rooms.unsubscribed(destination, &session.who());
        self.publish(actions, &mut Handover::nobody());
    }

    /// A session that ends leaves every room.
    pub(super) fn leave_rooms(&self, session: &SessionHandle) {
        let mut rooms = self.rooms.lock();
        let actions = rooms.end_session(session.id.as_str());
        self.publish(actions, &mut Handover::nobody());
    }

    /// Publishes for the server: to broker destinations, to users, or to one session by its id.
    fn publish(&self, actions: Vec<Action>, handover: &mut Handover) {
        for action in actions {
            let Action::Send { destination, content_type, body, headers } = action else { continue };
            let headers = written(content_type, headers);
            match self.destinations.send_target(&destination) {
                Kind::Broker => self.deliver(self.message(destination.into(), headers, body), None, handover),
                Kind::UserExplicit { addressee, rest } => {
                    let name = ByteString::from(self.destinations.user_destination(&addressee, rest));
                    let message = self.message(name, headers, body);
                    if self.is_session(&addressee) {
                        self.send_to_session(&addressee, rest, message, handover);
                    } else {
                        self.deliver(message, None, handover);
                    }
                }
                Kind::Application(_) | Kind::UserOwn(_) | Kind::Unknown => {
                    count(&metrics().messages_dropped, "no-such-destination");
                    tracing::debug!(destination, "a route sends where nobody can subscribe");
                }
            }
        }
    }

    /// Whether this is the id of a session here, or can be that of one on another node.
    pub(super) fn is_session(&self, addressee: &str) -> bool {
        self.session(addressee).is_some() || self.node_of_session(addressee).is_some()
    }

    /// To one session, wherever it is; to nobody when it has ended.
    pub(super) fn send_to_session(&self, id: &str, rest: &str, message: Arc<Message>, handover: &mut Handover) {
        match self.session(id) {
            Some(session) => {
                // A session without room for it has been told to end; there is nobody else to tell.
                let _told = session.outbox.offer_own(message, format!("/{rest}").into(), self.outbox_limit);
            }
            None => self.relay_to_session(id, rest, &message, handover),
        }
    }

    pub(super) fn session(&self, id: &str) -> Option<Arc<SessionHandle>> {
        let id = SessionId::parse(id)?;
        self.sessions.shard(&id).lock().get(&id).cloned()
    }
}

/// The parts of a client frame that a route sees.
#[derive(Debug, Clone, Copy)]
pub(super) struct Incoming<'a> {
    pub(super) destination: &'a str,
    pub(super) headers: &'a Headers,
    pub(super) body: &'a Bytes,
}

impl<'a> Incoming<'a> {
    fn input(self, session: &'a SessionHandle) -> SendInput<'a> {
        SendInput {
            who: session.who(),
            destination: self.destination,
            headers: self.headers,
            body: self.body,
            content_type: self.headers.get("content-type").map(|text| &**text),
            sent_at: unix_millis(),
        }
    }
}

fn refused(refusal: &Refusal) -> Fault {
    Fault::new(FaultKind::Forbidden, refusal.to_string())
}

fn written(content_type: Option<String>, mut headers: Headers) -> Headers {
    if let Some(content_type) = content_type {
        let mut all = Headers::with_capacity(headers.len() + 2);
        all.push("destination", "");
        all.push("content-type", content_type);
        for (name, value) in headers.iter() {
            all.push(name.clone(), value.clone());
        }
        headers = all;
    }
    headers
}

/// The rooms, locked from the first use on: a route without rooms never waits for one that has them.
struct LazyRooms<'a> {
    rooms: &'a Mutex<Rooms>,
    guard: Option<MutexGuard<'a, Rooms>>,
}

impl RoomsView for LazyRooms<'_> {
    fn apply(&mut self, session: &str, request: RoomRequest) -> Result<RoomState, Refusal> {
        self.guard.get_or_insert_with(|| self.rooms.lock()).apply(session, request)
    }
}

/// Empty rooms that take everybody, to find out what else a route would refuse.
struct NoRooms;

impl RoomsView for NoRooms {
    fn apply(&mut self, _session: &str, _request: RoomRequest) -> Result<RoomState, Refusal> {
        Ok(RoomState::default())
    }
}
