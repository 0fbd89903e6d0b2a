//! Carries envelopes between nodes: [`Relay`] out, [`Inbox`] in. What is in an envelope is none of this room's business.
//!
//! ```text
//! publish(route, envelope) --> exchanges --> queue of each node --> Inbox::deliver(envelope, token)
//!         done <-- confirmed                                              token dropped --> acknowledged
//! ```
//!
//! What always holds: envelopes of one node reach each other node in the order of the calls, though one may come again
//! after a failure; an envelope that was confirmed lies in the queue of every node it was for, or among the orphans, until
//! its token was dropped.

pub mod amqp;
pub mod work;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use thiserror::Error;

use crate::ids::NodeId;

/// An answer that comes later.
pub type Later<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Called once: the envelope is confirmed, or will not be. It hands the result on and does nothing else.
pub type Confirm = Box<dyn FnOnce(Result<(), RelayError>) + Send>;

/// For whom an envelope is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Route {
    /// Every node, the one that publishes included.
    Everyone,
    /// These nodes; not empty. What no queue takes becomes an orphan.
    Nodes(Vec<NodeId>),
}

/// Why an envelope was not confirmed. It may have arrived all the same.
#[derive(Debug, Clone, Error)]
pub enum RelayError {
    /// No confirm came in time (`relay.send_timeout`).
    #[error("the relay between the nodes did not confirm it within {0:?} (relay.send_timeout)")]
    Timeout(std::time::Duration),
    /// The broker refused it.
    #[error("the relay between the nodes refused it")]
    Refused,
    /// The node ends.
    #[error("this node is shutting down")]
    Closed,
    /// More waits than may.
    #[error(
        "{waiting_bytes} octets already wait for the relay between the nodes; {limit} may (relay.buffer_size_limit)"
    )]
    Full {
        /// How much waits.
        waiting_bytes: usize,
        /// How much may.
        limit: usize,
    },
    /// The connection or the broker failed.
    #[error("the relay between the nodes failed: {0}")]
    Failed(Arc<str>),
}

/// Why the queue of a dead node was not adopted.
#[derive(Debug, Clone, Error)]
pub enum AdoptError {
    /// Somebody reads it: the node lives, or another one adopts it.
    #[error("the queue is read by somebody")]
    InUse,
    /// It could not be read to its end; what was acknowledged is gone from it, the rest stays.
    #[error("the relay between the nodes failed: {0}")]
    Failed(Arc<str>),
}

/// Where an envelope came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The node's own queue.
    Own,
    /// The queue of a node that is dead.
    Adopted,
    /// The orphans: no queue took it, or it waited too long in one.
    Orphans,
}

/// Publishes envelopes and looks after queues.
pub trait Relay: Send + Sync + fmt::Debug {
    /// Publishes one envelope; never waits. The caller bounds how many are open. Survives any failure of the connection:
    /// what is unconfirmed is published again, in order, until its time is up.
    fn publish(&self, route: Route, envelope: Bytes, done: Confirm);

    /// Whether envelopes can leave now, as far as is known: connected and not blocked by the broker.
    fn is_up(&self) -> bool;

    /// Reads the queue of a dead node to its end, through the [`Inbox`], waits until every token is dropped, and deletes
    /// the queue. Gives the number of envelopes; 0 also when there is no such queue. Safe to be called by several nodes.
    ///
    /// # Errors
    ///
    /// [`AdoptError::InUse`] when somebody reads it.
    fn adopt(&self, node: NodeId) -> Later<'_, Result<u64, AdoptError>>;

    /// Takes this node's queue out of the exchanges, reads it to its end and deletes it: nothing is delivered afterwards.
    fn retire(&self) -> Later<'_, ()>;

    /// Waits for open confirms, at most a few seconds, and ends the connections.
    fn close(&self) -> Later<'_, ()>;
}

/// Takes what comes from other nodes.
pub trait Inbox: Send + Sync + fmt::Debug {
    /// One envelope; must not wait. It is acknowledged when the last clone of the token is dropped.
    fn deliver(&self, envelope: Bytes, source: Source, token: Token);

    /// The node's queue is read again after an interruption, or may have lost something: what can be looked up should be.
    fn resumed(&self);
}

/// Stands for an envelope that is being worked on. When the last clone is dropped it counts as done.
#[derive(Clone)]
pub struct Token {
    _done: Arc<OnDrop>,
}

struct OnDrop(Option<Box<dyn FnOnce() + Send + Sync>>);

impl Token {
    /// A token that calls `done` when the last clone is gone.
    #[must_use]
    pub fn new(done: impl FnOnce() + Send + Sync + 'static) -> Self {
        Self { _done: Arc::new(OnDrop(Some(Box::new(done)))) }
    }
}

impl Drop for OnDrop {
    fn drop(&mut self) {
        if let Some(done) = self.0.take() {
            done();
        }
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}
