//! Nodes, and clients that talk to their brokers without sockets.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytestring::ByteString;
use stampede::broker::{Behind, Broker, BrokerConfig, Handover, Identity, Placement, Policies, SessionHandle};
use stampede::cluster::{Backends, Cluster, ClusterConfig, Local, Seed};
use stampede::config::cluster::Relay as RelayConfig;
use stampede::config::mailbox::{Keep, Mailbox};
use stampede::config::rooms::RoomsConfig;
use stampede::config::{Config, DestinationPolicy};
use stampede::destination::Destinations;
use stampede::ids::{MessageIds, NodeId};
use stampede::outbox::{Entry, Overflow, SlotRef, Taken};
use stampede::permissions::{Gate, Permissions, Profile};
use stampede::registry::Registry as _;
use stampede::relay::work::{WorkConsumer, WorkQueue, WorkRelay, WorkSink};
use stampede::relay::{Confirm, Later, RelayError};
use stampede::rooms::shared::Memory;
use stampede::rooms::{MemoryRooms, Rooms};
use stampede::routes::Routes;
use stampede_protocol::stomp::Headers;
use stampede_protocol::stomp::session::{AckMode, Send, Settlement, Subscribe};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::bus::{MemoryBus, MemoryRelay};
use super::faults::{Chance, Link, Remote, Rough};
use super::history::{History, Sent, Subscription};
use super::registry::MemoryRegistry;
use super::store::MemoryShared;

/// How long a node counts as alive without a sign of life.
pub(super) const LEASE: Duration = Duration::from_secs(10);
/// How often it gives one.
const RENEWAL: Duration = Duration::from_secs(3);
/// How long an envelope, or a message, may wait for the relay.
const SEND_TIMEOUT: Duration = Duration::from_secs(30);
/// Where messages are kept.
const KEPT: &str = "/user/*/queue/kept";
/// Whoever subscribes is in the room.
const ROOMS: &str = "[[room]]\nmatch = '*'\nsubscribe = '/topic/room/{room}'\n";

/// Everything there is.
pub(super) struct World {
    pub(super) chance: Chance,
    pub(super) weather: Rough,
    pub(super) registry: Arc<MemoryRegistry>,
    pub(super) store: Arc<MemoryShared>,
    pub(super) rooms: Arc<Memory>,
    pub(super) bus: MemoryBus,
    pub(super) nodes: Vec<Node>,
    pub(super) clients: Vec<Client>,
    pub(super) history: History,
    /// Messages that a mailbox keeps.
    pub(super) keep: usize,
    relay: RelayConfig,
}

/// One node, dead or alive.
pub(super) struct Node {
    pub(super) id: NodeId,
    pub(super) link: Arc<Link>,
    pub(super) alive: bool,
    pub(super) cluster: Arc<Cluster>,
    broker: Arc<Broker>,
    relay: Arc<MemoryRelay>,
    kept: JoinHandle<()>,
}

/// One session.
pub(super) struct Client {
    pub(super) node: usize,
    pub(super) user: Option<String>,
    /// Whether it acknowledges what it gets of kept messages, and which one it does not.
    pub(super) acknowledges: bool,
    pub(super) but_not: Option<usize>,
    session: Arc<SessionHandle>,
    /// By slot: the placement while it lasts, and its number in the history.
    subscriptions: Vec<(Option<Placement>, usize)>,
    receipts: BTreeMap<ByteString, Asked>,
}

/// What a receipt was asked for, by number in the history.
#[derive(Clone, Copy)]
enum Asked {
    Subscription(usize),
    Send(usize),
}

impl World {
    pub(super) fn new(chance: Chance, weather: Rough, relay: RelayConfig) -> Self {
        Self {
            bus: MemoryBus::new(Arc::new(weather.clone()), SEND_TIMEOUT),
            registry: Arc::new(MemoryRegistry::new(LEASE)),
            store: Arc::default(),
            rooms: Arc::default(),
            nodes: Vec::new(),
            clients: Vec::new(),
            history: History::default(),
            chance,
            weather,
            keep: 10_000,
            relay,
        }
    }

    /// A world in which nothing goes wrong unasked.
    pub(super) async fn calm(nodes: usize) -> Self {
        let chance = Chance::new(1);
        let mut world = Self::new(chance.clone(), Rough::calm(chance), RelayConfig::default());
        for _ in 0..nodes {
            world.start_node().await;
        }
        world
    }

    pub(super) async fn start_node(&mut self) -> usize {
        let id = NodeId::named(&format!("n{}", self.nodes.len())).unwrap();
        self.start_node_as(id).await
    }

