//! The only place that chooses what stands behind the broker: memory or a file, or Redis and RabbitMQ.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use stampede_protocol::Limits;
use stampede_protocol::stomp::{HeartBeat, SessionConfig, SessionLimits};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Shared;
use super::tls::Tls;
use crate::addresses::{Counted, Paced};
use crate::broker::{Behind, Broker, BrokerConfig, Policies};
use crate::cluster::{Backends, Cluster, ClusterConfig, Seed};
use crate::config::permissions::ProfileChoice;
use crate::config::problem::{ConfigProblem, Key, Problems};
use crate::config::{self, Config};
use crate::destination::Destinations;
use crate::identity;
use crate::ids::{MessageIds, NodeId};
use crate::mailbox::file::FileStore;
use crate::mailbox::memory::MemoryStore;
use crate::mailbox::redis::RedisStore;
use crate::permissions::{self, Gate, Permissions, Profile};
use crate::registry::Registry;
use crate::registry::cached::Cached;
use crate::registry::redis::RedisRegistry;
use crate::relay::amqp::AmqpRelay;
use crate::relay::amqp::work::AmqpWork;
use crate::revocation::RevocationStore;
use crate::revocation::file::FileRevocations;
use crate::revocation::redis::RedisRevocations;
use crate::rooms::redis::RedisRooms;
use crate::rooms::{self, MemoryRooms, RoomRules, Rooms};
use crate::routes::{self, Routes};
use crate::session::{Context, Stomp};
use crate::telemetry;
use crate::timers::Wheel;
use crate::transport::Endpoint;
use crate::transport::websocket::WsSettings;
use crate::web;

/// Whether a node could be put together from this.
///
/// # Errors
///
/// Every problem, each with its place.
pub fn check(config: &Config, text: &str, name: &str) -> Result<(), Vec<String>> {
    let mut problems = broker_config(config, &NodeId::random(), text, name).err().unwrap_or_default();
    let server = Key::root("server");
    let mut found = Problems::new(text, name);
    found.take(&server.name("listen"), config.identity.check_reach(config.server.listen.ip()));
    problems.extend(found.or_all(()).err().unwrap_or_default().iter().map(ToString::to_string));
    problems.extend(config.server.tls.as_ref().and_then(|files| Tls::new(files).err()));
    problems.extend(identity::authenticator(&config.identity, &destinations(config)).err());
    if problems.is_empty() { Ok(()) } else { Err(problems) }
}

fn broker_config(config: &Config, node: &NodeId, text: &str, name: &str) -> Result<BrokerConfig, Vec<String>> {
    let destinations = destinations(config);
    let unused = NodeId::random();
    let mut config = config.clone();
    if config.demo.enabled {
        // The demo comes last, so that whatever the file says about the same destinations wins.
        let demo: Config = toml::from_str(web::DEMO_CONFIG).map_err(|error| vec![format!("the demo: {error}")])?;
        config.destination.extend(demo.destination);
        config.route.extend(demo.route);
        config.room.extend(demo.room);
    }
    let mut problems = Vec::new();
    let mut note = |found: Vec<ConfigProblem>| problems.extend(found.iter().map(ToString::to_string));
    let routes = routes::check(&config.route, &destinations, text, name).unwrap_or_else(|found| {
        note(found);
        Routes::default()
    });
    let rules = rooms::check(&config.room, &destinations, text, name).unwrap_or_else(|found| {
        note(found);
        RoomRules::default()
    });
    let policies = Policies::new(&config.destination, config.outbox.overflow, text, name).unwrap_or_else(|found| {
        note(found);
        Policies::default()
    });
    let permissions = permissions::check(&config.permissions.rule, &destinations, text, name).unwrap_or_else(|found| {
        note(found);
        Permissions::default()
    });
    note(telemetry::check(&config.log, text, name).err().into_iter().collect());
    if !problems.is_empty() {
        return Err(problems);
    }
    let (profile, _) = profile(&config);
    Ok(BrokerConfig {
        gate: Gate::new(permissions, profile, config.permissions.close, &destinations),
        destinations,
        policies,
        outbox_limit: config.outbox.send_buffer_size_limit,
        routes,
        rooms: Rooms::new(rules, MemoryRooms::new(config.rooms.clone())),
        mailbox: config.mailbox,
        revocations: Arc::new(FileRevocations::default()),
        // The random id of a node is new at every start; one that stays would give the ids of an earlier run again.
        ids: MessageIds::new(if config.server.node_id.is_some() { &unused } else { node }),
    })
}

