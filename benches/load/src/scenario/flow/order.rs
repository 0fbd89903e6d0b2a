//! Whether each message came once and in its place.

use std::collections::HashSet;

use crate::stomp::PROBE;

/// What went wrong with messages.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Never came.
    pub lost: u64,
    /// Came again.
    pub duplicates: u64,
    /// Came after a later one of the same publisher.
    pub reordered: u64,
    /// Came to somebody who had not subscribed to it.
    pub strays: u64,
    /// Were still on their way when the run gave up waiting.
    pub late: u64,
}

impl Tally {
    /// Whether nothing did.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        *self == Self::default()
    }

    /// Adds another one.
    pub fn add(&mut self, other: &Self) {
        self.lost += other.lost;
        self.duplicates += other.duplicates;
        self.reordered += other.reordered;
        self.strays += other.strays;
        self.late += other.late;
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let parts = [
            (self.lost, "lost"),
            (self.duplicates, "twice"),
            (self.reordered, "out of order"),
            (self.strays, "to the wrong subscriber"),
            (self.late, "still on their way"),
        ];
        let parts: Vec<_> =
            parts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
        write!(f, "messages: {}", if parts.is_empty() { "all once and in order".to_owned() } else { parts.join(", ") })
    }
}

/// What a message turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Arrival {
    /// The next, behind so many that are taken for lost until they come.
    New { skipped: u64 },
    /// One that was taken for lost.
    Late,
    /// One that had come before.
    Again,
}

/// What each subscriber expects of each publisher.
#[derive(Debug)]
pub(super) struct Order {
    publishers: u64,
    /// Of each slot and publisher, how many of its messages have come or were skipped.
    expected: Vec<u64>,
    skipped: HashSet<(u32, u64)>,
    /// Skipped beyond what is remembered one by one.
    forgotten: u64,
    duplicates: u64,
    reordered: u64,
}

impl Order {
    pub(super) fn new(slots: usize, publishers: usize) -> Self {
        Self {
            publishers: publishers as u64,
            expected: vec![0; slots * publishers],
            skipped: HashSet::new(),
            forgotten: 0,
            duplicates: 0,
            reordered: 0,
        }
    }

    /// Message `number` came to this slot. The publishers of a group take turns, so its number says whose it is.
    #[inline]
    pub(super) fn note(&mut self, slot: u32, number: u64) -> Arrival {
        debug_assert!(number < PROBE);
        let (place, publisher) = match self.publishers {
            1 => (number, 0),
            several => (number / several, number % several),
        };
        let expected = &mut self.expected[slot as usize * self.publishers as usize + publisher as usize];
        if place == *expected {
            *expected += 1;
            return Arrival::New { skipped: 0 };
        }
        if place > *expected {
            let skipped = place - *expected;
            for lacking in *expected..place {
                if self.skipped.len() < REMEMBERED {
                    self.skipped.insert((slot, lacking * self.publishers + publisher));
                } else {
                    self.forgotten += 1;
                }
            }
            *expected = place + 1;
            return Arrival::New { skipped };
        }
        if self.skipped.remove(&(slot, number)) {
            self.reordered += 1;
            Arrival::Late
        } else {
            self.duplicates += 1;
            Arrival::Again
        }
    }

    /// What went wrong so far.
    pub(super) fn tally(&self) -> Tally {
        Tally {
            lost: self.skipped.len() as u64 + self.forgotten,
            duplicates: self.duplicates,
            reordered: self.reordered,
            ..Tally::default()
        }
    }
}

/// A server that loses more than this has lost them, whatever comes later.
const REMEMBERED: usize = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(publishers: usize, numbers: &[u64], wanted: Tally) {
        let mut order = Order::new(2, publishers);
        numbers.iter().for_each(|&number| {
            let _ = order.note(1, number);
        });
        assert_eq!(order.tally(), wanted);
    }

    #[test]
    fn what_is_lost_twice_or_late_is_told_apart() {
        let clean = Tally::default();
        check(1, &[0, 1, 2, 3], clean);
        check(1, &[0, 2, 3], Tally { lost: 1, ..clean });
        check(1, &[0, 2, 1, 3], Tally { reordered: 1, ..clean });
        check(1, &[0, 1, 1, 2, 0], Tally { duplicates: 2, ..clean });
        check(1, &[0, 3, 1, 1], Tally { lost: 1, reordered: 1, duplicates: 1, ..clean });
    }

    #[test]
    fn only_the_messages_of_one_publisher_have_an_order() {
        let clean = Tally::default();
        check(2, &[1, 0, 3, 5, 2, 4], clean);
        check(2, &[1, 0, 5, 3, 2, 4], Tally { reordered: 1, ..clean });
    }
}