    /// A new run of a node of that name.
    pub(super) async fn start_node_as(&mut self, id: NodeId) -> usize {
        let link = Link::new(self.weather.clone());
        let seed = Seed::new(id.clone());
        self.bus.set_cut(&id, false);
        let relay = self.bus.node(id.clone(), seed.inbox());
        let settings = ClusterConfig {
            destinations: Destinations::default(),
            relay: self.relay,
            window: 16,
            lease: LEASE,
            lease_renewal: RENEWAL,
        };
        let registry = Arc::new(Remote { inner: Arc::clone(&self.registry), link: Arc::clone(&link) });
        let store = Arc::new(Remote { inner: Arc::clone(&self.store), link: Arc::clone(&link) });
        let rooms = Arc::clone(&self.rooms) as _;
        let work = Arc::new(NoWork);
        let backends = Backends { registry, store, relay: Arc::clone(&relay) as _, rooms, work };
        let cluster = Arc::new(Cluster::new(seed, settings, backends));
        let config = broker_config(&format!("{id}.{}", self.nodes.len()), self.keep);
        let broker = Arc::new(Broker::new(id.clone(), config, Behind::Cluster(Arc::clone(&cluster))).unwrap());
        let local: Weak<Broker> = Arc::downgrade(&broker);
        let local: Weak<dyn Local> = local;
        while cluster.start(local.clone()).await.is_err() {}
        let kept = tokio::spawn(Arc::clone(&broker).keep_in_touch());
        self.nodes.push(Node { id, link, alive: true, cluster, broker, relay, kept });
        self.nodes.len() - 1
    }

    /// The node is gone, and its sessions with it; nobody is told.
    pub(super) fn kill(&mut self, node: usize) {
        // What had been written to its clients before was written.
        self.read();
        let killed = &mut self.nodes[node];
        killed.alive = false;
        killed.link.kill();
        killed.relay.kill();
        killed.kept.abort();
        let history = &mut self.history;
        for client in self.clients.iter_mut().filter(|client| client.node == node) {
            history.end(client.subscriptions.drain(..).map(|(_, subscription)| subscription));
        }
        let mut index = 0;
        self.clients.retain(|client| {
            index += 1;
            client.node != node
        });
    }

    /// A new session; gives its place among the clients.
    pub(super) fn connect(&mut self, node: usize, user: Option<&str>) -> usize {
        let session = SessionHandle::new(&self.nodes[node].id);
        session.identify(Identity { name: user.map(Into::into), ..Identity::default() });
        self.nodes[node].broker.open(&session);
        self.clients.push(Client {
            node,
            user: user.map(str::to_owned),
            acknowledges: true,
            but_not: None,
            session,
            subscriptions: Vec::new(),
            receipts: BTreeMap::new(),
        });
        self.clients.len() - 1
    }

    /// The session ends in order.
    pub(super) fn disconnect(&mut self, client: usize) {
        self.read();
        let client = self.clients.swap_remove(client);
        let broker = &self.nodes[client.node].broker;
        for (placement, subscription) in client.subscriptions {
            if let Some(placement) = placement {
                broker.unsubscribe(&placement, &mut Handover::nobody());
            }
            self.history.end([subscription]);
        }
        broker.close(&client.session);
    }

    /// Asks for a subscription and for its receipt; gives its number in the history.
    pub(super) fn subscribe(&mut self, client: usize, destination: &str) -> usize {
        let client = &mut self.clients[client];
        let full = match (&client.user, destination.strip_prefix("/user/queue/")) {
            (Some(user), Some(rest)) => format!("/user/{user}/queue/{rest}"),
            _ => destination.to_owned(),
        };
        let number = self.history.subscribe(Subscription::new(full, client.user.clone()));
        let slot = u32::try_from(client.subscriptions.len()).unwrap();
        let receipt: ByteString = format!("s{number}").into();
        client.receipts.insert(receipt.clone(), Asked::Subscription(number));
        let frame = Subscribe {
            slot,
            id: Some(slot.to_string().into()),
            destination: destination.into(),
            ack: AckMode::ClientIndividual,
            headers: Headers::new(),
            receipt: Some(receipt.clone()),
        };
        let mut handover = Handover::new(Arc::clone(&client.session), Some(receipt));
        let to = SlotRef { slot, generation: 0 };
        let broker = &self.nodes[client.node].broker;
        let (placement, _) = broker.subscribe(&client.session, to, &frame, false, &mut handover).unwrap();
        handover.finish().unwrap();
        client.subscriptions.push((Some(placement), number));
        number
    }

    /// Ends the newest subscription of a client.
    pub(super) fn unsubscribe(&mut self, client: usize) {
        self.read();
        let client = &mut self.clients[client];
        if let Some((placement @ Some(_), subscription)) = client.subscriptions.last_mut() {
            self.nodes[client.node].broker.unsubscribe(&placement.take().unwrap(), &mut Handover::nobody());
            self.history.end([*subscription]);
        }
    }

