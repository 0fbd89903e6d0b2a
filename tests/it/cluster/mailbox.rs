//! Mailboxes belong to the cluster: whatever node a message came to, and wherever its addressee comes.

use super::{KEEP, number, receipts, receive_numbers, send_asking, send_confirmed};
use crate::kept::{answer, bodies_until, ids, is_redelivered, numbers, receive, settled, subscribe};
use crate::support::client::{Client, header};
use crate::support::cluster::Cluster;

const CHAT: &str = "/user/ann/queue/chat";
/// The same as its owner subscribes to it.
const OWN: &str = "/user/queue/chat";

fn ann(cluster: &Cluster, node: usize, ack: &str) -> Client {
    let mut ann = cluster.user(node, "ann");
    subscribe(&mut ann, OWN, ack);
    ann
}

fn send_all(cluster: &Cluster, node: usize, bodies: &[&str]) {
    let mut sender = cluster.user(node, "sender");
    bodies.iter().for_each(|body| send_confirmed(&mut sender, CHAT, body));
}

#[test]
fn what_came_for_an_absent_user_waits_in_order_and_comes_once() {
    let cluster = Cluster::with(KEEP, 3);
    send_all(&cluster, 0, &["1", "2"]);
    send_all(&cluster, 1, &["3"]);
    let mut there = ann(&cluster, 2, "auto");
    let messages = receive(&mut there, &["1", "2", "3"]);
    assert!(messages.iter().all(|message| !is_redelivered(message)), "{messages:?}");
    settled(&mut there);
    drop(there);
    for node in 0..3 {
        let mut again = ann(&cluster, node, "auto");
        settled(&mut again);
    }
}

#[test]
fn what_waited_comes_before_what_comes() {
    let cluster = Cluster::with(KEEP, 2);
    let waited = numbers(0..100);
    let waited: Vec<&str> = waited.iter().map(String::as_str).collect();
    send_all(&cluster, 0, &waited);
    let mut there = ann(&cluster, 1, "auto");
    send_all(&cluster, 0, &["live"]);
    assert_eq!(bodies_until(&mut there, "live"), waited);
    settled(&mut there);
}

#[test]
fn what_was_acknowledged_on_one_node_is_gone_on_all() {
    let cluster = Cluster::with(KEEP, 2);
    send_all(&cluster, 0, &["1", "2", "3"]);
    let mut there = ann(&cluster, 1, "client-individual");
    let messages = receive(&mut there, &["1", "2", "3"]);
    answer(&mut there, "ACK", &messages[0]);
    answer(&mut there, "ACK", &messages[2]);
    there.confirmed("DISCONNECT", "");
    drop(there);
    let mut there = ann(&cluster, 0, "client-individual");
    let again = receive(&mut there, &["2"]);
    assert!(is_redelivered(&again[0]), "{again:?}");
    assert_eq!(header(&again[0], "message-id"), header(&messages[1], "message-id"));
    answer(&mut there, "ACK", &again[0]);
    there.is_quiet();
    drop(there);
    ann(&cluster, 1, "client-individual").is_quiet();
}

#[test]
fn without_a_proof_everything_comes_again_on_another_node() {
    let cluster = Cluster::with(KEEP, 2);
    let mut deaf = cluster.user(1, "ann");
    // Its pings are not answered, although it reads.
    deaf.socket.mute = true;
    deaf.subscribe("0", OWN);
    send_all(&cluster, 0, &["1", "2"]);
    let first = receive(&mut deaf, &["1", "2"]);
    deaf.confirmed("DISCONNECT", "");
    drop(deaf);
    let mut there = ann(&cluster, 0, "auto");
    let again = receive(&mut there, &["1", "2"]);
    assert_eq!(ids(&first), ids(&again));
    assert!(again.iter().all(|message| is_redelivered(message)), "{again:?}");
    settled(&mut there);
}

#[test]
fn every_session_of_a_user_gets_what_comes_while_it_is_there() {
    let cluster = Cluster::with(KEEP, 3);
    let mut sessions: Vec<Client> = [0, 1, 1].map(|node| cluster.user(node, "ann")).into();
    sessions.iter_mut().for_each(|session| session.subscribe("0", OWN));
    send_all(&cluster, 2, &["1", "2"]);
    for session in &mut sessions {
        receive(session, &["1", "2"]);
        settled(session);
    }
    drop(sessions);
    settled(&mut ann(&cluster, 2, "auto"));
}

#[test]
fn a_confirmed_message_outlives_every_node_that_saw_it() {
    let mut cluster = Cluster::with(KEEP, 3);
    let mut deaf = cluster.user(1, "ann");
    deaf.socket.mute = true;
    deaf.subscribe("0", OWN);
    let mut sender = cluster.user(0, "sender");
    (0..20).for_each(|number| send_asking(&mut sender, CHAT, number));
    receipts(&mut sender, 0..20);
    cluster.crash(0);
    cluster.crash(1);
    receive_numbers(&mut ann(&cluster, 2, "auto"), 0..20);
}

#[test]
fn a_user_who_moves_about_misses_nothing() {
    const COUNT: usize = 300;
    let cluster = Cluster::with(KEEP, 3);
    let mut sender = cluster.user(0, "sender");
    // Numbers in the order in which they came first. What was not acknowledged comes again, to a node that may not have
    // heard yet of the first time.
    let mut seen = Vec::new();
    for stay in 0.. {
        let mut there = ann(&cluster, stay % 3, "client-individual");
        if stay < 10 {
            (0..COUNT / 10).for_each(|n| send_asking(&mut sender, CHAT, stay * (COUNT / 10) + n));
        }
        // Leaves after a few, of which it acknowledges all but the last.
        for n in 0..12 {
            let frame = there.expect("MESSAGE");
            let number = number(&frame);
            if !seen.contains(&number) {
                assert_eq!(number, seen.len(), "{seen:?}");
                seen.push(number);
            }
            if n == 11 || number == COUNT - 1 {
                break;
            }
            there.send(&format!("ACK\nid:{}\n\n\0", header(&frame, "ack").unwrap()));
        }
        if seen.len() == COUNT {
            break;
        }
    }
    receipts(&mut sender, 0..COUNT);
}
