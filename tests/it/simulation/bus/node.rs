//! One node on the bus: what it publishes and reads.

use std::collections::VecDeque;
use std::future::pending;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::broker::{Bus, Key};
use stampede::ids::NodeId;
use stampede::relay::{AdoptError, Confirm, Inbox, RelayError, Route, Source, Token};

/// Envelopes a reader holds unacknowledged at most.
const PREFETCH: usize = 200;
/// Envelopes that are confirmed together at most.
const BURST: usize = 4;
/// How long a lost connection is gone.
const RECONNECT: Duration = Duration::from_millis(100);

pub(super) struct Node {
    bus: Arc<Bus>,
    pub(super) id: NodeId,
    /// Tells apart runs of one node.
    run: u64,
    inbox: Arc<dyn Inbox>,
    outgoing: Mutex<VecDeque<Outgoing>>,
    pub(super) retire: CancellationToken,
    pub(super) retired: CancellationToken,
    pub(super) close: CancellationToken,
    pub(super) closed: CancellationToken,
}

struct Outgoing {
    route: Route,
    body: Bytes,
    since: Instant,
    done: Confirm,
}

/// An open connection of a reader. With it ends its claim on the queue, and what it has not acknowledged waits again.
struct Session {
    bus: Arc<Bus>,
    number: u64,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.bus.change(|state| state.detach(|number, _| number == self.number));
    }
}

/// How far a reader is.
enum Step {
    Deliver(u64, Bytes),
    Wait,
    Lost,
    Finished,
}

impl Node {
    pub(super) fn start(bus: &Arc<Bus>, id: NodeId, inbox: Arc<dyn Inbox>) -> Arc<Self> {
        let run = bus.change(|state| {
            // A node waits for the broker before it takes part; here the broker waits for nobody.
            state.queues.entry(Key::Node(id.clone())).or_default().bound = true;
            state.number()
        });
        let token = CancellationToken::new;
        let (retire, retired, close, closed) = (token(), token(), token(), token());
        let (bus, outgoing) = (Arc::clone(bus), Mutex::default());
        let node = Arc::new(Self { bus, id, run, inbox, outgoing, retire, retired, close, closed });
        let session = node.attach(&Key::Node(node.id.clone()));
        tokio::spawn(Arc::clone(&node).read_own(session));
        tokio::spawn(Arc::clone(&node).read_orphans());
        tokio::spawn(Arc::clone(&node).publish());
        node
    }

    pub(super) fn take(&self, route: Route, body: Bytes, done: Confirm) {
        if self.close.is_cancelled() || self.closed.is_cancelled() {
            return done(Err(RelayError::Closed));
        }
        self.outgoing.lock().push_back(Outgoing { route, body, since: Instant::now(), done });
        self.bus.changed.notify_waiters();
    }

    pub(super) fn is_up(&self) -> bool {
        !self.closed.is_cancelled() && self.bus.state.lock().takes_from(&self.id)
    }

    pub(super) fn vanish(&self) {
        self.closed.cancel();
        self.bus.change(|state| state.detach(|_, (_, run)| *run == self.run));
    }

    pub(super) async fn adopt(&self, node: NodeId) -> Result<u64, AdoptError> {
        let key = Key::Node(node);
        self.bus.pause().await;
        let (is_there, reaches) = {
            let state = self.bus.state.lock();
            (state.queues.contains_key(&key), state.reaches(&self.id))
        };
        if !reaches {
            return Err(AdoptError::Failed("the bus is away".into()));
        }
        if !is_there {
            return Ok(0);
        }
        let session = self.attach(&key).ok_or(AdoptError::InUse)?;
        let now = CancellationToken::new();
        now.cancel();
        let read = self.read(&key, &session, Source::Adopted, &now).await;
        read.ok_or_else(|| AdoptError::Failed("the connection was lost".into()))
    }

    /// A new connection that reads a queue; none when that cannot be now.
    fn attach(&self, key: &Key) -> Option<Session> {
        let number = self.bus.change(|state| {
            if !state.reaches(&self.id) || self.closed.is_cancelled() {
                return None;
            }
            let number = state.number();
            let queue = state.queues.entry(key.clone()).or_default();
            if let Key::Node(id) = key {
                if queue.reader.is_some() {
                    return None;
                }
                queue.reader = Some(number);
                queue.bound |= *id == self.id;
            }
            state.sessions.insert(number, (self.id.clone(), self.run));
            Some(number)
        });
        number.map(|number| Session { bus: Arc::clone(&self.bus), number })
    }

    async fn read_own(self: Arc<Self>, mut session: Option<Session>) {
        let key = Key::Node(self.id.clone());
        let mut was_lost = session.is_none();
        while !self.closed.is_cancelled() {
            if let Some(session) = session.take() {
                if std::mem::replace(&mut was_lost, true) {
                    self.inbox.resumed();
                }
                if self.read(&key, &session, Source::Own, &self.retire).await.is_some() {
                    break;
                }
            }
            sleep(RECONNECT).await;
            session = self.attach(&key);
            if session.is_none() && self.retire.is_cancelled() {
                break;
            }
        }
        self.retired.cancel();
    }

