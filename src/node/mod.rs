//! One node: everything put together, run, and drained.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use crate::addresses::{Counted, Paced};
use crate::broker::{Broker, SessionHandle};
use crate::close::CloseReason;
use crate::cluster::Local;
use crate::config::Config;
use crate::permissions::Profile;
use crate::reload::Reload;
use crate::session::Stomp;
use crate::timers::{TICK, Wheel};
use crate::transport::Endpoint;

mod api;
mod assemble;
mod export;
mod headers;
mod listen;
mod operators;
mod pages;
mod tls;

pub use assemble::check;

/// A node that listens.
#[derive(Debug)]
pub struct Node {
    listener: TcpListener,
    address: SocketAddr,
    shared: Arc<Shared>,
    reload: Reload,
    /// Where operators ask, if not where the clients are.
    operators: Option<operators::Port>,
}

/// What requests and background tasks share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) broker: Arc<Broker>,
    pub(crate) wheel: Arc<Wheel<SessionHandle>>,
    pub(crate) endpoints: Vec<Arc<Endpoint<Stomp>>>,
    /// Every session, until its last byte has left.
    pub(crate) sessions: TaskTracker,
    /// Every HTTP connection.
    pub(crate) connections: TaskTracker,
    /// Cancelled when the node stops accepting.
    pub(crate) stop: CancellationToken,
    pub(crate) ready: AtomicBool,
    /// HTTP connections by address.
    pub(crate) addresses: Arc<Counted>,
    /// New connections by address.
    pub(crate) arrivals: Paced,
    /// None for a node that speaks plain HTTP.
    pub(crate) tls: Option<tls::Tls>,
}

impl Shared {
    /// What `server.connections` bounds: HTTP connections, and sessions, which took theirs over or share several.
    pub(crate) fn open_connections(&self) -> usize {
        self.connections.len() + self.sessions.len()
    }
}

impl Node {
    /// Puts a node together and binds its port; `text` and `name` are the configuration file, for messages that name a
    /// line of it.
    ///
    /// # Errors
    ///
    /// Says what to change.
    pub async fn start(config: Config, text: &str, name: &str) -> Result<Self, String> {
        // Before anybody could know that it runs: SIGHUP ends no node, whether there is something to read again or not.
        let reload = Reload::listen();
        // What is wrong with the configuration is said before anything is connected to.
        check(&config, text, name).map_err(|problems| problems.join("\n"))?;
        let node = assemble::node_id(&config)?;
        let joined = assemble::join(&config, &node).await?;
        let (text, name) = (text.to_owned(), name.to_owned());
        // Reading the store blocks.
        let runtime = tokio::runtime::Handle::current();
        let assembled = tokio::task::spawn_blocking(move || {
            let _context = runtime.enter();
            assemble::assemble(config, node, joined, &text, &name)
        });
        let shared = Arc::new(assembled.await.map_err(|error| error.to_string())??);
        if let Some(cluster) = shared.broker.cluster() {
            let broker: Arc<dyn Local> = Arc::clone(&shared.broker) as _;
            cluster.start(Arc::downgrade(&broker)).await?;
            tokio::spawn(Arc::clone(&shared.broker).keep_in_touch());
        }
        // Before the first session: who is revoked must not slip in.
        shared.broker.read_revocations().await.map_err(|error| error.to_string())?;
        let wanted = shared.config.server.listen;
        let listener = listen::bind(wanted)
            .map_err(|error| format!("cannot listen on {wanted}: {error}; another --listen ADDR:PORT may be free"))?;
        let address = listener.local_addr().map_err(|error| format!("cannot listen on {wanted}: {error}"))?;
        let operators = shared.config.server.admin_listen.map(operators::Port::bind).transpose()?;
        Ok(Self { listener, address, shared, reload, operators })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// What a person who started it wants to know.
    #[must_use]
    pub fn greeting(&self) -> Vec<String> {
        let address = self.address;
        let secured = if self.shared.tls.is_some() { "s" } else { "" };
        let mut lines = vec![format!("Stampede {} listens on http{secured}://{address}", env!("CARGO_PKG_VERSION"))];
        if self.shared.config.demo.enabled {
            lines.push(format!("  demo page   http{secured}://{address}/"));
        }
        for endpoint in &self.shared.config.endpoint {
            let path = &endpoint.path;
            lines.push(format!("  STOMP       ws{secured}://{address}{path}   SockJS http{secured}://{address}{path}"));
        }
        if let Some(operators) = &self.operators {
            lines.push(format!("  operators   http://{}/ (health, ready, metrics, api)", operators.address));
        }
        let (profile, why) = assemble::profile(&self.shared.config);
        let may = match profile {
            Profile::Guarded => "clients send through routes and read what is public or their own",
            Profile::Spring => "clients send to and read every destination, as in Spring",
        };
        lines.push(format!("  permissions {}: {may} ({why})", profile.as_str()));
        if address.ip().is_loopback() && !self.shared.config.identity.has_proof() {
            lines.push(
                "  Only this machine can connect: clients are believed who they say they are. \
                 --listen 0.0.0.0:PORT opens it to the network."
                    .to_owned(),
            );
        }
        lines
    }

    /// Serves until `shutdown` ends, then drains.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let Self { listener, address, shared, reload, operators } = self;
        if !address.ip().is_loopback() && !shared.config.identity.has_proof() {
            warn!(%address, "identity.anonymous is \"always\": anyone who reaches this port can connect under any name");
        }
        let admin_address = operators.as_ref().map(|port| port.address);
        info!(%address, admin_address = ?admin_address, node = %shared.broker.node(), "listening");
        let (profile, reason) = assemble::profile(&shared.config);
        let rules = shared.config.permissions.rule.len();
        info!(profile = profile.as_str(), reason, rules, "permissions");
        let mut ticker = tokio::spawn(tick(Arc::clone(&shared)));
        let accepting = tokio::spawn(listen::accept(listener, Arc::clone(&shared)));
        let operators_stop = CancellationToken::new();
        let operators = operators.map(|port| tokio::spawn(port.serve(Arc::clone(&shared), operators_stop.clone())));
        let certificates = tokio::spawn(keep_certificate(Arc::clone(&shared), reload));
        shared.ready.store(true, Ordering::Release);
        tokio::select! {
            () = shutdown => {}
            ended = &mut ticker => {
                tracing::error!(error = ?ended.err(), "the timer task ended: without it this node cannot go on");
            }
        }
        let begun = Instant::now();
        drain(&shared).await;
        accepting.abort();
        certificates.abort();
        ticker.abort();
        let left = shared.config.server.shutdown_grace.saturating_sub(begun.elapsed()).max(LEAST_TO_LEAVE);
        assemble::close(&shared, left).await;
        // Last, so that whoever asks is told all the while that it drains.
        operators_stop.cancel();
        if let Some(operators) = operators {
            let _in_time = tokio::time::timeout(LEAST_TO_LEAVE, operators).await;
        }
        info!("stopped");
    }
}

