//! The relay over RabbitMQ.
//!
//! ```text
//! publisher: own connection, one channel, confirms        inbox: own connection, own queue and orphans
//! each ends with its connection, and begins again with a new one; what is unconfirmed is published again,
//! what is unacknowledged comes again
//! ```
//!
//! Nothing here exists per client or per subscription.

mod adopt;
mod connect;
mod inbox;
mod publisher;
mod reader;
mod topology;
pub mod work;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{AdoptError, Confirm, Inbox, Later, Relay, RelayError, Route};
use crate::config::cluster::RabbitMq;
use crate::ids::NodeId;
use crate::telemetry::{count, metrics};
use publisher::Command;
use topology::Topology;

/// How long the end of a node waits for confirms.
const CLOSE_WITHIN: Duration = Duration::from_secs(3);
/// How often the log repeats that there is no connection.
const COMPLAIN_EVERY: Duration = Duration::from_secs(10);

/// See the module.
pub struct AmqpRelay {
    inner: Arc<Inner>,
    commands: mpsc::UnboundedSender<Command>,
}

/// What the tasks share.
pub(crate) struct Inner {
    topology: Topology,
    node: NodeId,
    inbox: Arc<dyn Inbox>,
    send_timeout: Duration,
    publishing: AtomicBool,
    reading: AtomicBool,
    /// When the log said last that a connection is lost.
    complained: Mutex<HashMap<&'static str, Instant>>,
    /// The node's queue is to be read to its end.
    retire: CancellationToken,
    /// It is, or cannot be; nothing is read any more.
    retired: CancellationToken,
    /// The relay is no longer used.
    ended: CancellationToken,
}

impl AmqpRelay {
    /// Connects, declares the node's queue, and reads it. Waits for a broker that is not there yet.
    ///
    /// # Errors
    ///
    /// What no waiting would mend, in words that say what to change.
    pub async fn start(
        config: &RabbitMq,
        send_timeout: Duration,
        node: NodeId,
        inbox: Arc<dyn Inbox>,
    ) -> Result<Self, String> {
        let inner = Arc::new(Inner {
            topology: Topology::new(config.clone()),
            node,
            inbox,
            send_timeout,
            publishing: AtomicBool::new(false),
            reading: AtomicBool::new(false),
            complained: Mutex::default(),
            retire: CancellationToken::new(),
            retired: CancellationToken::new(),
            ended: CancellationToken::new(),
        });
        let (commands, received) = mpsc::unbounded_channel();
        // Ends the tasks when this fails, or is given up.
        let relay = Self { inner: Arc::clone(&inner), commands };
        let (reads, reading) = oneshot::channel();
        tokio::spawn(inbox::run(Arc::clone(&inner), reads));
        // In turn: what nobody reads yet would be an orphan.
        first(reading).await?;
        let (publishes, publishing) = oneshot::channel();
        tokio::spawn(publisher::run(inner, received, publishes));
        first(publishing).await?;
        Ok(relay)
    }
}

async fn first(ready: oneshot::Receiver<Result<(), String>>) -> Result<(), String> {
    ready.await.unwrap_or_else(|_| Err("the relay ended".into()))
}

impl Inner {
    fn lost(&self, what: &'static str, error: &str) {
        count(&metrics().relay_reconnects, what);
        let mut complained = self.complained.lock();
        if complained.get(what).is_none_or(|at| at.elapsed() >= COMPLAIN_EVERY) {
            complained.insert(what, Instant::now());
            tracing::warn!(connection = what, error, "the connection to RabbitMQ is lost, or there is none yet");
        }
    }

    fn found(&self, what: &'static str) {
        if self.complained.lock().remove(what).is_some() {
            tracing::info!(connection = what, "connected to RabbitMQ");
        }
    }
}

impl Drop for AmqpRelay {
    fn drop(&mut self) {
        self.inner.ended.cancel();
    }
}

impl Relay for AmqpRelay {
    fn publish(&self, route: Route, envelope: Bytes, done: Confirm) {
        let done: Confirm = Box::new(move |result| {
            let label = match &result {
                Ok(()) => "confirmed",
                Err(RelayError::Timeout(_)) => "timeout",
                Err(RelayError::Refused) => "refused",
                Err(_) => "failed",
            };
            count(&metrics().envelopes_published, label);
            done(result);
        });
        if let Err(mpsc::error::SendError(Command::Publish(_, _, done))) =
            self.commands.send(Command::Publish(route, envelope, done))
        {
            done(Err(RelayError::Closed));
        }
    }

    fn is_up(&self) -> bool {
        self.inner.publishing.load(Ordering::Acquire) && self.inner.reading.load(Ordering::Acquire)
    }

    fn adopt(&self, node: NodeId) -> Later<'_, Result<u64, AdoptError>> {
        Box::pin(async move { adopt::adopt(&self.inner, &node).await })
    }

    fn retire(&self) -> Later<'_, ()> {
        Box::pin(async move {
            self.inner.retire.cancel();
            self.inner.retired.cancelled().await;
        })
    }

    fn close(&self) -> Later<'_, ()> {
        Box::pin(async move {
            let (closed, waiting) = oneshot::channel();
            if self.commands.send(Command::Close(closed)).is_ok() {
                // It is dropped when the task has ended already.
                let _ended = waiting.await;
            }
            self.inner.ended.cancel();
        })
    }
}

impl fmt::Debug for AmqpRelay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AmqpRelay").field("node", &self.inner.node).finish_non_exhaustive()
    }
}
