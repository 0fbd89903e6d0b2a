//! Subscriptions to patterns, found through an index; never by asking each.

use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::RwLock;
use slab::Slab;

use super::topics::Subscriber;
use crate::destination::{Pattern, PatternIndex};

/// All pattern subscriptions of a node.
#[derive(Debug, Default)]
pub(crate) struct Patterns {
    /// Read before the lock, so that a node without patterns pays a load per message.
    count: AtomicUsize,
    table: RwLock<Table>,
}

#[derive(Debug, Default)]
struct Table {
    index: PatternIndex<usize>,
    slab: Slab<(Pattern, Subscriber)>,
}

impl Patterns {
    pub(crate) fn subscribe(&self, pattern: Pattern, subscriber: Subscriber) -> usize {
        let mut table = self.table.write();
        let table = &mut *table;
        let entry = table.slab.vacant_entry();
        let key = entry.key();
        table.index.insert(&pattern, key);
        entry.insert((pattern, subscriber));
        self.count.store(table.slab.len(), Ordering::Release);
        key
    }

    /// The pattern of the subscription that ended.
    pub(crate) fn unsubscribe(&self, key: usize) -> Option<Pattern> {
        let mut table = self.table.write();
        let table = &mut *table;
        let removed = table.slab.try_remove(key).map(|(pattern, _)| pattern);
        if let Some(pattern) = &removed {
            table.index.remove(pattern, &key);
        }
        if table.slab.is_empty() {
            table.slab.shrink_to_fit();
        }
        self.count.store(table.slab.len(), Ordering::Release);
        removed
    }

    /// Calls `f` for every subscriber with a pattern that matches; `f` must not wait.
    pub(crate) fn for_each_match(&self, destination: &str, mut f: impl FnMut(&Subscriber)) {
        if self.count.load(Ordering::Acquire) == 0 {
            return;
        }
        let table = self.table.read();
        table.index.for_each_match(destination, |key| {
            if let Some((_, subscriber)) = table.slab.get(*key) {
                f(subscriber);
            }
        });
    }

    pub(crate) fn len(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }
}
