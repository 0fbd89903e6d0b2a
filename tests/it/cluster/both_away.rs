//! Redis and RabbitMQ are away at the same time: a node serves its own sessions and says what it cannot do; when both are
//! back, in whatever order, nothing that was confirmed is missing.

use std::collections::BTreeMap;

use super::{KEEP, LONG, next_within, number, receipts, receive_numbers, send_asking, send_confirmed};
use crate::kept::settled;
use crate::support::client::{Client, header, topic};
use crate::support::cluster::{Cluster, Setup};
use crate::support::process::{Process, until};
use crate::support::proxy::{Mode, Proxy};
use crate::support::rabbit::Rabbit;
use crate::support::redis::Redis;

const KEPT: &str = "/user/bob/queue/chat";
const UNKEPT: &str = "/user/bob/topic/chat";

/// Longer than any test, for those in which no lease runs out.
const LONG_LEASE: &str = "60s";

/// Messages wait for RabbitMQ longer than a broker takes to start on a busy machine.
fn setup() -> Setup {
    Setup::new().config(KEEP).set("STAMPEDE__RELAY__SEND_TIMEOUT", "120s")
}

/// Two nodes; their ways to Redis and RabbitMQ lead through proxies.
struct Apart {
    cluster: Cluster,
    redis: Proxy,
    /// By node.
    rabbit: [Proxy; 2],
}

impl Apart {
    fn start(lease: &str) -> Self {
        let mut cluster = setup().set("STAMPEDE__REDIS__LEASE", lease).start(0);
        let redis = Proxy::to(cluster.redis().port());
        let rabbit = [(); 2].map(|()| Proxy::to(cluster.vhost().port()));
        for proxy in &rabbit {
            cluster.add_node_with(&[
                ("STAMPEDE__REDIS__URL", &format!("redis://127.0.0.1:{}/0", redis.port())),
                ("STAMPEDE__RABBITMQ__URL", &cluster.vhost().url_through(proxy.port())),
                ("STAMPEDE__RABBITMQ__HEARTBEAT", "1s"),
            ]);
        }
        (0..2).for_each(|node| cluster.node(node).until_metric("stampede_cluster_nodes", 2));
        Self { cluster, redis, rabbit }
    }

    fn redis(&self, mode: Mode) {
        self.redis.set(mode);
    }

    fn rabbit(&self, mode: Mode) {
        self.rabbit.iter().for_each(|proxy| proxy.set(mode));
    }

    fn nodes(&self) -> [&Process; 2] {
        [0, 1].map(|number| self.cluster.node(number))
    }

    fn until_no_lease_is_left(&self) {
        until(|| leases(&self.cluster).is_empty().then_some(()), || format!("{:?}", leases(&self.cluster)));
    }
}

fn leases(cluster: &Cluster) -> Vec<String> {
    cluster.redis().keys("*:lease:*")
}

/// Waits until the node says so much of what it lacks, and is ready all the while.
#[track_caller]
fn until_it_says(node: &Process, complaints: &[&str]) {
    let text = complaints.iter().fold("ready\n".to_owned(), |text, complaint| text + "degraded: " + complaint + "\n");
    let expected = (200, text);
    until(|| (node.get("/ready") == expected).then_some(()), || format!("{:?} {}", node.get("/ready"), node.errors()));
}

const NO_REDIS: &str = "Redis does not answer";
const NO_RABBIT: &str = "RabbitMQ does not take messages";

/// Who takes part: a sender and ann on the first node, bob on the second, and a stranger on each.
struct People {
    topic: String,
    sender: Client,
    ann: Client,
    bob: Client,
    strangers: [Client; 2],
}

impl People {
    fn come(cluster: &Cluster) -> Self {
        let topic = topic();
        let (mut ann, mut bob) = (cluster.user(0, "ann"), cluster.user(1, "bob"));
        for someone in [&mut ann, &mut bob] {
            someone.subscribe("0", &topic);
            someone.subscribe("1", "/user/topic/chat");
            someone.subscribe("2", "/user/queue/chat");
        }
        let strangers = [0, 1].map(|node| {
            let mut stranger = cluster.user(node, "eve");
            stranger.subscribe("0", "/topic/of-nobody-else");
            stranger.subscribe("1", "/user/topic/chat");
            stranger.subscribe("2", "/user/queue/chat");
            stranger
        });
        Self { topic, sender: cluster.user(0, "sender"), ann, bob, strangers }
    }

    /// Whoever is on the node of the sender goes on as if nothing was missing, whoever comes now included; what cannot be
    /// kept is refused. The receipts of the numbers wait.
    fn talk_alone(&mut self, cluster: &Cluster, numbers: std::ops::Range<usize>) {
        let mut newcomer = cluster.user(0, "newcomer");
        newcomer.send(&format!("SUBSCRIBE\nid:0\ndestination:{}\n\n\0", self.topic));
        for number in numbers.clone() {
            send_asking(&mut self.sender, [&*self.topic, UNKEPT][number % 2], number);
        }
        // The topic's alone: bob is elsewhere.
        for number in numbers.step_by(2) {
            self.ann.message(&number.to_string());
        }
        send_local(&mut newcomer, "/user/ann/topic/chat", "from a newcomer");
        self.ann.message("from a newcomer");
        for destination in [KEPT, "/user/ann/queue/chat"] {
            let mut refused = cluster.user(0, "refused");
            refused.send(&format!("SEND\ndestination:{destination}\nreceipt:7\n\nrefused\0"));
            let error = refused.error(1002);
            assert_eq!(header(&error, "receipt-id"), Some("7"), "{error}");
            assert!(error.contains("Redis"), "{error}");
        }
    }

