//! Work queues in memory, for tests of what lies above. Nothing moves but in [`MemoryWork::run`].

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Weak};

use bytes::Bytes;
use parking_lot::Mutex;

use super::{Verdict, WorkConsumer, WorkDelivery, WorkQueue, WorkRelay, WorkSink};
use crate::relay::{Confirm, Later, RelayError};

/// Shared by the nodes of a test.
#[derive(Debug, Default)]
pub(crate) struct MemoryWork {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    queues: HashMap<Box<str>, Queue>,
    next: u64,
    /// Confirms that wait for the next run.
    confirms: Vec<(Confirm, Result<(), RelayError>)>,
    opened: Vec<Arc<dyn WorkSink>>,
}

#[derive(Default)]
struct Queue {
    /// Ready messages, and whether each was delivered before.
    ready: BTreeMap<u64, (Bytes, bool)>,
    /// In the order in which they take turns.
    consumers: Vec<Consumer>,
}

struct Consumer {
    number: u64,
    prefetch: usize,
    sink: Arc<dyn WorkSink>,
    held: BTreeMap<u64, Bytes>,
}

impl MemoryWork {
    /// Confirms and delivers until nothing moves.
    pub(crate) fn run(&self) {
        loop {
            let (confirms, opened) = {
                let mut state = self.state.lock();
                (std::mem::take(&mut state.confirms), std::mem::take(&mut state.opened))
            };
            let next = self.next_delivery();
            if confirms.is_empty() && opened.is_empty() && next.is_none() {
                return;
            }
            confirms.into_iter().for_each(|(done, result)| done(result));
            opened.into_iter().for_each(|sink| sink.opened(Ok(())));
            if let Some((sink, record, redelivered, delivery)) = next {
                sink.deliver(record, redelivered, delivery);
            }
        }
    }

    /// Everything that was delivered goes back, as when all connections are lost.
    pub(crate) fn interrupt(&self) {
        let mut sinks = Vec::new();
        {
            let mut state = self.state.lock();
            let (mut number, mut opened) = (state.next, Vec::new());
            for queue in state.queues.values_mut() {
                for consumer in &mut queue.consumers {
                    number += 1;
                    consumer.number = number;
                    let held = std::mem::take(&mut consumer.held);
                    queue.ready.extend(held.into_iter().map(|(at, record)| (at, (record, true))));
                    sinks.push(Arc::clone(&consumer.sink));
                    opened.push(Arc::clone(&consumer.sink));
                }
            }
            state.next = number;
            state.opened.extend(opened);
        }
        sinks.iter().for_each(|sink| sink.interrupted());
    }

    /// Messages that nobody holds.
    pub(crate) fn ready(&self, destination: &str) -> usize {
        self.state.lock().queues.get(destination).map_or(0, |queue| queue.ready.len())
    }

    /// All messages.
    pub(crate) fn messages(&self, destination: &str) -> usize {
        let state = self.state.lock();
        let held = |queue: &Queue| queue.consumers.iter().map(|consumer| consumer.held.len()).sum::<usize>();
        state.queues.get(destination).map_or(0, |queue| queue.ready.len() + held(queue))
    }

    fn next_delivery(&self) -> Option<(Arc<dyn WorkSink>, Bytes, bool, WorkDelivery)> {
        let mut state = self.state.lock();
        for (name, queue) in &mut state.queues {
            let has_room = |consumer: &Consumer| consumer.held.len() < consumer.prefetch;
            let Some(turn) = queue.consumers.iter().position(has_room) else { continue };
            let Some((at, (record, redelivered))) = queue.ready.pop_first() else { continue };
            let mut consumer = queue.consumers.remove(turn);
            consumer.held.insert(at, record.clone());
            let (number, sink) = (consumer.number, Arc::clone(&consumer.sink));
            queue.consumers.push(consumer);
            let (name, weak) = (name.clone(), Arc::downgrade(&self.state));
            let delivery = WorkDelivery::new(move |verdict| settle(&weak, &name, number, at, verdict));
            return Some((sink, record, redelivered, delivery));
        }
        None
    }
}

fn settle(state: &Weak<Mutex<State>>, name: &str, number: u64, at: u64, verdict: Verdict) {
    let Some(state) = state.upgrade() else { return };
    let mut state = state.lock();
    let Some(queue) = state.queues.get_mut(name) else { return };
    let Some(consumer) = queue.consumers.iter_mut().find(|consumer| consumer.number == number) else { return };
    if let Some(record) = consumer.held.remove(&at)
        && verdict != Verdict::Ack
    {
        queue.ready.insert(at, (record, true));
        // To the end: others are asked first.
        if verdict == Verdict::Reject
            && let Some(turn) = queue.consumers.iter().position(|consumer| consumer.number == number)
        {
            let consumer = queue.consumers.remove(turn);
            queue.consumers.push(consumer);
        }
    }
}

struct Cancel(Weak<Mutex<State>>, Box<str>, Arc<dyn WorkSink>);

impl Drop for Cancel {
    fn drop(&mut self) {
        let Some(state) = self.0.upgrade() else { return };
        let mut state = state.lock();
        let Some(queue) = state.queues.get_mut(&self.1) else { return };
        if let Some(at) = queue.consumers.iter().position(|consumer| Arc::ptr_eq(&consumer.sink, &self.2)) {
            let consumer = queue.consumers.remove(at);
            queue.ready.extend(consumer.held.into_iter().map(|(at, record)| (at, (record, true))));
        }
    }
}

impl WorkRelay for MemoryWork {
    fn offer(&self, queue: &WorkQueue, record: Bytes, done: Confirm) {
        let mut state = self.state.lock();
        state.next += 1;
        let at = state.next;
        let lane = state.queues.entry(queue.destination.clone()).or_default();
        let full = lane.ready.len() >= queue.keep.max;
        if !full {
            lane.ready.insert(at, (record, false));
        }
        state.confirms.push((done, if full { Err(RelayError::Refused) } else { Ok(()) }));
    }

    fn consume(&self, queue: &WorkQueue, prefetch: u16, sink: Arc<dyn WorkSink>) -> WorkConsumer {
        let mut state = self.state.lock();
        state.next += 1;
        let number = state.next;
        state.opened.push(Arc::clone(&sink));
        let consumer = Consumer { number, prefetch: prefetch.into(), sink: Arc::clone(&sink), held: BTreeMap::new() };
        state.queues.entry(queue.destination.clone()).or_default().consumers.push(consumer);
        let cancel = Cancel(Arc::downgrade(&self.state), queue.destination.clone(), sink);
        WorkConsumer::new(move |prefetch| {
            let Some(state) = cancel.0.upgrade() else { return };
            let mut state = state.lock();
            let consumers = state.queues.get_mut(&cancel.1).into_iter().flat_map(|queue| &mut queue.consumers);
            for consumer in consumers.filter(|consumer| Arc::ptr_eq(&consumer.sink, &cancel.2)) {
                consumer.prefetch = prefetch.into();
            }
        })
    }

    fn close(&self) -> Later<'_, ()> {
        Box::pin(std::future::ready(()))
    }
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").field("queues", &self.queues.len()).finish_non_exhaustive()
    }
}
