//! Several nodes as one broker: what their clients see, also while nodes, Redis or RabbitMQ come and go.

mod both_away;
mod chaos;
mod config;
mod drain;
mod ending;
mod live;
mod mailbox;
mod messages;
mod rabbit_away;
mod redis_away;
mod revocations;
mod room_stores;
mod rooms;
mod sentinel;
mod support;
mod work_queues;

use std::collections::BTreeSet;
use std::time::Duration;

use crate::support::client::{Client, body, header};
use crate::support::cluster::Cluster;
use crate::support::process::until;
use crate::support::ws::Event;

/// What the absent are kept, for the tests that need it.
const KEEP: &str = "
[[destination]]
match = '/user/*/queue/**'
keep = { max = 5000, max_bytes = '8MiB' }
";

/// How long a test waits for what comes after the restart of a broker.
const LONG: Duration = Duration::from_secs(60);

/// SEND without a receipt.
fn send(client: &mut Client, destination: &str, body: &str) {
    client.send(&format!("SEND\ndestination:{destination}\n\n{body}\0"));
}

/// SEND with a receipt that is read later.
fn send_asking(client: &mut Client, destination: &str, number: usize) {
    client.send(&format!("SEND\ndestination:{destination}\nreceipt:{number}\n\n{number}\0"));
}

/// SEND with a receipt.
#[track_caller]
fn send_confirmed(client: &mut Client, destination: &str, body: &str) {
    client.confirmed(&format!("SEND\ndestination:{destination}"), body);
}

/// The next messages must be these numbers.
#[track_caller]
fn receive_numbers(client: &mut Client, numbers: std::ops::Range<usize>) {
    numbers.for_each(|number| drop(client.message(&number.to_string())));
}

/// The next frames must be receipts of these numbers; each comes when its own message is done. They may take as long as a
/// broker that starts.
#[track_caller]
fn receipts(client: &mut Client, numbers: std::ops::Range<usize>) {
    let mut missing: BTreeSet<String> = numbers.map(|number| number.to_string()).collect();
    while !missing.is_empty() {
        let frame = next_within(client, LONG);
        assert!(frame.starts_with("RECEIPT"), "{frame}");
        assert!(missing.remove(header(&frame, "receipt-id").unwrap()), "{frame}");
    }
}

#[track_caller]
fn next_within(client: &mut Client, time: Duration) -> String {
    match client.socket.next_within(time) {
        Some(Event::Text(octets)) => String::from_utf8(octets).unwrap(),
        other => panic!("{other:?} instead of a frame"),
    }
}

/// The number in the body of a message.
#[track_caller]
fn number(frame: &str) -> usize {
    assert!(frame.starts_with("MESSAGE"), "{frame}");
    body(frame).parse().unwrap()
}

/// Waits until nothing in Redis or RabbitMQ tells of a node any more.
#[track_caller]
fn is_forgotten(cluster: &Cluster, id: &str) {
    let queue = format!("wx_queue_{id}");
    until(
        || (!cluster.vhost().queues().contains(&queue) && !cluster.redis().text().contains(id)).then_some(()),
        || format!("{id} is still known: {:?} {}", cluster.vhost().queues(), cluster.redis().text()),
    );
}
