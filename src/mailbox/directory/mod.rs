//! All kept destinations of a node.
//!
//! A queue exists while it holds messages or has subscribers, and leaves nothing behind. Each is locked on its own: a step
//! changes the queue, tells the store, and carries out its effects, all under that lock, so that effects of one queue
//! happen in the order of its steps whatever the threads do. Nothing in it waits: the store queues, and delivery offers to
//! an outbox.
//!
//! Lock order: queue, then outbox or the store's inbox. A callback given to this room must not come back to it.

mod metrics;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::hash::{BuildHasher, Hash, RandomState};
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;

use super::queue::{Effect, KeptQueue, Policy, Window, message_bytes};
use super::{Completion, KeepStore, Refused, StoreError, record};
use crate::config::mailbox::Mailbox;
use crate::message::Message;
pub use metrics::Metrics;

/// Kept destinations by name; `C` names a subscription.
///
/// What a step brings about is given to its `effects`, in order and under the lock of the queue.
pub struct Kept<C> {
    shards: Box<[Shard<C>]>,
    hasher: RandomState,
    store: Arc<dyn KeepStore>,
    limits: Mailbox,
    metrics: Metrics,
    /// Where a new queue starts to number: above all that a queue which is gone may have used under the same name.
    first_seq: AtomicU64,
    swept: Mutex<Swept>,
}

/// Ordered, so that a sweep can go on where the last one stopped, and so that no choice of names makes it slow.
type Shard<C> = Mutex<BTreeMap<Box<str>, Arc<Slot<C>>>>;

type Slot<C> = Mutex<State<C>>;

struct State<C> {
    queue: KeptQueue<C>,
    /// It was found empty and is about to leave the map: whoever still holds it must look again.
    retired: bool,
}

/// How far the sweep came.
#[derive(Default)]
struct Swept {
    shard: usize,
    after: Option<Box<str>>,
}

/// What a start found in the store.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Messages that are kept again.
    pub messages: usize,
    /// Messages of destinations that no policy keeps any more. They stay in the store, for when the policy comes back.
    pub orphaned: usize,
}

