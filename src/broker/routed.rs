//! Application destinations: a route runs, and what it asks for is published.

use std::sync::Arc;

use bytes::Bytes;
use bytestring::ByteString;
use parking_lot::{Mutex, MutexGuard};
use stampede_protocol::stomp::session::{Send, Subscribe};
use stampede_protocol::stomp::{Fault, FaultKind, Headers};

use super::handover::Pending;
use super::kept::unix_millis;
use super::together::{Job, Queue, RoomsBehind};
use super::{Broker, Handover, SessionHandle};
use crate::destination::Kind;
use crate::ids::SessionId;
use crate::message::{ListVersion, Message};
use crate::outbox::{Delivery, SlotRef};
use crate::rooms::Rooms;
use crate::rooms::shared::{Here, Stay};
use crate::routes::{Action, Matched, Refusal, RoomRequest, RoomState, RoomsView, SendInput, Who};
use crate::telemetry::{count, metrics};

impl SessionHandle {
    pub(super) fn who(&self) -> Who<'_> {
        Who { user: self.user().map(|user| &**user), claims: self.claims(), session: self.id.as_str() }
    }
}

impl Broker {
    /// Runs the route for a SEND and publishes what comes of it.
    pub(super) fn run_route(
        &self,
        route: &Matched<'_, '_>,
        session: &Arc<SessionHandle>,
        frame: Incoming<'_>,
        handover: &mut Handover,
    ) {
        let input = frame.input(session);
        let ran = match &self.rooms {
            RoomsBehind::Alone(rooms) => route.run(&input, &mut LazyRooms { rooms, guard: None }),
            RoomsBehind::Shared(queue) => match route.request(&input) {
                Ok(Some(_)) => {
                    let pending = handover.later();
                    let job = Job::Send { session: Arc::clone(session), send: frame.to_send(), strict: false, pending };
                    return queue.offer(job).unwrap_or_else(|fault| handover.fail(fault));
                }
                Ok(None) => route.run(&input, &mut NoRooms),
                Err(refusal) => Err(refusal),
            },
        };
        match ran {
            Ok(actions) => self.publish(actions, handover),
            Err(refusal) => handover.fail(dropped(&refusal)),
        }
    }

    /// A SEND whose turn has come. It may have waited only because its session had sent something else before.
    pub(super) async fn send_in_turn(
        &self,
        queue: &Queue,
        here: &Here,
        session: &Arc<SessionHandle>,
        send: Send,
        strict: bool,
        pending: Arc<Pending>,
    ) {
        let route = self.routes.find(&send.destination);
        let route = route.filter(|_| matches!(self.destinations.send_target(&send.destination), Kind::Application(_)));
        let frame = Incoming { destination: &send.destination, headers: &send.headers, body: &send.body };
        let request = route.as_ref().map_or(Ok(None), |route| route.request(&frame.input(session)));
        let Some((route, request)) = route.as_ref().zip(request.as_ref().ok().cloned().flatten()) else {
            let mut handover = Handover::resume(pending);
            return self.send_now(session, send, strict, &mut handover);
        };
        match self.ask_room(queue, here, route, session, frame, request).await {
            Ok((actions, ended)) => self.publish_change(queue, actions, ended, Some(pending)),
            Err(refusal) => pending.fail(dropped(&refusal)),
        }
    }

    /// As [`Broker::answer_subscribe`], when its turn has come.
    pub(super) async fn answer_in_turn(
        &self,
        queue: &Queue,
        here: &Here,
        session: &Arc<SessionHandle>,
        to: SlotRef,
        subscribe: &Send,
        pending: Arc<Pending>,
    ) {
        let Some(route) = self.routes.find_subscribe(&subscribe.destination) else { return };
        let frame =
            Incoming { destination: &subscribe.destination, headers: &subscribe.headers, body: &subscribe.body };
        let asked = match route.request(&frame.input(session)) {
            Ok(Some(request)) => self.ask_room(queue, here, &route, session, frame, request).await,
            Ok(None) => route.run(&frame.input(session), &mut NoRooms).map(|actions| (actions, Vec::new())),
            Err(refusal) => Err(refusal),
        };
        match asked {
            Ok((actions, ended)) => {
                let others = self.reply(session, to, &subscribe.destination, actions);
                self.publish_change(queue, others, ended, Some(pending));
            }
            Err(refusal) => pending.fail(refused(&refusal)),
        }
    }

    /// Asks the shared rooms what a route asks, then runs the route with the answer.
    async fn ask_room(
        &self,
        queue: &Queue,
        here: &Here,
        route: &Matched<'_, '_>,
        session: &SessionHandle,
        frame: Incoming<'_>,
        request: RoomRequest,
    ) -> Result<(Vec<Action>, Vec<Stay>), Refusal> {
        let change = queue.rooms.apply(here, session.id.as_str(), request).await?;
        let actions = route.run(&frame.input(session), &mut Answered(Some(change.state)))?;
        Ok((actions, change.ended))
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
        handover: &mut Handover,
    ) -> Result<(), Fault> {
        let body = Bytes::new();
        let frame = Incoming { destination: &subscribe.destination, headers: &subscribe.headers, body: &body };
        let input = frame.input(session);
        let ran = match &self.rooms {
            RoomsBehind::Alone(rooms) => route.run(&input, &mut LazyRooms { rooms, guard: None }),
            RoomsBehind::Shared(queue) => match route.request(&input) {
                Ok(None) if !queue.has(&session.id) => route.run(&input, &mut NoRooms),
                Ok(_) => {
                    let (session, send, pending) = (Arc::clone(session), frame.to_send(), handover.later());
                    return queue.offer(Job::Answer { session, to, send, pending });
                }
                Err(refusal) => Err(refusal),
            },
        };
        let actions = ran.map_err(|refusal| refused(&refusal))?;
        let others = self.reply(session, to, &subscribe.destination, actions);
        self.publish(others, &mut Handover::nobody());
        Ok(())
    }