async fn keep_certificate(shared: Arc<Shared>, reload: Reload) {
    if let Some(tls) = &shared.tls {
        tls.keep(reload).await;
    }
}

/// What a node takes to leave the others, even where its sessions took all of the grace.
const LEAST_TO_LEAVE: Duration = Duration::from_secs(2);

/// Ends on SIGTERM or Ctrl-C. Listens from the call on: one that comes before the first poll must not kill the node.
///
/// # Panics
///
/// Outside a Tokio runtime.
pub fn shutdown_signal() -> impl Future<Output = ()> {
    use tokio::signal::unix::{Signal, SignalKind, signal};
    let listen = |kind, name| {
        signal(kind)
            .inspect_err(|error| warn!(%error, "{name} cannot be listened for; it ends this node without notice"))
    };
    let interrupt = listen(SignalKind::interrupt(), "Ctrl-C").ok();
    let terminate = listen(SignalKind::terminate(), "SIGTERM").ok();
    let received = async |signal: Option<Signal>| match signal {
        Some(mut signal) => {
            signal.recv().await;
        }
        None => std::future::pending().await,
    };
    async move {
        tokio::select! {
            () = received(interrupt) => {}
            () = received(terminate) => {}
        }
    }
}

/// Ticks between two looks for kept messages that have waited too long: a second.
const SWEEP_EVERY: u64 = 20;

/// A tick that comes so late that the whole process must have been stopped, or starved.
const STALL: Duration = Duration::from_secs(1);

/// Turns the timer wheel.
async fn tick(shared: Arc<Shared>) {
    let mut interval = tokio::time::interval(TICK);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    let mut last = Instant::now();
    for ticks in 1_u64.. {
        interval.tick().await;
        let pause = last.elapsed();
        last = Instant::now();
        if pause > STALL {
            // The process was stopped: clients are read before anything counts as missed.
            warn!(?pause, "the node stood still");
            continue;
        }
        shared.wheel.advance(Instant::now());
        if ticks.is_multiple_of(SWEEP_EVERY) {
            shared.broker.kept().sweep();
        }
    }
}

/// Sessions closed together while draining.
const DRAIN_STEPS: usize = 50;

/// Not ready, no new connections, sessions closed in small groups so that their clients do not all return at once.
async fn drain(shared: &Shared) {
    let grace = shared.config.server.shutdown_grace;
    let deadline = tokio::time::Instant::now() + grace;
    shared.ready.store(false, Ordering::Release);
    shared.stop.cancel();
    shared.sessions.close();
    shared.connections.close();
    let sessions = shared.broker.sessions();
    info!(sessions = sessions.len(), ?grace, "draining");
    // A handful leaves at once: there is no crowd to spread.
    let group = sessions.len().div_ceil(DRAIN_STEPS).max(10);
    let pause = if sessions.len() > group { grace / 2 / DRAIN_STEPS as u32 } else { Duration::ZERO };
    for group in sessions.chunks(group) {
        for session in group {
            session.outbox.close(CloseReason::Drain);
        }
        tokio::time::sleep(pause).await;
    }
    // Who connected while the others were asked to leave.
    for session in shared.broker.sessions() {
        session.outbox.close(CloseReason::Drain);
    }
    let all = async {
        shared.sessions.wait().await;
        shared.connections.wait().await;
    };
    if tokio::time::timeout_at(deadline, all).await.is_err() {
        warn!(left = shared.sessions.len() + shared.connections.len(), "the time to drain is over");
    }
}
