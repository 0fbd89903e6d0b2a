//! One task owns the publishing channel. What is not confirmed stays in the [`Lines`] and is published again, in order, on
//! the next connection.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::ShortString;
use lapin::{BasicProperties, Channel, Confirmation, Connection, Event};
use tokio::sync::{mpsc, oneshot};

use super::Inner;
use super::lines::{Lines, Sending};
use super::queue::{self, Undeclared};
use crate::relay::RelayError;
use crate::relay::amqp::connect::{Backoff, Trouble, connect};

pub(super) use super::lines::Offer;

/// How often messages are looked at that wait too long, and queues that were not declared are tried again.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Messages that wait for the broker's confirm.
const WINDOW: usize = 256;

/// What the publisher is told.
pub(super) enum Command {
    Offer(Offer),
    /// No more is coming: end when everything is confirmed.
    Close(oneshot::Sender<()>),
}

enum End {
    Lost(String),
    Closed,
}

type Later<T> = Pin<Box<dyn Future<Output = T> + Send>>;
type Confirmed = (Sending, lapin::Result<Confirmation>);
type Declared = (Box<str>, Result<(), Undeclared>);

/// The publisher's own state, connection or not.
struct Publisher {
    inner: Arc<Inner>,
    commands: mpsc::UnboundedReceiver<Command>,
    lines: Lines,
    closing: Option<oneshot::Sender<()>>,
}

/// Publishes as long as the node runs.
pub(super) async fn run(inner: Arc<Inner>, commands: mpsc::UnboundedReceiver<Command>) {
    let mut publisher = Publisher { inner, commands, lines: Lines::default(), closing: None };
    let mut backoff = Backoff::default();
    // Nodes without work queues need no connection for them.
    let first = publisher.commands.recv().await;
    publisher.take(first);
    while !publisher.is_done() {
        let inner = Arc::clone(&publisher.inner);
        let Some(opened) = publisher.meanwhile(open(&inner)).await else { return };
        let end = match opened {
            Ok((connection, channel)) => {
                let connection = Arc::new(connection);
                backoff = Backoff::default();
                inner.sending.found();
                let end = publisher.serve(&connection, &channel).await;
                publisher.lines.connection_lost();
                // A lost connection closes itself.
                drop(tokio::time::timeout(Duration::from_secs(1), connection.close(200, "done".into())).await);
                end
            }
            Err(trouble) => End::Lost(trouble.text().to_owned()),
        };
        match end {
            End::Closed => return,
            End::Lost(error) => inner.sending.lost(&error),
        }
        if publisher.meanwhile(backoff.pause()).await.is_none() {
            return;
        }
    }
}

async fn open(inner: &Inner) -> Result<(Connection, Channel), Trouble> {
    let connection = connect(&inner.config, &inner.node, "publishes work").await?;
    let opening = async {
        let channel = connection.create_channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        Ok::<_, lapin::Error>(channel)
    };
    match tokio::time::timeout(inner.config.connect_timeout, opening).await {
        Ok(channel) => Ok((connection, channel?)),
        Err(_) => Err(Trouble::Passing("the broker does not answer".into())),
    }
}

impl Publisher {
    /// Waits for something and takes commands meanwhile; nothing when the end came first.
    async fn meanwhile<T>(&mut self, what: impl Future<Output = T>) -> Option<T> {
        let mut what = pin!(what);
        loop {
            tokio::select! {
                done = &mut what => return Some(done),
                command = self.commands.recv(), if self.closing.is_none() => self.take(command),
                () = tokio::time::sleep(LOOK_EVERY) => self.lines.give_up(self.inner.send_timeout),
            }
            if self.is_done() {
                return None;
            }
        }
    }

