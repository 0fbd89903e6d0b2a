//! Configuration: one section per room, every key with its default in `stampede.toml`.
//!
//! Everything is read and checked before a port is bound. A mistake names file, line and key; a section that is left out
//! has its defaults. [`load`] reads the file and the environment.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::outbox::Overflow;

pub mod addresses;
pub mod api;
pub mod cluster;
pub mod identity;
pub mod load;
pub mod mailbox;
pub mod permissions;
pub mod problem;
pub mod rooms;
pub mod routes;
pub mod secret;
pub mod sockjs;
pub mod tls;
pub mod units;

/// The documented configuration file: every key at its default.
pub const DOCUMENTED: &str = include_str!("stampede.toml");

/// All of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Address, threads, files, shutdown.
    pub server: Server,
    /// Where clients connect.
    pub endpoint: Vec<Endpoint>,
    /// Which destinations belong to whom.
    pub broker: Broker,
    /// Who a client is.
    pub identity: identity::Identity,
    /// What a client may send to and subscribe to.
    pub permissions: permissions::PermissionsConfig,
    /// What a client may cost.
    pub limits: Limits,
    /// What may wait for a client.
    pub outbox: Outbox,
    /// Bounds of everything kept.
    pub mailbox: mailbox::Mailbox,
    /// Policies by destination; the first that matches counts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub destination: Vec<DestinationPolicy>,
    /// What application destinations do.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub route: Vec<routes::RouteConfig>,
    /// What is said when somebody comes or goes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub room: Vec<rooms::RoomConfig>,
    /// Bounds of all rooms.
    pub rooms: rooms::RoomsConfig,
    /// Which Redis the nodes share; none for a single node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redis: Option<cluster::Redis>,
    /// Which RabbitMQ the nodes share; none for a single node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rabbitmq: Option<cluster::RabbitMq>,
    /// How messages travel between nodes.
    pub relay: cluster::Relay,
    /// Operating the node over HTTP.
    pub api: api::Api,
    /// The demo page.
    pub demo: Demo,
    /// What the node writes about itself.
    pub log: Log,
}

/// `[server]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Server {
    /// Address and port; port 0 takes a free one. Default `127.0.0.1:8080`: without authentication nobody else on the
    /// network should reach the node by accident.
    pub listen: SocketAddr,
    /// Where `/health`, `/ready`, `/metrics` and `/api/` are, in plain HTTP, instead of on the clients' port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub admin_listen: Option<SocketAddr>,
    /// Most connections at a time to that port. Default 100.
    pub admin_connections: usize,
    /// The node's name in a cluster: letters, digits, `.`, `_` and `-`, up to 64. Without it a new one at every start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_id: Option<String>,
    /// Worker threads; 0 takes one fewer than the machine has cores, at least one.
    pub workers: usize,
    /// Directory of the embedded store; without it kept messages live in memory only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_dir: Option<PathBuf>,
    /// How long a shutdown may take: sessions are closed spread over half of it.
    #[serde(with = "units::duration")]
    pub shutdown_grace: Duration,
    /// How long a request head may take to arrive.
    #[serde(with = "units::duration")]
    pub header_timeout: Duration,
    /// Largest request head in octets, at least 8 KiB.
    #[serde(with = "units::bytes")]
    pub header_size_limit: usize,
    /// Most connections at a time, of all kinds.
    pub connections: usize,
    /// Whom to believe about addresses, and what one may have.
    pub addresses: addresses::Addresses,
    /// Certificate and key; none: a proxy in front ends TLS, or nobody does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<tls::Tls>,
}

/// `[[endpoint]]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Endpoint {
    /// Path; raw WebSocket and SockJS share it.
    pub path: String,
    /// Follow the text of STOMP where Spring differs.
    pub strict: bool,
    /// What the server offers to send and wants to receive, in milliseconds; 0 switches a direction off.
    pub heart_beat: (u32, u32),
    /// The SockJS side.
    pub sockjs: sockjs::SockJsConfig,
}

/// `[broker]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Broker {
    /// Plain text prefixes of broker destinations.
    pub prefixes: Vec<String>,
    /// Prefix of application destinations.
    pub application_prefix: String,
    /// Prefix of user destinations.
    pub user_prefix: String,
}

