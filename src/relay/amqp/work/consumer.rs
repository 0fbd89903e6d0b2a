//! Takes messages of work queues: one connection for all of them, one channel for each.

use std::collections::HashSet;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use lapin::options::{BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicQosOptions, BasicRejectOptions};
use lapin::types::{FieldTable, ShortString};
use lapin::{Channel, Connection, Event};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::Inner;
use super::queue::{self, Undeclared};
use crate::relay::RelayError;
use crate::relay::amqp::connect::{Backoff, connect};
use crate::relay::work::{Verdict, WorkDelivery, WorkQueue, WorkSink};

/// How long a queue that was refused is left alone.
const PAUSE: Duration = Duration::from_secs(2);
/// How often a silent connection is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(250);

type Connected = watch::Receiver<Option<Arc<Connection>>>;

/// Keeps a connection for the consumers from the first one on, until `stop`.
pub(super) async fn keep_connected(
    inner: Arc<Inner>,
    connected: watch::Sender<Option<Arc<Connection>>>,
    stop: CancellationToken,
) {
    tokio::select! {
        () = inner.demand.notified() => {}
        () = stop.cancelled() => return,
    }
    let mut backoff = Backoff::default();
    loop {
        let work = async {
            let error = match connect(&inner.config, &inner.node, "reads work").await {
                Ok(connection) => {
                    backoff = Backoff::default();
                    let connection = Arc::new(connection);
                    inner.reading.found();
                    // Before anybody uses it: a listener hears only of what comes later.
                    let events = connection.events_listener();
                    connected.send_replace(Some(Arc::clone(&connection)));
                    lost(&connection, events).await
                }
                Err(trouble) => trouble.text().to_owned(),
            };
            connected.send_replace(None);
            inner.reading.lost(&error);
            backoff.pause().await;
        };
        tokio::select! {
            () = work => {}
            () = stop.cancelled() => break,
        }
    }
    if let Some(connection) = connected.send_replace(None) {
        drop(tokio::time::timeout(Duration::from_secs(1), connection.close(200, "done".into())).await);
    }
}

/// Ends with the connection, and says why. An error of one channel is not the end.
async fn lost(connection: &Connection, events: impl Stream<Item = Event>) -> String {
    let mut events = pin!(events);
    loop {
        let event = tokio::time::timeout(LOOK_EVERY, events.next()).await;
        if connection.status().connected() && !matches!(event, Ok(None)) {
            continue;
        }
        return match event {
            Ok(Some(Event::Error(error))) => error.to_string(),
            _ => "the connection ended".into(),
        };
    }
}

/// What a consumer is told; it ends when nobody can tell it anything any more.
pub(super) enum Control {
    Widen(u16),
}

/// Takes messages of one queue.
pub(super) struct Consumer {
    inner: Arc<Inner>,
    queue: WorkQueue,
    name: ShortString,
    prefetch: u16,
    sink: Arc<dyn WorkSink>,
    control: mpsc::UnboundedReceiver<Control>,
}

enum End {
    Lost(String),
    Cancelled,
}

impl Consumer {
    pub(super) fn new(
        inner: Arc<Inner>,
        queue: WorkQueue,
        prefetch: u16,
        sink: Arc<dyn WorkSink>,
        control: mpsc::UnboundedReceiver<Control>,
    ) -> Self {
        let name = queue::name(&inner.config.work_queue_prefix, &queue.destination);
        Self { inner, queue, name, prefetch, sink, control }
    }

    pub(super) async fn run(mut self, mut connected: Connected) {
        let mut backoff = Backoff::default();
        loop {
            let Some(connection) = self.connection(&mut connected).await else { return };
            let inner = Arc::clone(&self.inner);
            let within = inner.config.connect_timeout;
            let opened = tokio::time::timeout(within, self.open(&connection)).await;
            let opened = opened.unwrap_or_else(|_| Err(Undeclared::Passing("the broker does not answer".into())));
            let ended = match opened {
                Ok((channel, consumer)) => {
                    backoff = Backoff::default();
                    self.sink.opened(Ok(()));
                    let end = self.serve(&channel, consumer).await;
                    if let End::Cancelled = end {
                        // What is not settled goes back to its place in the queue with the channel.
                        drop(tokio::time::timeout(within, channel.close(200, "done".into())).await);
                        return;
                    }
                    self.sink.interrupted();
                    end
                }
                Err(refused @ Undeclared::Refused(_)) => {
                    self.sink.opened(Err(refused.error()));
                    if self.told_to_end(tokio::time::sleep(PAUSE)).await {
                        return;
                    }
                    continue;
                }
                Err(Undeclared::Passing(error)) => End::Lost(error),
            };
            if let End::Lost(error) = ended {
                tracing::debug!(queue = self.name.as_str(), error, "a work queue is not read; it is tried again");
            }
            drop(connection);
            if self.told_to_end(backoff.pause()).await {
                return;
            }
        }
    }

    /// The connection, as soon as there is one; none when nobody wants messages any more.
    async fn connection(&mut self, connected: &mut Connected) -> Option<Arc<Connection>> {
        let timeout = self.inner.send_timeout;
        loop {
            let waiting = async {
                let connection = connected.wait_for(|connection| {
                    connection.as_ref().is_some_and(|connection| connection.status().connected())
                });
                connection.await.map(|connection| connection.clone())
            };
            tokio::select! {
                connection = waiting => return connection.ok().flatten(),
                control = self.control.recv() => match control {
                    Some(Control::Widen(prefetch)) => self.prefetch = prefetch,
                    None => return None,
                },
                () = tokio::time::sleep(timeout) => self.sink.opened(Err(RelayError::Timeout(timeout))),
            }
        }
    }

