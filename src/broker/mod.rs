//! The broker: the verbs that a session may call, and nothing that knows what carries it.
//!
//! ```text
//! session --subscribe--> exact: Topics   pattern: Patterns   kept: the mailbox
//! session --send--> classify --> broker destination ----------+
//!                            --> user destination -> its name -+--> deliver --> outboxes
//!                            --> application: routes -> sends -+
//! ```
//!
//! Every verb returns at once. What takes longer (a store) ends through the [`Handover`] of its frame. User
//! destinations are exact destinations under one canonical name, `/user/{id}/{rest}`, whichever form a client wrote.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use bytestring::ByteString;
use parking_lot::{Mutex, RwLock};
use stampede_protocol::stomp::{Fault, FaultKind};

pub use self::kept::KeptDestinations;
use self::lists::Lists;
use self::patterns::Patterns;
pub use self::policy::Policies;
use self::revoked::Revoked;
use self::together::RoomsBehind;
use self::topics::Topics;
use crate::cluster::Cluster;
use crate::config;
use crate::destination::Destinations;
use crate::ids::{MessageIds, NodeId, SessionId};
use crate::mailbox::{KeepStore, StoreError};
use crate::outbox::Outbox;
use crate::permissions::{Gate, Permissions};
use crate::revocation::RevocationStore;
use crate::rooms::Rooms;
use crate::routes::Routes;
use crate::timers::Alarm;

mod clustered;
mod deliver;
mod handover;
mod kept;
mod lists;
mod patterns;
mod permit;
pub mod policy;
mod revoked;
mod routed;
mod send;
mod subscribe;
mod together;
mod topics;

pub use handover::{Handover, Pending};
pub use subscribe::Placement;

/// What the broker needs to know from configuration.
#[derive(Debug)]
pub struct BrokerConfig {
    /// Which destinations belong to whom.
    pub destinations: Destinations,
    /// Policies by destination.
    pub policies: Policies,
    /// Bound of an outbox in octets.
    pub outbox_limit: usize,
    /// Which frames of clients have an effect.
    pub gate: Gate,
    /// What application destinations do.
    pub routes: Routes,
    /// Who is in which room.
    pub rooms: Rooms,
    /// Bounds of what is kept.
    pub mailbox: config::mailbox::Mailbox,
    /// Ids of the messages of this run.
    pub ids: MessageIds,
    /// Who may no longer come in.
    pub revocations: Arc<dyn RevocationStore>,
}

/// Everything a node knows about who wants what.
#[derive(Debug)]
pub struct Broker {
    node: NodeId,
    destinations: Destinations,
    policies: Policies,
    outbox_limit: usize,
    topics: Topics,
    patterns: Patterns,
    kept: KeptDestinations,
    gate: Gate,
    routes: Routes,
    rooms: RoomsBehind,
    lists: Lists,
    rooms_follow_subscriptions: bool,
    sessions: Sessions,
    ids: MessageIds,
    revoked: Revoked,
    /// None for a node that is alone.
    cluster: Option<Arc<Cluster>>,
}

/// What stands behind a broker.
#[derive(Debug)]
pub enum Behind {
    /// Nothing but a store for what is kept: the node is alone.
    Store(Arc<dyn KeepStore>),
    /// Other nodes, and what they share.
    Cluster(Arc<Cluster>),
}

impl Broker {
    /// A broker without sessions. Blocks while a store is read.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    pub fn new(node: NodeId, config: BrokerConfig, behind: Behind) -> Result<Self, StoreError> {
        let (kept, cluster) = match behind {
            Behind::Store(store) => (KeptDestinations::alone(config.mailbox, store), None),
            Behind::Cluster(cluster) => {
                let work = Arc::clone(cluster.work());
                (KeptDestinations::shared(config.mailbox, work), Some(cluster))
            }
        };
        let recovered = kept.recover(&config.policies)?;
        if recovered.messages + recovered.orphaned > 0 {
            tracing::info!(messages = recovered.messages, orphaned = recovered.orphaned, "kept messages are back");
        }
        Ok(Self {
            destinations: config.destinations,
            policies: config.policies,
            outbox_limit: config.outbox_limit,
            topics: Topics::new(),
            patterns: Patterns::default(),
            kept,
            gate: config.gate,
            routes: config.routes,
            rooms_follow_subscriptions: config.rooms.follow_subscriptions(),
            rooms: RoomsBehind::new(config.rooms, cluster.as_ref()),
            lists: Lists::default(),
            sessions: Sessions::default(),
            ids: config.ids,
            revoked: Revoked::new(config.revocations),
            cluster,
            node,
        })
    }

    /// Whether a subscription can join a room, so that its end may have to leave one.
    #[must_use]
    pub const fn follows_subscriptions(&self) -> bool {
        self.rooms_follow_subscriptions
    }

    /// What is kept, for the node's housekeeping.
    #[must_use]
    pub const fn kept(&self) -> &KeptDestinations {
        &self.kept
    }

    /// The node this broker serves.
    #[must_use]
    pub const fn node(&self) -> &NodeId {
        &self.node
    }

    /// Which destinations belong to whom.
    #[must_use]
    pub const fn destinations(&self) -> &Destinations {
        &self.destinations
    }

    /// Makes a session known, so that it can be asked to leave.
    pub fn open(&self, session: &Arc<SessionHandle>) {
        self.sessions.shard(&session.id).lock().insert(session.id.clone(), Arc::clone(session));
    }

    /// Forgets a session: it leaves its rooms. Its subscriptions must have been given back before.
    pub fn close(&self, session: &Arc<SessionHandle>) {
        self.leave_rooms(session);
        let mut shard = self.sessions.shard(&session.id).lock();
        shard.remove(&session.id);
        if shard.is_empty() {
            shard.shrink_to_fit();
        }
    }

    /// The sessions known now.
    #[must_use]
    pub fn sessions(&self) -> Vec<Arc<SessionHandle>> {
        self.sessions.shards.iter().flat_map(|shard| shard.lock().values().cloned().collect::<Vec<_>>()).collect()
    }

    /// Destinations with subscribers.
    #[must_use]
    pub fn destinations_in_use(&self) -> usize {
        self.topics.len() + self.patterns.len()
    }
}

