//! Joins the brokers of several nodes: finds out which nodes have receivers for a message, and takes in what comes from
//! others.
//!
//! ```text
//! broker --send--> router --who has receivers?--> registry (or the shared mailboxes: append)
//!                    |  one envelope per set of nodes
//!                    v
//!                  relay ==> other nodes ==> inbound --> Local (their broker)
//!
//! broker --has or lost its last receiver--> interests --> registry
//! members: lease, who is alive, adoption of what a dead node leaves
//! ```
//!
//! What always holds: messages of one node leave in the order in which they came to [`Cluster::send`]; a message is
//! confirmed to its sender when all that had to be told confirmed it; what came from another node leaves this one again only
//! by adoption and by a bounded number of new look-ups.

mod envelope;
mod inbound;
mod interests;
mod members;
mod patterns;
mod recent;
mod router;
mod streams;
mod work;

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use bytes::Bytes;
use bytestring::ByteString;
use parking_lot::RwLock;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::config::cluster::Relay as RelayConfig;
use crate::config::mailbox::Keep;
use crate::destination::Destinations;
use crate::ids::{Boot, NodeId};
use crate::mailbox::shared::{Append, SharedStore};
use crate::message::Message;
use crate::registry::{Name, Registry, RegistryError};
use crate::relay::work::WorkRelay;
use crate::relay::{Inbox, Later, Relay};
use crate::rooms::shared::SharedRooms;

use envelope::Way;
use interests::Interests;
use members::Members;
use recent::Recent;
use router::{Job, Router, What};

pub use inbound::Inbound;

/// Waits for the end of something: dropped when it is done, told before that when it failed.
pub trait Outcome: Send + Sync {
    /// It failed; the first reason counts.
    fn failed(&self, why: &str);
}

/// What the broker of this node does for the others.
pub trait Local: Send + Sync {
    /// Whether anybody here subscribed to the destination, or to a pattern that matches it.
    fn wants(&self, destination: &str) -> bool;

    /// Delivers to those who did; never waits. Gives the number of subscriptions that got it.
    fn deliver(&self, message: Message, by_name_only: bool) -> u64;

    /// Delivers to one session's own subscriptions; `false` when it is not here.
    fn deliver_to(&self, session: &str, rest: &str, message: Message) -> bool;

    /// A message that the shared store keeps under this number, for whoever is subscribed here.
    fn kept(&self, seq: u64, record: Bytes);

    /// Another node has something to say that concerns every node; `record` is what was given to [`Cluster::tell_everyone`].
    fn notice(&self, record: &[u8]);

    /// What the shared store keeps may have changed without notice: look again at everything that is open.
    fn look_again(&self);

    /// Redis did not answer for a moment, and has forgotten nothing: what could not be told to it can be told now.
    fn answers_again(&self);

    /// A run of a node is dead for good, and this node looks after what it left; `alive` are the runs that live. `false` when
    /// that cannot be done to its end now. Can be repeated.
    fn died<'a>(&'a self, boot: &'a Boot, alive: &'a HashMap<NodeId, Boot>) -> Later<'a, bool>;
}

/// Where a message of this node has to go besides its own sessions.
#[derive(Debug, Clone)]
pub enum Target {
    /// To the receivers of an addressee.
    User {
        /// Who.
        addressee: Box<str>,
        /// Only to subscriptions by name, none of the form `/user/queue/…`.
        by_name_only: bool,
    },
    /// To the subscribers of a broker destination.
    Destination,
    /// Into the shared store, and to those who have its destination open.
    Kept(Keep),
    /// Into the work queue of its destination.
    Work(Keep),
}

/// How a node takes part, from configuration.
#[derive(Debug, Clone)]
pub struct ClusterConfig {
    /// Which destinations belong to whom.
    pub destinations: Destinations,
    /// `[relay]`
    pub relay: RelayConfig,
    /// `rabbitmq.window`: most envelopes that wait for their confirm.
    pub window: usize,
    /// `redis.lease`
    pub lease: Duration,
    /// `redis.lease_renewal`
    pub lease_renewal: Duration,
}