    /// What bob gets until he has all of these numbers, which come in order by destination, and twice only with one id.
    fn bob_gets(&mut self, numbers: std::ops::Range<usize>) {
        let (mut ids, mut last) = (BTreeMap::new(), BTreeMap::new());
        while ids.len() < numbers.len() {
            let frame = next_within(&mut self.bob, LONG);
            let (number, id) = (number(&frame), header(&frame, "message-id").unwrap().to_owned());
            assert!(numbers.contains(&number), "{frame}");
            let destination = header(&frame, "destination").unwrap().to_owned();
            if let Some(known) = ids.insert(number, id.clone()) {
                assert_eq!(known, id, "{number} came as two messages");
            } else if let Some(before) = last.insert(destination, number) {
                assert!(before < number, "{number} after {before}");
            }
        }
    }

    /// All is as it was before: every way leads to bob, and nobody got what was not for him.
    fn are_well(&mut self, cluster: &Cluster) {
        (0..2).for_each(|node| until_it_says(cluster.node(node), &[]));
        (0..2).for_each(|node| cluster.node(node).until_metric("stampede_cluster_nodes", 2));
        until(|| (leases(cluster).len() == 2).then_some(()), || format!("{:?}", leases(cluster)));
        for destination in [&*self.topic, UNKEPT, KEPT] {
            send_confirmed(&mut self.sender, destination, "after");
            self.bob.message("after");
        }
        self.ann.message("after");
        [&mut self.ann, &mut self.bob].into_iter().for_each(settled);
        // A node that was taken for dead has a new run, and nothing is left of the old one.
        let runs = || cluster.redis().cli(&["--raw", "HKEYS", "stampede:nodes"]);
        until(|| (runs().lines().count() == 2).then_some(()), || format!("not two nodes: {}", runs()));
        self.strangers.iter_mut().for_each(settled);
        cluster.is_well();
    }
}

/// Without a receipt, which would have to wait for other nodes.
fn send_local(client: &mut Client, destination: &str, body: &str) {
    client.send(&format!("SEND\ndestination:{destination}\n\n{body}\0"));
}

/// What comes back first.
#[derive(Clone, Copy, PartialEq, Eq)]
enum First {
    Redis,
    Rabbit,
}

fn survives(mode: Mode, lease: &str, first: First) {
    let world = Apart::start(lease);
    let mut people = People::come(&world.cluster);
    // Confirmed, and still in the queue of bob's node, or in his mailbox, when all goes.
    world.rabbit[1].set(Mode::Cut);
    for number in 0..30 {
        let destination = [&*people.topic, UNKEPT, KEPT][number % 3];
        send_confirmed(&mut people.sender, destination, &number.to_string());
    }
    (0..30).step_by(3).for_each(|number| drop(people.ann.message(&number.to_string())));

    world.redis(mode);
    world.rabbit(mode);
    world.nodes().into_iter().for_each(|node| until_it_says(node, &[NO_REDIS, NO_RABBIT]));
    if lease != LONG_LEASE {
        world.until_no_lease_is_left();
    }
    people.talk_alone(&world.cluster, 30..50);

    if first == First::Redis {
        world.redis(Mode::Forward);
        world.nodes().into_iter().for_each(|node| until_it_says(node, &[NO_RABBIT]));
        world.rabbit(Mode::Forward);
    } else {
        world.rabbit(Mode::Forward);
        world.nodes().into_iter().for_each(|node| until_it_says(node, &[NO_REDIS]));
        world.redis(Mode::Forward);
    }
    people.bob_gets(0..50);
    receipts(&mut people.sender, 30..50);
    people.are_well(&world.cluster);
}

#[test]
fn for_a_moment_and_redis_is_back_first() {
    survives(Mode::Cut, LONG_LEASE, First::Redis);
}

#[test]
fn for_a_moment_and_rabbitmq_is_back_first() {
    survives(Mode::Cut, LONG_LEASE, First::Rabbit);
}

#[test]
fn for_longer_than_the_lease_and_redis_is_back_first() {
    survives(Mode::Cut, "3s", First::Redis);
}

#[test]
fn for_longer_than_the_lease_and_rabbitmq_is_back_first() {
    survives(Mode::Cut, "3s", First::Rabbit);
}

#[test]
fn silent_for_longer_than_the_lease() {
    survives(Mode::Silent, "3s", First::Redis);
}

#[test]
fn both_crash_and_are_started_again() {
    let mut rabbit = Rabbit::own();
    let mut cluster = setup().redis(Redis::durable()).vhost(rabbit.vhost()).start(2);
    let mut people = People::come(&cluster);
    let mut absent = cluster.user(1, "sender");
    (0..10).for_each(|number| send_confirmed(&mut absent, "/user/carl/queue/chat", &number.to_string()));
    cluster.redis_mut().kill();
    rabbit.kill();
    (0..2).for_each(|node| until_it_says(cluster.node(node), &[NO_REDIS, NO_RABBIT]));
    people.talk_alone(&cluster, 0..20);
    cluster.redis_mut().restart();
    rabbit.restart();
    people.bob_gets(0..20);
    receipts(&mut people.sender, 0..20);
    people.are_well(&cluster);
    let mut carl = cluster.user(0, "carl");
    crate::kept::subscribe(&mut carl, "/user/queue/chat", "auto");
    receive_numbers(&mut carl, 0..10);
    settled(&mut carl);
}
