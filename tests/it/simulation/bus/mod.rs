//! A relay in memory: what several nodes in one process share instead of a message broker. For tests, which run by the clock
//! of `tokio::time` and make the [`Weather`].
//!
//! It promises what the real one does and breaks nothing else: what comes twice comes twice because a connection broke. It
//! draws no random numbers itself, so with one thread and paused time a run repeats itself as the weather does.

mod broker;
mod facts;
mod node;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use broker::{Bus, Key, Queue};
use node::Node;
use stampede::ids::NodeId;
use stampede::relay::{AdoptError, Confirm, Inbox, Later, Relay, Route};

/// What may happen on the way.
pub(crate) trait Weather: Send + Sync + fmt::Debug {
    /// How long the next step takes: into the queues, to a reader, and the confirm.
    fn delay(&self) -> Duration {
        Duration::ZERO
    }

    /// Whether a connection breaks now. What is not confirmed is published again, what is not acknowledged comes again.
    fn breaks(&self) -> bool {
        false
    }

    /// Whether a confirm gets lost for good, although the envelope arrived.
    fn loses_confirm(&self) -> bool {
        false
    }

    /// Whether a confirm is a refusal.
    fn refuses(&self) -> bool {
        false
    }
}

/// Nothing happens.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Calm;

impl Weather for Calm {}

/// What lies between the nodes.
#[derive(Clone)]
pub(crate) struct MemoryBus {
    bus: Arc<Bus>,
}

/// One node's side of it. When it is dropped, the node has vanished.
pub(crate) struct MemoryRelay {
    node: Arc<Node>,
}

impl MemoryBus {
    /// No queues yet. An envelope is given up when it could not be published within `send_timeout`.
    pub(crate) fn new(weather: Arc<dyn Weather>, send_timeout: Duration) -> Self {
        Self { bus: Arc::new(Bus::new(weather, send_timeout)) }
    }

    /// A node comes. Its queue is there when this returns, whatever is broken.
    pub(crate) fn node(&self, id: NodeId, inbox: Arc<dyn Inbox>) -> Arc<MemoryRelay> {
        Arc::new(MemoryRelay { node: Node::start(&self.bus, id, inbox) })
    }

    /// Takes the broker away from everybody, or brings it back.
    pub(crate) fn set_down(&self, down: bool) {
        self.bus.change(|state| {
            state.down = down;
            state.detach(|_, _| down);
        });
    }

    /// Takes it away from one node, or brings it back.
    pub(crate) fn set_cut(&self, node: &NodeId, cut: bool) {
        self.bus.change(|state| {
            if cut {
                state.cut.insert(node.clone());
                state.detach(|_, (id, _)| id == node);
            } else {
                state.cut.remove(node);
            }
        });
    }

    /// It takes no envelopes, and still hands them out; or it takes them again.
    pub(crate) fn set_blocked(&self, blocked: bool) {
        self.bus.change(|state| state.blocked = blocked);
    }

    /// What waits in the queue of a node has waited too long there.
    pub(crate) fn expire(&self, node: &NodeId) {
        self.bus.change(|state| {
            let queue = state.queues.get_mut(&Key::Node(node.clone()));
            for (_, body) in queue.map(|queue| std::mem::take(&mut queue.waiting)).unwrap_or_default() {
                state.push(&Key::Orphans, body);
            }
        });
    }

    /// The queues of nodes: how many envelopes each holds, unacknowledged ones included.
    pub(crate) fn queues(&self) -> BTreeMap<NodeId, usize> {
        let state = self.bus.state.lock();
        let of_nodes = state.queues.iter().filter_map(|(key, queue)| match key {
            Key::Node(node) => Some((node.clone(), queue.len())),
            Key::Orphans => None,
        });
        of_nodes.collect()
    }

    /// Envelopes among the orphans, unacknowledged ones included.
    pub(crate) fn orphans(&self) -> usize {
        self.bus.state.lock().queues.get(&Key::Orphans).map_or(0, Queue::len)
    }
}

impl MemoryRelay {
    /// The node dies without a word: its queue stays, and what it was not done with is in it again.
    pub(crate) fn kill(&self) {
        self.node.vanish();
    }
}

impl Relay for MemoryRelay {
    fn publish(&self, route: Route, envelope: Bytes, done: Confirm) {
        self.node.take(route, envelope, done);
    }

    fn is_up(&self) -> bool {
        self.node.is_up()
    }

    fn adopt(&self, node: NodeId) -> Later<'_, Result<u64, AdoptError>> {
        Box::pin(self.node.adopt(node))
    }

    fn retire(&self) -> Later<'_, ()> {
        Box::pin(async move {
            self.node.retire.cancel();
            self.node.retired.cancelled().await;
        })
    }

    fn close(&self) -> Later<'_, ()> {
        Box::pin(async move {
            self.node.close.cancel();
            // What cannot leave is given up.
            drop(tokio::time::timeout(Duration::from_secs(3), self.node.closed.cancelled()).await);
            self.node.closed.cancel();
        })
    }
}

impl Drop for MemoryRelay {
    fn drop(&mut self) {
        self.node.vanish();
    }
}

impl fmt::Debug for MemoryRelay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryRelay").field("node", &self.node.id).finish_non_exhaustive()
    }
}

impl fmt::Debug for MemoryBus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryBus").field("queues", &self.queues()).field("orphans", &self.orphans()).finish()
    }
}
