//! One task owns the publishing channel; two tasks on one channel would get each other's confirms.
//!
//! Every envelope stays here until the broker has confirmed it. After any failure there is a new connection, on which all
//! that is unconfirmed is published again, in order, before anything new.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, Event};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::connect::{Backoff, Trouble, connect};
use super::{Inner, RelayError};
use crate::relay::{Confirm, Route};

/// How often envelopes are looked at that wait too long.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// What the publisher is told.
pub(super) enum Command {
    Publish(Route, Bytes, Confirm),
    /// No more is coming: end when everything is confirmed.
    Close(oneshot::Sender<()>),
}

/// Envelopes in the order in which they came.
#[derive(Default)]
struct Unconfirmed {
    first: u64,
    envelopes: VecDeque<Envelope>,
    /// How many of them this connection was given.
    sent: usize,
}

struct Envelope {
    route: Route,
    body: Bytes,
    since: Instant,
    done: Confirm,
    /// What the broker said, as long as an earlier envelope waits.
    result: Option<Result<(), RelayError>>,
}

enum End {
    Lost(String),
    Closed,
}

type Confirmed = Pin<Box<dyn Future<Output = (u64, lapin::Result<bool>)> + Send>>;

/// Publishes as long as the node runs. `ready` hears of the first connection.
pub(super) async fn run(
    inner: Arc<Inner>,
    mut commands: mpsc::UnboundedReceiver<Command>,
    ready: oneshot::Sender<Result<(), String>>,
) {
    let mut unconfirmed = Unconfirmed::default();
    let mut ready = Some(ready);
    let mut backoff = Backoff::default();
    let mut closing = None;
    loop {
        let opened = {
            let mut opening = pin!(open(&inner));
            loop {
                tokio::select! {
                    opened = &mut opening => break opened,
                    command = commands.recv() => unconfirmed.take(command, &mut closing),
                    () = tokio::time::sleep(LOOK_EVERY) => unconfirmed.give_up(inner.send_timeout),
                }
                if unconfirmed.is_done(&mut closing) {
                    return;
                }
            }
        };
        let end = match opened {
            Ok((connection, channel)) => {
                backoff = Backoff::default();
                if let Some(ready) = ready.take() {
                    // Nobody may wait for it any more.
                    let _told = ready.send(Ok(()));
                }
                inner.publishing.store(true, Ordering::Release);
                unconfirmed.sent = 0;
                let end = serve(&inner, &connection, &channel, &mut unconfirmed, &mut commands, &mut closing).await;
                inner.publishing.store(false, Ordering::Release);
                // A lost connection closes itself.
                drop(tokio::time::timeout(Duration::from_secs(1), connection.close(200, "done".into())).await);
                end
            }
            Err(Trouble::Final(error)) if ready.is_some() => {
                if let Some(ready) = ready.take() {
                    let _told = ready.send(Err(error));
                }
                return;
            }
            Err(trouble) => End::Lost(trouble.text().to_owned()),
        };
        match end {
            End::Closed => return,
            End::Lost(error) => inner.lost("publishing", &error),
        }
        let mut pause = pin!(backoff.pause());
        loop {
            tokio::select! {
                () = &mut pause => break,
                command = commands.recv() => unconfirmed.take(command, &mut closing),
                () = tokio::time::sleep(LOOK_EVERY) => unconfirmed.give_up(inner.send_timeout),
            }
            if unconfirmed.is_done(&mut closing) {
                return;
            }
        }
    }
}

async fn open(inner: &Inner) -> Result<(Connection, Channel), Trouble> {
    let connection = connect(inner.topology.config(), &inner.node, "publishes").await?;
    let opening = async {
        let channel = connection.create_channel().await?;
        inner.topology.declare_shared(&channel).await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        Ok::<_, lapin::Error>(channel)
    };
    match tokio::time::timeout(inner.topology.config().connect_timeout, opening).await {
        Ok(channel) => Ok((connection, channel?)),
        Err(_) => Err(Trouble::Passing("the broker does not answer".into())),
    }
}

async fn serve(
    inner: &Inner,
    connection: &Connection,
    channel: &Channel,
    unconfirmed: &mut Unconfirmed,
    commands: &mut mpsc::UnboundedReceiver<Command>,
    closing: &mut Option<oneshot::Sender<()>>,
) -> End {
    let mut events = pin!(connection.events_listener());
    let mut confirms: FuturesUnordered<Confirmed> = FuturesUnordered::new();
    let mut blocked = connection.status().blocked();
    let mut look = tokio::time::interval(LOOK_EVERY);
    inner.found("publishing");
    loop {
        // On a blocked connection nothing is written at all, so what is given to it could only pile up.
        while !blocked && let Some((number, envelope)) = unconfirmed.next_unsent() {
            let begun = begun(begin(inner, channel, number, envelope)).await;
            confirms.push(begun);
        }
        tokio::select! {
            Some((number, confirmed)) = confirms.next(), if !confirms.is_empty() => match confirmed {
                Ok(true) => unconfirmed.settle(number, Ok(())),
                Ok(false) => unconfirmed.settle(number, Err(RelayError::Refused)),
                Err(error) => return End::Lost(error.to_string()),
            },
            event = events.next() => match event {
                Some(Event::ConnectionBlocked(reason)) => {
                    blocked = true;
                    inner.publishing.store(false, Ordering::Release);
                    tracing::warn!(reason, "RabbitMQ takes no messages; senders wait");
                }
                Some(Event::ConnectionUnblocked) => {
                    blocked = false;
                    inner.publishing.store(true, Ordering::Release);
                    tracing::info!("RabbitMQ takes messages again");
                }
                Some(Event::Error(error)) => return End::Lost(error.to_string()),
                Some(_) => {}
                None => return End::Lost("the connection ended".into()),
            },
            command = commands.recv() => unconfirmed.take(command, closing),
            _ = look.tick() => unconfirmed.give_up(inner.send_timeout),
        }
        if unconfirmed.is_done(closing) {
            return End::Closed;
        }
    }
}

