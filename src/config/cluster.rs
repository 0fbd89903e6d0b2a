//! What joins nodes: Redis, which knows who is where, and RabbitMQ, which carries messages. Both or neither.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::secret::Secret;
use crate::config::units;

/// `[redis]`: the registry of nodes, users, rooms, and the mailboxes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Redis {
    /// `redis://`, `rediss://` (TLS), `redis-cluster://`, `redis-sentinel://`, or the same with `valkey`. Sentinels are named
    /// with `sentinelServiceName`, further `node`s, and `sentinelPassword` where they ask for one.
    pub url: Secret,
    /// First part of every key. Default `stampede`.
    pub key_prefix: String,
    /// Certificates (PEM) to trust besides the system's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// How long one command may take before it counts as failed. Default 1 s.
    #[serde(with = "units::duration")]
    pub command_timeout: Duration,
    /// How long a node counts as alive without a sign of life. Default 10 s.
    #[serde(with = "units::duration")]
    pub lease: Duration,
    /// How often a node gives that sign. Default 3 s, at most a third of the lease.
    #[serde(with = "units::duration")]
    pub lease_renewal: Duration,
    /// How old a look-up of receivers may be. Default 0: each is read through. With more, a message sent right after a
    /// SUBSCRIBE was confirmed can miss that subscription.
    #[serde(with = "units::duration")]
    pub cache: Duration,
}

/// `[rabbitmq]`: exchanges and queues between the nodes. The names are those of the published recipe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RabbitMq {
    /// `amqp://` or `amqps://` (TLS), with user, password and virtual host.
    pub url: Secret,
    /// Certificates (PEM) to trust instead of the system's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// Exchange for messages to certain nodes.
    pub topic_exchange: String,
    /// Exchange for messages to all nodes.
    pub fanout_exchange: String,
    /// The queue of a node is this and its id.
    pub queue_prefix: String,
    /// The key that leads to a node's queue is this and its id.
    pub routing_key_prefix: String,
    /// Where messages go that no queue takes, or that waited too long.
    pub orphan_exchange: String,
    /// The queue behind it, read by all nodes.
    pub orphan_queue: String,
    /// The queue of a work destination is this and the destination.
    pub work_queue_prefix: String,
    /// Time between two signs of life of a connection; it counts as dead after two of them. Default 5 s.
    #[serde(with = "units::duration")]
    pub heartbeat: Duration,
    /// How long one attempt to connect may take. Default 3 s.
    #[serde(with = "units::duration")]
    pub connect_timeout: Duration,
    /// Most envelopes a node is handed before it acknowledges them. Default 200.
    pub prefetch: u16,
    /// Most envelopes of a node that wait for the broker's confirm. Default 16.
    pub window: usize,
    /// How long an envelope may wait in the queue of a node before any node may take it. Default 60 s.
    #[serde(with = "units::duration")]
    pub message_ttl: Duration,
    /// How long the queue of a node that does not return is kept. Default 1 h.
    #[serde(with = "units::duration")]
    pub queue_expires: Duration,
}

/// `[relay]`: how messages travel between nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Relay {
    /// How messages for broker destinations find the nodes that want them.
    pub broadcast: Broadcast,
    /// With `auto`: up to so many live nodes all of them get such a message. Default 8.
    pub fanout_nodes: usize,
    /// Most messages in one envelope. Default 512.
    pub envelope_messages: usize,
    /// Octets from which on an envelope is full; one larger message travels alone. Default 256 KiB.
    #[serde(with = "units::bytes")]
    pub envelope_size_limit: usize,
    /// How long a message may wait for others to share its envelope while confirms are awaited. Default 1 ms.
    #[serde(with = "units::duration")]
    pub envelope_delay: Duration,
    /// Octets that may wait for the relay. From half of it on sessions that send are read no further. Default 64 MiB.
    #[serde(with = "units::bytes")]
    pub buffer_size_limit: usize,
    /// How long a message may wait for the relay before its sender gets an ERROR. Default 30 s.
    #[serde(with = "units::duration")]
    pub send_timeout: Duration,
}

/// How messages for broker destinations find the nodes that want them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Broadcast {
    /// To all up to `fanout_nodes` nodes, to the interested ones beyond.
    #[default]
    Auto,
    /// To all nodes; each looks whether it has subscribers.
    Fanout,
    /// To the nodes that the registry names.
    Interest,
}

impl Default for Redis {
    fn default() -> Self {
        Self {
            url: "redis://127.0.0.1:6379/0".into(),
            key_prefix: "stampede".into(),
            ca_file: None,
            command_timeout: Duration::from_secs(1),
            lease: Duration::from_secs(10),
            lease_renewal: Duration::from_secs(3),
            cache: Duration::ZERO,
        }
    }
}

