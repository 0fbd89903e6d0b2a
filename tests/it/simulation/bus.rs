//! A relay in memory: what several nodes in one process share instead of a message broker. For tests, which run by the
//! clock of `tokio::time` and make the [`Weather`].
//!
//! It keeps what `stampede::relay` promises: one order from each node to each queue, a queue that outlives its node, one reader of
//! a queue at a time, orphans, and messages that come again when their reader is gone before it was done with them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use stampede::ids::NodeId;
use stampede::relay::{AdoptError, Confirm, Inbox, Later, Relay, RelayError, Route, Source, Token};

/// Envelopes that are published before the first of them is confirmed.
const WINDOW: usize = 4;
/// How often one waits for something that rings no bell.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// What may happen on the way.
pub(super) trait Weather: Send + Sync + fmt::Debug {
    /// How long the next step takes.
    fn delay(&self) -> Duration;

    /// Whether a connection breaks now. What is not confirmed is published again, what is not acknowledged comes again.
    fn breaks(&self) -> bool;

    /// Whether a confirm gets lost for good, although the envelope arrived.
    fn loses_confirm(&self) -> bool;
}

/// The broker that the nodes share.
#[derive(Debug, Clone)]
pub(super) struct MemoryBus {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Notify,
    weather: Arc<dyn Weather>,
    send_timeout: Duration,
}

#[derive(Debug, Default)]
struct State {
    queues: BTreeMap<NodeId, Queue>,
    orphans: Queue,
    down: bool,
    /// Nodes that cannot reach it.
    cut: BTreeSet<NodeId>,
    readers: u64,
}

#[derive(Debug, Default)]
struct Queue {
    bound: bool,
    waiting: VecDeque<Bytes>,
    /// Handed to a reader, by reader and number.
    unacknowledged: BTreeMap<(u64, u64), Bytes>,
    reader: Option<u64>,
}

/// Which queue.
#[derive(Debug, Clone, PartialEq, Eq)]
enum At {
    Node(NodeId),
    Orphans,
}

impl MemoryBus {
    /// No queues yet. An envelope is given up when it could not be published within `send_timeout`.
    pub(super) fn new(weather: Arc<dyn Weather>, send_timeout: Duration) -> Self {
        let shared = Shared { state: Mutex::default(), changed: Notify::new(), weather, send_timeout };
        Self { shared: Arc::new(shared) }
    }

    /// Connects a node; its queue is there from now on.
    pub(super) fn node(&self, id: NodeId, inbox: Arc<dyn Inbox>) -> Arc<MemoryRelay> {
        self.shared.state.lock().queues.entry(id.clone()).or_default().bound = true;
        let (commands, received) = mpsc::unbounded_channel();
        let shared = || Arc::clone(&self.shared);
        let own = tokio::spawn(read(shared(), id.clone(), At::Node(id.clone()), Source::Own, Arc::clone(&inbox)));
        let orphans = tokio::spawn(read(shared(), id.clone(), At::Orphans, Source::Orphans, Arc::clone(&inbox)));
        let publisher = tokio::spawn(publish(shared(), id.clone(), received));
        let tasks = Mutex::new(vec![own, orphans, publisher]);
        Arc::new(MemoryRelay { shared: shared(), node: id, inbox, commands, tasks })
    }

    /// Takes the broker away from everybody, or brings it back.
    pub(super) fn set_down(&self, down: bool) {
        self.shared.state.lock().down = down;
        self.shared.changed.notify_waiters();
    }

    /// Takes it away from one node, or brings it back. A node that is dead is cut off for good.
    pub(super) fn set_cut(&self, node: &NodeId, cut: bool) {
        let mut state = self.shared.state.lock();
        if cut {
            state.cut.insert(node.clone());
        } else {
            state.cut.remove(node);
        }
        drop(state);
        self.shared.changed.notify_waiters();
    }

    /// The queues of nodes: how many envelopes each holds, unacknowledged ones included.
    pub(super) fn queues(&self) -> BTreeMap<NodeId, usize> {
        let state = self.shared.state.lock();
        state.queues.iter().map(|(node, queue)| (node.clone(), queue.len())).collect()
    }

    /// Envelopes that no queue took.
    pub(super) fn orphans(&self) -> usize {
        self.shared.state.lock().orphans.len()
    }
}

impl Queue {
    fn len(&self) -> usize {
        self.waiting.len() + self.unacknowledged.len()
    }