/// Hands one envelope to the client, which has it when this returns: the first poll queues the frames. Without it the order
/// would be that in which the futures happen to be polled.
async fn begun(mut confirmed: Confirmed) -> Confirmed {
    let early = std::future::poll_fn(|context| Poll::Ready(confirmed.as_mut().poll(context))).await;
    match early {
        Poll::Pending => confirmed,
        Poll::Ready(result) => Box::pin(std::future::ready(result)),
    }
}

fn begin(inner: &Inner, channel: &Channel, number: u64, envelope: &Envelope) -> Confirmed {
    let topology = &inner.topology;
    // 2: written to disk before it is confirmed.
    let properties = BasicProperties::default().with_delivery_mode(2);
    let (exchange, key, properties) = match &envelope.route {
        Route::Everyone => (topology.fanout(), String::new(), properties),
        Route::Nodes(nodes) if nodes.len() == 1 => (topology.topic(), topology.routing_key(&nodes[0]), properties),
        Route::Nodes(nodes) => {
            // One message for several queues; the broker takes the header off.
            let keys: Vec<AMQPValue> =
                nodes.iter().map(|node| AMQPValue::LongString(topology.routing_key(node).into())).collect();
            let mut headers = FieldTable::default();
            headers.insert("BCC".into(), AMQPValue::FieldArray(keys.into()));
            (topology.topic(), String::new(), properties.with_headers(headers))
        }
    };
    let (channel, body) = (channel.clone(), envelope.body.clone());
    Box::pin(async move {
        let options = BasicPublishOptions::default();
        let published = async { channel.basic_publish(exchange, key.into(), options, &body, properties).await?.await };
        (number, published.await.map(|confirmation| !confirmation.is_nack()))
    })
}

impl Unconfirmed {
    fn take(&mut self, command: Option<Command>, closing: &mut Option<oneshot::Sender<()>>) {
        match command {
            Some(Command::Publish(route, body, done)) => {
                self.envelopes.push_back(Envelope { route, body, since: Instant::now(), done, result: None });
            }
            Some(Command::Close(closed)) => *closing = Some(closed),
            // The relay is gone; whoever asked for it has nobody to tell.
            None => *closing = Some(oneshot::channel().0),
        }
    }

    /// Whether the node ends and nothing is open any more.
    fn is_done(&self, closing: &mut Option<oneshot::Sender<()>>) -> bool {
        let done = self.envelopes.is_empty() && closing.is_some();
        if done && let Some(closing) = closing.take() {
            // Who asked may have given up waiting.
            let _told = closing.send(());
        }
        done
    }

    fn next_unsent(&mut self) -> Option<(u64, &Envelope)> {
        while let Some(envelope) = self.envelopes.get(self.sent) {
            self.sent += 1;
            if envelope.result.is_none() {
                let at = self.sent - 1;
                return Some((self.first + at as u64, &self.envelopes[at]));
            }
        }
        None
    }

    /// The broker may confirm many at once, and the client then tells them in any order; senders hear it in theirs.
    fn settle(&mut self, number: u64, result: Result<(), RelayError>) {
        let at = number.checked_sub(self.first).and_then(|at| usize::try_from(at).ok());
        if let Some(envelope) = at.and_then(|at| self.envelopes.get_mut(at)) {
            envelope.result.get_or_insert(result);
        }
        self.tell();
    }

    fn give_up(&mut self, after: Duration) {
        for envelope in &mut self.envelopes {
            if envelope.since.elapsed() < after {
                break;
            }
            envelope.result.get_or_insert(Err(RelayError::Timeout(after)));
        }
        self.tell();
    }

    fn tell(&mut self) {
        while let Some(envelope) = self.envelopes.pop_front_if(|envelope| envelope.result.is_some()) {
            self.first += 1;
            self.sent = self.sent.saturating_sub(1);
            if let Some(result) = envelope.result {
                (envelope.done)(result);
            }
        }
    }
}

impl Drop for Unconfirmed {
    fn drop(&mut self) {
        for envelope in self.envelopes.drain(..) {
            (envelope.done)(envelope.result.unwrap_or(Err(RelayError::Closed)));
        }
    }
}
