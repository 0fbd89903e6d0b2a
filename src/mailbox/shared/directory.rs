//! What one node holds of the mailboxes that all nodes share: those that somebody here has subscribed to.
//!
//! ```text
//! SUBSCRIBE --> open: this node is a reader, and here is what is kept --> subscriber
//! another node's SEND --> append: number, readers --> relay --> arrive(number) --> subscribers
//! proved --> remove
//! ```
//!
//! A relayed message is only a quicker way to what lies in the store. Numbers have no holes, so one that is missing shows:
//! it is waited for a moment, since another node may have been quicker, and then read from the store. So a destination has
//! one order on all nodes.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::{Contents, SharedStore};
use crate::config::mailbox::Mailbox;
use crate::ids::Boot;
use crate::mailbox::directory::Metrics;
use crate::mailbox::queue::{Effect, KeptQueue, Policy, Removal, Window};
use crate::mailbox::{Refused, StoreError, record};
use crate::message::Message;

/// Dropped when what was waited for has happened.
pub type Waiter = Arc<dyn Send + Sync>;

/// Mailboxes with subscribers on this node; `C` names a subscription.
pub struct SharedKept<C> {
    shards: Box<[Shard<C>]>,
    hasher: RandomState,
    limits: Mailbox,
    metrics: Metrics,
    work: Mutex<Work>,
    wake: Notify,
    swept: AtomicUsize,
}

type Shard<C> = Mutex<HashMap<Box<str>, Arc<Slot<C>>>>;
type Slot<C> = Mutex<Mine<C>>;
type Removals = Vec<(Box<str>, Vec<u64>)>;

/// One mailbox, as far as this node is concerned.
struct Mine<C> {
    policy: Policy,
    /// Made when the store has told the numbers.
    queue: Option<KeptQueue<C>>,
    /// Subscribed, and fed from the next answer of the store on.
    waiting: Vec<(C, Option<Waiter>)>,
    /// Came before messages with lower numbers.
    ahead: BTreeMap<u64, Arc<Message>>,
    gap_since: Option<Instant>,
    /// It has left the map.
    retired: bool,
}

/// What is to be told to the store, or asked.
#[derive(Default)]
struct Work {
    /// To be opened if they have subscribers, else closed, with what was handed.
    changed: HashMap<Box<str>, u64>,
    removals: HashMap<Box<str>, Vec<u64>>,
    gaps: HashSet<Box<str>>,
    /// The store is being told.
    telling: bool,
    /// Dropped when it has been told all that stands here.
    waiters: Vec<Waiter>,
}

const SHARDS: usize = 64;
/// How long a missing number is waited for before the store is asked.
const GAP_PATIENCE: Duration = Duration::from_millis(100);
/// Pause after the store failed.
const PAUSE: Duration = Duration::from_millis(200);
/// Mailboxes opened or closed at once.
const BATCH: usize = 256;