impl<C: Copy + Eq + Hash> Kept<C> {
    /// No destinations; what the store holds comes with [`Kept::recover`].
    #[must_use]
    pub fn new(limits: Mailbox, store: Arc<dyn KeepStore>) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
            store,
            limits,
            metrics: Metrics::default(),
            first_seq: AtomicU64::new(0),
            swept: Mutex::default(),
        }
    }

    /// Takes back what the store holds; before anything else is done here. Blocks. Limits of the node are not applied:
    /// these messages were accepted once.
    ///
    /// # Errors
    ///
    /// When the store cannot be read, or holds a record that is no message: better no start than a silent loss.
    pub fn recover(&self, now_ms: u64, policy: &dyn Fn(&str) -> Option<Policy>) -> Result<Recovered, StoreError> {
        let mut recovered = Recovered::default();
        let mut unreadable = None;
        self.store.load(&mut |name, seq, record| {
            self.first_seq.fetch_max(seq + 1, Ordering::Relaxed);
            match (record::decode(record), policy(name)) {
                (Err(source), _) => {
                    unreadable.get_or_insert(StoreError::Unreadable { queue: name.to_owned(), seq, source });
                }
                (Ok(_), None) => recovered.orphaned += 1,
                (Ok(message), Some(policy)) => {
                    recovered.messages += 1;
                    self.restore(name, policy, seq, Arc::new(message), now_ms);
                }
            }
        })?;
        unreadable.map_or(Ok(recovered), Err)
    }

    /// Keeps a message for `name` and delivers it to whoever is there; gives its number. `done` tells when it is durable.
    ///
    /// # Errors
    ///
    /// When a limit stands against it or the store cannot take it; nothing was kept or delivered, and `done` is not called.
    pub fn push(
        &self,
        name: &str,
        policy: Policy,
        message: &Message,
        now_ms: u64,
        done: Completion,
        effects: &mut dyn FnMut(Effect<C>),
    ) -> Result<u64, Refused> {
        let pushed = self.try_push(name, policy, message, now_ms, done, effects);
        let counter = if pushed.is_ok() { &self.metrics.kept } else { &self.metrics.refused };
        counter.fetch_add(1, Ordering::Relaxed);
        pushed
    }

    /// Adds a subscriber to `name`; what is kept comes to it at once, as far as its window goes. Nothing changes when it
    /// is subscribed already.
    ///
    /// # Errors
    ///
    /// When there are as many kept destinations as there may be.
    pub fn subscribe(
        &self,
        name: &str,
        policy: Policy,
        c: C,
        now_ms: u64,
        effects: &mut dyn FnMut(Effect<C>),
    ) -> Result<(), Refused> {
        let slot = || self.slot(name, policy, None, self.limits.max_destinations);
        let window = Window { messages: self.limits.window, bytes: self.limits.window_bytes };
        self.enter(name, slot, effects, |queue| {
            queue.expire(now_ms);
            queue.subscribe(c, window);
        })
    }

    /// Removes a subscriber, however it ended.
    pub fn unsubscribe(&self, name: &str, c: C, effects: &mut dyn FnMut(Effect<C>)) {
        self.enter_if_there(name, effects, |queue| queue.unsubscribe(c));
    }

    /// These deliveries to `c` are proved.
    pub fn settle(&self, name: &str, c: C, seqs: &[u64], effects: &mut dyn FnMut(Effect<C>)) {
        self.enter_if_there(name, effects, |queue| queue.settle(c, seqs));
    }

    /// `c` could not do anything with these deliveries.
    pub fn reject(&self, name: &str, c: C, seqs: &[u64], effects: &mut dyn FnMut(Effect<C>)) {
        self.enter_if_there(name, effects, |queue| queue.reject(c, seqs));
    }

    /// Gives up messages that have waited too long, in the next `budget` destinations from where the last sweep stopped.
    /// Nothing expired is delivered in between: this is for memory, so how often it is called is not critical.
    pub fn sweep(&self, now_ms: u64, budget: usize, effects: &mut dyn FnMut(Effect<C>)) {
        for (name, slot) in self.next_to_sweep(budget) {
            self.step(&name, &slot, effects, |queue| queue.expire(now_ms));
        }
    }

    /// What happened so far.
    #[must_use]
    pub const fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The store behind the queues, to be flushed and closed when the node ends.
    #[must_use]
    pub const fn store(&self) -> &Arc<dyn KeepStore> {
        &self.store
    }

    fn try_push(
        &self,
        name: &str,
        policy: Policy,
        message: &Message,
        now_ms: u64,
        done: Completion,
        effects: &mut dyn FnMut(Effect<C>),
    ) -> Result<u64, Refused> {
        let (record, message) = compact(message);
        let bytes = message_bytes(&message);
        self.metrics.reserve(bytes, self.limits.max_bytes)?;
        let slot = || self.slot(name, policy, None, self.limits.max_destinations);
        let pushed = self.enter(name, slot, effects, |queue| {
            queue.expire(now_ms);
            queue.admit(&message)?;
            self.store.append(name, queue.next_seq(), record, done)?;
            queue.push(message, now_ms)
        });
        self.metrics.unreserve(bytes);
        Ok(pushed??.seq)
    }

    fn restore(&self, name: &str, policy: Policy, seq: u64, message: Arc<Message>, now_ms: u64) {
        let slot = || self.slot(name, policy, Some(seq), usize::MAX);
        let restored = self.enter(name, slot, &mut |_| {}, |queue| {
            queue.restore(seq, message, now_ms);
            queue.expire(now_ms);
        });
        debug_assert!(restored.is_ok(), "the limit on destinations is not applied here");
    }

    /// One step of a queue that may have to be created.
    fn enter<R>(
        &self,
        name: &str,
        slot: impl Fn() -> Result<Arc<Slot<C>>, Refused>,
        effects: &mut dyn FnMut(Effect<C>),
        work: impl FnOnce(&mut KeptQueue<C>) -> R,
    ) -> Result<R, Refused> {
        let mut work = Some(work);
        loop {
            let slot = slot()?;
            let done = self.step(name, &slot, effects, |queue| work.take().map(|work| work(queue)));
            if let Some(result) = done.flatten() {
                return Ok(result);
            }
        }
    }

    fn enter_if_there(&self, name: &str, effects: &mut dyn FnMut(Effect<C>), work: impl FnOnce(&mut KeptQueue<C>)) {
        // Whoever settles or leaves has subscribed, so the queue is not retired; if it is gone there is nothing to do.
        if let Some(slot) = self.find(name) {
            self.step(name, &slot, effects, work);
        }
    }

    /// Changes one queue and carries out what follows from it. `None`, and nothing done, when the queue was retired.
    fn step<R>(
        &self,
        name: &str,
        slot: &Arc<Slot<C>>,
        effects: &mut dyn FnMut(Effect<C>),
        work: impl FnOnce(&mut KeptQueue<C>) -> R,
    ) -> Option<R> {
        let mut state = slot.lock();
        let result = (!state.retired).then(|| {
            let queue = &mut state.queue;
            let before = (queue.len(), queue.bytes());
            let result = work(queue);
            self.carry_out(name, queue, effects);
            self.metrics.moved(before, (queue.len(), queue.bytes()));
            result
        });
        if state.queue.is_empty() && state.queue.subscribers() == 0 {
            self.first_seq.fetch_max(state.queue.next_seq(), Ordering::Relaxed);
            state.retired = true;
            drop(state);
            self.forget(name, slot);
        }
        result
    }

    fn carry_out(&self, name: &str, queue: &mut KeptQueue<C>, effects: &mut dyn FnMut(Effect<C>)) {
        let mut out = Vec::new();
        queue.pump(&mut out);
        let removed = |effect: &Effect<C>| if let Effect::Removed { seq, .. } = effect { Some(*seq) } else { None };
        let removed: Vec<u64> = out.iter().filter_map(removed).collect();
        if !removed.is_empty() {
            self.store.remove(name, &removed);
        }
        for effect in out {
            self.metrics.count(&effect);
            effects(effect);
        }
    }

    fn find(&self, name: &str) -> Option<Arc<Slot<C>>> {
        self.shard(name).lock().get(name).cloned()
    }

    /// The queue of this name; a new one if there is none and there may be one more.
    fn slot(&self, name: &str, policy: Policy, first_seq: Option<u64>, max: usize) -> Result<Arc<Slot<C>>, Refused> {
        let mut shard = self.shard(name).lock();
        if let Some(slot) = shard.get(name) {
            return Ok(Arc::clone(slot));
        }
        let kept = self.metrics.destinations.fetch_add(1, Ordering::Relaxed);
        if kept >= max {
            self.metrics.destinations.fetch_sub(1, Ordering::Relaxed);
            return Err(Refused::NodeDestinations { kept, max });
        }
        // Read under the lock: a queue of this name that was here before has told its last number before it left.
        let first_seq = first_seq.unwrap_or_else(|| self.first_seq.load(Ordering::Relaxed));
        let slot = Arc::new(Mutex::new(State { queue: KeptQueue::new(policy, first_seq), retired: false }));
        shard.insert(name.into(), Arc::clone(&slot));
        Ok(slot)
    }

    /// Takes a retired queue out of the map, unless that was done and the name has a new one.
    fn forget(&self, name: &str, slot: &Arc<Slot<C>>) {
        let mut shard = self.shard(name).lock();
        if shard.get(name).is_some_and(|there| Arc::ptr_eq(there, slot)) {
            shard.remove(name);
            self.metrics.destinations.fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn next_to_sweep(&self, budget: usize) -> Vec<(Box<str>, Arc<Slot<C>>)> {
        let mut swept = self.swept.lock();
        let mut found: Vec<(Box<str>, Arc<Slot<C>>)> = Vec::new();
        for _ in 0..SHARDS {
            let after = swept.after.take().map_or(Bound::Unbounded, Bound::Excluded);
            let shard = self.shards[swept.shard].lock();
            let rest = shard.range((after, Bound::Unbounded)).take(budget - found.len());
            found.extend(rest.map(|(name, slot)| (name.clone(), Arc::clone(slot))));
            if found.len() == budget {
                swept.after = found.last().map(|(name, _)| name.clone());
                break;
            }
            swept.shard = (swept.shard + 1) % SHARDS;
        }
        found
    }

    fn shard(&self, name: &str) -> &Shard<C> {
        &self.shards[self.hasher.hash_one(name) as usize % SHARDS]
    }
}

impl<C> fmt::Debug for Kept<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kept").field("metrics", &self.metrics).field("store", &self.store).finish_non_exhaustive()
    }
}

/// The record of a message, and the message made of it: one allocation holds all its parts. The message as it came shares
/// the buffer it was read from, which may be many times larger and would be held for days.
fn compact(message: &Message) -> (Bytes, Arc<Message>) {
    let record = record::encode(message);
    let compact = record::decode(record.clone()).expect("what encode gives, decode reads, whatever the message holds");
    (record, Arc::new(compact))
}

/// Enough that threads seldom meet in one; a power of two.
const SHARDS: usize = 64;