/// See [`Cluster::gauges`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gauges {
    /// Nodes that live, this one included.
    pub nodes: usize,
    /// Octets that wait for the relay, or for its confirm.
    pub waiting_bytes: usize,
    /// Names under which this node has receivers.
    pub names: usize,
    /// Whether the registry answers.
    pub registry_up: bool,
    /// Whether the relay takes messages.
    pub relay_up: bool,
}

/// What stands behind a cluster.
#[derive(Debug, Clone)]
pub struct Backends {
    /// Who is where.
    pub registry: Arc<dyn Registry>,
    /// Messages for absent users.
    pub store: Arc<dyn SharedStore>,
    /// Between nodes.
    pub relay: Arc<dyn Relay>,
    /// Who is in which room.
    pub rooms: Arc<dyn SharedRooms>,
    /// Work queues.
    pub work: Arc<dyn WorkRelay>,
}

/// This node's part in the cluster.
#[derive(Debug)]
pub struct Cluster {
    shared: Arc<Shared>,
    inbound: Arc<Inbound>,
    tasks: parking_lot::Mutex<Vec<JoinHandle<()>>>,
    stop: CancellationToken,
}

/// What the parts of this room share.
pub(crate) struct Shared {
    node: NodeId,
    /// Names this run in envelopes; never changes, unlike `boot`.
    stream: ByteString,
    boot: RwLock<Boot>,
    local: OnceLock<Weak<dyn Local>>,
    registry: Arc<dyn Registry>,
    store: Arc<dyn SharedStore>,
    rooms: Arc<dyn SharedRooms>,
    work: Arc<dyn WorkRelay>,
    registry_up: AtomicBool,
    /// See [`Cluster::leave_remains`].
    remains: AtomicBool,
    router: Router,
    interests: Interests,
    members: Members,
    recent: Recent,
    destinations: Destinations,
    config: ClusterConfig,
}

impl Cluster {
    /// A node that does not take part yet: [`Cluster::start`] lets it. The relay's inbox is [`Inbound`], made of the same
    /// [`Seed`].
    #[must_use]
    pub fn new(seed: Seed, config: ClusterConfig, backends: Backends) -> Self {
        let Backends { registry, store, relay, rooms, work } = backends;
        let shared = Arc::new(Shared {
            node: seed.node,
            stream: seed.boot.as_str().into(),
            boot: RwLock::new(seed.boot),
            local: OnceLock::new(),
            registry,
            store,
            rooms,
            work,
            registry_up: AtomicBool::new(true),
            remains: AtomicBool::new(false),
            router: Router::new(relay, config.relay, config.window),
            interests: Interests::default(),
            members: Members::default(),
            recent: Recent::default(),
            destinations: config.destinations.clone(),
            config,
        });
        Self { shared, inbound: seed.inbound, tasks: parking_lot::Mutex::default(), stop: CancellationToken::new() }
    }

    /// Enters the node in the registry and starts what runs in the background. `local` is the broker.
    ///
    /// # Errors
    ///
    /// When the registry does not answer.
    pub async fn start(&self, local: Weak<dyn Local>) -> Result<(), String> {
        // Set once, before anything can come in.
        let _first = self.shared.local.set(local);
        self.shared.enter().await.map_err(|error| error.to_string())?;
        let run = |task: std::pin::Pin<Box<dyn Future<Output = ()> + Send>>| {
            let stop = self.stop.clone();
            tokio::spawn(async move {
                tokio::select! {
                    () = task => {}
                    () = stop.cancelled() => {}
                }
            })
        };
        let shared = || Arc::clone(&self.shared);
        self.tasks.lock().extend([
            run(Box::pin(router::run(shared()))),
            run(Box::pin(interests::run(shared()))),
            run(Box::pin(members::run(shared()))),
        ]);
        self.inbound.open(&self.shared);
        Ok(())
    }