/// The profile in force, and why.
pub(super) fn profile(config: &Config) -> (Profile, &'static str) {
    choose_profile(config, config.identity.has_proof())
}

fn choose_profile(config: &Config, proved: bool) -> (Profile, &'static str) {
    match config.permissions.profile {
        ProfileChoice::Guarded => (Profile::Guarded, "as configured"),
        ProfileChoice::Spring => (Profile::Spring, "as configured"),
        ProfileChoice::Auto if proved => (Profile::Guarded, "clients prove who they are"),
        ProfileChoice::Auto if !config.server.listen.ip().is_loopback() => {
            (Profile::Guarded, "other machines reach this node")
        }
        ProfileChoice::Auto => (Profile::Spring, "only this machine reaches this node, and no client proves who it is"),
    }
}

/// The node's id: the operator's, or a new one.
pub(super) fn node_id(config: &Config) -> Result<NodeId, String> {
    config.server.node_id.as_deref().map_or_else(|| Ok(NodeId::random()), NodeId::named)
}

/// What a node has to do with others.
pub(super) struct Joined {
    cluster: Arc<Cluster>,
    revocations: Arc<dyn RevocationStore>,
}

/// Connects to what the nodes share; none for a node that is alone. It waits for servers that are not there yet.
pub(super) async fn join(config: &Config, node: &NodeId) -> Result<Option<Joined>, String> {
    let (Some(redis), Some(rabbitmq)) = (&config.redis, &config.rabbitmq) else { return Ok(None) };
    let seed = Seed::new(node.clone());
    let client = crate::registry::redis::connect(redis).await?;
    let relay = AmqpRelay::start(rabbitmq, config.relay.send_timeout, node.clone(), seed.inbox()).await?;
    let settings = ClusterConfig {
        destinations: destinations(config),
        relay: config.relay,
        window: rabbitmq.window,
        lease: redis.lease,
        lease_renewal: redis.lease_renewal,
    };
    let registry: Arc<dyn Registry> = Arc::new(RedisRegistry::new(client.clone(), redis));
    let registry = if redis.cache.is_zero() { registry } else { Arc::new(Cached::new(registry, redis.cache)) };
    let revocations = Arc::new(RedisRevocations::new(client.clone()));
    let backends = Backends {
        registry,
        store: Arc::new(RedisStore::new(client.clone())),
        relay: Arc::new(relay),
        rooms: Arc::new(RedisRooms::new(client, config.rooms.redis_key.as_deref())),
        work: Arc::new(AmqpWork::start(rabbitmq, config.relay.send_timeout, node.clone())),
    };
    Ok(Some(Joined { cluster: Arc::new(Cluster::new(seed, settings, backends)), revocations }))
}

fn destinations(config: &Config) -> Destinations {
    Destinations::new(
        config.broker.prefixes.iter().map(String::as_str),
        &config.broker.application_prefix,
        &config.broker.user_prefix,
    )
}