    /// What the reader was not done with comes again, first and in order.
    fn give_back(&mut self, reader: u64) {
        let numbers: Vec<_> = self.unacknowledged.range((reader, 0)..=(reader, u64::MAX)).map(|(n, _)| *n).collect();
        for number in numbers.iter().rev() {
            if let Some(envelope) = self.unacknowledged.remove(number) {
                self.waiting.push_front(envelope);
            }
        }
        if self.reader == Some(reader) {
            self.reader = None;
        }
    }
}

impl State {
    fn queue(&mut self, at: &At) -> Option<&mut Queue> {
        match at {
            At::Node(node) => self.queues.get_mut(node),
            At::Orphans => Some(&mut self.orphans),
        }
    }

    fn reaches(&self, node: &NodeId) -> bool {
        !self.down && !self.cut.contains(node)
    }

    fn route(&mut self, route: &Route, envelope: &Bytes) {
        let mut taken = false;
        for (node, queue) in &mut self.queues {
            let is_for = match route {
                Route::Everyone => true,
                Route::Nodes(nodes) => nodes.contains(node),
            };
            if is_for && queue.bound {
                queue.waiting.push_back(envelope.clone());
                taken = true;
            }
        }
        if !taken {
            self.orphans.waiting.push_back(envelope.clone());
        }
    }
}

impl Shared {
    fn reaches(&self, node: &NodeId) -> bool {
        self.state.lock().reaches(node)
    }

    async fn until_reached(&self, node: &NodeId) {
        loop {
            let changed = self.changed.notified();
            if self.reaches(node) {
                return;
            }
            changed.await;
        }
    }

    /// Waits until something may have changed.
    async fn look(&self) {
        drop(timeout(LOOK_EVERY, self.changed.notified()).await);
    }
}

/// A node's side of it.
pub(super) struct MemoryRelay {
    shared: Arc<Shared>,
    node: NodeId,
    inbox: Arc<dyn Inbox>,
    commands: mpsc::UnboundedSender<Envelope>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

struct Envelope {
    route: Route,
    body: Bytes,
    done: Confirm,
    until: Instant,
}

impl MemoryRelay {
    /// The node dies without a word: its queue stays, and what it was not done with is in it again.
    pub(super) fn kill(&self) {
        self.end();
        self.shared.state.lock().cut.insert(self.node.clone());
        self.shared.changed.notify_waiters();
    }

    fn end(&self) {
        self.tasks.lock().drain(..).for_each(|task| task.abort());
    }
}

impl Relay for MemoryRelay {
    fn publish(&self, route: Route, body: Bytes, done: Confirm) {
        let until = Instant::now() + self.shared.send_timeout;
        if let Err(mpsc::error::SendError(envelope)) = self.commands.send(Envelope { route, body, done, until }) {
            (envelope.done)(Err(RelayError::Closed));
        }
    }

    fn is_up(&self) -> bool {
        self.shared.reaches(&self.node)
    }

    fn adopt(&self, node: NodeId) -> Later<'_, Result<u64, AdoptError>> {
        Box::pin(async move {
            let failed = || AdoptError::Failed("the bus is away".into());
            sleep(self.shared.weather.delay()).await;
            if !self.shared.reaches(&self.node) {
                return Err(failed());
            }
            let Some(queue) = Reader::begin(&self.shared, &At::Node(node), false)? else { return Ok(0) };
            let mut envelopes = 0;
            loop {
                if !self.shared.reaches(&self.node) {
                    return Err(failed());
                }
                if let Some((envelope, token)) = queue.next() {
                    envelopes += 1;
                    self.inbox.deliver(envelope, Source::Adopted, token);
                    sleep(self.shared.weather.delay()).await;
                } else if queue.delete_if_done() {
                    return Ok(envelopes);
                } else {
                    self.shared.look().await;
                }
            }
        })
    }

    fn retire(&self) -> Later<'_, ()> {
        Box::pin(async move {
            loop {
                {
                    let mut state = self.shared.state.lock();
                    let Some(queue) = state.queues.get_mut(&self.node) else { return };
                    queue.bound = false;
                    if queue.len() == 0 {
                        state.queues.remove(&self.node);
                        return;
                    }
                }
                self.shared.look().await;
            }
        })
    }

    fn close(&self) -> Later<'_, ()> {
        Box::pin(async {
            self.end();
        })
    }
}

impl fmt::Debug for MemoryRelay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryRelay").field("node", &self.node).finish_non_exhaustive()
    }
}

