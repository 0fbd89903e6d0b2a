//! Work queues between nodes: a message lies in one queue for all nodes until somebody has proved it.
//!
//! ```text
//! offer(queue, record) --> the queue --> WorkSink::deliver on exactly one node --> ack: gone
//!       done <-- confirmed                                                    --> reject, dropped: in the queue again
//! ```

#[cfg(test)]
pub(crate) mod memory;

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use super::{Confirm, Later, RelayError};
use crate::config::mailbox::Keep;

/// Queues that all nodes share.
pub trait WorkRelay: Send + Sync + fmt::Debug {
    /// Puts a message into its queue; never waits. The caller bounds how much is open. It survives any failure of the
    /// connection: what is unconfirmed is offered again, in order, until its time is up.
    fn offer(&self, queue: &WorkQueue, record: Bytes, done: Confirm);

    /// Begins to take messages, at most `prefetch` unsettled ones at a time. It goes on after every interruption until the
    /// result is dropped; what is unsettled then goes back to its place in the queue.
    fn consume(&self, queue: &WorkQueue, prefetch: u16, sink: Arc<dyn WorkSink>) -> WorkConsumer;

    /// Waits for open confirms and settlements, at most a few seconds, and ends the connections.
    fn close(&self) -> Later<'_, ()>;
}

/// One queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkQueue {
    /// Whose messages it holds.
    pub destination: Box<str>,
    /// How many of them, and for how long.
    pub keep: Keep,
}

/// Takes what a node is given of a queue. Nothing here may wait.
pub trait WorkSink: Send + Sync {
    /// Messages will come from now on, for the first time or again; or they cannot come, which may be better later. After
    /// [`RelayError::Timeout`] nothing is wrong with the queue: nobody has answered yet.
    fn opened(&self, result: Result<(), RelayError>);

    /// One message. `redelivered` when somebody may have received it before.
    fn deliver(&self, record: Bytes, redelivered: bool, delivery: WorkDelivery);

    /// What was delivered so far is in the queue again: settling it has no effect.
    fn interrupted(&self);
}

/// How a delivery ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Proved, or given up: the message is gone.
    Ack,
    /// Somebody could do nothing with it.
    Reject,
    /// Nobody has seen it, or whoever has is gone.
    GiveBack,
}

/// One message that a node has of a queue; given back when it is dropped.
pub struct WorkDelivery(Option<Box<dyn FnOnce(Verdict) + Send>>);

impl WorkDelivery {
    /// `settle` is called once; it hands the verdict on and does nothing else.
    #[must_use]
    pub fn new(settle: impl FnOnce(Verdict) + Send + 'static) -> Self {
        Self(Some(Box::new(settle)))
    }

    /// The message is done.
    pub fn ack(mut self) {
        self.settle(Verdict::Ack);
    }

    /// The message goes back, for anybody else if there is somebody.
    pub fn reject(mut self) {
        self.settle(Verdict::Reject);
    }

    fn settle(&mut self, verdict: Verdict) {
        if let Some(settle) = self.0.take() {
            settle(verdict);
        }
    }
}

impl Drop for WorkDelivery {
    fn drop(&mut self) {
        self.settle(Verdict::GiveBack);
    }
}

impl fmt::Debug for WorkDelivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WorkDelivery")
    }
}

/// Somebody takes messages of a queue until this is dropped.
pub struct WorkConsumer {
    widen: Box<dyn Fn(u16) + Send + Sync>,
}

impl WorkConsumer {
    /// `widen` is told of a larger prefetch, and its drop ends the consumer.
    #[must_use]
    pub fn new(widen: impl Fn(u16) + Send + Sync + 'static) -> Self {
        Self { widen: Box::new(widen) }
    }

    /// Takes more at a time from now on.
    pub fn widen(&self, prefetch: u16) {
        (self.widen)(prefetch);
    }
}

impl fmt::Debug for WorkConsumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WorkConsumer")
    }
}