/// `[limits]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Largest body of a STOMP frame.
    #[serde(with = "units::bytes")]
    pub message_size_limit: usize,
    /// Largest head of a STOMP frame: command and headers.
    #[serde(with = "units::bytes")]
    pub header_size_limit: usize,
    /// Most header lines in a frame.
    pub headers: usize,
    /// Longest header line.
    #[serde(with = "units::bytes")]
    pub header_line_limit: usize,
    /// Largest head of the CONNECT frame.
    #[serde(with = "units::bytes")]
    pub connect_size_limit: usize,
    /// How long a connection may stay without CONNECT.
    #[serde(with = "units::duration")]
    pub time_to_first_message: Duration,
    /// Frames and octets that a session may send per second in the long run, and at once: beyond it the session is not read for a
    /// while. 0 for no limit.
    pub frames_per_second: u32,
    /// The same for octets.
    #[serde(with = "units::bytes")]
    pub bytes_per_second: usize,
    /// Most sessions of one user on this node; 0 for no limit.
    pub sessions_per_user: usize,
    /// Most subscriptions of a session.
    pub subscriptions: usize,
    /// Most open transactions of a session.
    pub transactions: usize,
    /// Most frames in a transaction.
    pub transaction_frames: usize,
    /// Most octets of bodies in a transaction.
    #[serde(with = "units::bytes")]
    pub transaction_size_limit: usize,
    /// Longest destination.
    #[serde(with = "units::bytes")]
    pub destination_size_limit: usize,
    /// Longest user name.
    #[serde(with = "units::bytes")]
    pub user_name_size_limit: usize,
    /// Most frames of a session that wait for a store or for their receipts to be read; beyond it the session is not
    /// read.
    pub frames_in_progress: usize,
    /// Missed heart-beat periods after which a client counts as dead.
    pub heart_beat_tolerance: u32,
}

/// `[outbox]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Outbox {
    /// Octets that may wait for one session.
    #[serde(with = "units::bytes")]
    pub send_buffer_size_limit: usize,
    /// How long a socket may take nothing while something waits.
    #[serde(with = "units::duration")]
    pub send_time_limit: Duration,
    /// What happens when the outbox is full, unless a destination says otherwise.
    pub overflow: Overflow,
}

/// `[[destination]]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DestinationPolicy {
    /// Ant pattern of the destinations it is for, user destinations in the form `/user/{id}/…`.
    #[serde(rename = "match")]
    pub pattern: String,
    /// What happens when a subscriber's outbox is full.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overflow: Option<Overflow>,
    /// Messages are kept until their delivery is proved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep: Option<mailbox::Keep>,
    /// A work queue: each message goes to exactly one subscriber.
    #[serde(default)]
    pub share: bool,
}

/// `[demo]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Demo {
    /// Serve the demo page at `/` and its routes under `/app/demo`.
    pub enabled: bool,
}

/// `[log]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// Form of a line.
    pub format: LogFormat,
    /// Levels, as in `info,stampede::session=debug`.
    pub filter: String,
}

/// Form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            server: Server::default(),
            endpoint: vec![Endpoint::default()],
            broker: Broker::default(),
            identity: identity::Identity::default(),
            permissions: permissions::PermissionsConfig::default(),
            limits: Limits::default(),
            outbox: Outbox::default(),
            mailbox: mailbox::Mailbox::default(),
            destination: Vec::new(),
            route: Vec::new(),
            room: Vec::new(),
            rooms: rooms::RoomsConfig::default(),
            redis: None,
            rabbitmq: None,
            relay: cluster::Relay::default(),
            api: api::Api::default(),
            demo: Demo::default(),
            log: Log::default(),
        }
    }
}

impl Default for Server {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            admin_listen: None,
            admin_connections: 100,
            node_id: None,
            workers: 0,
            data_dir: None,
            shutdown_grace: Duration::from_secs(10),
            header_timeout: Duration::from_secs(10),
            header_size_limit: 16 * 1024,
            connections: 100_000,
            addresses: addresses::Addresses::default(),
            tls: None,
        }
    }
}

impl Default for Endpoint {
    fn default() -> Self {
        Self {
            path: "/ws".into(),
            strict: false,
            heart_beat: (10_000, 10_000),
            sockjs: sockjs::SockJsConfig::default(),
        }
    }
}

impl Default for Broker {
    fn default() -> Self {
        Self {
            prefixes: vec!["/topic".into(), "/queue".into()],
            application_prefix: "/app".into(),
            user_prefix: "/user".into(),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message_size_limit: 1 << 20,
            header_size_limit: 64 << 10,
            headers: 100,
            header_line_limit: 16 << 10,
            connect_size_limit: 16 << 10,
            time_to_first_message: Duration::from_secs(30),
            frames_per_second: 0,
            bytes_per_second: 0,
            sessions_per_user: 0,
            subscriptions: 1000,
            transactions: 16,
            transaction_frames: 1000,
            transaction_size_limit: 4 << 20,
            destination_size_limit: 1024,
            user_name_size_limit: 256,
            frames_in_progress: 1000,
            heart_beat_tolerance: 3,
        }
    }
}

