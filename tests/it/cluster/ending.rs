//! A node ends, in order or not: others take over what it leaves.

use super::{KEEP, is_forgotten, receipts, receive_numbers, send_asking, send_confirmed};
use crate::kept::subscribe;
use crate::support::client::{Client, topic};
use crate::support::cluster::{Cluster, Setup};
use crate::support::process::until;
use crate::support::tcp::Watcher;
use crate::support::ws::Event;

/// The id of the node that ends.
const ID: &str = "the-one-that-ends";
const WITH_ID: &[(&str, &str)] = &[("STAMPEDE__SERVER__NODE_ID", ID)];
const QUEUE: &str = "wx_queue_the-one-that-ends";

#[track_caller]
fn is_known(cluster: &Cluster) {
    assert!(cluster.vhost().queues().contains(&QUEUE.to_owned()), "{:?}", cluster.vhost().queues());
    assert!(cluster.redis().text().contains(ID), "{}", cluster.redis().text());
}

#[test]
fn in_order_it_leaves_nothing_behind() {
    let mut cluster = Setup::new().config(KEEP).set("STAMPEDE__LOG__FILTER", "info").start(1);
    let ending = cluster.add_node_with(WITH_ID);
    let mut sessions: Vec<Client> = (0..20).map(|_| cluster.user(ending, "ann")).collect();
    for session in &mut sessions {
        session.subscribe("0", &topic());
        session.subscribe("1", "/user/queue/x");
        session.subscribe("2", "/topic/*/pattern");
    }
    is_known(&cluster);
    let node = cluster.node(ending);
    let mut watcher = Watcher::new(node.address);
    assert_eq!(watcher.ready(), Some(200));
    node.signal("TERM");
    until(|| node.errors().contains("draining").then_some(()), || "it does not drain".to_owned());
    assert!(matches!(watcher.ready(), Some(503) | None));
    sessions.iter_mut().for_each(|session| session.closed(1001));
    let (status, errors) = cluster.ended(ending);
    assert_eq!(status.code(), Some(0), "{errors}");
    assert!(!errors.contains("ERROR"), "{errors}");
    // At once: nobody else had to clean up.
    assert!(!cluster.vhost().queues().contains(&QUEUE.to_owned()), "{:?}", cluster.vhost().queues());
    assert!(!cluster.redis().text().contains(ID), "{}", cluster.redis().text());
    cluster.is_well();
}

#[test]
fn in_order_while_messages_come_for_its_users_none_is_lost() {
    const COUNT: usize = 400;
    let mut cluster = Cluster::with(KEEP, 2);
    let mut ann = cluster.user(1, "ann");
    ann.subscribe("0", "/user/queue/chat");
    let mut sender = cluster.user(0, "sender");
    for number in 0..COUNT {
        send_asking(&mut sender, "/user/ann/queue/chat", number);
        if number == COUNT / 2 {
            cluster.node(1).signal("TERM");
        }
    }
    let mut next = 0;
    while let Event::Text(frame) = ann.socket.next() {
        assert_eq!(super::number(&String::from_utf8(frame).unwrap()), next);
        next += 1;
    }
    // What was not proved comes again.
    let mut ann = cluster.user(0, "ann");
    subscribe(&mut ann, "/user/queue/chat", "auto");
    loop {
        let number = super::number(&ann.expect("MESSAGE"));
        assert!(number <= next, "{number} after {next}");
        next = next.max(number + 1);
        if number == COUNT - 1 {
            break;
        }
    }
    receipts(&mut sender, 0..COUNT);
    let (status, errors) = cluster.ended(1);
    assert_eq!(status.code(), Some(0), "{errors}");
}

#[test]
fn by_a_crash_it_is_forgotten() {
    let mut cluster = Cluster::start(2);
    let ending = cluster.add_node_with(WITH_ID);
    let mut ann = cluster.user(ending, "ann");
    ann.subscribe("0", "/user/queue/x");
    ann.subscribe("1", "/topic/*/pattern");
    is_known(&cluster);
    cluster.crash(ending);
    is_forgotten(&cluster, ID);
    // Those who are left go on.
    let mut ann = cluster.user(1, "ann");
    ann.subscribe("0", "/user/queue/x");
    send_confirmed(&mut cluster.user(0, "sender"), "/user/ann/queue/x", "hello");
    ann.message("hello");
    cluster.is_well();
}

/// Messages that lie in the queue of a node, unread or not acknowledged; then their addressee comes to another node.
fn undelivered(cluster: &Cluster, ending: usize) -> Client {
    let mut ann = cluster.user(ending, "ann");
    ann.subscribe("0", "/user/queue/x");
    cluster.node(ending).signal("STOP");
    let mut sender = cluster.user(0, "sender");
    (0..30).for_each(|number| send_asking(&mut sender, "/user/ann/queue/x", number));
    receipts(&mut sender, 0..30);
    let mut elsewhere = cluster.user(0, "ann");
    elsewhere.subscribe("0", "/user/queue/x");
    elsewhere
}

#[test]
fn what_lies_in_the_queue_of_a_dead_node_follows_its_addressee() {
    let mut cluster = Cluster::start(2);
    let ending = cluster.add_node_with(WITH_ID);
    let mut elsewhere = undelivered(&cluster, ending);
    cluster.crash(ending);
    receive_numbers(&mut elsewhere, 0..30);
    is_forgotten(&cluster, ID);
    elsewhere.is_quiet();
    cluster.is_well();
}

#[test]
fn a_node_that_returns_under_its_id_sees_to_its_old_queue_itself() {
    // Longer than the test: nobody else takes it for dead.
    let setup = Setup::new().set("STAMPEDE__REDIS__LEASE", "60s");
    let mut cluster = setup.start(1);
    let ending = cluster.add_node_with(WITH_ID);
    let mut elsewhere = undelivered(&cluster, ending);
    cluster.crash(ending);
    let back = cluster.add_node_with(WITH_ID);
    receive_numbers(&mut elsewhere, 0..30);
    elsewhere.is_quiet();
    // And takes part as before.
    let mut bob = cluster.user(back, "bob");
    bob.subscribe("0", "/user/queue/x");
    send_confirmed(&mut elsewhere, "/user/bob/queue/x", "hello");
    bob.message("hello");
    is_known(&cluster);
    cluster.is_well();
}

#[test]
fn both_nodes_of_two_one_after_the_other() {
    let mut cluster = Cluster::with(KEEP, 2);
    let mut sender = cluster.user(0, "sender");
    (0..10).for_each(|number| send_confirmed(&mut sender, "/user/ann/queue/chat", &number.to_string()));
    for ending in [0, 1] {
        let (status, errors) = cluster.terminate(ending);
        assert_eq!(status.code(), Some(0), "{errors}");
    }
    // What is left of the cluster is what it keeps.
    let node = cluster.add_node();
    let mut ann = cluster.user(node, "ann");
    subscribe(&mut ann, "/user/queue/chat", "auto");
    receive_numbers(&mut ann, 0..10);
}
