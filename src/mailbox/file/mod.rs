//! Kept messages in one file under `data_dir`, safe against a crash at any point.
//!
//! ```text
//! append, remove ──> inbox (bounded) ──> writer thread ──> one transaction ──> completions
//! ```
//!
//! The writer takes all that waits and commits it at once; while the disk works the next group gathers, so the cost of a
//! commit is shared by as many messages as come meanwhile. A message that was appended and removed in one group never
//! touches the disk.
//!
//! The file is a redb database with one table. Commits are one-phase: redb's checksums find a torn commit at the next
//! open, and the reader of this file is always this program.

#[cfg(test)]
mod tests;
mod writer;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};
use redb::{Builder, Database, DatabaseError, ReadableDatabase, ReadableTable, TableDefinition, TableError};

use super::{Completion, KeepStore, StoreError};
use writer::{Done, Op};

/// A [`KeepStore`] in `data_dir/stampede.redb`.
pub struct FileStore {
    shared: Arc<Shared>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

/// What senders and the writer thread share. Of the two locks, `db` is never taken while `inbox` is held.
struct Shared {
    open: Open,
    /// `None` after a failed commit, until the file was opened anew, and when closed.
    db: Mutex<Option<Database>>,
    inbox: Mutex<Inbox>,
    /// The inbox has work for the writer, or is closing.
    work: Condvar,
    /// The writer has finished a group, or has ended.
    progress: Condvar,
    max_bytes: usize,
}

/// What waits for the writer.
#[derive(Default)]
struct Inbox {
    ops: Vec<Op>,
    /// Bytes of all appends that are not committed yet, those at the writer included.
    bytes: usize,
    /// How many operations were taken since the start, and how many of them the writer has finished with.
    taken: u64,
    finished: u64,
    /// Why something could not be written since the last flush.
    failed: Option<StoreError>,
    closed: bool,
}

type Open = Box<dyn Fn() -> Result<Database, StoreError> + Send + Sync>;

impl FileStore {
    /// Opens or creates the store in `data_dir`; the directory is created as well. At most `max_bytes` wait to be
    /// written. Blocks; after a crash it first checks the whole file.
    ///
    /// # Errors
    ///
    /// When another process uses the file, or it cannot be opened.
    pub fn open(data_dir: &Path, max_bytes: usize) -> Result<Self, StoreError> {
        std::fs::create_dir_all(data_dir)
            .map_err(|error| StoreError::Open { path: data_dir.to_owned(), source: Arc::new(error) })?;
        let path = data_dir.join(FILE);
        Self::start(Box::new(move || open_file(&path)), max_bytes)
    }

    fn start(open: Open, max_bytes: usize) -> Result<Self, StoreError> {
        let shared = Arc::new(Shared {
            db: Mutex::new(Some(open()?)),
            open,
            inbox: Mutex::default(),
            work: Condvar::new(),
            progress: Condvar::new(),
            max_bytes,
        });
        let at_work = Arc::clone(&shared);
        let writer = thread::Builder::new()
            .name("mailbox-writer".into())
            .spawn(move || writer::run(&at_work))
            .map_err(|error| StoreError::Failed(Arc::new(error)))?;
        Ok(Self { shared, writer: Mutex::new(Some(writer)) })
    }
}

impl KeepStore for FileStore {
    fn append(&self, queue: &str, seq: u64, record: Bytes, done: Completion) -> Result<(), StoreError> {
        let bytes = queue.len() + record.len() + OP_OVERHEAD_BYTES;
        let mut inbox = self.shared.inbox.lock();
        if inbox.closed {
            return Err(StoreError::Closed);
        }
        // A record larger than the whole bound is let in alone, or it could never be written.
        if inbox.bytes > 0 && inbox.bytes + bytes > self.shared.max_bytes {
            return Err(StoreError::Busy { waiting_bytes: inbox.bytes, max_bytes: self.shared.max_bytes });
        }
        inbox.bytes += bytes;
        inbox.take(Op::Append { queue: queue.into(), seq, record, bytes, done: Done::new(done) });
        self.shared.work.notify_one();
        Ok(())
    }

    fn remove(&self, queue: &str, seqs: &[u64]) {
        let mut inbox = self.shared.inbox.lock();
        if !inbox.closed && !seqs.is_empty() {
            inbox.take(Op::Remove { queue: queue.into(), seqs: seqs.into() });
            self.shared.work.notify_one();
        }
    }

    fn load(&self, f: &mut dyn FnMut(&str, u64, Bytes)) -> Result<(), StoreError> {
        self.flush()?;
        let db = self.shared.db.lock();
        let db = db.as_ref().ok_or(StoreError::Closed)?;
        read(db, f).map_err(|error| StoreError::Failed(Arc::new(error)))
    }

    fn flush(&self) -> Result<(), StoreError> {
        let mut inbox = self.shared.inbox.lock();
        let taken = inbox.taken;
        while inbox.finished < taken {
            self.shared.progress.wait(&mut inbox);
        }
        inbox.failed.take().map_or(Ok(()), Err)
    }

    fn close(&self) -> Result<(), StoreError> {
        self.shared.inbox.lock().closed = true;
        self.shared.work.notify_one();
        let flushed = self.flush();
        if let Some(writer) = self.writer.lock().take()
            && writer.join().is_err()
        {
            tracing::error!("the thread that writes kept messages has panicked");
        }
        *self.shared.db.lock() = None;
        flushed
    }
}

impl Inbox {
    fn take(&mut self, op: Op) {
        self.ops.push(op);
        self.taken += 1;
    }
}

/// Closes it, if that was not done: what was taken is written.
impl Drop for FileStore {
    fn drop(&mut self) {
        if let Err(error) = self.close() {
            tracing::warn!(error = %error, "kept messages could not all be written");
        }
    }
}

impl fmt::Debug for FileStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inbox = self.shared.inbox.lock();
        let (waiting, bytes) = (inbox.taken - inbox.finished, inbox.bytes);
        f.debug_struct("FileStore").field("waiting", &waiting).field("waiting_bytes", &bytes).finish_non_exhaustive()
    }
}

fn open_file(path: &PathBuf) -> Result<Database, StoreError> {
    Builder::new().set_cache_size(CACHE_BYTES).create(path).map_err(|error| match error {
        DatabaseError::DatabaseAlreadyOpen => StoreError::InUse { path: path.clone() },
        error => StoreError::Open { path: path.clone(), source: Arc::new(error) },
    })
}

fn read(db: &Database, f: &mut dyn FnMut(&str, u64, Bytes)) -> Result<(), redb::Error> {
    let table = match db.begin_read()?.open_table(KEPT) {
        Err(TableError::TableDoesNotExist(_)) => return Ok(()),
        table => table?,
    };
    for row in table.iter()? {
        let (key, record) = row?;
        let (queue, seq) = key.value();
        f(queue, seq, Bytes::copy_from_slice(record.value()));
    }
    Ok(())
}

const FILE: &str = "stampede.redb";

/// Queue and number give a record (see [`crate::mailbox::record`]).
const KEPT: TableDefinition<'_, (&str, u64), &[u8]> = TableDefinition::new("kept");

/// Read back once at the start and otherwise only written: redb's default of 1 GiB would be memory for nothing.
const CACHE_BYTES: usize = 8 << 20;

/// What a waiting append takes besides queue name and record; about the size of its structures.
const OP_OVERHEAD_BYTES: usize = 128;
