//! Work queue: each message to exactly one subscriber.

use std::collections::BTreeMap;
use std::hash::Hash;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::Effect;
use super::flight::{Flight, Window};
use super::log::Log;

/// Who takes the next message. Subscribers with room stand in the rota and take turns; the oldest waiting message goes
/// first. One whose window is too full for that message steps out until it has settled something, so finding a taker
/// never means going through all of them again and again.
#[derive(Debug)]
pub(super) struct One<C> {
    workers: FxHashMap<C, Worker>,
    rota: BTreeMap<u64, C>,
    next_turn: u64,
    /// Messages nobody holds, and who rejected each last.
    waiting: BTreeMap<u64, Option<C>>,
}

#[derive(Debug)]
struct Worker {
    flight: Flight,
    /// Its place in the rota, while it stands there.
    turn: Option<u64>,
}

impl<C> Default for One<C> {
    fn default() -> Self {
        Self { workers: FxHashMap::default(), rota: BTreeMap::new(), next_turn: 0, waiting: BTreeMap::new() }
    }
}

impl<C: Copy + Eq + Hash> One<C> {
    pub(super) fn arrived(&mut self, seq: u64) {
        self.waiting.insert(seq, None);
    }

    pub(super) fn subscribe(&mut self, c: C, window: Window) -> bool {
        if self.workers.contains_key(&c) {
            return false;
        }
        self.workers.insert(c, Worker { flight: Flight::new(window), turn: None });
        self.line_up(c);
        true
    }

    pub(super) fn unsubscribe(&mut self, c: C, log: &Log) {
        let Some(worker) = self.workers.remove(&c) else { return };
        if let Some(turn) = worker.turn {
            self.rota.remove(&turn);
        }
        // The same handle may subscribe again later: a new subscriber, who has rejected nothing.
        self.waiting.extend(worker.flight.into_unproved().filter(|seq| log.contains(*seq)).map(|seq| (seq, None)));
    }

    pub(super) fn holds(&self, c: C, seq: u64) -> bool {
        self.workers.get(&c).is_some_and(|worker| worker.flight.holds(seq))
    }

    pub(super) fn take_waiting(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.waiting).into_keys().collect()
    }

    pub(super) fn release(&mut self, c: C, seq: u64) -> bool {
        let Some(worker) = self.workers.get_mut(&c) else { return false };
        if !worker.flight.release(seq) {
            return false;
        }
        if worker.turn.is_none() {
            self.line_up(c);
        }
        true
    }

    /// After [`One::release`]: puts the message back, for anybody else first.
    pub(super) fn rejected(&mut self, seq: u64, by: C, log: &Log) {
        if log.contains(seq) {
            self.waiting.insert(seq, Some(by));
        }
    }

    pub(super) fn removed(&mut self, seq: u64) {
        self.waiting.remove(&seq);
    }

    pub(super) fn pump(&mut self, log: &mut Log, out: &mut Vec<Effect<C>>) {
        while let Some((&seq, &rejected_by)) = self.waiting.first_key_value() {
            let Some(entry) = log.get_mut(seq) else {
                self.waiting.remove(&seq);
                continue;
            };
            let Some(to) = self.taker(entry.bytes, rejected_by) else { return };
            self.waiting.remove(&seq);
            if let Some(worker) = self.workers.get_mut(&to) {
                worker.flight.take(seq, entry.bytes);
            }
            self.line_up(to);
            let redelivered = std::mem::replace(&mut entry.handed, true);
            out.push(Effect::Deliver { to, seq, message: Arc::clone(&entry.message), redelivered });
        }
    }

    pub(super) fn subscribers(&self) -> usize {
        self.workers.len()
    }

    /// Whose turn it is for a message of this size: not who rejected it last, unless nobody else has room.
    fn taker(&mut self, bytes: usize, rejected_by: Option<C>) -> Option<C> {
        loop {
            // Only one handle is passed over, so this looks at two of them at most.
            let other = self.rota.iter().find(|(_, c)| Some(**c) != rejected_by);
            let (&turn, &c) = other.or_else(|| self.rota.first_key_value())?;
            match self.workers.get_mut(&c) {
                Some(worker) if worker.flight.fits(bytes) => return Some(c),
                Some(worker) => worker.turn = None,
                None => {}
            }
            self.rota.remove(&turn);
        }
    }

    /// To the end of the rota.
    fn line_up(&mut self, c: C) {
        let Some(worker) = self.workers.get_mut(&c) else { return };
        if let Some(turn) = worker.turn.replace(self.next_turn) {
            self.rota.remove(&turn);
        }
        self.rota.insert(self.next_turn, c);
        self.next_turn += 1;
    }
}