    async fn read_orphans(self: Arc<Self>) {
        while !self.closed.is_cancelled() {
            if let Some(session) = self.attach(&Key::Orphans)
                && self.read(&Key::Orphans, &session, Source::Orphans, &self.retire).await.is_some()
            {
                return;
            }
            sleep(RECONNECT).await;
        }
    }

    /// Reads until it is told to finish, and then to the end; gives the number of envelopes, or none when the connection is
    /// lost.
    async fn read(&self, key: &Key, session: &Session, source: Source, finish: &CancellationToken) -> Option<u64> {
        let session = session.number;
        let mut taken = 0;
        loop {
            let mut changed = pin!(self.bus.changed.notified());
            changed.as_mut().enable();
            match self.step(key, session, finish.is_cancelled()) {
                Step::Deliver(at, body) => {
                    self.bus.pause().await;
                    if !self.bus.state.lock().sessions.contains_key(&session) {
                        return None;
                    }
                    taken += 1;
                    self.inbox.deliver(body, source, self.token(key, session, at));
                    if self.bus.weather.breaks() {
                        self.bus.change(|state| state.detach(|other, _| other == session));
                    }
                }
                Step::Wait => {
                    tokio::select! {
                        biased;
                        () = changed => {}
                        () = finish.cancelled(), if !finish.is_cancelled() => {}
                    }
                }
                Step::Lost => return None,
                Step::Finished => return Some(taken),
            }
        }
    }

    fn step(&self, key: &Key, session: u64, finishing: bool) -> Step {
        let mut state = self.bus.state.lock();
        if !state.sessions.contains_key(&session) {
            return Step::Lost;
        }
        let shared = *key == Key::Orphans;
        let Some(queue) = state.queues.get_mut(key) else { return Step::Lost };
        let held = queue.handed.values().filter(|(holder, _)| *holder == session).count();
        queue.bound &= !finishing;
        if finishing && held == 0 && (shared || queue.waiting.is_empty()) {
            if !shared {
                state.queues.remove(key);
            }
            return Step::Finished;
        }
        if held >= PREFETCH || shared && finishing {
            return Step::Wait;
        }
        let Some((at, body)) = queue.waiting.pop_first() else { return Step::Wait };
        queue.handed.insert(at, (session, body.clone()));
        Step::Deliver(at, body)
    }

    fn token(&self, key: &Key, session: u64, at: u64) -> Token {
        let (bus, key) = (Arc::clone(&self.bus), key.clone());
        Token::new(move || {
            bus.change(|state| {
                let queue = state.queues.get_mut(&key);
                // Of a session that was lost it waits again.
                queue.and_then(|queue| queue.handed.extract_if(at..=at, |_, (holder, _)| *holder == session).next())
            });
        })
    }

    async fn publish(self: Arc<Self>) {
        while !self.has_ended() {
            let mut changed = pin!(self.bus.changed.notified());
            changed.as_mut().enable();
            self.give_up();
            let waiting = self.outgoing.lock().len();
            if waiting > 0 && self.bus.state.lock().takes_from(&self.id) {
                self.publish_first(waiting.min(BURST)).await;
                continue;
            }
            let due = self.outgoing.lock().front().map(|first| first.since + self.bus.send_timeout);
            tokio::select! {
                biased;
                () = changed => {}
                () = async { match due { Some(due) => sleep_until(due).await, None => pending().await } } => {}
                () = self.close.cancelled(), if !self.close.is_cancelled() => {}
                () = self.closed.cancelled() => {}
            }
        }
        self.closed.cancel();
        let rest = std::mem::take(&mut *self.outgoing.lock());
        rest.into_iter().for_each(|outgoing| (outgoing.done)(Err(RelayError::Closed)));
        self.vanish();
    }

    /// Publishes the first few and awaits their confirms. What is not confirmed stays where it is.
    async fn publish_first(&self, count: usize) {
        for at in 0..count {
            self.bus.pause().await;
            let Some((route, body)) = self.outgoing.lock().get(at).map(|next| (next.route.clone(), next.body.clone()))
            else {
                return;
            };
            if !self.bus.change(|state| state.takes_from(&self.id).then(|| state.route(&route, &body)).is_some()) {
                return;
            }
        }
        self.bus.pause().await;
        if !self.bus.state.lock().takes_from(&self.id) || self.bus.weather.breaks() {
            return sleep(RECONNECT).await;
        }
        for _ in 0..count {
            let confirmed = self.outgoing.lock().pop_front();
            let Some(Outgoing { done, .. }) = confirmed else { return };
            done(match () {
                () if self.bus.weather.refuses() => Err(RelayError::Refused),
                () if self.bus.weather.loses_confirm() => Err(RelayError::Timeout(self.bus.send_timeout)),
                () => Ok(()),
            });
        }
    }

    fn give_up(&self) {
        let limit = self.bus.send_timeout;
        loop {
            let old = self.outgoing.lock().pop_front_if(|first| first.since.elapsed() >= limit);
            let Some(old) = old else { return };
            (old.done)(Err(RelayError::Timeout(limit)));
        }
    }

    fn has_ended(&self) -> bool {
        self.closed.is_cancelled() || self.close.is_cancelled() && self.outgoing.lock().is_empty()
    }
}
