//! The only place that chooses what stands behind the broker: memory or a file, and later Redis and RabbitMQ.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use stampede_protocol::Limits;
use stampede_protocol::stomp::{HeartBeat, SessionConfig, SessionLimits};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Shared;
use crate::broker::{Broker, BrokerConfig};
use crate::config::{self, Config};
use crate::destination::Destinations;
use crate::ids::NodeId;
use crate::session::identify::Trusting;
use crate::session::{Context, Stomp};
use crate::timers::Wheel;
use crate::transport::Endpoint;
use crate::transport::websocket::WsSettings;

/// Whether a node could be put together from this.
///
/// # Errors
///
/// Every problem, each with its place.
pub fn check(config: &Config, text: &str, name: &str) -> Result<(), Vec<String>> {
    broker_config(config, text, name).map(|_| ()).map_err(|problem| vec![problem])
}

fn broker_config(config: &Config, _text: &str, name: &str) -> Result<BrokerConfig, String> {
    let destinations = Destinations::new(
        config.broker.prefixes.iter().map(String::as_str),
        &config.broker.application_prefix,
        &config.broker.user_prefix,
    );
    let broker = BrokerConfig { destinations, policies: config.destination.clone(), outbox: config.outbox.clone() };
    Broker::new(NodeId::random(), &broker).map_err(|problem| format!("{name}: {problem}"))?;
    Ok(broker)
}

/// Puts a node together.
pub(super) fn assemble(config: Config, text: &str, name: &str) -> Result<Shared, String> {
    let broker_config = broker_config(&config, text, name)?;
    let broker = Arc::new(Broker::new(NodeId::random(), &broker_config)?);
    let wheel = Arc::new(Wheel::new(Instant::now()));
    let sessions = TaskTracker::new();
    let authenticator = Arc::new(Trusting { user_header: config.identity.user_header.clone() });
    let endpoints = config.endpoint.iter().map(|endpoint| {
        let (before, after) = frame_limits(&config.limits);
        let context = Context {
            broker: Arc::clone(&broker),
            wheel: Arc::clone(&wheel),
            authenticator: Arc::clone(&authenticator) as _,
            session: session_config(endpoint, &config.limits),
            limits: (before, after),
            time_to_connect: config.limits.time_to_first_message,
            send_time_limit: config.outbox.send_time_limit,
            send_buffer_size_limit: config.outbox.send_buffer_size_limit,
            heart_beat_tolerance: config.limits.heart_beat_tolerance,
            frames_in_progress: config.limits.frames_in_progress,
            sessions: sessions.clone(),
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
        stop: CancellationToken::new(),
        ready: AtomicBool::new(false),
    })
}

/// Lets go of what outlives the sessions.
pub(super) async fn close(_shared: &Shared) {}

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
