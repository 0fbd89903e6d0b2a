//! What the clients of RabbitMQ and Redis take by themselves, without any node: the floor of a cluster.
//!
//! As between nodes: a durable queue behind a topic exchange, persistent messages, confirms, one connection for each
//! direction. Two threads, as the nodes have on two cores.

use std::{
    sync::Arc,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use fred::interfaces::{ClientLike, HashesInterface};
use futures_util::{StreamExt, stream::FuturesUnordered};
use lapin::{
    BasicProperties, Channel, Connection, ConnectionProperties, ExchangeKind,
    options::{
        BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions,
        ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions,
    },
    types::{FieldTable, ShortString},
};
use tokio::runtime::Runtime;

use super::{
    backends::{Rabbit, Redis},
    nodes::Costs,
};
use crate::{
    Error, Result,
    report::{Report, Times},
};

/// Bytes of each message.
const BODY: usize = 128;
const EXCHANGE: &str = "bare";
/// Messages acknowledged together.
const ACKNOWLEDGE: u64 = 100;
/// What it may take besides the time of sending.
const PATIENCE: Duration = Duration::from_secs(30);

/// A look-up, a publish, and the message at the consumer, at a fixed rate.
pub(super) fn latency(rabbit: &Rabbit, rate: f64, seconds: f64) -> Result<Report> {
    let redis = Redis::start()?;
    let runtime = runtime()?;
    let costs = Costs::start(vec![("redis_us", vec![redis.pid()]), ("rabbit_us", vec![rabbit.pid()])])?;
    let times = runtime.block_on(bounded(seconds, async {
        let config = fred::types::config::Config::from_url(&redis.url()).map_err(redis_error)?;
        let client = fred::types::Builder::from_config(config).build().map_err(redis_error)?;
        let _connection = client.init().await.map_err(redis_error)?;
        Box::pin(client.hset::<(), _, _>("bare:user", ("node-1", ""))).await.map_err(redis_error)?;
        let (publisher, reader) = sides(rabbit).await?;
        let epoch = Instant::now();
        let (sender, mut arrived) = tokio::sync::mpsc::unbounded_channel();
        tokio::spawn(async move {
            let arrive = |body: &[u8]| {
                // The other end waits for all of them.
                let _heard = sender.send((number_of(body), Instant::now()));
            };
            reader.read(arrive).await
        });
        let mut tick = tokio::time::interval(Duration::from_secs_f64(1.0 / rate));
        let mut open = FuturesUnordered::new();
        let (mut times, mut left) = (Times::new(), (rate * seconds) as u64);
        let mut waiting = 0_u64;
        while left > 0 || waiting > 0 || !open.is_empty() {
            tokio::select! {
                _ = tick.tick(), if left > 0 => {
                    left -= 1;
                    waiting += 1;
                    let (client, publisher, since) = (client.clone(), publisher.clone(), epoch.elapsed());
                    open.push(async move {
                        let _nodes: Vec<String> = Box::pin(client.hkeys("bare:user")).await.map_err(redis_error)?;
                        publisher.publish(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)).await
                    });
                }
                Some(confirmed) = open.next(), if !open.is_empty() => confirmed?,
                Some((since, now)) = arrived.recv() => {
                    waiting -= 1;
                    times.add((now - epoch).saturating_sub(Duration::from_nanos(since)));
                }
            }
        }
        Ok(times)
    }))?;
    let mut report = Report::new(format!("bare look-up, publish, consume, {rate}/s"));
    costs.add(&mut report, (rate * seconds) as u64)?;
    report.add_times(&times);
    Ok(report)
}

/// Messages through the broker, so many of them unconfirmed.
pub(super) fn throughput(rabbit: &Rabbit, window: usize, seconds: f64) -> Result<Report> {
    let runtime = runtime()?;
    let costs = Costs::start(vec![("rabbit_us", vec![rabbit.pid()])])?;
    let arrived = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&arrived);
    runtime.block_on(bounded(seconds, async {
        let (publisher, reader) = sides(rabbit).await?;
        tokio::spawn(async move {
            let arrive = |_: &[u8]| {
                counter.fetch_add(1, Ordering::AcqRel);
            };
            reader.read(arrive).await
        });
        let end = Instant::now() + Duration::from_secs_f64(seconds);
        let (mut open, mut sent) = (FuturesUnordered::new(), 0);
        loop {
            while open.len() < window && Instant::now() < end {
                let publisher = publisher.clone();
                open.push(async move { publisher.publish(sent).await });
                sent += 1;
            }
            match open.next().await {
                Some(confirmed) => confirmed?,
                None => break,
            }
        }
        while arrived.load(Ordering::Acquire) < sent {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Ok(())
    }))?;
    let mut report = Report::new(format!("bare publish, consume, {window} unconfirmed"));
    costs.add(&mut report, arrived.load(Ordering::Acquire))?;
    Ok(report)
}

