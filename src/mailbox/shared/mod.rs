//! Mailboxes that all nodes share: the messages lie in one store, and each node holds what its own subscribers are owed.

mod directory;
mod mine;

use std::fmt;

use bytes::Bytes;

use super::{Refused, StoreError};
use crate::config::mailbox::Keep;
use crate::ids::Boot;
use crate::relay::Later;

pub use directory::{SharedKept, Waiter};

/// One message to be kept.
#[derive(Debug, Clone)]
pub struct Append {
    /// The destination that keeps it.
    pub queue: Box<str>,
    /// The message, see [`super::record`].
    pub record: Bytes,
    /// When it was sent, in Unix milliseconds: it expires `keep.age` later.
    pub sent_at: u64,
    /// How much the destination keeps.
    pub keep: Keep,
}

/// A message is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Appended {
    /// Its number: one more than that of the message before it in the same destination.
    pub seq: u64,
    /// The runs that had the destination open at that moment. May hold runs that are dead.
    pub readers: Vec<Boot>,
}

/// What a destination keeps.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contents {
    /// The number that the next message gets.
    pub next_seq: u64,
    /// Messages with lower numbers were handed to somebody before, who may have received them.
    pub handed: u64,
    /// Number and record of each, in ascending order.
    pub entries: Vec<(u64, Bytes)>,
}

/// Keeps messages for all nodes. Numbers of a destination are never used twice as long as it holds a message or is open
/// anywhere. Every call is safe to be made twice; an append that is repeated may keep a message twice.
pub trait SharedStore: Send + Sync + fmt::Debug {
    /// Keeps messages in order, in one round trip. Each is atomic: whoever has the destination open at that moment is among
    /// the readers, and whoever opens it later finds the message.
    fn append(&self, appends: Vec<Append>) -> Later<'_, Vec<Result<Appended, Refused>>>;

    /// Makes the run a reader of the destination and tells what it keeps, in one atomic step.
    fn open<'a>(&'a self, queue: &'a str, boot: &'a Boot) -> Later<'a, Result<Contents, StoreError>>;

    /// The run has no subscriber any more; messages with numbers below `handed` were handed to one.
    fn close<'a>(&'a self, queue: &'a str, boot: &'a Boot, handed: u64) -> Later<'a, Result<(), StoreError>>;

    /// Forgets messages.
    fn remove<'a>(&'a self, removals: &'a [(Box<str>, Vec<u64>)]) -> Later<'a, Result<(), StoreError>>;

    /// Takes a dead run out of the readers of all destinations. What it left there counts as handed out: nobody knows.
    fn forget<'a>(&'a self, boot: &'a Boot) -> Later<'a, Result<(), StoreError>>;
}
