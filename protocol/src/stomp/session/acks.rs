//! Deliveries that wait to be settled.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::str::FromStr;

use bytestring::ByteString;

/// Names one delivery of one session. In 1.2 its text is the `ack` header of MESSAGE and comes back as the `id` of ACK;
/// MESSAGE frames of 1.0 and 1.1 do not carry it (clauses A20, A21).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AckId {
    slot: u32,
    /// Rising over the whole session and never used twice, so a slot that is used again cannot revive an old id.
    number: u64,
}

impl AckId {
    /// The id with exactly this text.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (slot, number) = text.split_once('-')?;
        Some(Self { slot: decimal(slot)?, number: decimal(number)? })
    }

    pub(super) const fn slot(self) -> u32 {
        self.slot
    }

    pub(super) const fn number(self) -> u64 {
        self.number
    }
}

impl fmt::Display for AckId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.slot, self.number)
    }
}

/// A number in the one form that `Display` gives it.
fn decimal<N: FromStr>(text: &str) -> Option<N> {
    let canonical = text == "0" || !text.starts_with(['0', '+']);
    text.parse().ok().filter(|_| canonical)
}

/// One delivery that was taken out of the ledger.
#[derive(Debug)]
pub(super) struct Delivery<T> {
    pub(super) id: AckId,
    message_id: Option<ByteString>,
    pub(super) token: T,
}

/// Most open deliveries of one subscription. Beyond it the oldest is forgotten: clients that ask for acknowledgement and
/// never send any work with Spring, which keeps no account, and may cost no more for each message. A server that must
/// not forget any hands out fewer than this at a time.
pub const MAX_OPEN_DELIVERIES: usize = 1024;

/// The open deliveries of one session.
#[derive(Debug)]
pub(super) struct Ledger<T> {
    next: u64,
    open: BTreeMap<AckId, Entry<T>>,
    slots: HashMap<u32, Account>,
    /// Open deliveries by `message-id`, which is how 1.0 and 1.1 name them; empty in 1.2.
    by_message: BTreeSet<(ByteString, AckId)>,
}

/// The deliveries of one slot.
#[derive(Debug, Default)]
struct Account {
    open: usize,
    /// The newest that was forgotten.
    forgotten: Option<u64>,
}

#[derive(Debug)]
struct Entry<T> {
    message_id: Option<ByteString>,
    token: T,
}

impl<T> Ledger<T> {
    pub(super) fn new() -> Self {
        Self { next: 0, open: BTreeMap::new(), slots: HashMap::new(), by_message: BTreeSet::new() }
    }

    /// Opens a delivery; it can be found by `message_id` if there is one.
    pub(super) fn record(&mut self, slot: u32, message_id: Option<ByteString>, token: T) -> AckId {
        let id = AckId { slot, number: self.next };
        self.next += 1;
        self.give_back(Delivery { id, message_id, token });
        if self.slots.get(&slot).is_some_and(|account| account.open > MAX_OPEN_DELIVERIES) {
            self.forget_oldest(slot);
        }
        id
    }

    /// Opens a delivery again that was taken.
    pub(super) fn give_back(&mut self, delivery: Delivery<T>) {
        let Delivery { id, message_id, token } = delivery;
        if let Some(message_id) = &message_id {
            self.by_message.insert((message_id.clone(), id));
        }
        self.slots.entry(id.slot).or_default().open += 1;
        self.open.insert(id, Entry { message_id, token });
    }

    /// Takes one open delivery, or with `cumulative` it and all earlier ones of its subscription, oldest first.
    /// Nothing if it is not open.
    pub(super) fn take(&mut self, id: AckId, cumulative: bool) -> Vec<Delivery<T>> {
        if !self.open.contains_key(&id) {
            return Vec::new();
        }
        let first = if cumulative { AckId { number: 0, ..id } } else { id };
        self.take_range(first, id)
    }

    /// Takes every open delivery of a subscription, oldest first.
    pub(super) fn take_slot(&mut self, slot: u32) -> Vec<Delivery<T>> {
        let taken = self.take_range(AckId { slot, number: 0 }, AckId { slot, number: u64::MAX });
        self.slots.remove(&slot);
        taken
    }

    /// Whether this delivery may be one that was forgotten.
    pub(super) fn may_have_forgotten(&self, id: AckId) -> bool {
        self.slots.get(&id.slot).is_some_and(|account| account.forgotten >= Some(id.number))
    }

    /// Whether any delivery of this slot, or of any, was forgotten.
    pub(super) fn has_forgotten(&self, slot: Option<u32>) -> bool {
        match slot {
            Some(slot) => self.slots.get(&slot).is_some_and(|account| account.forgotten.is_some()),
            None => self.slots.values().any(|account| account.forgotten.is_some()),
        }
    }

