//! What happens to kept messages, in numbers.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::config::mailbox::MESSAGE_OVERHEAD_BYTES;
use crate::mailbox::Refused;
use crate::mailbox::queue::{Effect, Removal};

/// Gauges first, then counters since the start. Read with [`Ordering::Relaxed`]; between themselves they may be a moment
/// apart.
#[derive(Debug, Default)]
pub struct Metrics {
    /// Kept destinations that hold messages or have subscribers.
    pub destinations: AtomicUsize,
    /// Messages in memory.
    pub messages: AtomicUsize,
    /// Their bytes, [`MESSAGE_OVERHEAD_BYTES`] for each included.
    pub bytes: AtomicUsize,
    /// Messages taken.
    pub kept: AtomicU64,
    /// Messages refused.
    pub refused: AtomicU64,
    /// Messages handed to a subscriber, those handed out again included.
    pub delivered: AtomicU64,
    /// Of these, messages handed out again.
    pub redelivered: AtomicU64,
    /// Messages whose delivery was proved.
    pub settled: AtomicU64,
    /// Messages that waited too long.
    pub expired: AtomicU64,
    /// Messages that made room for newer ones.
    pub dropped: AtomicU64,
    /// Messages rejected too often.
    pub given_up: AtomicU64,
    /// Messages that a subscriber lost because it lay too far behind.
    pub lagged: AtomicU64,
}

impl Metrics {
    pub(in crate::mailbox) fn count<C>(&self, effect: &Effect<C>) {
        let counter = match effect {
            Effect::Deliver { redelivered, .. } => {
                self.redelivered.fetch_add(u64::from(*redelivered), Ordering::Relaxed);
                &self.delivered
            }
            Effect::Removed { why, .. } => match why {
                Removal::Settled => &self.settled,
                Removal::Expired => &self.expired,
                Removal::DroppedOldest => &self.dropped,
                Removal::TooManyDeliveries => &self.given_up,
            },
            Effect::Lagged { .. } => &self.lagged,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Adds the bytes of a message before it is there, so that many at once cannot pass the limit together.
    pub(super) fn reserve(&self, message_bytes: usize, max_bytes: usize) -> Result<(), Refused> {
        let bytes = message_bytes + MESSAGE_OVERHEAD_BYTES;
        let kept_bytes = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        if kept_bytes + bytes <= max_bytes {
            return Ok(());
        }
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        Err(Refused::NodeBytes { kept_bytes, max_bytes })
    }

    /// Gives back what [`Metrics::reserve`] added.
    pub(super) fn unreserve(&self, message_bytes: usize) {
        self.bytes.fetch_sub(message_bytes + MESSAGE_OVERHEAD_BYTES, Ordering::Relaxed);
    }

    /// A queue has changed its messages and their bytes.
    pub(in crate::mailbox) fn moved(&self, before: (usize, usize), after: (usize, usize)) {
        let cost = |(messages, bytes): (usize, usize)| messages * MESSAGE_OVERHEAD_BYTES + bytes;
        // Atomics wrap around, so adding a negative difference subtracts.
        self.messages.fetch_add(after.0.wrapping_sub(before.0), Ordering::Relaxed);
        self.bytes.fetch_add(cost(after).wrapping_sub(cost(before)), Ordering::Relaxed);
    }
}
