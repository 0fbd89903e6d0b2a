//! What one subscriber was handed and has not proved.

use std::collections::BTreeMap;

/// How much a subscriber may hold unproved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Most messages, at least one.
    pub messages: usize,
    /// Most bytes; a larger message is handed over when nothing else is unproved, or it would never be.
    pub bytes: usize,
}

/// The unproved deliveries of one subscriber. They count until it settles or rejects them, even when the queue has given
/// up the message meanwhile: the bytes still lie in the subscriber's outbox.
#[derive(Debug)]
pub(super) struct Flight {
    window: Window,
    unproved: BTreeMap<u64, usize>,
    bytes: usize,
}

impl Flight {
    pub(super) const fn new(window: Window) -> Self {
        Self { window, unproved: BTreeMap::new(), bytes: 0 }
    }

    pub(super) fn take(&mut self, seq: u64, bytes: usize) {
        self.unproved.insert(seq, bytes);
        self.bytes += bytes;
    }

    /// `false` when the delivery was not open.
    pub(super) fn release(&mut self, seq: u64) -> bool {
        let Some(bytes) = self.unproved.remove(&seq) else { return false };
        self.bytes -= bytes;
        true
    }

    pub(super) fn holds(&self, seq: u64) -> bool {
        self.unproved.contains_key(&seq)
    }

    pub(super) fn fits(&self, bytes: usize) -> bool {
        self.unproved.is_empty()
            || (self.unproved.len() < self.window.messages && self.bytes.saturating_add(bytes) <= self.window.bytes)
    }

    pub(super) fn into_unproved(self) -> impl Iterator<Item = u64> {
        self.unproved.into_keys()
    }
}
