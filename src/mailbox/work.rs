//! What one node has of the work queues that all nodes share: the messages its own subscribers hold, or are about to get.
//!
//! ```text
//! first SUBSCRIBE --> consume ==> deliver --> KeptQueue (Mode::One) --> one subscriber with room
//!    proved, expired, rejected too often --> ack
//!    rejected --> another subscriber here; after the last one --> reject: another node
//!    last subscriber gone --> all that is unsettled goes back to its place
//! ```
//!
//! The queue itself counts no rejections, so each node counts its own, for the messages it saw last. A message that all of
//! `n` nodes reject is thus given up after `n` times `keep.max_deliveries` at most.

#[cfg(test)]
mod tests;

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::hash::Hash;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use bytes::Bytes;
use bytestring::ByteString;
use parking_lot::Mutex;

use super::directory::Metrics;
use super::queue::{Effect, KeptQueue, Mode, Policy, Removal, Window};
use super::{Refused, record};
use crate::config::mailbox::{Keep, KeepOverflow, Mailbox};
use crate::relay::RelayError;
use crate::relay::work::{WorkConsumer, WorkDelivery, WorkQueue, WorkRelay, WorkSink};

/// Told once whether the subscription gets messages now. It hands the answer on and does nothing else.
pub type Waiter = Box<dyn FnOnce(Result<(), &RelayError>) + Send>;

/// Work queues with subscribers on this node; `C` names a subscription.
pub struct WorkKept<C> {
    inner: Arc<Inner<C>>,
}

struct Inner<C> {
    relay: Arc<dyn WorkRelay>,
    limits: Mailbox,
    metrics: Arc<Metrics>,
    /// Called under the lock of a queue.
    effects: Box<dyn Fn(Effect<C>) + Send + Sync>,
    now_ms: fn() -> u64,
    slots: Mutex<HashMap<Box<str>, Arc<Slot<C>>>>,
    known: Mutex<Known>,
}

struct Slot<C> {
    name: Box<str>,
    state: Mutex<State<C>>,
}

struct State<C> {
    queue: KeptQueue<C>,
    held: HashMap<u64, Held>,
    by_id: HashMap<ByteString, u64>,
    /// Cannot be read here. They stay where they are: another node, or a newer one, may know what they are.
    unreadable: Vec<WorkDelivery>,
    /// Subscribed, and to be told when messages can come.
    waiting: Vec<(C, Waiter)>,
    opened: bool,
    consumer: Option<WorkConsumer>,
    prefetch: u16,
    /// It has left the map.
    retired: bool,
}

struct Held {
    id: ByteString,
    /// None after an interruption: the message is in the shared queue again.
    delivery: Option<WorkDelivery>,
    rejected_here: usize,
}

/// Work for the sink of one queue.
struct Sink<C> {
    inner: Weak<Inner<C>>,
    slot: Weak<Slot<C>>,
}

/// What this node knows about messages that left it and may come back.
#[derive(Default)]
struct Known {
    messages: HashMap<ByteString, Past>,
    /// Oldest first; may name some that are forgotten.
    order: VecDeque<ByteString>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Past {
    rejections: u32,
    /// Proved when the shared queue could not be told.
    settled: bool,
}

/// Messages remembered.
const REMEMBERED: usize = 16_384;

impl<C: Copy + Eq + Hash + Send + 'static> WorkKept<C> {
    /// Nothing is open. `effects` is called under the lock of a queue, in order; `now_ms` is Unix time.
    pub fn new(
        relay: Arc<dyn WorkRelay>,
        limits: Mailbox,
        metrics: Arc<Metrics>,
        now_ms: fn() -> u64,
        effects: impl Fn(Effect<C>) + Send + Sync + 'static,
    ) -> Self {
        let (slots, known) = (Mutex::default(), Mutex::default());
        Self { inner: Arc::new(Inner { relay, limits, metrics, effects: Box::new(effects), now_ms, slots, known }) }
    }

    /// Adds a subscriber. It takes turns with the others as soon as messages come, of which `waiter` is told.
    ///
    /// # Errors
    ///
    /// When as many kept destinations are open as may be.
    pub fn subscribe(&self, name: &str, keep: Keep, c: C, waiter: Waiter) -> Result<(), Refused> {
        let inner = &self.inner;
        let mut waiter = Some(waiter);
        loop {
            let slot = inner.slot(name, keep)?;
            let stepped = inner.step(&slot, |state| {
                let window = Window { messages: inner.limits.window, bytes: inner.limits.window_bytes };
                state.queue.subscribe(c, window);
                if !state.opened {
                    state.waiting.extend(waiter.take().map(|waiter| (c, waiter)));
                }
                inner.consume(&slot, keep, state);
            });
            if stepped {
                break;
            }
        }
        if let Some(waiter) = waiter {
            waiter(Ok(()));
        }
        Ok(())
    }