    async fn serve(&mut self, connection: &Arc<Connection>, channel: &Channel) -> End {
        let mut events = pin!(connection.events_listener());
        let mut confirms: FuturesUnordered<Later<Confirmed>> = FuturesUnordered::new();
        let mut declarations: FuturesUnordered<Later<Declared>> = FuturesUnordered::new();
        let mut blocked = connection.status().blocked();
        let mut look = tokio::time::interval(LOOK_EVERY);
        loop {
            // On a blocked connection nothing is written at all, so what is given to it could only pile up.
            if !blocked {
                while let Some(queue) = self.lines.next_undeclared() {
                    let (inner, connection) = (Arc::clone(&self.inner), Arc::clone(connection));
                    declarations.push(Box::pin(async move {
                        let declaring = queue::declare(&connection, &inner.config.work_queue_prefix, &queue);
                        let declared = tokio::time::timeout(inner.config.connect_timeout, declaring).await;
                        let late = || Err(Undeclared::Passing("the broker does not answer".into()));
                        (queue.destination.clone(), declared.unwrap_or_else(|_| late()))
                    }));
                }
                while confirms.len() < WINDOW
                    && let Some(next) = self.begin_next(channel)
                {
                    let begun = begun(next).await;
                    confirms.push(begun);
                }
            }
            tokio::select! {
                Some((sending, confirmed)) = confirms.next(), if !confirms.is_empty() => match confirmed {
                    Ok(confirmation) => self.confirmed(&sending, confirmation),
                    Err(error) => return End::Lost(error.to_string()),
                },
                Some((destination, declared)) = declarations.next(), if !declarations.is_empty() => match declared {
                    Err(Undeclared::Passing(error)) if !connection.status().connected() => return End::Lost(error),
                    declared => self.lines.declared(&destination, declared),
                },
                event = events.next() => match event {
                    Some(Event::ConnectionBlocked(reason)) => {
                        blocked = true;
                        tracing::warn!(reason, "RabbitMQ takes no messages for work queues; senders wait");
                    }
                    Some(Event::ConnectionUnblocked) => {
                        blocked = false;
                        tracing::info!("RabbitMQ takes messages for work queues again");
                    }
                    Some(Event::Error(error)) if !connection.status().connected() => return End::Lost(error.to_string()),
                    // Of a channel on which a queue was declared in vain.
                    Some(_) => {}
                    None => return End::Lost("the connection ended".into()),
                },
                command = self.commands.recv(), if self.closing.is_none() => self.take(command),
                _ = look.tick() => {
                    self.lines.give_up(self.inner.send_timeout);
                    if !connection.status().connected() || !channel.status().connected() {
                        return End::Lost("the channel ended".into());
                    }
                }
            }
            if self.is_done() {
                return End::Closed;
            }
        }
    }

    fn begin_next(&mut self, channel: &Channel) -> Option<Later<Confirmed>> {
        let (sending, offer) = self.lines.next_to_send()?;
        let name = queue::name(&self.inner.config.work_queue_prefix, &offer.queue.destination);
        Some(begin(channel, name, sending, offer))
    }

    fn confirmed(&mut self, sending: &Sending, confirmation: Confirmation) {
        // A return can be attached to the confirm of another message; what it says about itself is right.
        let (refused, returned) = match confirmation {
            Confirmation::Ack(returned) => (false, returned),
            Confirmation::Nack(returned) => (true, returned),
            Confirmation::NotRequested => (false, None),
        };
        let id = returned.as_ref().and_then(|returned| returned.delivery.properties.message_id().as_ref());
        if let Some(gone) = id.and_then(|id| Sending::parse(id.as_str())) {
            self.lines.returned(&gone);
        }
        self.lines.settle(sending, if refused { Err(RelayError::Refused) } else { Ok(()) });
    }

    fn take(&mut self, command: Option<Command>) {
        match command {
            Some(Command::Offer(offer)) => self.lines.push(offer),
            Some(Command::Close(closed)) => self.closing = Some(closed),
            // The relay is gone; whoever asked for it has nobody to tell.
            None => self.closing = Some(oneshot::channel().0),
        }
    }

    fn is_done(&mut self) -> bool {
        let done = self.closing.is_some() && self.lines.is_empty();
        if done && let Some(closing) = self.closing.take_if(|closing| !closing.is_closed()) {
            // Who asked may have given up waiting.
            let _told = closing.send(());
            self.closing = Some(oneshot::channel().0);
        }
        done
    }
}

fn begin(channel: &Channel, queue: ShortString, sending: Sending, offer: &Offer) -> Later<Confirmed> {
    // 2: written to disk before it is confirmed.
    let properties = BasicProperties::default().with_delivery_mode(2).with_message_id(sending.to_string().into());
    let (channel, body) = (channel.clone(), offer.record.clone());
    Box::pin(async move {
        // Mandatory: a queue that somebody has deleted meanwhile must not swallow it.
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let published = async { channel.basic_publish("".into(), queue, options, &body, properties).await?.await };
        let result = published.await;
        (sending, result)
    })
}

/// Hands one message to the client, which has it when this returns: the first poll queues the frames. Without it the order
/// would be that in which the futures happen to be polled.
async fn begun(mut confirmed: Later<Confirmed>) -> Later<Confirmed> {
    match std::future::poll_fn(|context| Poll::Ready(confirmed.as_mut().poll(context))).await {
        Poll::Pending => confirmed,
        Poll::Ready(result) => Box::pin(std::future::ready(result)),
    }
}
