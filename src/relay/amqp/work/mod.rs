//! Work queues as durable classic queues in RabbitMQ, one for each work destination.
//!
//! ```text
//! publisher: own connection, one channel, confirms     consumers: own connection, one channel for each destination
//! each connection is made when it is needed first, and made again whenever it is lost
//! ```
//!
//! Why classic and not quorum queues: both are durable, but a quorum queue counts every return as a failed delivery, also
//! one that a lost connection or the end of a subscription caused. RabbitMQ 4 drops a message after 20 of them unless the
//! queue says `x-delivery-limit = -1`, which 3.10 does not know; so one declaration cannot mean the same in both, and
//! neither counts what `keep.max_deliveries` is about, rejections by clients. A classic queue puts what comes back in its
//! old place in both, and counts nothing: rejections are counted by the nodes (`mailbox::work`), which give a message up
//! and say so in their metrics. What is lost by it: in a cluster of RabbitMQ servers a classic queue lives on one of them,
//! and is away while that one is.
//!
//! Limits are RabbitMQ's: `keep.max` and `keep.max_bytes` bound what waits, without what subscribers have and did not prove.

mod consumer;
mod lines;
mod publisher;
mod queue;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use lapin::Connection;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::cluster::RabbitMq;
use crate::ids::NodeId;
use crate::relay::work::{WorkConsumer, WorkQueue, WorkRelay, WorkSink};
use crate::relay::{Confirm, Later, RelayError};
use crate::telemetry::{count, metrics};
use consumer::Control;
use publisher::{Command, Offer};

/// How long the end of a node waits for confirms and settlements.
const CLOSE_WITHIN: Duration = Duration::from_secs(3);

/// See the module.
pub struct AmqpWork {
    inner: Arc<Inner>,
    offers: mpsc::UnboundedSender<Command>,
    connection: watch::Receiver<Option<Arc<Connection>>>,
    consumers: TaskTracker,
    stop: CancellationToken,
}

/// What the tasks share.
struct Inner {
    config: RabbitMq,
    node: NodeId,
    send_timeout: Duration,
    /// Rung by the first consumer.
    demand: Notify,
    sending: Complaint,
    reading: Complaint,
}

/// Says once that a connection is lost, and once that it is back.
struct Complaint {
    what: &'static str,
    lost: AtomicBool,
}

impl AmqpWork {
    /// Connects when there is something to do. To be called in a runtime.
    #[must_use]
    pub fn start(config: &RabbitMq, send_timeout: Duration, node: NodeId) -> Self {
        let inner = Arc::new(Inner {
            config: config.clone(),
            node,
            send_timeout,
            demand: Notify::new(),
            sending: Complaint { what: "work-publishing", lost: AtomicBool::new(false) },
            reading: Complaint { what: "work-reading", lost: AtomicBool::new(false) },
        });
        let (offers, received) = mpsc::unbounded_channel();
        tokio::spawn(publisher::run(Arc::clone(&inner), received));
        let (connected, connection) = watch::channel(None);
        let stop = CancellationToken::new();
        tokio::spawn(consumer::keep_connected(Arc::clone(&inner), connected, stop.clone()));
        Self { inner, offers, connection, consumers: TaskTracker::new(), stop }
    }
}

impl WorkRelay for AmqpWork {
    fn offer(&self, queue: &WorkQueue, record: Bytes, done: Confirm) {
        let offer = Offer::new(queue.clone(), record, done);
        if let Err(mpsc::error::SendError(Command::Offer(offer))) = self.offers.send(Command::Offer(offer)) {
            offer.end(Err(RelayError::Closed));
        }
    }

    fn consume(&self, queue: &WorkQueue, prefetch: u16, sink: Arc<dyn WorkSink>) -> WorkConsumer {
        let (control, controlled) = mpsc::unbounded_channel();
        let consumer = consumer::Consumer::new(Arc::clone(&self.inner), queue.clone(), prefetch, sink, controlled);
        self.consumers.spawn(consumer.run(self.connection.clone()));
        self.inner.demand.notify_one();
        WorkConsumer::new(move |prefetch| {
            // It ends only after this.
            let _told = control.send(Control::Widen(prefetch));
        })
    }

    fn close(&self) -> Later<'_, ()> {
        Box::pin(async move {
            let (closed, waiting) = oneshot::channel();
            let confirmed = async {
                if self.offers.send(Command::Close(closed)).is_ok() {
                    // It is dropped when nothing is left to confirm.
                    let _ended = waiting.await;
                }
            };
            self.consumers.close();
            let all = async { tokio::join!(confirmed, self.consumers.wait()) };
            drop(tokio::time::timeout(CLOSE_WITHIN, all).await);
            self.stop.cancel();
        })
    }
}

impl Drop for AmqpWork {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Complaint {
    fn lost(&self, error: &str) {
        count(&metrics().relay_reconnects, self.what);
        if !self.lost.swap(true, Ordering::AcqRel) {
            tracing::warn!(connection = self.what, error, "the connection to RabbitMQ is lost, or there is none yet");
        }
    }

    fn found(&self) {
        if self.lost.swap(false, Ordering::AcqRel) {
            tracing::info!(connection = self.what, "connected to RabbitMQ");
        }
    }
}

impl fmt::Debug for AmqpWork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AmqpWork").field("node", &self.inner.node).finish_non_exhaustive()
    }
}