    /// Waits, and says whether nobody wants messages any more.
    async fn told_to_end(&mut self, pause: impl Future<Output = ()>) -> bool {
        let mut pause = pin!(pause);
        loop {
            tokio::select! {
                () = &mut pause => return false,
                control = self.control.recv() => match control {
                    Some(Control::Widen(prefetch)) => self.prefetch = prefetch,
                    None => return true,
                },
            }
        }
    }

    async fn open(&self, connection: &Connection) -> Result<(Channel, lapin::Consumer), Undeclared> {
        queue::declare(connection, &self.inner.config.work_queue_prefix, &self.queue).await?;
        let opening = async {
            let channel = connection.create_channel().await?;
            let consumer = self.begin(&channel, self.prefetch).await?;
            Ok::<_, lapin::Error>((channel, consumer))
        };
        opening.await.map_err(|error| Undeclared::Passing(error.to_string()))
    }

    async fn begin(&self, channel: &Channel, prefetch: u16) -> lapin::Result<lapin::Consumer> {
        channel.basic_qos(prefetch, BasicQosOptions::default()).await?;
        let options = BasicConsumeOptions::default();
        channel.basic_consume(self.name.clone(), "".into(), options, FieldTable::default()).await
    }

    async fn serve(&mut self, channel: &Channel, mut consumer: lapin::Consumer) -> End {
        let (settle, mut settled) = mpsc::unbounded_channel();
        let mut open = Open { unsettled: HashSet::new(), prefetch: self.prefetch, settle };
        loop {
            let mut rejected = Vec::new();
            let result = tokio::select! {
                // Settled first: it makes room, and what was proved before the end must be told.
                biased;
                Some(first) = settled.recv() => {
                    let more = std::iter::from_fn(|| settled.try_recv().ok());
                    open.settle(channel, std::iter::once(first).chain(more), &mut rejected).await
                }
                control = self.control.recv() => match control {
                    Some(Control::Widen(prefetch)) => {
                        self.prefetch = prefetch;
                        Ok(())
                    }
                    None => {
                        let rest = std::iter::from_fn(|| settled.try_recv().ok());
                        // What could not be told comes again.
                        let _told = open.settle(channel, rest, &mut rejected).await;
                        return End::Cancelled;
                    }
                },
                delivery = consumer.next() => match delivery {
                    Some(Ok(delivery)) => {
                        self.deliver(delivery, &mut open);
                        Ok(())
                    }
                    Some(Err(error)) => Err(error),
                    // With no other sign.
                    None => return End::Lost("the queue was deleted".into()),
                },
            };
            let room = self.room(&open);
            let again = result.is_ok() && (!rejected.is_empty() || room / 2 >= open.prefetch);
            let result = match result {
                Ok(()) if again => self.begin_again(channel, &mut consumer, &mut open, &rejected).await,
                result => result,
            };
            if let Err(error) = result {
                return End::Lost(error.to_string());
            }
        }
    }

    fn deliver(&self, delivery: lapin::message::Delivery, open: &mut Open) {
        let (tag, settle) = (delivery.delivery_tag, open.settle.clone());
        open.unsettled.insert(tag);
        let settle = WorkDelivery::new(move |verdict| {
            // Whoever reads it may have ended: then the broker hands the message out again.
            let _told = settle.send((tag, verdict));
        });
        self.sink.deliver(Bytes::from(delivery.data), delivery.redelivered, settle);
    }

    /// How many more may come.
    fn room(&self, open: &Open) -> u16 {
        self.prefetch.saturating_sub(u16::try_from(open.unsettled.len()).unwrap_or(u16::MAX))
    }

    /// Ends the consumer and begins a new one. What is rejected in between comes to any other consumer before it comes here
    /// again. The prefetch of a consumer never changes, and what an earlier one has does not count towards it.
    async fn begin_again(
        &self,
        channel: &Channel,
        consumer: &mut lapin::Consumer,
        open: &mut Open,
        rejected: &[u64],
    ) -> lapin::Result<()> {
        channel.basic_cancel(consumer.tag(), BasicCancelOptions::default()).await?;
        while let Some(delivery) = consumer.next().await {
            self.deliver(delivery?, open);
        }
        for tag in rejected {
            open.give_back(channel, *tag).await?;
        }
        // 0 would be without a limit.
        open.prefetch = self.room(open).max(1);
        *consumer = self.begin(channel, open.prefetch).await?;
        Ok(())
    }
}

/// What a channel was given.
struct Open {
    unsettled: HashSet<u64>,
    /// Of the consumer there is now.
    prefetch: u16,
    settle: mpsc::UnboundedSender<(u64, Verdict)>,
}

impl Open {
    async fn settle(
        &mut self,
        channel: &Channel,
        settled: impl Iterator<Item = (u64, Verdict)>,
        rejected: &mut Vec<u64>,
    ) -> lapin::Result<()> {
        for (tag, verdict) in settled {
            match verdict {
                Verdict::Ack => {
                    channel.basic_ack(tag, BasicAckOptions::default()).await?;
                    self.unsettled.remove(&tag);
                }
                Verdict::Reject => rejected.push(tag),
                Verdict::GiveBack => self.give_back(channel, tag).await?,
            }
        }
        Ok(())
    }

    async fn give_back(&mut self, channel: &Channel, tag: u64) -> lapin::Result<()> {
        self.unsettled.remove(&tag);
        channel.basic_reject(tag, BasicRejectOptions { requeue: true }).await
    }
}
