//! A shared store in memory: what several nodes in one process share. For tests.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::future::ready;

use bytes::Bytes;
use parking_lot::Mutex;

use stampede::config::mailbox::{Keep, KeepOverflow};
use stampede::ids::Boot;
use stampede::mailbox::shared::{Append, Appended, Contents, SharedStore};
use stampede::mailbox::{Refused, StoreError};
use stampede::relay::Later;

/// Numbers of a destination that comes back begin so much higher.
const APART: u64 = 1_000_000;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct MemoryShared {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    queues: HashMap<Box<str>, Queue>,
    created: u64,
}

#[derive(Debug, Default)]
struct Queue {
    next_seq: u64,
    handed: u64,
    /// When it was sent, and the record.
    entries: BTreeMap<u64, (u64, Bytes)>,
    readers: BTreeSet<Boot>,
}

impl MemoryShared {
    /// Destinations that hold a message or have a reader.
    pub(super) fn destinations(&self) -> usize {
        self.state.lock().queues.len()
    }
}

impl State {
    fn queue(&mut self, name: &str) -> &mut Queue {
        let created = &mut self.created;
        self.queues.entry(name.into()).or_insert_with(|| {
            *created += 1;
            Queue { next_seq: *created * APART, ..Queue::default() }
        })
    }

    /// Changes a destination that exists; one that nobody needs any more is forgotten.
    fn change(&mut self, name: &str, change: impl FnOnce(&mut Queue)) {
        let Some(queue) = self.queues.get_mut(name) else { return };
        change(queue);
        if queue.entries.is_empty() && queue.readers.is_empty() {
            self.queues.remove(name);
        }
    }
}

impl Queue {
    fn bytes(&self) -> usize {
        self.entries.values().map(|(_, record)| record.len()).sum()
    }

    fn append(&mut self, record: Bytes, sent_at: u64, keep: Keep) -> Result<u64, Refused> {
        let Keep { age, max, max_bytes, overflow, .. } = keep;
        let message_bytes = record.len();
        while let Some(oldest) = self.entries.first_entry()
            && u128::from(sent_at.saturating_sub(oldest.get().0)) >= age.as_millis()
        {
            oldest.remove();
        }
        if message_bytes > max_bytes {
            return Err(Refused::TooLarge { message_bytes, max_bytes });
        }
        while self.entries.len() >= max || self.bytes() + message_bytes > max_bytes {
            if overflow == KeepOverflow::DropOldest {
                self.entries.pop_first();
                continue;
            }
            let (kept, kept_bytes) = (self.entries.len(), self.bytes());
            return Err(if kept >= max {
                Refused::Messages { kept, max }
            } else {
                Refused::Bytes { message_bytes, kept_bytes, max_bytes }
            });
        }
        let seq = self.next_seq;
        self.next_seq += 1;
        self.entries.insert(seq, (sent_at, record));
        Ok(seq)
    }
}

impl SharedStore for MemoryShared {
    fn append(&self, appends: Vec<Append>) -> Later<'_, Vec<Result<Appended, Refused>>> {
        let mut state = self.state.lock();
        let appended = appends.into_iter().map(|Append { queue: name, record, sent_at, keep }| {
            let queue = state.queue(&name);
            let appended = queue.append(record, sent_at, keep);
            let readers = queue.readers.iter().cloned().collect();
            state.change(&name, |_| {});
            appended.map(|seq| Appended { seq, readers })
        });
        Box::pin(ready(appended.collect()))
    }

    fn open<'a>(&'a self, queue: &'a str, boot: &'a Boot) -> Later<'a, Result<Contents, StoreError>> {
        let mut state = self.state.lock();
        let queue = state.queue(queue);
        queue.readers.insert(boot.clone());
        let entries = queue.entries.iter().map(|(seq, (_, record))| (*seq, record.clone())).collect();
        Box::pin(ready(Ok(Contents { next_seq: queue.next_seq, handed: queue.handed, entries })))
    }

    fn close<'a>(&'a self, queue: &'a str, boot: &'a Boot, handed: u64) -> Later<'a, Result<(), StoreError>> {
        self.state.lock().change(queue, |queue| {
            queue.readers.remove(boot);
            queue.handed = queue.handed.max(handed);
        });
        Box::pin(ready(Ok(())))
    }

    fn remove<'a>(&'a self, removals: &'a [(Box<str>, Vec<u64>)]) -> Later<'a, Result<(), StoreError>> {
        let mut state = self.state.lock();
        for (name, seqs) in removals {
            state.change(name, |queue| queue.entries.retain(|seq, _| !seqs.contains(seq)));
        }
        Box::pin(ready(Ok(())))
    }

    fn forget<'a>(&'a self, boot: &'a Boot) -> Later<'a, Result<(), StoreError>> {
        let mut state = self.state.lock();
        let names: Vec<Box<str>> = state.queues.keys().cloned().collect();
        for name in names {
            state.change(&name, |queue| {
                queue.readers.remove(boot);
            });
        }
        Box::pin(ready(Ok(())))
    }
}
