//! Whoever has the RECEIPT of a SUBSCRIBE misses nothing that is sent afterwards, from wherever.

use super::send;
use crate::support::client::{Client, topic, unique};
use crate::support::cluster::{Cluster, Setup};

const ROUNDS: usize = 200;

/// Subscribes on one node and sends on another at once, again and again.
fn live_at_once(broadcast: &str, mut pair: impl FnMut() -> (String, String)) {
    let cluster = Setup::new().set("STAMPEDE__RELAY__BROADCAST", broadcast).start(2);
    let mut reader = cluster.user(1, "reader");
    let mut sender = cluster.user(0, "sender");
    for _ in 0..ROUNDS {
        let (subscribed, sent) = pair();
        reader.subscribe("0", &subscribed);
        send(&mut sender, &sent, &sent);
        reader.message(&sent);
        reader.confirmed("UNSUBSCRIBE\nid:0", "");
    }
    reader.is_quiet();
}

fn same(destination: String) -> (String, String) {
    (destination.clone(), destination)
}

#[test]
fn of_a_topic_by_fanout() {
    live_at_once("fanout", || same(topic()));
}

#[test]
fn of_a_topic_by_interest() {
    live_at_once("interest", || same(topic()));
}

#[test]
fn of_an_addressee() {
    live_at_once("auto", || same(format!("/user/u{}/queue/x", unique())));
}

#[test]
fn of_a_pattern() {
    live_at_once("interest", || {
        let topic = topic();
        (format!("{topic}/*"), format!("{topic}/a"))
    });
}

#[test]
fn of_the_same_destination_by_turns() {
    // The last subscriber goes and the first one comes: what the registry is told must not overtake itself.
    live_at_once("interest", || same("/topic/on-and-off".to_owned()));
}

#[test]
fn of_a_node_that_has_just_joined() {
    let mut cluster = Cluster::start(1);
    let topic = topic();
    let mut sender = cluster.user(0, "sender");
    let node = cluster.add_node();
    let mut reader = cluster.user(node, "reader");
    reader.subscribe("0", &topic);
    reader.subscribe("1", "/user/queue/x");
    send(&mut sender, &topic, "topic");
    reader.message("topic");
    send(&mut sender, "/user/reader/queue/x", "user");
    reader.message("user");
}

#[test]
fn many_that_come_and_go_disturb_nobody() {
    let cluster = Setup::new().set("STAMPEDE__RELAY__BROADCAST", "interest").start(2);
    let topic = topic();
    let mut reader = cluster.user(1, "reader");
    reader.subscribe("0", &topic);
    let mut sender = cluster.user(0, "sender");
    let mut restless: Vec<Client> = (0..5).map(|_| cluster.user(1, "restless")).collect();
    for number in 0..ROUNDS {
        let other = &mut restless[number % 5];
        other.send(&format!("SUBSCRIBE\nid:0\ndestination:{topic}\n\n\0UNSUBSCRIBE\nid:0\n\n\0"));
        send(&mut sender, &topic, &number.to_string());
    }
    super::receive_numbers(&mut reader, 0..ROUNDS);
}