    /// Removes a subscriber, however it ended.
    pub fn unsubscribe(&self, name: &str, c: C) {
        self.inner.step_named(name, |state| {
            state.waiting.retain(|(waiting, _)| *waiting != c);
            state.queue.unsubscribe(c);
        });
    }

    /// This delivery to `c` is proved.
    pub fn settle(&self, name: &str, c: C, seq: u64) {
        self.inner.step_named(name, |state| state.queue.settle(c, &[seq]));
    }

    /// `c` could do nothing with this delivery.
    pub fn reject(&self, name: &str, c: C, seq: u64) {
        self.inner.step_named(name, |state| self.inner.reject(state, c, seq));
    }

    /// Gives up what has waited too long.
    pub fn sweep(&self) {
        let slots: Vec<_> = self.inner.slots.lock().values().cloned().collect();
        let now = (self.inner.now_ms)();
        for slot in slots {
            self.inner.step(&slot, |state| state.queue.expire(now));
        }
    }
}

impl<C: Copy + Eq + Hash + Send + 'static> Inner<C> {
    /// Changes one queue and carries out what follows; `false`, and nothing done, when it has left the map.
    fn step(&self, slot: &Slot<C>, work: impl FnOnce(&mut State<C>)) -> bool {
        let mut state = slot.state.lock();
        if state.retired {
            return false;
        }
        let size = |state: &State<C>| (state.queue.len(), state.queue.bytes());
        let before = size(&state);
        work(&mut state);
        let mut out = Vec::new();
        state.queue.pump(&mut out);
        for effect in out {
            if let Effect::Removed { seq, why, .. } = &effect {
                self.removed(&mut state, *seq, *why);
            }
            self.metrics.count(&effect);
            (self.effects)(effect);
        }
        if state.queue.subscribers() > 0 {
            self.metrics.moved(before, size(&state));
            return true;
        }
        state.retired = true;
        // First: what is given back now has its old place, and comes to nobody here again.
        state.consumer = None;
        state.held.clear();
        state.unreadable.clear();
        self.metrics.moved(before, (0, 0));
        drop(state);
        self.slots.lock().remove(&slot.name);
        self.metrics.destinations.fetch_sub(1, Ordering::Relaxed);
        true
    }

    fn step_named(&self, name: &str, work: impl FnOnce(&mut State<C>)) {
        let slot = self.slots.lock().get(name).cloned();
        if let Some(slot) = slot {
            self.step(&slot, work);
        }
    }

    /// Begins to take messages, or more at a time: every subscriber may have a window full.
    fn consume(self: &Arc<Self>, slot: &Arc<Slot<C>>, keep: Keep, state: &mut State<C>) {
        let subscribers = state.queue.subscribers().next_power_of_two();
        let wanted = u16::try_from(self.limits.window.saturating_mul(subscribers)).unwrap_or(u16::MAX);
        match &state.consumer {
            None => {
                let queue = WorkQueue { destination: slot.name.clone(), keep };
                let sink = Sink { inner: Arc::downgrade(self), slot: Arc::downgrade(slot) };
                state.consumer = Some(self.relay.consume(&queue, wanted, Arc::new(sink)));
            }
            Some(consumer) if wanted > state.prefetch => consumer.widen(wanted),
            Some(_) => return,
        }
        state.prefetch = wanted;
    }

    fn reject(&self, state: &mut State<C>, c: C, seq: u64) {
        if !state.queue.holds(c, seq) {
            return;
        }
        let Some(held) = state.held.get_mut(&seq) else { return };
        held.rejected_here += 1;
        let rejections = self.known.lock().rejected(&held.id);
        if rejections >= state.queue.max_deliveries() {
            state.queue.give_up(c, seq);
        } else if held.rejected_here < state.queue.subscribers() {
            state.queue.reject(c, &[seq]);
        } else if state.queue.withdraw(c, seq)
            && let Some(delivery) = state.forget(seq)
        {
            delivery.reject();
        }
    }

    /// The local queue has done with a message.
    fn removed(&self, state: &mut State<C>, seq: u64, why: Removal) {
        let Some(held) = state.held.remove(&seq) else { return };
        state.by_id.remove(&held.id);
        match held.delivery {
            Some(delivery) => {
                self.known.lock().messages.remove(&held.id);
                delivery.ack();
            }
            None if why == Removal::Expired => {}
            None => self.known.lock().settled(held.id),
        }
    }

    fn slot(&self, name: &str, keep: Keep) -> Result<Arc<Slot<C>>, Refused> {
        let mut slots = self.slots.lock();
        if let Some(slot) = slots.get(name) {
            return Ok(Arc::clone(slot));
        }
        let (kept, max) = (self.metrics.destinations.fetch_add(1, Ordering::Relaxed), self.limits.max_destinations);
        if kept >= max {
            self.metrics.destinations.fetch_sub(1, Ordering::Relaxed);
            return Err(Refused::NodeDestinations { kept, max });
        }
        // The shared queue bounds what is kept; what it hands out was accepted.
        let keep = Keep { max: usize::MAX, max_bytes: usize::MAX, overflow: KeepOverflow::Refuse, ..keep };
        let policy = Policy { mode: Mode::One, keep };
        let slot = Arc::new(Slot {
            name: name.into(),
            state: Mutex::new(State {
                queue: KeptQueue::new(policy, 0),
                held: HashMap::new(),
                by_id: HashMap::new(),
                unreadable: Vec::new(),
                waiting: Vec::new(),
                opened: false,
                consumer: None,
                prefetch: 0,
                retired: false,
            }),
        });
        slots.insert(name.into(), Arc::clone(&slot));
        Ok(slot)
    }

    fn deliver(&self, state: &mut State<C>, name: &str, record: Bytes, redelivered: bool, delivery: WorkDelivery) {
        let message = match record::decode(record) {
            Ok(message) if &*message.destination == name => message,
            Ok(other) => {
                tracing::error!(
                    queue = name,
                    message_for = &*other.destination,
                    "a work queue holds somebody else's message"
                );
                return state.unreadable.push(delivery);
            }
            Err(error) => {
                tracing::error!(queue = name, %error, "a message in a work queue cannot be read; it is left there");
                return state.unreadable.push(delivery);
            }
        };
        if let Some(held) = state.by_id.get(&message.id).and_then(|seq| state.held.get_mut(seq)) {
            match held.delivery {
                // It comes again after an interruption, and still is where it was.
                None => held.delivery = Some(delivery),
                // Its sender offered it twice, since a confirm was lost.
                Some(_) => delivery.ack(),
            }
            return;
        }
        if redelivered && self.known.lock().take_settled(&message.id) {
            return delivery.ack();
        }
        let id = message.id.clone();
        let now = (self.now_ms)();
        let seq = state.queue.lend(Arc::new(message), redelivered, now);
        state.by_id.insert(id.clone(), seq);
        state.held.insert(seq, Held { id, delivery: Some(delivery), rejected_here: 0 });
        state.queue.expire(now);
    }
}

