//! One mailbox that all nodes share, as far as this node is concerned: no clock, no store, no locks.

use std::collections::{BTreeMap, HashSet};
use std::hash::Hash;
use std::sync::Arc;

use bytes::Bytes;
use tokio::time::Instant;

use super::{Contents, Waiter};
use crate::mailbox::queue::{KeptQueue, Policy, Window};
use crate::mailbox::record;
use crate::message::Message;

/// What is known of it, and who subscribed here.
pub(super) struct Mine<C> {
    pub(super) policy: Policy,
    /// Made when the store has told the numbers.
    pub(super) queue: Option<KeptQueue<C>>,
    /// Subscribed, and fed from the next answer of the store on.
    pub(super) waiting: Vec<(C, Option<Waiter>)>,
    /// Came before messages with lower numbers.
    pub(super) ahead: BTreeMap<u64, Arc<Message>>,
    pub(super) gap_since: Option<Instant>,
    /// It has left the map.
    pub(super) retired: bool,
}

impl<C: Copy + Eq + Hash> Mine<C> {
    pub(super) fn opened(&mut self, name: &str, contents: Contents, window: Window, now_ms: u64) -> Vec<Waiter> {
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

    pub(super) fn arrive(&mut self, seq: u64, message: Arc<Message>, now_ms: u64) {
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
