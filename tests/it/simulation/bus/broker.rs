//! What lies between the nodes: queues, and who is connected.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::sleep;

use super::Weather;
use stampede::ids::NodeId;
use stampede::relay::Route;

pub(super) struct Bus {
    pub(super) state: Mutex<State>,
    pub(super) changed: Notify,
    pub(super) weather: Arc<dyn Weather>,
    pub(super) send_timeout: Duration,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) queues: BTreeMap<Key, Queue>,
    /// Nobody reaches it.
    pub(super) down: bool,
    /// It takes no envelopes.
    pub(super) blocked: bool,
    /// Nodes that cannot reach it.
    pub(super) cut: BTreeSet<NodeId>,
    /// Open connections of readers, and whose they are.
    pub(super) sessions: BTreeMap<u64, (NodeId, u64)>,
    last: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key {
    Node(NodeId),
    Orphans,
}

#[derive(Debug, Default)]
pub(super) struct Queue {
    pub(super) bound: bool,
    /// Who reads it alone.
    pub(super) reader: Option<u64>,
    next: u64,
    pub(super) waiting: BTreeMap<u64, Bytes>,
    /// Unacknowledged, with the session that has it.
    pub(super) handed: BTreeMap<u64, (u64, Bytes)>,
}

impl Bus {
    pub(super) fn new(weather: Arc<dyn Weather>, send_timeout: Duration) -> Self {
        let mut state = State::default();
        state.queues.insert(Key::Orphans, Queue::default());
        Self { state: Mutex::new(state), changed: Notify::new(), weather, send_timeout }
    }

    pub(super) fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let changed = change(&mut self.state.lock());
        self.changed.notify_waiters();
        changed
    }

    /// One step on the way.
    pub(super) async fn pause(&self) {
        let delay = self.weather.delay();
        if !delay.is_zero() {
            sleep(delay).await;
        }
    }
}

impl Queue {
    /// Envelopes, unacknowledged ones included.
    pub(super) fn len(&self) -> usize {
        self.waiting.len() + self.handed.len()
    }
}

impl State {
    /// A number that was not given before.
    pub(super) fn number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    pub(super) fn reaches(&self, node: &NodeId) -> bool {
        !self.down && !self.cut.contains(node)
    }

    pub(super) fn takes_from(&self, node: &NodeId) -> bool {
        !self.blocked && self.reaches(node)
    }

    pub(super) fn route(&mut self, route: &Route, body: &Bytes) {
        let wanted = |id: &NodeId| match route {
            Route::Everyone => true,
            Route::Nodes(nodes) => nodes.contains(id),
        };
        let is_target = |key: &Key, queue: &Queue| queue.bound && matches!(key, Key::Node(id) if wanted(id));
        let targets = self.queues.iter().filter(|(key, queue)| is_target(key, queue)).map(|(key, _)| key.clone());
        let mut targets: Vec<Key> = targets.collect();
        if targets.is_empty() && *route != Route::Everyone {
            targets.push(Key::Orphans);
        }
        for key in targets {
            self.push(&key, body.clone());
        }
    }

    pub(super) fn push(&mut self, key: &Key, body: Bytes) {
        if let Some(queue) = self.queues.get_mut(key) {
            queue.waiting.insert(queue.next, body);
            queue.next += 1;
        }
    }

    /// Ends sessions: what they have not acknowledged waits again, in its old place.
    pub(super) fn detach(&mut self, ends: impl Fn(u64, &(NodeId, u64)) -> bool) {
        let sessions = &mut self.sessions;
        for (session, _) in sessions.extract_if(.., |session, whose| ends(*session, whose)) {
            for queue in self.queues.values_mut() {
                queue.reader = queue.reader.filter(|reader| *reader != session);
                let back = queue.handed.extract_if(.., |_, (holder, _)| *holder == session);
                queue.waiting.extend(back.map(|(at, (_, body))| (at, body)));
            }
        }
    }
}