    /// Takes everything, in no particular order.
    pub(super) fn take_all(&mut self) -> Vec<Delivery<T>> {
        self.take_range(AckId { slot: 0, number: 0 }, AckId { slot: u32::MAX, number: u64::MAX })
    }

    /// The only open delivery of this message, in this slot or in any; `None` also if there are several (Q10).
    pub(super) fn of_message(&self, message_id: &ByteString, slot: Option<u32>) -> Option<AckId> {
        let bound = |slot, number| (message_id.clone(), AckId { slot, number });
        let range = bound(slot.unwrap_or(0), 0)..=bound(slot.unwrap_or(u32::MAX), u64::MAX);
        let mut found = self.by_message.range(range).map(|(_, id)| *id);
        let first = found.next();
        first.filter(|_| found.next().is_none())
    }

    /// The number that the next delivery gets.
    pub(super) const fn next_number(&self) -> u64 {
        self.next
    }

    fn forget_oldest(&mut self, slot: u32) {
        let oldest = self.open.range(AckId { slot, number: 0 }..).next().map(|(id, _)| *id);
        let Some(oldest) = oldest.filter(|oldest| oldest.slot == slot) else { return };
        drop(self.take_range(oldest, oldest));
        self.slots.entry(slot).or_default().forgotten = Some(oldest.number);
    }

    fn take_range(&mut self, first: AckId, last: AckId) -> Vec<Delivery<T>> {
        let taken: Vec<_> = self
            .open
            .extract_if(first..=last, |_, _| true)
            .map(|(id, Entry { message_id, token })| Delivery { id, message_id, token })
            .collect();
        for delivery in &taken {
            if let Some(account) = self.slots.get_mut(&delivery.id.slot) {
                account.open -= 1;
            }
            if let Some(message_id) = &delivery.message_id {
                self.by_message.remove(&(message_id.clone(), delivery.id));
            }
        }
        taken
    }
}

/// The tokens of these deliveries, oldest first.
pub(super) fn tokens<T>(mut deliveries: Vec<Delivery<T>>) -> Vec<T> {
    deliveries.sort_unstable_by_key(|delivery| delivery.id.number);
    deliveries.into_iter().map(|delivery| delivery.token).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_text_that_was_written_is_an_id() {
        let id = AckId { slot: 10, number: 0 };
        assert_eq!(AckId::parse(&id.to_string()), Some(id));
        for text in ["", "-", "1", "1-", "-1", "01-0", "+1-0", "1-+0", "1-00", "1-0-0", "undefined", "4294967296-0"] {
            assert_eq!(AckId::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_cumulative_take_stays_within_its_slot() {
        let mut ledger = Ledger::new();
        let ids: Vec<AckId> = (0..6).map(|n| ledger.record(n % 2, None, n)).collect();
        assert_eq!(tokens(ledger.take(ids[3], true)), [1, 3]);
        assert_eq!(tokens(ledger.take(ids[3], true)), [0_u32; 0]);
        assert_eq!(tokens(ledger.take(ids[2], false)), [2]);
        assert_eq!(tokens(ledger.take_all()), [0, 4, 5]);
    }

    #[test]
    fn the_oldest_is_forgotten_in_its_slot_alone() {
        let mut ledger = Ledger::new();
        let other = ledger.record(1, None, 0);
        let ids: Vec<AckId> = (0..=MAX_OPEN_DELIVERIES).map(|n| ledger.record(0, None, n)).collect();
        assert!(ledger.may_have_forgotten(ids[0]) && !ledger.may_have_forgotten(ids[1]));
        assert!(!ledger.may_have_forgotten(other) && ledger.has_forgotten(None) && !ledger.has_forgotten(Some(1)));
        assert_eq!(ledger.take(ids[0], true).len(), 0);
        assert_eq!(ledger.take(ids[MAX_OPEN_DELIVERIES], true).len(), MAX_OPEN_DELIVERIES);
        assert_eq!(ledger.take(other, false).len(), 1);
        ledger.record(0, None, 0);
        ledger.take_slot(0);
        assert!(!ledger.has_forgotten(Some(0)));
    }

    #[test]
    fn a_message_is_found_while_it_is_open_and_single() {
        let mut ledger = Ledger::new();
        let message = ByteString::from_static("m");
        let a = ledger.record(0, Some(message.clone()), 'a');
        assert_eq!(ledger.of_message(&message, None), Some(a));
        let b = ledger.record(7, Some(message.clone()), 'b');
        assert_eq!(ledger.of_message(&message, None), None);
        assert_eq!(ledger.of_message(&message, Some(7)), Some(b));
        ledger.take(a, false);
        assert_eq!(ledger.of_message(&message, None), Some(b));
        assert_eq!(ledger.of_message(&message, Some(0)), None);
    }
}