impl<C: Copy + Eq + Hash> SharedKept<C> {
    /// Nothing is open.
    #[must_use]
    pub fn new(limits: Mailbox) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
            limits,
            metrics: Metrics::default(),
            work: Mutex::default(),
            wake: Notify::new(),
            swept: AtomicUsize::new(0),
        }
    }

    /// What happened so far.
    pub const fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Adds a subscriber. It is fed, and `waiter` dropped, when the store has answered.
    ///
    /// # Errors
    ///
    /// When as many kept destinations are open as may be.
    pub fn subscribe(&self, name: &str, policy: Policy, c: C, waiter: Option<Waiter>) -> Result<(), Refused> {
        let mut waiting = Some((c, waiter));
        while waiting.is_some() {
            let slot = self.slot(name, policy)?;
            let mut mine = slot.lock();
            if !mine.retired {
                mine.waiting.extend(waiting.take());
            }
        }
        self.changed(name, 0);
        Ok(())
    }

    /// Removes a subscriber, however it ended; `waiter` is dropped when the store knows.
    pub fn unsubscribe(&self, name: &str, c: C, waiter: Option<Waiter>, effects: &mut dyn FnMut(Effect<C>)) {
        self.step(name, effects, |mine| {
            mine.waiting.retain(|(waiting, _)| *waiting != c);
            if let Some(queue) = &mut mine.queue {
                queue.unsubscribe(c);
            }
        });
        self.when_told(waiter);
    }

    /// These deliveries to `c` are proved; `waiter` is dropped when the store knows.
    pub fn settle(&self, name: &str, c: C, seqs: &[u64], waiter: Option<Waiter>, effects: &mut dyn FnMut(Effect<C>)) {
        self.step(name, effects, |mine| mine.queue.iter_mut().for_each(|queue| queue.settle(c, seqs)));
        self.when_told(waiter);
    }

    /// `c` could not do anything with these deliveries.
    pub fn reject(&self, name: &str, c: C, seqs: &[u64], effects: &mut dyn FnMut(Effect<C>)) {
        self.step(name, effects, |mine| mine.queue.iter_mut().for_each(|queue| queue.reject(c, seqs)));
    }

    /// Whether somebody here has subscribed to it.
    pub fn is_open(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    /// A message that the store keeps under this number.
    pub fn arrive(&self, name: &str, seq: u64, message: Arc<Message>, now_ms: u64, effects: &mut dyn FnMut(Effect<C>)) {
        let mut gap = false;
        self.step(name, effects, |mine| {
            mine.arrive(seq, message, now_ms);
            gap = mine.gap_since.is_some();
        });
        if gap && self.work.lock().gaps.insert(name.into()) {
            self.wake.notify_one();
        }
    }

    /// Gives up what has waited too long, in a part of the destinations.
    pub fn sweep(&self, now_ms: u64, effects: &mut dyn FnMut(Effect<C>)) {
        let shard = self.swept.fetch_add(1, Ordering::Relaxed) % SHARDS;
        let names: Vec<Box<str>> = self.shards[shard].lock().keys().cloned().collect();
        for name in names {
            self.step(&name, effects, |mine| mine.queue.iter_mut().for_each(|queue| queue.expire(now_ms)));
        }
    }

    /// Asks the store again about everything that is open.
    pub fn look_again(&self) {
        for shard in &self.shards {
            let names: Vec<Box<str>> = shard.lock().keys().cloned().collect();
            let mut work = self.work.lock();
            for name in names {
                work.changed.entry(name).or_insert(0);
            }
        }
        self.wake.notify_one();
    }

    /// Waits until the store has been told everything.
    pub async fn told(&self) {
        let idle = |work: &Work| work.changed.is_empty() && work.removals.is_empty() && !work.telling;
        while !idle(&self.work.lock()) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Tells the store what is proved, opens and closes mailboxes; never ends. `boot` is this run of this node.
    ///
    /// # Cancel safety
    ///
    /// To be cancelled only when the node ends.
    pub async fn run(
        &self,
        store: &dyn SharedStore,
        boot: impl Fn() -> Boot,
        now_ms: impl Fn() -> u64,
        effects: &(dyn Fn(Effect<C>) + Sync),
    ) {
        loop {
            let gaps = !self.work.lock().gaps.is_empty();
            if gaps {
                // A gap closes by itself most of the time.
                let _woken = tokio::time::timeout(GAP_PATIENCE / 2, self.wake.notified()).await;
            } else {
                self.wake.notified().await;
            }
            self.look_at_gaps();
            while self.tell(store, &boot(), &now_ms, effects).await {}
        }
    }

    /// Tells and asks once; whether there is more.
    async fn tell(
        &self,
        store: &dyn SharedStore,
        boot: &Boot,
        now_ms: &impl Fn() -> u64,
        effects: &(dyn Fn(Effect<C>) + Sync),
    ) -> bool {
        let (removals, changed) = self.take_work();
        if removals.is_empty() && changed.is_empty() {
            self.release(Vec::new(), true);
            return false;
        }
        let waiters = std::mem::take(&mut self.work.lock().waiters);
        let told = self.tell_these(store, boot, removals, changed, now_ms, effects).await;
        self.release(waiters, told.is_ok());
        if let Err(error) = told {
            tracing::debug!(%error, "the store of kept messages does not answer; it is asked again");
            tokio::time::sleep(PAUSE).await;
        }
        true
    }

    async fn tell_these(
        &self,
        store: &dyn SharedStore,
        boot: &Boot,
        removals: Removals,
        changed: Vec<(Box<str>, u64)>,
        now_ms: &impl Fn() -> u64,
        effects: &(dyn Fn(Effect<C>) + Sync),
    ) -> Result<(), StoreError> {
        let mut failed = None;
        if !removals.is_empty()
            && let Err(error) = store.remove(&removals).await
        {
            failed = Some(error);
            let mut work = self.work.lock();
            for (name, seqs) in removals {
                work.removals.entry(name).or_default().extend(seqs);
            }
        }
        let asked = changed.into_iter().map(|(name, handed)| async move {
            let answer = if self.find(&name).is_some() {
                store.open(&name, boot).await.map(Some)
            } else {
                store.close(&name, boot, handed).await.map(|()| None)
            };
            (name, handed, answer)
        });
        for (name, handed, answer) in join_all(asked).await {
            match answer {
                Ok(Some(mut contents)) => {
                    // Closed and opened again before the store was told: it does not know yet.
                    contents.handed = contents.handed.max(handed);
                    self.opened(&name, contents, now_ms(), &mut |effect| effects(effect));
                }
                Ok(None) => {}
                Err(error) => {
                    failed = Some(error);
                    self.changed(&name, handed);
                }
            }
        }
        failed.map_or(Ok(()), Err)
    }

    /// The store has answered: what is kept, for whoever waits.
    fn opened(&self, name: &str, contents: Contents, now_ms: u64, effects: &mut dyn FnMut(Effect<C>)) {
        let mut waiters = Vec::new();
        let window = Window { messages: self.limits.window, bytes: self.limits.window_bytes };
        self.step(name, effects, |mine| waiters = mine.opened(name, contents, window, now_ms));
        // After what was kept has been handed over: the receipt comes behind it.
        drop(waiters);
    }

    fn take_work(&self) -> (Removals, Vec<(Box<str>, u64)>) {
        let mut work = self.work.lock();
        let removals = work.removals.drain().collect();
        let names: Vec<Box<str>> = work.changed.keys().take(BATCH).cloned().collect();
        let changed = names.into_iter().filter_map(|name| work.changed.remove_entry(&name)).collect();
        if work.changed.is_empty() {
            work.changed.shrink_to_fit();
        }
        work.removals.shrink_to_fit();
        work.telling = true;
        (removals, changed)
    }

    fn look_at_gaps(&self) {
        let names: Vec<Box<str>> = self.work.lock().gaps.iter().cloned().collect();
        for name in names {
            let since = self.find(&name).and_then(|slot| slot.lock().gap_since);
            let mut work = self.work.lock();
            match since {
                Some(since) if since.elapsed() < GAP_PATIENCE => {}
                Some(_) => {
                    work.gaps.remove(&name);
                    work.changed.entry(name).or_insert(0);
                }
                None => {
                    work.gaps.remove(&name);
                }
            }
        }
    }

    /// The store was told, or was not.
    fn release(&self, waiters: Vec<Waiter>, told: bool) {
        let mut work = self.work.lock();
        work.telling = false;
        let mut done = waiters;
        if !told || !work.changed.is_empty() {
            // What did not fit into this call, or failed, is still to be told.
            work.waiters.append(&mut done);
        } else if work.removals.is_empty() {
            done.append(&mut work.waiters);
        }
        drop(work);
        // Outside the lock: whoever waits is told by this.
        drop(done);
    }

    fn when_told(&self, waiter: Option<Waiter>) {
        let Some(waiter) = waiter else { return };
        let mut work = self.work.lock();
        if !work.telling && work.changed.is_empty() && work.removals.is_empty() {
            // It knows already; who waits is told outside the lock.
            drop(work);
            return drop(waiter);
        }
        work.waiters.push(waiter);
        drop(work);
        self.wake.notify_one();
    }

    fn changed(&self, name: &str, handed: u64) {
        let mut work = self.work.lock();
        let known = work.changed.entry(name.into()).or_insert(0);
        *known = handed.max(*known);
        drop(work);
        self.wake.notify_one();
    }

    /// Changes one mailbox, if it is open here, and carries out what follows.
    fn step(&self, name: &str, effects: &mut dyn FnMut(Effect<C>), work: impl FnOnce(&mut Mine<C>)) {
        let Some(slot) = self.find(name) else { return };
        let mut mine = slot.lock();
        if mine.retired {
            return;
        }
        let size = |mine: &Mine<C>| mine.queue.as_ref().map_or((0, 0), |queue| (queue.len(), queue.bytes()));
        let before = size(&mine);
        work(&mut mine);
        let mut out = Vec::new();
        if let Some(queue) = &mut mine.queue {
            queue.pump(&mut out);
        }
        let mut removed = Vec::new();
        for effect in out {
            // For what makes room the store has its own count: here also lies what others have proved already.
            if let Effect::Removed { seq, why, .. } = &effect
                && *why != Removal::DroppedOldest
            {
                removed.push(*seq);
            }
            self.metrics.count(&effect);
            effects(effect);
        }
        self.metrics.moved(before, size(&mine));
        if !removed.is_empty() {
            self.work.lock().removals.entry(name.into()).or_default().extend(removed);
            self.wake.notify_one();
        }
        let deserted = mine.waiting.is_empty() && mine.queue.as_ref().is_none_or(|queue| queue.subscribers() == 0);
        if deserted {
            mine.retired = true;
            let handed = mine.queue.as_ref().map_or(0, KeptQueue::handed_below);
            self.metrics.moved(size(&mine), (0, 0));
            drop(mine);
            self.shard(name).lock().remove(name);
            self.metrics.destinations.fetch_sub(1, Ordering::Relaxed);
            self.changed(name, handed);
        }
    }

    fn slot(&self, name: &str, policy: Policy) -> Result<Arc<Slot<C>>, Refused> {
        let mut shard = self.shard(name).lock();
        if let Some(slot) = shard.get(name) {
            return Ok(Arc::clone(slot));
        }
        let (kept, max) = (self.metrics.destinations.fetch_add(1, Ordering::Relaxed), self.limits.max_destinations);
        if kept >= max {
            self.metrics.destinations.fetch_sub(1, Ordering::Relaxed);
            return Err(Refused::NodeDestinations { kept, max });
        }
        let slot = Arc::new(Mutex::new(Mine {
            policy,
            queue: None,
            waiting: Vec::new(),
            ahead: BTreeMap::new(),
            gap_since: None,
            retired: false,
        }));
        shard.insert(name.into(), Arc::clone(&slot));
        Ok(slot)
    }

    fn find(&self, name: &str) -> Option<Arc<Slot<C>>> {
        self.shard(name).lock().get(name).cloned()
    }

    fn shard(&self, name: &str) -> &Shard<C> {
        &self.shards[self.hasher.hash_one(name) as usize % SHARDS]
    }
}

impl<C: Copy + Eq + Hash> Mine<C> {
    fn opened(&mut self, name: &str, contents: Contents, window: Window, now_ms: u64) -> Vec<Waiter> {
        let Contents { next_seq, handed, entries } = contents;
        let first = entries.first().map_or(next_seq, |(seq, _)| *seq);
        let policy = self.policy;
        let queue = self.queue.get_or_insert_with(|| KeptQueue::new(policy, first));
        let kept: HashSet<u64> = entries.iter().map(|(seq, _)| *seq).collect();
        queue.settled_elsewhere(next_seq, |seq| kept.contains(&seq));
        for (seq, bytes) in entries {
            match decoded(&bytes) {
                Ok(message) => {
                    self.ahead.insert(seq, message);
                }
                Err(error) => {
                    tracing::error!(destination = name, seq, %error, "a kept message cannot be read and is passed over");
                }
            }
        }
        // With what came by relay and was proved elsewhere meanwhile: it is for whoever was subscribed here.
        while let Some(first) = self.ahead.first_entry()
            && *first.key() < next_seq
        {
            let (seq, message) = first.remove_entry();
            queue.restore(seq, message, now_ms);
        }
        queue.skip_to(next_seq);
        queue.mark_handed(handed);
        queue.expire(now_ms);
        self.close_gap(now_ms);
        let Some(queue) = &mut self.queue else { return Vec::new() };
        let mut waiters = Vec::new();
        for (c, waiter) in self.waiting.drain(..) {
            queue.subscribe(c, window);
            waiters.extend(waiter);
        }
        waiters
    }

    fn arrive(&mut self, seq: u64, message: Arc<Message>, now_ms: u64) {
        match &self.queue {
            Some(queue) if seq < queue.next_seq() => return,
            _ => {}
        }
        self.ahead.insert(seq, message);
        // The store keeps no more than this either; what is lost here is read from there.
        if self.ahead.len() > self.policy.keep.max {
            self.ahead.pop_first();
        }
        self.close_gap(now_ms);
    }

    /// Takes what waited for its number.
    fn close_gap(&mut self, now_ms: u64) {
        let Some(queue) = &mut self.queue else { return };
        while let Some(first) = self.ahead.first_entry()
            && *first.key() <= queue.next_seq()
        {
            let (seq, message) = first.remove_entry();
            queue.restore(seq, message, now_ms);
        }
        self.gap_since = if self.ahead.is_empty() { None } else { self.gap_since.or_else(|| Some(Instant::now())) };
    }
}

fn decoded(bytes: &Bytes) -> Result<Arc<Message>, record::RecordError> {
    // The answer of the store is one large buffer, which no message should hold for days.
    record::decode(Bytes::copy_from_slice(bytes)).map(Arc::new)
}

impl<C> fmt::Debug for SharedKept<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedKept").field("metrics", &self.metrics).finish_non_exhaustive()
    }
}