    /// Gives the subscriber its answer; what else is to be published comes back.
    fn reply(&self, session: &Arc<SessionHandle>, to: SlotRef, destination: &str, actions: Vec<Action>) -> Vec<Action> {
        let mut others = Vec::new();
        for action in actions {
            match action {
                Action::Reply { content_type, body, headers } => {
                    let destination = ByteString::from(destination);
                    let message = self.message(destination, written(content_type, headers), body);
                    let overflow = crate::outbox::Overflow::Close;
                    let delivery = Delivery { message, to, kept: None, overflow };
                    // A session without room for it has been told to end.
                    let _told = session.outbox.offer(delivery, self.outbox_limit);
                }
                send @ Action::Send { .. } => others.push(send),
            }
        }
        others
    }

    /// A subscription may join a room.
    pub(super) fn join_by_subscription(
        &self,
        session: &Arc<SessionHandle>,
        destination: &str,
        handover: &mut Handover,
    ) -> Result<(), Fault> {
        if !self.follows_subscriptions() {
            return Ok(());
        }
        match &self.rooms {
            RoomsBehind::Alone(rooms) => {
                let mut rooms = rooms.lock();
                let actions = rooms.subscribed(destination, &session.who()).map_err(|refusal| refused(&refusal))?;
                self.publish(actions, &mut Handover::nobody());
                Ok(())
            }
            RoomsBehind::Shared(queue) if queue.rooms.is_followed(destination, &session.who()) => {
                let (session, pending) = (Arc::clone(session), handover.later());
                queue.offer(Job::Subscribed { session, destination: destination.into(), pending })
            }
            RoomsBehind::Shared(_) => Ok(()),
        }
    }

    /// The end of a subscription may leave a room.
    pub fn leave_by_subscription(&self, session: &Arc<SessionHandle>, destination: &str, handover: &mut Handover) {
        match &self.rooms {
            RoomsBehind::Alone(rooms) => {
                let mut rooms = rooms.lock();
                let actions = rooms.unsubscribed(destination, &session.who());
                self.publish(actions, &mut Handover::nobody());
            }
            RoomsBehind::Shared(queue) if queue.rooms.is_followed(destination, &session.who()) => {
                let (session, pending) = (Arc::clone(session), handover.later_if_asked());
                queue.push(Job::Unsubscribed { session, destination: destination.into(), pending });
            }
            RoomsBehind::Shared(_) => {}
        }
    }

    /// A session that ends leaves every room.
    pub(super) fn leave_rooms(&self, session: &Arc<SessionHandle>) {
        match &self.rooms {
            RoomsBehind::Alone(rooms) => {
                let mut rooms = rooms.lock();
                let actions = rooms.end_session(session.id.as_str());
                self.publish(actions, &mut Handover::nobody());
            }
            RoomsBehind::Shared(queue) => {
                if queue.has(&session.id) || queue.rooms.is_anywhere(session.id.as_str()) {
                    queue.push(Job::Ended { session: Arc::clone(session) });
                }
            }
        }
    }

    /// Publishes for the server: to broker destinations, to users, or to one session by its id.
    pub(super) fn publish(&self, actions: Vec<Action>, handover: &mut Handover) {
        for action in actions {
            let Action::Send { destination, content_type, body, headers, list } = action else { continue };
            let headers = written(content_type, headers);
            match self.destinations.send_target(&destination) {
                Kind::Broker => self.deliver(self.listing(destination.into(), headers, body, list), None, handover),
                Kind::UserExplicit { addressee, rest } => {
                    let name = ByteString::from(self.destinations.user_destination(&addressee, rest));
                    let message = self.listing(name, headers, body, list);
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

    fn listing(&self, to: ByteString, headers: Headers, body: Bytes, list: Option<ListVersion>) -> Arc<Message> {
        let mut message = Message::new(self.ids.next(), to, headers, body, unix_millis());
        message.list = list;
        Arc::new(message)
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
    fn to_send(self) -> Send {
        let destination = ByteString::from(self.destination);
        Send { destination, headers: self.headers.clone(), body: self.body.clone(), receipt: None }
    }

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

fn dropped(refusal: &Refusal) -> Fault {
    count(&metrics().messages_dropped, "route-refused");
    refused(refusal)
}

pub(super) fn refused(refusal: &Refusal) -> Fault {
    let kind = if let Refusal::Guard { .. } = refusal { FaultKind::Forbidden } else { FaultKind::Failed };
    Fault::new(kind, refusal.to_string())
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

/// The answer of a room that was asked before.
struct Answered(Option<RoomState>);

impl RoomsView for Answered {
    fn apply(&mut self, _session: &str, _request: RoomRequest) -> Result<RoomState, Refusal> {
        Ok(self.0.take().unwrap_or_default())
    }
}

/// Empty rooms that take everybody, to find out what else a route would refuse.
struct NoRooms;

impl RoomsView for NoRooms {
    fn apply(&mut self, _session: &str, _request: RoomRequest) -> Result<RoomState, Refusal> {
        Ok(RoomState::default())
    }
}
