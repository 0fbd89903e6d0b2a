//! The thread that writes: group by group, one transaction each.

use std::collections::BTreeMap;
use std::mem;
use std::sync::Arc;

use bytes::Bytes;
use redb::{Database, Durability};

use super::{KEPT, Shared};
use crate::mailbox::{Completion, StoreError};

/// One thing to write.
pub(super) enum Op {
    Append { queue: Arc<str>, seq: u64, record: Bytes, bytes: usize, done: Done },
    Remove { queue: Arc<str>, seqs: Box<[u64]> },
}

/// A completion that is called whatever happens: a sender that waits for it would wait for ever.
pub(super) struct Done(Option<Completion>);

/// What a group of operations comes to.
#[derive(Default)]
struct Group {
    /// `None` removes the record.
    changes: BTreeMap<(Arc<str>, u64), Option<Bytes>>,
    done: Vec<Done>,
    bytes: usize,
    ops: u64,
}

/// Writes until the inbox is closed and empty.
pub(super) fn run(shared: &Shared) {
    let _ended = Ended(shared);
    while let Some(ops) = wait(shared) {
        let group = Group::new(ops);
        let result = if group.changes.is_empty() { Ok(()) } else { shared.commit(&group) };
        let Group { done, bytes, ops, .. } = group;
        for done in done {
            done.call(result.clone());
        }
        let mut inbox = shared.inbox.lock();
        inbox.bytes -= bytes;
        inbox.finished += ops;
        if let Err(error) = result {
            tracing::warn!(error = &error as &dyn std::error::Error, "kept messages could not be written");
            inbox.failed = Some(error);
        }
        shared.progress.notify_all();
    }
}

fn wait(shared: &Shared) -> Option<Vec<Op>> {
    let mut inbox = shared.inbox.lock();
    while inbox.ops.is_empty() {
        if inbox.closed {
            return None;
        }
        shared.work.wait(&mut inbox);
    }
    Some(mem::take(&mut inbox.ops))
}

impl Group {
    fn new(ops: Vec<Op>) -> Self {
        let mut group = Self { ops: ops.len() as u64, ..Self::default() };
        for op in ops {
            match op {
                Op::Append { queue, seq, record, bytes, done } => {
                    group.changes.insert((queue, seq), Some(record));
                    group.bytes += bytes;
                    group.done.push(done);
                }
                Op::Remove { queue, seqs } => {
                    for &seq in &seqs {
                        group.remove((Arc::clone(&queue), seq));
                    }
                }
            }
        }
        group
    }

    /// A number is appended once, so a record that is new in this group is not in the file.
    fn remove(&mut self, key: (Arc<str>, u64)) {
        if !matches!(self.changes.remove(&key), Some(Some(_))) {
            self.changes.insert(key, None);
        }
    }
}

impl Shared {
    /// Writes a group. After a failure redb refuses all further work, so the file is opened anew for the next group: a
    /// disk that was full and is no longer needs no restart.
    fn commit(&self, group: &Group) -> Result<(), StoreError> {
        let mut slot = self.db.lock();
        let db = match slot.take() {
            Some(db) => db,
            None => (self.open)()?,
        };
        write(&db, group).map_err(|error| StoreError::Failed(Arc::new(error)))?;
        *slot = Some(db);
        Ok(())
    }
}

fn write(db: &Database, group: &Group) -> Result<(), redb::Error> {
    let mut transaction = db.begin_write()?;
    transaction.set_durability(Durability::Immediate)?;
    {
        let mut table = transaction.open_table(KEPT)?;
        for ((queue, seq), change) in &group.changes {
            match change {
                Some(record) => table.insert((&**queue, *seq), &**record)?,
                None => table.remove((&**queue, *seq))?,
            };
        }
    }
    transaction.commit()?;
    Ok(())
}

impl Done {
    pub(super) fn new(completion: Completion) -> Self {
        Self(Some(completion))
    }

    fn call(mut self, result: Result<(), StoreError>) {
        if let Some(completion) = self.0.take() {
            completion(result);
        }
    }
}

impl Drop for Done {
    fn drop(&mut self) {
        if let Some(completion) = self.0.take() {
            completion(Err(StoreError::Closed));
        }
    }
}

/// Closes the inbox when the thread ends, be it by a panic: whoever waits is told instead of waiting for ever.
struct Ended<'a>(&'a Shared);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        let mut inbox = self.0.inbox.lock();
        inbox.closed = true;
        if inbox.finished < inbox.taken {
            inbox.failed = Some(StoreError::Closed);
        }
        inbox.finished = inbox.taken;
        let unwritten = mem::take(&mut inbox.ops);
        drop(inbox);
        drop(unwritten);
        self.0.progress.notify_all();
    }
}