    /// This run of this node.
    #[must_use]
    pub fn boot(&self) -> Boot {
        self.shared.boot.read().clone()
    }

    /// Takes a message of this node on its way to other nodes; never waits. `outcome` is dropped when it is done: those who
    /// have receivers confirmed it, the store keeps it. `delivered` says whether anybody here has got it.
    pub fn send(&self, message: &Message, target: Target, delivered: bool, outcome: Option<Arc<dyn Outcome>>) {
        let record = crate::mailbox::record::encode(message);
        let what = match target {
            Target::User { addressee, by_name_only } => {
                if delivered {
                    self.shared.recent.insert(&message.id);
                }
                let way = Way { by_name_only, sought: true, ..Way::default() };
                What::Find { name: Name::User(addressee), way, record, list: message.list.clone(), stranded: false }
            }
            Target::Destination => {
                What::Broadcast { destination: (&*message.destination).into(), record, list: message.list.clone() }
            }
            Target::Kept(keep) => {
                let queue: Box<str> = (&*message.destination).into();
                What::Keep { append: Append { queue, record, sent_at: message.sent_at, keep } }
            }
            Target::Work(keep) => return self.offer(&message.destination, keep, record, outcome),
        };
        self.shared.router.submit(Job::new(what, outcome, None));
    }

    /// The work queues that all nodes share.
    #[must_use]
    pub fn work(&self) -> &Arc<dyn WorkRelay> {
        &self.shared.work
    }

    /// Takes a message for one session of another node.
    pub fn send_to_session(
        &self,
        node: NodeId,
        session: &str,
        rest: &str,
        message: &Message,
        outcome: Option<Arc<dyn Outcome>>,
    ) {
        let record = crate::mailbox::record::encode(message);
        let what = What::Session { node, session: session.into(), rest: rest.into(), record };
        self.shared.router.submit(Job::new(what, outcome, None));
    }

    /// Hands something to every other node that is no message. `outcome` is dropped when RabbitMQ has it for all of them.
    pub fn tell_everyone(&self, record: Bytes, outcome: Option<Arc<dyn Outcome>>) {
        self.shared.router.submit(Job::new(What::Notice { record }, outcome, None));
    }

    /// This node has one more receiver for the name. `outcome` is dropped when every node knows.
    pub fn add(&self, name: Name, outcome: Option<Arc<dyn Outcome>>) {
        if self.is_found_by_look_up(&name) {
            self.shared.interests.add(name, outcome);
        }
    }

    /// This node has one receiver fewer for the name.
    pub fn remove(&self, name: Name) {
        if self.is_found_by_look_up(&name) {
            self.shared.interests.remove(name);
        }
    }

    /// How often the node gives a sign of life, and looks at what others have changed.
    #[must_use]
    pub fn lease_renewal(&self) -> Duration {
        self.shared.config.lease_renewal
    }

    /// Whether so much waits for the relay that sessions should send no more for now.
    #[must_use]
    pub fn is_congested(&self) -> bool {
        self.shared.router.is_congested()
    }