impl Default for RabbitMq {
    fn default() -> Self {
        Self {
            url: "amqp://guest:guest@127.0.0.1:5672/%2f".into(),
            ca_file: None,
            topic_exchange: "wx_topic_exchange".into(),
            fanout_exchange: "wx_fanout_exchange".into(),
            queue_prefix: "wx_queue_".into(),
            routing_key_prefix: "wx_exchange_".into(),
            orphan_exchange: "wx_orphan_exchange".into(),
            orphan_queue: "wx_orphans".into(),
            work_queue_prefix: "wx_work_".into(),
            heartbeat: Duration::from_secs(5),
            connect_timeout: Duration::from_secs(3),
            prefetch: 200,
            window: 16,
            message_ttl: Duration::from_secs(60),
            queue_expires: Duration::from_secs(3600),
        }
    }
}

impl Default for Relay {
    fn default() -> Self {
        Self {
            broadcast: Broadcast::Auto,
            fanout_nodes: 8,
            envelope_messages: 512,
            envelope_size_limit: 256 << 10,
            envelope_delay: Duration::from_millis(1),
            buffer_size_limit: 64 << 20,
            send_timeout: Duration::from_secs(30),
        }
    }
}

impl Redis {
    /// Whether the values make sense together.
    ///
    /// # Errors
    ///
    /// Names the key at fault and what it may be.
    pub fn check(&self) -> Result<(), String> {
        const SCHEMES: [&str; 4] = ["redis", "rediss", "valkey", "valkeys"];
        let scheme = self.url.reveal().split("://").next().unwrap_or_default();
        let base = scheme.strip_suffix("-cluster").or_else(|| scheme.strip_suffix("-sentinel")).unwrap_or(scheme);
        if !self.url.reveal().contains("://") || !SCHEMES.contains(&base) {
            // The text may hold a password.
            return Err("url: must begin with redis://, rediss://, redis-cluster:// or redis-sentinel://".into());
        }
        if self.key_prefix.is_empty() || self.key_prefix.contains(['{', '}']) {
            return Err(format!("key_prefix: {:?} must not be empty and must not hold braces", self.key_prefix));
        }
        not_zero("command_timeout", self.command_timeout)?;
        not_zero("lease_renewal", self.lease_renewal)?;
        if self.lease_renewal * 3 > self.lease {
            return Err(format!(
                "lease_renewal: {:?} is more than a third of lease {:?}",
                self.lease_renewal, self.lease
            ));
        }
        Ok(())
    }
}

impl RabbitMq {
    /// Whether the values make sense together.
    ///
    /// # Errors
    ///
    /// Names the key at fault and what it may be.
    pub fn check(&self) -> Result<(), String> {
        if !self.url.reveal().starts_with("amqp://") && !self.url.reveal().starts_with("amqps://") {
            return Err("url: must begin with amqp:// or amqps://".into());
        }
        for (key, name) in [
            ("topic_exchange", &self.topic_exchange),
            ("fanout_exchange", &self.fanout_exchange),
            ("queue_prefix", &self.queue_prefix),
            ("routing_key_prefix", &self.routing_key_prefix),
            ("orphan_exchange", &self.orphan_exchange),
            ("orphan_queue", &self.orphan_queue),
            ("work_queue_prefix", &self.work_queue_prefix),
        ] {
            // Node ids have up to 64 octets, and AMQP allows 255.
            if name.is_empty() || name.len() > 128 || name.starts_with("amq.") {
                return Err(format!("{key}: {name:?} must have 1 to 128 octets and must not begin with \"amq.\""));
            }
        }
        if self.prefetch == 0 {
            return Err("prefetch: must be 1 at least".into());
        }
        // A node remembers the last 1024 envelopes of each other one, so that none is taken twice.
        if self.window == 0 || self.window > 512 {
            return Err(format!("window: {} must lie between 1 and 512", self.window));
        }
        if self.heartbeat < Duration::from_secs(1) || self.heartbeat > Duration::from_secs(65_535) {
            return Err(format!("heartbeat: {:?} must lie between 1s and 65535s", self.heartbeat));
        }
        not_zero("connect_timeout", self.connect_timeout)?;
        not_zero("message_ttl", self.message_ttl)?;
        if self.queue_expires <= self.message_ttl {
            let (expires, ttl) = (self.queue_expires, self.message_ttl);
            return Err(format!(
                "queue_expires: {expires:?} must be longer than message_ttl {ttl:?}, or messages are lost"
            ));
        }
        Ok(())
    }
}

impl Relay {
    /// Whether the values make sense together.
    ///
    /// # Errors
    ///
    /// Names the key at fault and what it may be.
    pub fn check(&self) -> Result<(), String> {
        if self.envelope_messages == 0 || self.envelope_messages > u16::MAX.into() {
            return Err(format!("envelope_messages: {} must lie between 1 and 65535", self.envelope_messages));
        }
        if self.buffer_size_limit < self.envelope_size_limit {
            return Err("buffer_size_limit: must not be smaller than envelope_size_limit".into());
        }
        not_zero("send_timeout", self.send_timeout)
    }
}

fn not_zero(key: &str, value: Duration) -> Result<(), String> {
    if value.is_zero() { Err(format!("{key}: must not be 0")) } else { Ok(()) }
}
