//! Kept destinations: messages that wait for receivers who are absent (mailboxes) or busy (work queues).
//!
//! [`queue`] decides what happens to the messages of one destination and knows neither clock nor store. What was accepted
//! lies in a [`KeepStore`] until its delivery is proved.

#[cfg(test)]
mod contract;
pub mod directory;
pub mod file;
pub mod memory;
pub mod queue;
pub mod record;
pub mod redis;
pub mod shared;
pub mod work;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use thiserror::Error;

/// Why a message is not kept; its sender is told.
#[derive(Debug, Clone, Error)]
pub enum Refused {
    /// The destination holds as many messages as it may.
    #[error("the destination already keeps {kept} messages that were not received yet; it may keep {max} (keep.max)")]
    Messages {
        /// How many it holds.
        kept: usize,
        /// How many it may hold.
        max: usize,
    },
    /// The destination holds so many bytes that this message does not fit.
    #[error(
        "the destination already keeps {kept_bytes} bytes that were not received yet, and the message has \
         {message_bytes}; it may keep {max_bytes} (keep.max_bytes)"
    )]
    Bytes {
        /// Size of the message.
        message_bytes: usize,
        /// How much it holds.
        kept_bytes: usize,
        /// How much it may hold.
        max_bytes: usize,
    },
    /// The message is larger than all that the destination may hold.
    #[error(
        "the message has {message_bytes} bytes, headers included; the destination may keep {max_bytes} (keep.max_bytes)"
    )]
    TooLarge {
        /// Size of the message.
        message_bytes: usize,
        /// How much the destination may hold.
        max_bytes: usize,
    },
    /// All kept destinations together hold as much as they may.
    #[error("this node already keeps {kept_bytes} bytes of messages; it may keep {max_bytes} (mailbox.max_bytes)")]
    NodeBytes {
        /// How much the node holds.
        kept_bytes: usize,
        /// How much it may hold.
        max_bytes: usize,
    },
    /// There are as many kept destinations as there may be.
    #[error("this node already has {kept} kept destinations in use; it may have {max} (mailbox.max_destinations)")]
    NodeDestinations {
        /// How many there are.
        kept: usize,
        /// How many there may be.
        max: usize,
    },
    /// The store could not take it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What can go wrong with a store.
#[derive(Debug, Clone, Error)]
pub enum StoreError {
    /// More waits to be written than may.
    #[error(
        "{waiting_bytes} bytes of kept messages already wait for the disk; {max_bytes} may (mailbox.write_buffer); \
         send again later"
    )]
    Busy {
        /// How much waits.
        waiting_bytes: usize,
        /// How much may wait.
        max_bytes: usize,
    },
    /// Another process has the store open.
    #[error("{} is in use by another process; every node needs a data_dir of its own, and only one may run on it", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// The store could not be opened.
    #[error("cannot open the store of kept messages {}", path.display())]
    Open {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: Arc<dyn std::error::Error + Send + Sync>,
    },
    /// Redis, which holds the store, did not answer lately.
    #[error("Redis does not answer, and what must be kept is not put at risk; send again later")]
    Away,
    /// Reading or writing failed.
    #[error("the store of kept messages failed")]
    Failed(#[source] Arc<dyn std::error::Error + Send + Sync>),
    /// A stored record is no message.
    #[error("the store holds a message for {queue} (number {seq}) that cannot be read")]
    Unreadable {
        /// The destination it was kept for.
        queue: String,
        /// Its number there.
        seq: u64,
        /// What is wrong with it.
        source: record::RecordError,
    },
    /// The store was closed.
    #[error("the store of kept messages is closed")]
    Closed,
}

/// Called once, when an append is durable or has failed. It may run on the store's own thread or before `append` returns,
/// while a queue is locked: it hands the result on and does nothing else.
pub type Completion = Box<dyn FnOnce(Result<(), StoreError>) + Send>;

/// A durable log behind the queues: what is appended and not removed is there again after a crash.
///
/// Calls for one queue take effect in the order in which they were made.
pub trait KeepStore: Send + Sync + fmt::Debug {
    /// Takes one record; never waits. `done` is called when it is durable.
    ///
    /// # Errors
    ///
    /// When the record was not taken at all, [`StoreError::Busy`] above all; `done` is not called then.
    fn append(&self, queue: &str, seq: u64, record: Bytes, done: Completion) -> Result<(), StoreError>;

    /// Forgets records, some time soon; never waits. After a crash a record may be back whose removal was not written
    /// yet: it is then delivered twice, with the same `message-id`.
    ///
    /// What waits here is bounded by what is kept: a record is removed once.
    fn remove(&self, queue: &str, seqs: &[u64]);

    /// Calls `f` with every record, ordered by queue and number. Blocks; for the start of a node.
    ///
    /// # Errors
    ///
    /// When the store cannot be read; `f` may have seen some records then.
    fn load(&self, f: &mut dyn FnMut(&str, u64, Bytes)) -> Result<(), StoreError>;

    /// Waits until all that was taken so far is durable. Blocks; not for async tasks.
    ///
    /// # Errors
    ///
    /// When something could not be written since the last call.
    fn flush(&self) -> Result<(), StoreError>;

    /// Makes all durable and lets go of the store; whatever is appended afterwards is refused. Blocks.
    ///
    /// # Errors
    ///
    /// When something could not be written since the last flush.
    fn close(&self) -> Result<(), StoreError>;
}
