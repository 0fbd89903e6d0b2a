//! The kept messages of one destination, and the limits of its policy.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::config::mailbox::{Keep, KeepOverflow};
use crate::mailbox::Refused;
use crate::message::Message;

/// What a message counts towards limits in bytes: all that its sender determines.
#[must_use]
pub fn message_bytes(message: &Message) -> usize {
    let headers = message.headers.iter().map(|(name, value)| name.len() + value.len());
    message.id.len() + message.destination.len() + headers.sum::<usize>() + message.body.len()
}

/// One message in memory.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) message: Arc<Message>,
    pub(super) bytes: usize,
    /// Whether somebody was handed it.
    pub(super) handed: bool,
    rejections: u32,
    kept_at: u64,
}

impl Entry {
    pub(super) fn new(message: Arc<Message>, kept_at: u64) -> Self {
        Self { bytes: message_bytes(&message), message, handed: false, rejections: 0, kept_at }
    }
}

/// Kept messages in the order of arrival.
#[derive(Debug)]
pub(super) struct Log {
    keep: Keep,
    entries: BTreeMap<u64, Entry>,
    bytes: usize,
    next_seq: u64,
    /// When the newest entry was kept. Times never fall along the log, whatever the clock does: expiry looks at the
    /// oldest entry only.
    newest_at: u64,
}

impl Log {
    pub(super) const fn new(keep: Keep, first_seq: u64) -> Self {
        Self { keep, entries: BTreeMap::new(), bytes: 0, next_seq: first_seq, newest_at: 0 }
    }

    pub(super) fn insert(&mut self, seq: u64, mut entry: Entry) {
        if !self.entries.is_empty() {
            entry.kept_at = entry.kept_at.max(self.newest_at);
        }
        self.newest_at = entry.kept_at;
        self.bytes += entry.bytes;
        self.entries.insert(seq, entry);
        self.next_seq = seq + 1;
    }

    pub(super) const fn skip_to(&mut self, next_seq: u64) {
        if next_seq > self.next_seq {
            self.next_seq = next_seq;
        }
    }

    pub(super) fn mark_handed(&mut self, below: u64) {
        for (_, entry) in self.entries.range_mut(..below) {
            entry.handed = true;
        }
    }

    pub(super) fn handed_below(&self) -> u64 {
        self.entries.iter().rev().find(|(_, entry)| entry.handed).map_or(0, |(seq, _)| seq + 1)
    }

    pub(super) fn numbers_below(&self, seq: u64) -> Vec<u64> {
        self.entries.range(..seq).map(|(seq, _)| *seq).collect()
    }

    pub(super) fn remove(&mut self, seq: u64) -> Option<Entry> {
        let entry = self.entries.remove(&seq)?;
        self.bytes -= entry.bytes;
        Some(entry)
    }

    pub(super) fn get_mut(&mut self, seq: u64) -> Option<&mut Entry> {
        self.entries.get_mut(&seq)
    }

    pub(super) const fn max_deliveries(&self) -> u32 {
        self.keep.max_deliveries
    }

    /// Counts one more rejection; `true` when that was the last one allowed.
    pub(super) fn rejected_too_often(&mut self, seq: u64) -> bool {
        let max = self.keep.max_deliveries;
        self.entries.get_mut(&seq).is_some_and(|entry| {
            entry.rejections += 1;
            entry.rejections >= max
        })
    }

    pub(super) fn admit(&self, message_bytes: usize) -> Result<(), Refused> {
        let Keep { max, max_bytes, overflow, .. } = self.keep;
        if message_bytes > max_bytes {
            return Err(Refused::TooLarge { message_bytes, max_bytes });
        }
        match overflow {
            KeepOverflow::DropOldest => Ok(()),
            KeepOverflow::Refuse if self.len() >= max => Err(Refused::Messages { kept: self.len(), max }),
            KeepOverflow::Refuse if self.bytes + message_bytes > max_bytes => {
                Err(Refused::Bytes { message_bytes, kept_bytes: self.bytes, max_bytes })
            }
            KeepOverflow::Refuse => Ok(()),
        }
    }

    /// Whether so much more stays within the limits.
    pub(super) fn has_room(&self, messages: usize, bytes: usize) -> bool {
        self.len() + messages <= self.keep.max && self.bytes + bytes <= self.keep.max_bytes
    }

    pub(super) fn drops_oldest(&self) -> bool {
        self.keep.overflow == KeepOverflow::DropOldest
    }

    pub(super) fn oldest(&self) -> Option<u64> {
        self.entries.first_key_value().map(|(seq, _)| *seq)
    }

    /// The oldest, if it has waited long enough.
    pub(super) fn expired(&self, now_ms: u64) -> Option<u64> {
        let (seq, entry) = self.entries.first_key_value()?;
        self.is_expired(entry, now_ms).then_some(*seq)
    }

    pub(super) fn is_expired(&self, entry: &Entry, now_ms: u64) -> bool {
        u128::from(now_ms.saturating_sub(entry.kept_at)) >= self.keep.age.as_millis()
    }

    /// The first message with this number or a higher one.
    pub(super) fn first_from(&self, seq: u64) -> Option<u64> {
        self.entries.range(seq..).next().map(|(seq, _)| *seq)
    }

    pub(super) fn contains(&self, seq: u64) -> bool {
        self.entries.contains_key(&seq)
    }

    pub(super) fn next_seq(&self) -> u64 {
        self.next_seq
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}