/// Puts a node together; blocks while the store is read.
pub(super) fn assemble(
    config: Config,
    node: NodeId,
    joined: Option<Joined>,
    text: &str,
    name: &str,
) -> Result<Shared, String> {
    let mut broker_config = broker_config(&config, &node, text, name).map_err(|problems| problems.join("\n"))?;
    let behind = match (joined, &config.server.data_dir) {
        (Some(Joined { cluster, revocations }), _) => {
            broker_config.revocations = revocations;
            Behind::Cluster(cluster)
        }
        (None, None) => Behind::Store(Arc::new(MemoryStore::default())),
        (None, Some(directory)) => {
            let store = FileStore::open(directory, config.mailbox.write_buffer)
                .map_err(|error| format!("server.data_dir {}: {}", directory.display(), chain(&error)))?;
            broker_config.revocations = Arc::new(FileRevocations::open(directory)?);
            Behind::Store(Arc::new(store))
        }
    };
    let broker = Broker::new(node, broker_config, behind).map_err(|error| chain(&error))?;
    let broker = Arc::new(broker);
    let tls = config.server.tls.as_ref().map(Tls::new).transpose()?;
    let addresses = config.server.addresses.clone();
    let sessions_by_address = Counted::new(addresses.sessions, addresses.without_limit());
    let wheel = Arc::new(Wheel::new(Instant::now()));
    let sessions = TaskTracker::new();
    let stop = CancellationToken::new();
    let authenticator = identity::authenticator(&config.identity, &destinations(&config))?;
    let endpoints = config.endpoint.iter().map(|endpoint| {
        let (before, after) = frame_limits(&config.limits);
        let context = Context {
            broker: Arc::clone(&broker),
            wheel: Arc::clone(&wheel),
            authenticator: Arc::clone(&authenticator),
            session: session_config(endpoint, &config.limits),
            limits: (before, after),
            time_to_connect: config.limits.time_to_first_message,
            send_time_limit: config.outbox.send_time_limit,
            send_buffer_size_limit: config.outbox.send_buffer_size_limit,
            user_name_size_limit: config.limits.user_name_size_limit,
            renew_destination: config.identity.renew_destination.as_deref().map(Box::from),
            heart_beat_tolerance: config.limits.heart_beat_tolerance,
            frames_in_progress: config.limits.frames_in_progress,
            addresses: Arc::clone(&sessions_by_address),
            frames_per_second: config.limits.frames_per_second,
            bytes_per_second: config.limits.bytes_per_second,
            sessions_per_user: config.limits.sessions_per_user,
            sessions: sessions.clone(),
            stop: stop.clone(),
        };
        let socket = WsSettings::default();
        Arc::new(Endpoint::new(&endpoint.path, endpoint.sockjs.clone(), socket, Arc::new(Stomp::new(context))))
    });
    let endpoints = endpoints.collect();
    Ok(Shared {
        config,
        broker,
        wheel,
        endpoints,
        sessions,
        connections: TaskTracker::new(),
        stop,
        ready: AtomicBool::new(false),
        addresses: Counted::new(addresses.connections, addresses.without_limit()),
        arrivals: Paced::new(addresses.connections_per_second, addresses.connections_burst, addresses.without_limit()),
        tls,
    })
}

/// Lets go of what outlives the sessions, within `limit` where other nodes take over what is left.
pub(super) async fn close(shared: &Shared, limit: Duration) {
    if let Some(cluster) = shared.broker.cluster() {
        if tokio::time::timeout(limit / 4, shared.broker.kept().told()).await.is_err() {
            tracing::warn!("Redis does not know of every proved delivery: some messages will come again");
        }
        if tokio::time::timeout(limit / 4, shared.broker.left_all_rooms()).await.is_err() {
            cluster.leave_remains();
        }
        return cluster.leave(limit / 2).await;
    }
    let Some(store) = shared.broker.kept().store().cloned() else { return };
    // Closing waits for the disk.
    match tokio::task::spawn_blocking(move || store.close()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::error!(error = %chain(&error), "the store did not close in order"),
        Err(error) => tracing::error!(%error, "the store did not close in order"),
    }
}

/// An error and what caused it, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

fn frame_limits(limits: &config::Limits) -> (Limits, Limits) {
    let before = Limits {
        head_bytes: limits.connect_size_limit,
        header_line_bytes: limits.header_line_limit.min(limits.connect_size_limit),
        headers: limits.headers,
        ..Limits::before_connected()
    };
    let after = Limits {
        head_bytes: limits.header_size_limit,
        headers: limits.headers,
        header_line_bytes: limits.header_line_limit,
        body_bytes: limits.message_size_limit,
    };
    (before, after)
}

fn session_config(endpoint: &config::Endpoint, limits: &config::Limits) -> SessionConfig {
    SessionConfig {
        strict: endpoint.strict,
        heart_beat: HeartBeat { can_ms: endpoint.heart_beat.0, want_ms: endpoint.heart_beat.1 },
        server: Some(concat!("stampede/", env!("CARGO_PKG_VERSION")).into()),
        limits: SessionLimits {
            subscriptions: limits.subscriptions,
            transactions: limits.transactions,
            transaction_frames: limits.transaction_frames,
            transaction_bytes: limits.transaction_size_limit,
            destination_bytes: limits.destination_size_limit,
            ..SessionLimits::default()
        },
    }
}