/// Reads a queue until it is dropped, however that happens.
struct Reader {
    shared: Arc<Shared>,
    at: At,
    id: u64,
    next: Mutex<u64>,
}

impl Reader {
    /// Alone for the queue of a node, which gets new envelopes only while it is `bound`; none when there is no such queue.
    fn begin(shared: &Arc<Shared>, at: &At, bound: bool) -> Result<Option<Self>, AdoptError> {
        let mut state = shared.state.lock();
        state.readers += 1;
        let id = state.readers;
        let Some(queue) = state.queue(at) else { return Ok(None) };
        if let At::Node(_) = at {
            if queue.reader.is_some() {
                return Err(AdoptError::InUse);
            }
            (queue.reader, queue.bound) = (Some(id), bound);
        }
        Ok(Some(Self { shared: Arc::clone(shared), at: at.clone(), id, next: Mutex::new(0) }))
    }

    fn next(&self) -> Option<(Bytes, Token)> {
        let mut state = self.shared.state.lock();
        let queue = state.queue(&self.at)?;
        let envelope = queue.waiting.pop_front()?;
        let mut next = self.next.lock();
        let number = (self.id, *next);
        *next += 1;
        queue.unacknowledged.insert(number, envelope.clone());
        let (shared, at) = (Arc::clone(&self.shared), self.at.clone());
        let token = Token::new(move || {
            if let Some(queue) = shared.state.lock().queue(&at) {
                queue.unacknowledged.remove(&number);
            }
            shared.changed.notify_waiters();
        });
        Some((envelope, token))
    }

    fn is_gone(&self) -> bool {
        self.shared.state.lock().queue(&self.at).is_none()
    }

    fn delete_if_done(&self) -> bool {
        let mut state = self.shared.state.lock();
        let At::Node(node) = &self.at else { return false };
        let done = state.queues.get(node).is_none_or(|queue| queue.len() == 0);
        if done {
            state.queues.remove(node);
        }
        done
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        if let Some(queue) = self.shared.state.lock().queue(&self.at) {
            queue.give_back(self.id);
        }
        self.shared.changed.notify_waiters();
    }
}

/// Hands a queue to the inbox as long as the node lives, on one connection after the other.
async fn read(shared: Arc<Shared>, node: NodeId, at: At, source: Source, inbox: Arc<dyn Inbox>) {
    let mut again = false;
    loop {
        shared.until_reached(&node).await;
        sleep(shared.weather.delay()).await;
        if let At::Node(node) = &at {
            shared.state.lock().queues.entry(node.clone()).or_default();
        }
        let Ok(Some(queue)) = Reader::begin(&shared, &at, true) else {
            // Somebody else reads it, who will delete it.
            shared.look().await;
            continue;
        };
        if source == Source::Own && std::mem::replace(&mut again, true) {
            inbox.resumed();
        }
        while shared.reaches(&node) && !queue.is_gone() {
            let changed = shared.changed.notified();
            match queue.next() {
                // In one step: what was taken is with the node, and what was not is in the queue.
                Some((envelope, token)) => inbox.deliver(envelope, source, token),
                None => changed.await,
            }
            sleep(shared.weather.delay()).await;
            if shared.weather.breaks() {
                break;
            }
        }
    }
}

/// Publishes in order, a few at a time; what is not confirmed when the connection breaks is published again.
async fn publish(shared: Arc<Shared>, node: NodeId, mut commands: mpsc::UnboundedReceiver<Envelope>) {
    while let Some(first) = commands.recv().await {
        let mut open = vec![first];
        while open.len() < WINDOW
            && let Ok(next) = commands.try_recv()
        {
            open.push(next);
        }
        loop {
            let mut kept = Vec::new();
            for envelope in open {
                sleep(shared.weather.delay()).await;
                if timeout_at(envelope.until, shared.until_reached(&node)).await.is_err() {
                    (envelope.done)(Err(RelayError::Timeout(shared.send_timeout)));
                    continue;
                }
                shared.state.lock().route(&envelope.route, &envelope.body);
                shared.changed.notify_waiters();
                kept.push(envelope);
            }
            open = kept;
            sleep(shared.weather.delay()).await;
            if open.is_empty() || shared.reaches(&node) && !shared.weather.breaks() {
                break;
            }
        }
        for envelope in open {
            let lost = shared.weather.loses_confirm();
            (envelope.done)(if lost { Err(RelayError::Timeout(shared.send_timeout)) } else { Ok(()) });
        }
    }
}