impl Default for Outbox {
    fn default() -> Self {
        Self { send_buffer_size_limit: 512 << 10, send_time_limit: Duration::from_secs(10), overflow: Overflow::Close }
    }
}

impl Default for Demo {
    fn default() -> Self {
        Self { enabled: true }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self { format: LogFormat::Text, filter: "info".into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documented_file_equals_the_defaults() {
        let documented: Config = toml::from_str(DOCUMENTED).unwrap();
        assert_eq!(documented, Config::default());
    }

    /// The sections that make a cluster stand there as comments.
    #[test]
    fn documented_cluster_sections_equal_the_defaults() {
        let sections = DOCUMENTED.lines().skip_while(|line| *line != "# [redis]").take_while(|line| !line.is_empty());
        let text: Vec<&str> = sections.filter_map(|line| line.strip_prefix("# ")).collect();
        let documented: toml::Table = text
            .into_iter()
            .filter(|line| line.starts_with('[') || line.contains(" = "))
            .collect::<Vec<_>>()
            .join("\n")
            .parse()
            .unwrap();
        let without_ca = |section: &str| {
            let mut table = documented[section].as_table().unwrap().clone();
            assert!(table.remove("ca_file").is_some(), "{section}.ca_file is not documented");
            table
        };
        let (redis, rabbitmq) = (without_ca("redis"), without_ca("rabbitmq"));
        // Every key is there, and has its default.
        assert_eq!(redis.len(), toml::Table::try_from(cluster::Redis::default()).unwrap().len());
        assert_eq!(redis.try_into::<cluster::Redis>().unwrap(), cluster::Redis::default());
        assert_eq!(rabbitmq.len(), toml::Table::try_from(cluster::RabbitMq::default()).unwrap().len());
        assert_eq!(rabbitmq.try_into::<cluster::RabbitMq>().unwrap(), cluster::RabbitMq::default());
    }

    /// The ways to prove who one is stand there as comments.
    #[test]
    fn documented_proofs_have_every_key() {
        let keys = |section: &str| -> Vec<String> {
            let lines = DOCUMENTED.lines().skip_while(|line| *line != section).skip(1);
            let lines = lines.map_while(|line| line.strip_prefix("# ").filter(|line| !line.starts_with('[')));
            let mut keys: Vec<String> =
                lines.filter_map(|line| line.split_once(" = ")).map(|(key, _)| key.to_owned()).collect();
            keys.sort();
            keys
        };
        let of = |table: Result<toml::Table, toml::ser::Error>| -> Vec<String> {
            let mut keys: Vec<String> = table.unwrap().keys().cloned().collect();
            keys.sort();
            keys
        };
        let (text, path) = (|| Some("x".to_owned()), || Some("x".into()));
        let jwt = identity::Jwt {
            secret: Some("x".into()),
            public_key: Some("x".into()),
            jwks_file: path(),
            jwks_url: text(),
            ca_file: path(),
            cookie: text(),
            query_parameter: text(),
            ..identity::Jwt::default()
        };
        assert_eq!(keys("# [identity.jwt]"), of(toml::Table::try_from(jwt)));
        let callback =
            identity::Callback { authorization: Some("x".into()), ca_file: path(), ..identity::Callback::default() };
        assert_eq!(keys("# [identity.callback]"), of(toml::Table::try_from(callback)));
        assert_eq!(keys("# [[identity.user]]"), ["claims", "name", "password_hash"]);
    }

    #[test]
    fn every_key_is_documented() {
        let defaults = toml::Table::try_from(Config::default()).unwrap();
        for (section, keys) in &defaults {
            let keys = match keys {
                toml::Value::Table(table) => table.clone(),
                toml::Value::Array(tables) => tables.first().and_then(|t| t.as_table()).cloned().unwrap_or_default(),
                _ => panic!("{section} is no section"),
            };
            for (key, value) in &keys {
                match value.as_table() {
                    None => assert!(DOCUMENTED.contains(&format!("\n{key} =")), "{section}.{key} is not documented"),
                    Some(inner) => {
                        assert!(
                            DOCUMENTED.contains(&format!("\n[{section}.{key}]")),
                            "{section}.{key} is not documented"
                        );
                        for key in inner.keys() {
                            assert!(DOCUMENTED.contains(&format!("\n{key} =")), "{section}…{key} is not documented");
                        }
                    }
                }
            }
        }
    }
}