    /// Sends a message and asks for a receipt; gives its number in the history.
    pub(super) fn send(&mut self, client: usize, destination: &str) -> usize {
        let client = &mut self.clients[client];
        let number = self.history.send(Sent::new(destination, client.session.id.to_string()));
        let receipt: ByteString = format!("m{number}").into();
        client.receipts.insert(receipt.clone(), Asked::Send(number));
        let frame = Send {
            destination: destination.into(),
            headers: Headers::new(),
            body: number.to_string().into(),
            receipt: Some(receipt),
        };
        if self.nodes[client.node].broker.send(&client.session, frame, false, None).is_err() {
            self.history.failed(number);
        }
        number
    }

    /// Reads what all clients got.
    pub(super) fn read(&mut self) {
        for client in &mut self.clients {
            let mut taken = Taken::default();
            client.session.outbox.take(&mut taken);
            assert_eq!(taken.close, None, "a session was told to end");
            for entry in taken.entries {
                match entry {
                    Entry::Message(delivery) => {
                        let (placement, subscription) = &client.subscriptions[delivery.to.slot as usize];
                        let Some(placement) = placement else { continue };
                        let number = std::str::from_utf8(&delivery.message.body).unwrap().parse().unwrap();
                        self.history.receive(*subscription, number, &delivery.message.id);
                        if let Some(kept) = delivery.kept
                            && client.acknowledges
                            && client.but_not != Some(number)
                        {
                            self.nodes[client.node].broker.settle(
                                placement,
                                Settlement::Ack,
                                kept.seq,
                                &mut Handover::nobody(),
                            );
                        }
                    }
                    Entry::Done(Some(receipt)) => match client.receipts.remove(&receipt).expect("one receipt each") {
                        Asked::Subscription(number) => self.history.subscribed(number),
                        Asked::Send(number) => self.history.confirmed(number),
                    },
                    Entry::Failed(fault) => {
                        let receipt = fault.receipt.as_ref().unwrap();
                        match client.receipts.remove(receipt).expect("one answer each") {
                            Asked::Subscription(_) => panic!("{fault}"),
                            Asked::Send(number) => self.history.failed(number),
                        }
                    }
                    Entry::Done(None) | Entry::Own { .. } => {}
                }
            }
        }
    }

    /// Lets time pass, and reads.
    pub(super) async fn pass(&mut self, time: Duration) {
        sleep(time).await;
        self.read();
    }

    /// Lets so much time pass that everything that is on its way arrives, and the dead are buried.
    pub(super) async fn settle(&mut self) {
        for _ in 0..60 {
            self.pass(Duration::from_secs(1)).await;
        }
    }

    /// What must be true of every end.
    pub(super) async fn check(&mut self) {
        self.settle().await;
        self.history.check();
        let alive: Vec<NodeId> = self.nodes.iter().filter(|node| node.alive).map(|node| node.id.clone()).collect();
        let queues = self.bus.queues();
        assert!(queues.values().all(|envelopes| *envelopes == 0), "something goes round: {queues:?}");
        assert_eq!(self.bus.orphans(), 0);
        assert!(queues.keys().all(|node| alive.contains(node)), "a dead node has a queue: {queues:?}");
        let mut listed: Vec<NodeId> = self.registry.nodes().await.unwrap().iter().map(|run| run.boot.node()).collect();
        listed.sort();
        let mut expected = alive;
        expected.sort();
        assert_eq!(listed, expected, "the registry lists others than those that live");
    }
}

fn broker_config(name: &str, max: usize) -> BrokerConfig {
    let keep = Some(Keep { max, max_bytes: 1 << 30, ..Keep::default() });
    let kept = DestinationPolicy { pattern: KEPT.into(), overflow: None, keep, share: false };
    let rules: Config = toml::from_str(ROOMS).unwrap();
    let rules = stampede::rooms::check(&rules.room, &Destinations::default(), ROOMS, "").unwrap();
    let rooms = Rooms::new(rules, MemoryRooms::new(RoomsConfig::default()));
    BrokerConfig {
        destinations: Destinations::default(),
        revocations: Arc::new(stampede::revocation::file::FileRevocations::default()),
        policies: Policies::new(&[kept], Overflow::Close, "", "").unwrap(),
        outbox_limit: usize::MAX / 2,
        gate: Gate::new(Permissions::default(), Profile::Spring, true, &Destinations::default()),
        routes: Routes::default(),
        rooms,
        mailbox: Mailbox::default(),
        ids: MessageIds::new(&NodeId::named(name).unwrap()),
    }
}

/// The simulation has no work queues.
#[derive(Debug)]
struct NoWork;

impl WorkRelay for NoWork {
    fn offer(&self, _: &WorkQueue, _: bytes::Bytes, done: Confirm) {
        done(Err(RelayError::Closed));
    }

    fn consume(&self, _: &WorkQueue, _: u16, _: Arc<dyn WorkSink>) -> WorkConsumer {
        WorkConsumer::new(|_| {})
    }

    fn close(&self) -> Later<'_, ()> {
        Box::pin(std::future::ready(()))
    }
}
