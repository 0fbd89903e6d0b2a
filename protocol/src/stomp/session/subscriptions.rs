//! The live subscriptions of one session, by slot, by id and by destination.

use std::collections::HashMap;

use bytestring::ByteString;
use slab::Slab;

use super::super::Version;
use super::super::escape::{differs_between_versions, escape_into};
use super::request::AckMode;

/// From this many subscriptions on they are found through an [`Index`]; below, looking at each is faster and smaller.
const INDEXED_FROM: usize = 16;

/// One live subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    /// The `id` header; only 1.0 may leave it out.
    pub id: Option<ByteString>,
    /// [`Subscription::id`] as it stands on the wire at the session's version: the value of `subscription` in MESSAGE.
    pub escaped_id: Option<ByteString>,
    /// What is subscribed to.
    pub destination: ByteString,
    /// How deliveries are settled.
    pub ack: AckMode,
    /// Different for any two live subscriptions of this session that one message can reach; part of `message-id`, so
    /// that each copy has its own (clause M03).
    pub copy: u16,
    /// The number of the first delivery it can have; earlier ones in its slot were another subscription's.
    since: u64,
}

impl Subscription {
    /// The strings are copied: a decoded header may be a slice of a much larger read buffer, and a subscription lives
    /// as long as its session.
    pub(super) fn new(version: Version, id: Option<&str>, destination: &str, ack: AckMode, since: u64) -> Self {
        let id = id.map(ByteString::from);
        let escaped_id = id.as_ref().map(|id| escaped(version, id));
        Self { id, escaped_id, destination: ByteString::from(destination), ack, copy: 0, since }
    }

    /// Whether the delivery with this number can be its own.
    pub(super) const fn delivers(&self, number: u64) -> bool {
        number >= self.since
    }
}

fn escaped(version: Version, id: &ByteString) -> ByteString {
    if !differs_between_versions(id) {
        return id.clone();
    }
    let mut wire = Vec::with_capacity(id.len() + 8);
    escape_into(version, id, &mut wire);
    String::from_utf8(wire).map_or_else(|_| id.clone(), ByteString::from)
}

/// The table of live subscriptions. Empty, it owns nothing.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    slots: Slab<Subscription>,
    index: Option<Box<Index>>,
}

/// The same subscriptions by name, for sessions with many.
#[derive(Debug, Default)]
struct Index {
    by_id: HashMap<ByteString, u32>,
    /// Slots of the narrow subscriptions to one destination.
    narrow: HashMap<ByteString, Vec<u32>>,
    /// Slots of the wide ones.
    wide: Vec<u32>,
}

impl Subscriptions {
    /// Adds one, choosing its `copy`, and names its slot. `None` when 65536 overlap: no copy is left.
    pub(super) fn insert(&mut self, mut subscription: Subscription) -> Option<u32> {
        subscription.copy = self.free_copy(&subscription.destination)?;
        let slot = u32::try_from(self.slots.vacant_key()).ok()?;
        if let Some(index) = &mut self.index {
            index.insert(slot, &subscription);
        }
        self.slots.insert(subscription);
        if self.index.is_none() && self.slots.len() >= INDEXED_FROM {
            self.index = Some(Box::new(Index::of(&self.slots)));
        }
        Some(slot)
    }

    /// Removes one and gives it back.
    pub(super) fn remove(&mut self, slot: u32) -> Option<Subscription> {
        let subscription = self.slots.try_remove(slot as usize)?;
        if let Some(index) = &mut self.index {
            index.remove(slot, &subscription);
        }
        Some(subscription)
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn get(&self, slot: u32) -> Option<&Subscription> {
        self.slots.get(slot as usize)
    }

    /// The slot of the subscription with this id.
    pub(super) fn with_id(&self, id: &str) -> Option<u32> {
        match &self.index {
            Some(index) => index.by_id.get(id).copied(),
            None => self.position(|subscription| subscription.id.as_deref() == Some(id)),
        }
    }

    /// The slot of the subscription to this destination that has no id (1.0 only).
    pub(super) fn nameless(&self, destination: &str) -> Option<u32> {
        self.position(|subscription| subscription.id.is_none() && subscription.destination == destination)
    }

    /// The slot of any subscription to this destination.
    pub(super) fn with_destination(&self, destination: &str) -> Option<u32> {
        self.position(|subscription| subscription.destination == destination)
    }

    fn position(&self, matches: impl Fn(&Subscription) -> bool) -> Option<u32> {
        self.slots.iter().find(|(_, subscription)| matches(subscription)).map(|(slot, _)| slot as u32)
    }

    /// The smallest number that no overlapping subscription has.
    fn free_copy(&self, destination: &str) -> Option<u16> {
        match &self.index {
            Some(index) if !is_wide(destination) => {
                let narrow = index.narrow.get(destination).map_or(&[][..], Vec::as_slice);
                let others = narrow.iter().chain(&index.wide).filter_map(|slot| self.get(*slot));
                let others = others.filter(|other| may_overlap(&other.destination, destination));
                smallest_free(others.map(|other| other.copy))
            }
            _ => smallest_free(
                self.slots
                    .iter()
                    .filter(|(_, other)| may_overlap(&other.destination, destination))
                    .map(|(_, other)| other.copy),
            ),
        }
    }
}

impl Index {
    fn of(slots: &Slab<Subscription>) -> Self {
        let mut index = Self::default();
        for (slot, subscription) in slots {
            index.insert(slot as u32, subscription);
        }
        index
    }

    fn insert(&mut self, slot: u32, subscription: &Subscription) {
        if let Some(id) = &subscription.id {
            self.by_id.insert(id.clone(), slot);
        }
        if is_wide(&subscription.destination) {
            self.wide.push(slot);
        } else {
            self.narrow.entry(subscription.destination.clone()).or_default().push(slot);
        }
    }