/// Whether a queue is there.
pub(super) fn has_queue(rabbit: &Rabbit, queue: &str) -> Result<bool> {
    runtime()?.block_on(async {
        let channel = connect(rabbit).await?.1;
        let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        match channel.queue_declare(queue.into(), passive, FieldTable::default()).await {
            Ok(_) => Ok(true),
            Err(error) if error.to_string().contains("NOT_FOUND") || error.to_string().contains("NOT-FOUND") => {
                Ok(false)
            }
            Err(error) => Err(amqp_error(error)),
        }
    })
}

/// A step of a run that ends however it fares.
async fn bounded<T>(seconds: f64, step: impl Future<Output = Result<T>>) -> Result<T> {
    let limit = Duration::from_secs_f64(seconds) + PATIENCE;
    let late = |_| Error::Stalled(format!("the bare clients had not all of their messages after {limit:?}"));
    tokio::time::timeout(limit, step).await.map_err(late)?
}

/// Both ends of a queue that is this run's own: what an earlier run did not acknowledge must not count here.
async fn sides(rabbit: &Rabbit) -> Result<(Arc<Side>, Side)> {
    static RUN: AtomicU64 = AtomicU64::new(0);
    let queue = format!("bare-{}", RUN.fetch_add(1, Ordering::Relaxed));
    Ok((Arc::new(Side::open(rabbit, &queue).await?), Side::open(rabbit, &queue).await?))
}

/// One of two connections.
struct Side {
    _connection: Connection,
    channel: Channel,
    queue: ShortString,
}

impl Side {
    async fn open(rabbit: &Rabbit, queue: &str) -> Result<Self> {
        let queue = ShortString::from(queue);
        let (connection, channel) = connect(rabbit).await?;
        let declared = async {
            let durable = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
            let none = FieldTable::default;
            channel.exchange_declare(EXCHANGE.into(), ExchangeKind::Topic, durable, none()).await?;
            let lasting = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
            channel.queue_declare(queue.clone(), lasting, none()).await?;
            let bind = QueueBindOptions::default();
            channel.queue_bind(queue.clone(), EXCHANGE.into(), queue.clone(), bind, none()).await?;
            channel.confirm_select(ConfirmSelectOptions::default()).await
        };
        declared.await.map_err(amqp_error)?;
        Ok(Self { _connection: connection, channel, queue })
    }

    /// Until it is confirmed.
    async fn publish(&self, number: u64) -> Result<()> {
        let mut body = [b'x'; BODY];
        body[..8].copy_from_slice(&number.to_be_bytes());
        let persistent = BasicProperties::default().with_delivery_mode(2);
        let options = BasicPublishOptions::default();
        let published =
            self.channel.basic_publish(EXCHANGE.into(), self.queue.clone(), options, &body, persistent).await;
        let confirmed = published.map_err(amqp_error)?.await.map_err(amqp_error)?;
        if confirmed.is_nack() { Err(Error::Server("RabbitMQ refused a message".to_owned())) } else { Ok(()) }
    }

    /// Reads until the connection ends.
    async fn read(&self, mut on: impl FnMut(&[u8])) -> Result<()> {
        self.channel.basic_qos(1000, BasicQosOptions::default()).await.map_err(amqp_error)?;
        let (options, none) = (BasicConsumeOptions::default(), FieldTable::default());
        let consumer = self.channel.basic_consume(self.queue.clone(), "".into(), options, none).await;
        let mut consumer = consumer.map_err(amqp_error)?;
        let (mut last, mut unacknowledged) = (0, 0);
        loop {
            tokio::select! {
                delivery = consumer.next() => {
                    let Some(delivery) = delivery else { return Ok(()) };
                    let delivery = delivery.map_err(amqp_error)?;
                    on(&delivery.data);
                    last = delivery.delivery_tag;
                    unacknowledged += 1;
                    if unacknowledged < ACKNOWLEDGE {
                        continue;
                    }
                }
                () = tokio::time::sleep(Duration::from_millis(5)), if unacknowledged > 0 => {}
            }
            unacknowledged = 0;
            let multiple = BasicAckOptions { multiple: true };
            self.channel.basic_ack(last, multiple).await.map_err(amqp_error)?;
        }
    }
}

async fn connect(rabbit: &Rabbit) -> Result<(Connection, Channel)> {
    let (url, properties) = (rabbit.url(), ConnectionProperties::default());
    let connection = Connection::connect(&url, properties).await.map_err(amqp_error)?;
    let channel = connection.create_channel().await.map_err(amqp_error)?;
    Ok((connection, channel))
}

fn number_of(body: &[u8]) -> u64 {
    body.first_chunk().map_or(0, |first| u64::from_be_bytes(*first))
}

fn runtime() -> Result<Runtime> {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime.worker_threads(2).enable_all().build().map_err(Error::system("starting threads"))
}

fn amqp_error(error: lapin::Error) -> Error {
    Error::Server(format!("RabbitMQ: {error}"))
}

fn redis_error(error: fred::error::Error) -> Error {
    Error::Server(format!("Redis: {error}"))
}