type SessionShard = Mutex<HashMap<SessionId, Arc<SessionHandle>>>;

/// Sessions by id.
#[derive(Debug)]
struct Sessions {
    shards: Box<[SessionShard]>,
    hasher: RandomState,
}

impl Default for Sessions {
    fn default() -> Self {
        Self { shards: (0..64).map(|_| Mutex::default()).collect(), hasher: RandomState::new() }
    }
}

impl Sessions {
    fn shard(&self, id: &SessionId) -> &SessionShard {
        &self.shards[(self.hasher.hash_one(id) as usize) % self.shards.len()]
    }
}

/// One session as the broker and its neighbours see it.
#[derive(Debug)]
pub struct SessionHandle {
    /// Its name.
    pub id: SessionId,
    /// Its queue.
    pub outbox: Outbox,
    /// The name never changes; what else is known may be renewed.
    user: OnceLock<ByteString>,
    /// None where nothing but a name is known, so that such sessions pay nothing for it.
    identity: RwLock<Option<Arc<Identity>>>,
    /// Whether that holds rules of its own: asked for every SEND.
    own_rules: AtomicBool,
    in_progress: AtomicU32,
}

/// Who a session belongs to.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Identity {
    /// The user's name; none for an anonymous session.
    pub name: Option<ByteString>,
    /// What else is known of the user, for routes: a JSON object.
    pub claims: Option<Arc<serde_json::Value>>,
    /// When what proved it was made, such as the `iat` of a token: a user who was revoked before may come back with it.
    pub issued: Option<SystemTime>,
    /// When it ends, and the session with it; none for one that lasts as long as its session.
    pub expires: Option<SystemTime>,
    /// The name by which what proved it can be revoked, such as the `jti` of a token.
    pub token: Option<ByteString>,
    /// What this user may do, asked before the rules of the node.
    pub permissions: Option<Arc<Permissions>>,
}

impl Identity {
    /// Whether the name can stand in destinations: it becomes a segment of every user destination.
    ///
    /// # Errors
    ///
    /// When it is longer than `limit` octets, or holds control characters.
    pub fn check(&self, limit: usize) -> Result<(), Fault> {
        let Some(name) = &self.name else { return Ok(()) };
        if name.len() > limit {
            let actual = name.len();
            return Err(Fault::new(
                FaultKind::Limit,
                format!("user name of {actual} octets is over the limit of {limit}"),
            ));
        }
        if name.chars().any(char::is_control) {
            return Err(Fault::new(FaultKind::BadHeader, "user name with control characters"));
        }
        Ok(())
    }
}

impl SessionHandle {
    /// A new session on this node.
    #[must_use]
    pub fn new(node: &NodeId) -> Arc<Self> {
        Arc::new(Self {
            id: SessionId::random(node),
            outbox: Outbox::default(),
            user: OnceLock::new(),
            identity: RwLock::new(None),
            own_rules: AtomicBool::new(false),
            in_progress: AtomicU32::new(0),
        })
    }

    #[cfg(test)]
    pub(crate) fn for_test() -> Arc<Self> {
        Self::new(&NodeId::random())
    }

    /// Sets who it belongs to; later what is known of the same user. The name stays that of the first call.
    pub fn identify(&self, identity: Identity) {
        if let Some(name) = &identity.name {
            let _first = self.user.set(name.clone());
        }
        let more = Identity { name: None, ..identity };
        self.own_rules.store(more.permissions.is_some(), Ordering::Release);
        *self.identity.write() = (more != Identity::default()).then(|| Arc::new(more));
    }

    /// The user's name.
    #[must_use]
    pub fn user(&self) -> Option<&ByteString> {
        self.user.get()
    }

    /// What else is known of the user.
    #[must_use]
    pub fn claims(&self) -> Option<Arc<serde_json::Value>> {
        self.identity.read().as_ref()?.claims.clone()
    }

    /// Everything that is known besides the name, if there is any.
    #[must_use]
    pub fn identity(&self) -> Option<Arc<Identity>> {
        self.identity.read().clone()
    }

    /// Frames of this session that wait for a store.
    #[must_use]
    pub fn in_progress(&self) -> u32 {
        self.in_progress.load(Ordering::Acquire)
    }

    fn begin(&self) {
        self.in_progress.fetch_add(1, Ordering::AcqRel);
    }

    fn done(&self) {
        self.in_progress.fetch_sub(1, Ordering::AcqRel);
        // Whoever waits for the last one (DISCONNECT, a session that reads no further) looks again.
        self.outbox.nudge();
    }
}

impl Alarm for SessionHandle {
    fn ring(&self) {
        self.outbox.ring();
    }
}