    /// The store that all nodes share.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn SharedStore> {
        &self.shared.store
    }

    /// The rooms that all nodes share.
    #[must_use]
    pub fn rooms(&self) -> &Arc<dyn SharedRooms> {
        &self.shared.rooms
    }

    /// Whether Redis answers, as far as is known.
    #[must_use]
    pub fn is_registry_up(&self) -> bool {
        self.shared.registry_up.load(Ordering::Acquire)
    }

    /// Redis did not answer somebody else. When it does, [`Local::answers_again`] is called, or [`Local::look_again`] if it was
    /// away.
    pub fn registry_failed(&self, why: &str) {
        self.shared.registry_failed(&RegistryError(why.into()));
    }

    /// What this node has entered is not all taken back: at its end others are to find it dead and look after that.
    pub fn leave_remains(&self) {
        self.shared.remains.store(true, Ordering::Release);
    }

    /// What is wrong now, in words for an operator; empty when all is well.
    #[must_use]
    pub fn complaints(&self) -> Vec<&'static str> {
        let gauges = self.gauges();
        let mut found = Vec::new();
        if !gauges.registry_up {
            found.push("Redis does not answer");
        }
        if !gauges.relay_up {
            found.push("RabbitMQ does not take messages");
        }
        found
    }

    /// The node.
    #[must_use]
    pub fn node(&self) -> &NodeId {
        &self.shared.node
    }

    /// What the node knows about the cluster, in numbers.
    #[must_use]
    pub fn gauges(&self) -> Gauges {
        Gauges {
            nodes: self.shared.members.live(),
            waiting_bytes: self.shared.router.waiting_bytes(),
            names: self.shared.interests.len(),
            registry_up: self.shared.registry_up.load(Ordering::Acquire),
            relay_up: self.shared.router.relay().is_up(),
        }
    }

    /// Leaves the cluster after the last session: what others have sent is handed on, what was taken is confirmed, and the
    /// registry forgets the node. Ends after `limit` at the latest.
    pub async fn leave(&self, limit: Duration) {
        let shared = &self.shared;
        let work = shared.work.close();
        let orderly = async {
            // New look-ups find this node no more; what is in its queue is looked up again and sent on.
            shared.interests.flush(shared).await;
            shared.router.relay().retire().await;
            shared.router.idle().await;
            shared.router.relay().close().await;
        };
        let both = async { tokio::join!(orderly, work) };
        if tokio::time::timeout(limit, both).await.is_err() {
            tracing::warn!(?limit, "the relay did not end in order; what it holds is adopted by another node");
        }
        self.stop.cancel();
        if shared.remains.load(Ordering::Acquire) {
            return tracing::warn!("others find this node dead and end what it has left");
        }
        let boot = self.boot();
        let gone = async {
            shared.store.forget(&boot).await.map_err(|error| error.to_string())?;
            shared.registry.remove(&boot).await.map_err(|error| error.to_string())
        };
        match tokio::time::timeout(limit, gone).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(error, "the registry still lists this node until its lease ends"),
            Err(_) => tracing::warn!("the registry still lists this node until its lease ends"),
        }
        let tasks = std::mem::take(&mut *self.tasks.lock());
        for task in tasks {
            // It was told to stop; how it ended says nothing more.
            let _ended = task.await;
        }
    }

    /// With a fixed fan-out nobody ever looks up who wants a destination.
    fn is_found_by_look_up(&self, name: &Name) -> bool {
        use crate::config::cluster::Broadcast;
        self.shared.config.relay.broadcast != Broadcast::Fanout || !matches!(name, Name::Destination(_))
    }
}

/// Names a run of a node before its parts are there: the relay needs an [`Inbound`] before the [`Cluster`] can have a relay.
#[derive(Debug)]
pub struct Seed {
    node: NodeId,
    boot: Boot,
    inbound: Arc<Inbound>,
}

impl Seed {
    /// A new run of this node.
    #[must_use]
    pub fn new(node: NodeId) -> Self {
        Self { boot: Boot::new(&node), node, inbound: Arc::new(Inbound::new()) }
    }

    /// What the relay gives its envelopes to; they wait there until [`Cluster::start`].
    #[must_use]
    pub fn inbox(&self) -> Arc<dyn Inbox> {
        Arc::clone(&self.inbound) as _
    }
}

impl Shared {
    fn local(&self) -> Option<Arc<dyn Local>> {
        self.local.get()?.upgrade()
    }

    fn boot(&self) -> Boot {
        self.boot.read().clone()
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("node", &self.node).field("registry", &self.registry).finish_non_exhaustive()
    }
}