    fn remove(&mut self, slot: u32, subscription: &Subscription) {
        if let Some(id) = &subscription.id {
            self.by_id.remove(id);
        }
        if is_wide(&subscription.destination) {
            self.wide.retain(|other| *other != slot);
        } else if let Some(slots) = self.narrow.get_mut(&subscription.destination) {
            slots.retain(|other| *other != slot);
            if slots.is_empty() {
                self.narrow.remove(&subscription.destination);
            }
        }
    }
}

/// Whether one message may reach a subscription to `a` and one to `b`. Errs towards yes: a number too many costs an
/// octet, a number too few costs a client one of two messages with the same id.
fn may_overlap(a: &str, b: &str) -> bool {
    let begin_alike = || {
        let (a, b) = (fixed_part(a), fixed_part(b));
        a.starts_with(b) || b.starts_with(a)
    };
    a == b || (is_wide(a) || is_wide(b)) && begin_alike()
}

/// What every destination that such a subscription takes begins with.
fn fixed_part(destination: &str) -> &str {
    if destination.starts_with(USER) {
        return USER;
    }
    let end = destination.find(WILDCARDS).unwrap_or(destination.len());
    &destination[..end]
}

/// Whether a subscription to this destination takes messages of other destinations: a pattern, or a user destination,
/// which is rewritten on its way.
fn is_wide(destination: &str) -> bool {
    destination.starts_with(USER) || destination.contains(WILDCARDS)
}

/// Spring's prefix of user destinations.
const USER: &str = "/user/";

/// What makes a destination a pattern.
const WILDCARDS: [char; 3] = ['*', '?', '{'];

/// The smallest number that is not in `used`, if there is one.
fn smallest_free(used: impl Iterator<Item = u16>) -> Option<u16> {
    let mut used: Vec<u16> = used.collect();
    used.sort_unstable();
    used.dedup();
    let gap = used.iter().zip(0..).position(|(number, expected)| *number != expected).unwrap_or(used.len());
    u16::try_from(gap).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(destinations: &[&str]) -> Subscriptions {
        let mut table = Subscriptions::default();
        for (n, destination) in destinations.iter().enumerate() {
            add(&mut table, &n.to_string(), destination);
        }
        table
    }

    fn add(table: &mut Subscriptions, id: &str, destination: &str) -> u32 {
        table.insert(Subscription::new(Version::V1_2, Some(id), destination, AckMode::Auto, 0)).expect("there is room")
    }

    fn copies(table: &Subscriptions) -> Vec<u16> {
        table.slots.iter().map(|(_, subscription)| subscription.copy).collect()
    }

    #[test]
    fn overlapping_subscriptions_get_different_copies() {
        for (destinations, expected) in [
            (&["/topic/a", "/topic/b", "/topic/c"][..], &[0, 0, 0][..]),
            (&["/topic/a", "/topic/a", "/topic/a"], &[0, 1, 2]),
            (&["/topic/a", "/topic/a", "/topic/*"], &[0, 1, 2]),
            (&["/topic/*", "/topic/a", "/topic/b"], &[0, 1, 1]),
            (&["/queue/a", "/user/queue/a", "/user/12/a"], &[0, 0, 1]),
            (&["/topic/**", "/topic", "/queue/a", "/user/queue/*"], &[0, 1, 0, 0]),
            (&["/topic/{x}", "/topic/?"], &[0, 1]),
        ] {
            assert_eq!(copies(&table(destinations)), expected, "{destinations:?}");
        }
    }

    #[test]
    fn a_freed_copy_is_the_next_one_given() {
        for padding in [0, 40] {
            let mut table = table(&["/topic/a", "/topic/a", "/topic/a"]);
            for n in 0..padding {
                add(&mut table, &format!("pad-{n}"), &format!("/topic/pad/{n}"));
            }
            let slot = table.with_id("1").expect("it is live");
            table.remove(slot);
            assert_eq!(add(&mut table, "again", "/topic/a"), slot);
            assert_eq!(table.get(slot).map(|subscription| subscription.copy), Some(1), "{padding} others");
        }
    }

    #[test]
    fn an_index_says_the_same_as_a_look_at_each() {
        let mut table = Subscriptions::default();
        for n in 0..200 {
            let destination = match n % 5 {
                0 => "/topic/*".to_owned(),
                1 => "/topic/shared".to_owned(),
                _ => format!("/topic/{n}"),
            };
            add(&mut table, &n.to_string(), &destination);
            if n % 7 == 3 {
                let slot = table.with_id(&(n - 2).to_string()).expect("it is live");
                assert!(table.remove(slot).is_some());
            }
        }
        assert!(table.index.is_some());
        for (slot, subscription) in &table.slots {
            let id = subscription.id.as_deref().expect("all have one");
            assert_eq!(table.with_id(id), Some(slot as u32));
            for (other, its) in &table.slots {
                let clash = slot != other && may_overlap(&subscription.destination, &its.destination);
                assert!(!(clash && subscription.copy == its.copy), "{subscription:?} and {its:?}");
            }
        }
        assert_eq!(table.with_id("1"), None);
    }

    #[test]
    fn the_wire_form_of_an_id_follows_the_version() {
        for (version, expected) in [(Version::V1_0, "a:b"), (Version::V1_1, "a\\cb"), (Version::V1_2, "a\\cb")] {
            let subscription = Subscription::new(version, Some("a:b"), "/t", AckMode::Auto, 0);
            assert_eq!(subscription.escaped_id.as_deref(), Some(expected));
        }
    }
}