impl<C> State<C> {
    fn forget(&mut self, seq: u64) -> Option<WorkDelivery> {
        let held = self.held.remove(&seq)?;
        self.by_id.remove(&held.id);
        held.delivery
    }
}

impl<C: Copy + Eq + Hash + Send + 'static> WorkSink for Sink<C> {
    fn opened(&self, result: Result<(), RelayError>) {
        let (Some(inner), Some(slot)) = (self.inner.upgrade(), self.slot.upgrade()) else { return };
        let mut waiting = Vec::new();
        inner.step(&slot, |state| {
            state.opened = result.is_ok();
            waiting = std::mem::take(&mut state.waiting);
        });
        let result = result.as_ref().copied();
        waiting.into_iter().for_each(|(_, waiter)| waiter(result));
    }

    fn deliver(&self, record: Bytes, redelivered: bool, delivery: WorkDelivery) {
        let (Some(inner), Some(slot)) = (self.inner.upgrade(), self.slot.upgrade()) else { return };
        inner.step(&slot, |state| inner.deliver(state, &slot.name, record, redelivered, delivery));
    }

    fn interrupted(&self) {
        let (Some(inner), Some(slot)) = (self.inner.upgrade(), self.slot.upgrade()) else { return };
        inner.step(&slot, |state| {
            state.opened = false;
            state.unreadable.clear();
            // Nobody has these: they come again, or to another node.
            for seq in state.queue.withdraw_waiting() {
                drop(state.forget(seq));
            }
            state.held.values_mut().for_each(|held| drop(held.delivery.take()));
        });
    }
}

impl Known {
    fn rejected(&mut self, id: &ByteString) -> u32 {
        let past = self.past(id);
        past.rejections += 1;
        past.rejections
    }

    fn settled(&mut self, id: ByteString) {
        self.past(&id).settled = true;
    }

    fn take_settled(&mut self, id: &ByteString) -> bool {
        let settled = self.messages.get(id).is_some_and(|past| past.settled);
        if settled {
            self.messages.remove(id);
        }
        settled
    }

    fn past(&mut self, id: &ByteString) -> &mut Past {
        if !self.messages.contains_key(id) {
            self.order.push_back(id.clone());
            while self.order.len() > REMEMBERED
                && let Some(oldest) = self.order.pop_front()
            {
                self.messages.remove(&oldest);
            }
        }
        self.messages.entry(id.clone()).or_default()
    }
}

impl<C> fmt::Debug for WorkKept<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkKept").field("open", &self.inner.slots.lock().len()).finish_non_exhaustive()
    }
}
