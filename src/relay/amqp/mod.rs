//! The relay over RabbitMQ.
//!
//! ```text
//! publisher: own connection, one channel, confirms        inbox: own connection, own queue and orphans
//! each ends with its connection, and begins again with a new one; what is unconfirmed is published again,
//! what is unacknowledged comes again
//! ```
//!
//! Nothing here exists per client or per subscription.

mod connect;
mod inbox;
mod publisher;
mod reader;
mod topology;
pub mod work;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};

use super::{AdoptError, Confirm, Inbox, Later, Relay, RelayError, Route};
use crate::config::cluster::RabbitMq;
use crate::ids::NodeId;
use crate::telemetry::{count, metrics};
use publisher::Command;
use topology::Topology;

/// How long the end of a node waits for confirms.
const CLOSE_WITHIN: Duration = Duration::from_secs(3);

/// See the module.
pub struct AmqpRelay {
    inner: Arc<Inner>,
    commands: mpsc::UnboundedSender<Command>,
    retire: Mutex<Option<oneshot::Sender<oneshot::Sender<()>>>>,
}

/// What the tasks share.
pub(crate) struct Inner {
    topology: Topology,
    node: NodeId,
    inbox: Arc<dyn Inbox>,
    send_timeout: Duration,
    publishing: AtomicBool,
    reading: AtomicBool,
    /// The log has said that a connection is lost: once until it is back.
    complained: Mutex<Vec<&'static str>>,
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
        });
        let (commands, received) = mpsc::unbounded_channel();
        let (retire, retired) = oneshot::channel();
        let (reads, reading) = oneshot::channel();
        tokio::spawn(inbox::run(Arc::clone(&inner), reads, retired));
        // In turn: what nobody reads yet would be an orphan.
        first(reading).await?;
        let (publishes, publishing) = oneshot::channel();
        tokio::spawn(publisher::run(Arc::clone(&inner), received, publishes));
        first(publishing).await?;
        Ok(Self { inner, commands, retire: Mutex::new(Some(retire)) })
    }
}

async fn first(ready: oneshot::Receiver<Result<(), String>>) -> Result<(), String> {
    ready.await.unwrap_or_else(|_| Err("the relay ended".into())).map_err(|error| {
        format!(
            "{error}. Look at user, password and virtual host of rabbitmq.url; where an exchange or a queue is declared \
             otherwise already, delete it or choose other names in [rabbitmq]"
        )
    })
}

impl Inner {
    fn lost(&self, what: &'static str, error: &str) {
        count(&metrics().relay_reconnects, what);
        let mut complained = self.complained.lock();
        if !complained.contains(&what) {
            complained.push(what);
            tracing::warn!(connection = what, error, "the connection to RabbitMQ is lost, or there is none yet");
        }
    }

    fn found(&self, what: &'static str) {
        let mut complained = self.complained.lock();
        if complained.contains(&what) {
            complained.retain(|other| *other != what);
            tracing::info!(connection = what, "connected to RabbitMQ");
        }
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
        Box::pin(async move { inbox::adopt(&self.inner, &node).await })
    }

    fn retire(&self) -> Later<'_, ()> {
        Box::pin(async move {
            let Some(retire) = self.retire.lock().take() else { return };
            let (retired, waiting) = oneshot::channel();
            if retire.send(retired).is_ok() {
                // It is dropped when the connection is lost meanwhile.
                let _ended = waiting.await;
            }
        })
    }

    fn close(&self) -> Later<'_, ()> {
        Box::pin(async move {
            let (closed, waiting) = oneshot::channel();
            if self.commands.send(Command::Close(closed)).is_ok() {
                drop(tokio::time::timeout(CLOSE_WITHIN, waiting).await);
            }
        })
    }
}

impl fmt::Debug for AmqpRelay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AmqpRelay").field("node", &self.inner.node).finish_non_exhaustive()
    }
}
