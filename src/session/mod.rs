//! Sessions: the seam to transports, and the task that drives one STOMP connection.
//!
//! One task owns the link, the decoder, the protocol state and the consuming end of the outbox; nobody else writes to
//! the socket. It is one hand-written future without channels, so an idle connection costs its fields and no more.

use std::sync::Arc;
use std::time::Duration;

use stampede_protocol::Limits;
use stampede_protocol::stomp::session::SessionConfig;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::addresses::Counted;
use crate::broker::{Broker, SessionHandle};
use crate::timers::Wheel;

mod drive;
pub mod identify;
pub mod link;
mod pace;
mod slots;
mod write;

use identify::Authenticator;
use link::{Application, Handshake, Link};

/// STOMP behind one endpoint: what its sessions share.
#[derive(Debug, Clone)]
pub struct Stomp {
    context: Arc<Context>,
}

/// What the sessions of one endpoint share.
#[derive(Debug)]
pub struct Context {
    /// The broker.
    pub broker: Arc<Broker>,
    /// The node's timers.
    pub wheel: Arc<Wheel<SessionHandle>>,
    /// Who clients are.
    pub authenticator: Arc<dyn Authenticator>,
    /// Protocol behaviour and limits.
    pub session: SessionConfig,
    /// Frame limits before and after CONNECTED.
    pub limits: (Limits, Limits),
    /// How long CONNECT may take.
    pub time_to_connect: Duration,
    /// How long the peer may take nothing while something waits.
    pub send_time_limit: Duration,
    /// Octets that may wait for a session; named in the ERROR to a slow reader.
    pub send_buffer_size_limit: usize,
    /// Longest user name in octets.
    pub user_name_size_limit: usize,
    /// A SEND to this destination renews who the client is; none where nothing can be renewed.
    pub renew_destination: Option<Box<str>>,
    /// Silent heart-beat periods after which a client counts as dead.
    pub heart_beat_tolerance: u32,
    /// Frames that may wait for a store, or for the client to take their answers, before the session reads no further.
    pub frames_in_progress: usize,
    /// Sessions by the address of their client.
    pub addresses: Arc<Counted>,
    /// Frames that a session may send per second; 0 for no limit.
    pub frames_per_second: u32,
    /// Octets that a session may send per second; 0 for no limit.
    pub bytes_per_second: usize,
    /// Most sessions of one user on this node; 0 for no limit.
    pub sessions_per_user: usize,
    /// Counts sessions until their last byte has left.
    pub sessions: TaskTracker,
    /// Cancelled when the node stops: a session that begins all the same is asked to leave.
    pub stop: CancellationToken,
}

impl Stomp {
    /// The application of an endpoint.
    #[must_use]
    pub fn new(context: Context) -> Self {
        Self { context: Arc::new(context) }
    }
}

impl Application for Stomp {
    fn serve<L: Link>(&self, link: L, handshake: Handshake) -> impl Future<Output = ()> + Send + 'static {
        drive::Drive::new(Arc::clone(&self.context), link, handshake)
    }

    fn subprotocols(&self) -> &'static [&'static str] {
        &["v12.stomp", "v11.stomp", "v10.stomp"]
    }
}
