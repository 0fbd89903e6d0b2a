//! Exchanges and queues: their names, shapes and bindings.
//!
//! ```text
//! topic exchange --wx_exchange_{node}--> queue of the node        one per node, durable, expires
//! fanout exchange ---------------------> queue of the node
//! topic exchange --no queue wants it---> orphan exchange --> orphan queue, read by all nodes
//! queue of a node --waited too long----> orphan exchange
//! ```

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{Channel, ExchangeKind};

use crate::config::cluster::RabbitMq;
use crate::ids::NodeId;

/// What everything is called.
#[derive(Debug, Clone)]
pub(super) struct Topology {
    config: RabbitMq,
}

impl Topology {
    pub(super) const fn new(config: RabbitMq) -> Self {
        Self { config }
    }

    pub(super) const fn config(&self) -> &RabbitMq {
        &self.config
    }

    pub(super) fn queue(&self, node: &NodeId) -> ShortString {
        format!("{}{node}", self.config.queue_prefix).into()
    }

    pub(super) fn routing_key(&self, node: &NodeId) -> String {
        format!("{}{node}", self.config.routing_key_prefix)
    }

    pub(super) fn topic(&self) -> ShortString {
        self.config.topic_exchange.as_str().into()
    }

    pub(super) fn fanout(&self) -> ShortString {
        self.config.fanout_exchange.as_str().into()
    }

    pub(super) fn orphans(&self) -> ShortString {
        self.config.orphan_queue.as_str().into()
    }

    /// Declares what all nodes share. Nothing changes when it is there.
    pub(super) async fn declare_shared(&self, channel: &Channel) -> lapin::Result<()> {
        let durable = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
        let orphan_exchange: ShortString = self.config.orphan_exchange.as_str().into();
        let none = FieldTable::default;
        channel.exchange_declare(orphan_exchange.clone(), ExchangeKind::Fanout, durable, none()).await?;
        let lasting = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        channel.queue_declare(self.orphans(), lasting, none()).await?;
        let bind = QueueBindOptions::default();
        channel.queue_bind(self.orphans(), orphan_exchange.clone(), "".into(), bind, none()).await?;
        let mut arguments = FieldTable::default();
        arguments.insert("alternate-exchange".into(), text(&self.config.orphan_exchange));
        channel.exchange_declare(self.topic(), ExchangeKind::Topic, durable, arguments).await?;
        channel.exchange_declare(self.fanout(), ExchangeKind::Fanout, durable, none()).await
    }

    /// Declares the queue of a node and binds it.
    pub(super) async fn declare_queue(&self, channel: &Channel, node: &NodeId) -> lapin::Result<()> {
        let mut arguments = FieldTable::default();
        arguments.insert("x-message-ttl".into(), millis(self.config.message_ttl));
        arguments.insert("x-dead-letter-exchange".into(), text(&self.config.orphan_exchange));
        arguments.insert("x-expires".into(), millis(self.config.queue_expires));
        let lasting = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        channel.queue_declare(self.queue(node), lasting, arguments).await?;
        let (bind, none) = (QueueBindOptions::default(), FieldTable::default());
        let key = self.routing_key(node).into();
        channel.queue_bind(self.queue(node), self.topic(), key, bind, none.clone()).await?;
        channel.queue_bind(self.queue(node), self.fanout(), "".into(), bind, none).await
    }

    /// Takes the queue of a node out of the exchanges: what is for it becomes an orphan.
    pub(super) async fn unbind(&self, channel: &Channel, node: &NodeId) -> lapin::Result<()> {
        let none = FieldTable::default();
        let key = self.routing_key(node).into();
        channel.queue_unbind(self.queue(node), self.topic(), key, none.clone()).await?;
        channel.queue_unbind(self.queue(node), self.fanout(), "".into(), none).await
    }
}

fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(value.into())
}

fn millis(duration: std::time::Duration) -> AMQPValue {
    AMQPValue::LongLongInt(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX))
}
