//! Mailbox: each message to every subscriber, until one has proved it.

use std::collections::BTreeMap;
use std::hash::Hash;
use std::mem;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::Effect;
use super::flight::{Flight, Window};
use super::log::{Entry, Log};

/// How far each subscriber is. It stands in one of three places:
///
/// ```text
///            nothing left               no room for the next
/// caught up <------------- ready ----------------------------> blocked
///            -------------> ^  <------------------------------
///             an arrival          settled or rejected one
/// ```
///
/// A message that one subscriber has proved leaves the log, but lingers here while another one who was subscribed when
/// it arrived has not been handed it.
#[derive(Debug)]
pub(super) struct Everyone<C> {
    subscribers: FxHashMap<C, Subscriber>,
    /// By ordinal; the earliest subscription is served first.
    ready: BTreeMap<u64, C>,
    caught_up: BTreeMap<u64, C>,
    next_ordinal: u64,
    /// All subscribers, by the first number that is theirs even when others prove it, then by ordinal.
    owed: BTreeMap<(u64, u64), C>,
    lingering: BTreeMap<u64, Entry>,
    lingering_bytes: usize,
}

#[derive(Debug)]
struct Subscriber {
    flight: Flight,
    ordinal: u64,
    place: Place,
    /// Messages from here on arrived after it had subscribed.
    joined: u64,
    /// Messages below were handed to it, or were gone when it came.
    cursor: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Ready,
    CaughtUp,
    Blocked,
}

impl Subscriber {
    fn owed_from(&self) -> u64 {
        self.cursor.max(self.joined)
    }
}

impl<C> Default for Everyone<C> {
    fn default() -> Self {
        Self {
            subscribers: FxHashMap::default(),
            ready: BTreeMap::new(),
            caught_up: BTreeMap::new(),
            next_ordinal: 0,
            owed: BTreeMap::new(),
            lingering: BTreeMap::new(),
            lingering_bytes: 0,
        }
    }
}

impl<C: Copy + Eq + Hash> Everyone<C> {
    pub(super) fn arrived(&mut self) {
        for (ordinal, c) in mem::take(&mut self.caught_up) {
            if let Some(subscriber) = self.subscribers.get_mut(&c) {
                subscriber.place = Place::Ready;
                self.ready.insert(ordinal, c);
            }
        }
    }

    pub(super) fn subscribe(&mut self, c: C, window: Window, log: &Log) -> bool {
        if self.subscribers.contains_key(&c) {
            return false;
        }
        let (ordinal, joined) = (self.next_ordinal, log.next_seq());
        self.next_ordinal += 1;
        let flight = Flight::new(window);
        self.subscribers.insert(c, Subscriber { flight, ordinal, place: Place::Ready, joined, cursor: 0 });
        self.ready.insert(ordinal, c);
        self.owed.insert((joined, ordinal), c);
        true
    }

    pub(super) fn unsubscribe(&mut self, c: C) {
        let Some(subscriber) = self.subscribers.remove(&c) else { return };
        self.ready.remove(&subscriber.ordinal);
        self.caught_up.remove(&subscriber.ordinal);
        self.owed.remove(&(subscriber.owed_from(), subscriber.ordinal));
        self.forget_handed();
    }

    pub(super) fn holds(&self, c: C, seq: u64) -> bool {
        self.subscribers.get(&c).is_some_and(|subscriber| subscriber.flight.holds(seq))
    }

    pub(super) fn release(&mut self, c: C, seq: u64) -> bool {
        let Some(subscriber) = self.subscribers.get_mut(&c) else { return false };
        if !subscriber.flight.release(seq) {
            return false;
        }
        if subscriber.place == Place::Blocked {
            subscriber.place = Place::Ready;
            self.ready.insert(subscriber.ordinal, c);
        }
        true
    }

    /// Takes over a message that has left the log, for those it is owed to.
    pub(super) fn linger(&mut self, seq: u64, entry: Entry) {
        if self.first_owed().is_some_and(|first| first <= seq) {
            self.lingering_bytes += entry.bytes;
            self.lingering.insert(seq, entry);
        }
    }

    /// Gives up the oldest lingering message; `false` when there is none.
    pub(super) fn drop_lingering(&mut self, effects: &mut Vec<Effect<C>>) -> bool {
        let Some((seq, entry)) = self.lingering.pop_first() else { return false };
        self.lingering_bytes -= entry.bytes;
        effects.extend(self.owed.range(..=(seq, u64::MAX)).map(|(_, by)| Effect::Lagged { by: *by, seq }));
        true
    }

    pub(super) fn pump(&mut self, log: &mut Log, out: &mut Vec<Effect<C>>) {
        while let Some((ordinal, c)) = self.ready.pop_first() {
            let Some(subscriber) = self.subscribers.get_mut(&c) else { continue };
            let owed_from = subscriber.owed_from();
            subscriber.place = hand_over(subscriber, c, log, &mut self.lingering, out);
            if subscriber.place == Place::CaughtUp {
                self.caught_up.insert(ordinal, c);
            }
            if subscriber.owed_from() != owed_from {
                self.owed.remove(&(owed_from, ordinal));
                self.owed.insert((subscriber.owed_from(), ordinal), c);
            }
        }
        self.forget_handed();
    }

    pub(super) fn oldest_lingering(&self) -> Option<&Entry> {
        self.lingering.first_key_value().map(|(_, entry)| entry)
    }

    /// Messages and bytes that linger.
    pub(super) fn lingering(&self) -> (usize, usize) {
        (self.lingering.len(), self.lingering_bytes)
    }

    pub(super) fn subscribers(&self) -> usize {
        self.subscribers.len()
    }

    /// Forgets what lingers for nobody any more.
    fn forget_handed(&mut self) {
        let first_owed = self.first_owed().unwrap_or(u64::MAX);
        while let Some(oldest) = self.lingering.first_entry()
            && *oldest.key() < first_owed
        {
            self.lingering_bytes -= oldest.remove().bytes;
        }
    }

    fn first_owed(&self) -> Option<u64> {
        self.owed.first_key_value().map(|((seq, _), _)| *seq)
    }
}

/// Hands a subscriber what there is and what fits, and says where that leaves it.
fn hand_over<C: Copy>(
    subscriber: &mut Subscriber,
    to: C,
    log: &mut Log,
    lingering: &mut BTreeMap<u64, Entry>,
    out: &mut Vec<Effect<C>>,
) -> Place {
    loop {
        let kept = log.first_from(subscriber.cursor);
        let proved = lingering.range(subscriber.owed_from()..).next().map(|(seq, _)| *seq);
        let Some(seq) = kept.into_iter().chain(proved).min() else { return Place::CaughtUp };
        let Some(entry) = log.get_mut(seq).or_else(|| lingering.get_mut(&seq)) else { return Place::CaughtUp };
        if !subscriber.flight.fits(entry.bytes) {
            return Place::Blocked;
        }
        subscriber.flight.take(seq, entry.bytes);
        subscriber.cursor = seq + 1;
        // Handed out before this subscription began: to one that is lost, or that may yet prove it.
        let redelivered = entry.handed && seq < subscriber.joined;
        entry.handed = true;
        out.push(Effect::Deliver { to, seq, message: Arc::clone(&entry.message), redelivered });
    }
}
