//! Limits: at each a frame passes, above it an ERROR names it and the connection closes.

use super::SERVER;
use crate::support::client::{Client, header, topic};
use crate::support::server::Shared;

/// Limits that are quickly reached.
static SMALL: Shared = Shared::new(
    r#"
    [limits]
    message_size_limit = "64KiB"
    header_size_limit = "8KiB"
    header_line_limit = "1KiB"
    headers = 20
    subscriptions = 3
    transactions = 2
    transaction_frames = 5
    transaction_size_limit = "8KiB"
    destination_size_limit = "100B"
    "#,
);

/// A frame that is at the limit is served, one above it is answered with an ERROR that contains this text.
#[track_caller]
fn check(at: &str, above: &str, says: &str) {
    let server = SMALL.get();
    let mut client = Client::connect(server.address, "/ws", "1.2", &[]);
    client.send(at);
    assert_eq!(header(&client.expect("RECEIPT"), "receipt-id"), Some("r"));
    client.send(above);
    let error = client.error(1002);
    let message = header(&error, "message").unwrap();
    assert!(message.contains(says), "{message:?} does not say {says:?}");
}

fn send(headers: &str, body: &str) -> String {
    format!("SEND\ndestination:/topic/limits\nreceipt:r\n{headers}\n{body}\0")
}

#[test]
fn z01_z04_most_header_lines() {
    let lines = |count: usize| (0..count).map(|n| format!("k{n}:v\n")).collect::<String>();
    check(&send(&lines(18), ""), &send(&lines(19), ""), "20");
}

#[test]
fn z02_z04_longest_header_line() {
    let line = |length: usize| format!("k:{}\n", "v".repeat(length - 2));
    check(&send(&line(1024), ""), &send(&line(1025), ""), "1024");
}

#[test]
fn z02_largest_head() {
    let lines = |count: usize| (0..count).map(|n| format!("k{n}:{}\n", "v".repeat(900))).collect::<String>();
    check(&send(&lines(8), ""), &send(&lines(10), ""), "8192");
}

#[test]
fn z03_z04_largest_body() {
    check(&send("", &"x".repeat(65_536)), &send("", &"x".repeat(65_537)), "65536");
}

#[test]
fn z05_what_is_announced_counts_at_once() {
    let announced = |length: u64| format!("SEND\ndestination:/topic/limits\nreceipt:r\ncontent-length:{length}\n\n");
    let fitting = format!("{}{}\0", announced(65_536), "x".repeat(65_536));
    check(&fitting, &announced(65_537), "65536");
    check(&fitting, &announced(2_000_000_000), "65536");
}

#[test]
fn z04_longest_destination() {
    let to = |length: usize| format!("SEND\ndestination:/topic/{}\nreceipt:r\n\n\0", "x".repeat(length - 7));
    check(&to(100), &to(101), "100");
}

#[test]
fn z04_most_subscriptions() {
    let server = SMALL.get();
    let mut client = Client::connect(server.address, "/ws", "1.2", &[]);
    for id in ["a", "b", "c"] {
        client.subscribe(id, "/topic/limits");
    }
    client.send("SUBSCRIBE\nid:d\ndestination:/topic/limits\nreceipt:e\n\n\0");
    assert_eq!(header(&client.error(1002), "receipt-id"), Some("e"));
}

#[test]
fn z04_most_transactions_and_what_they_hold() {
    let server = SMALL.get();
    let connect = || Client::connect(server.address, "/ws", "1.2", &[]);
    let mut client = connect();
    for id in ["a", "b"] {
        client.confirmed(&format!("BEGIN\ntransaction:{id}"), "");
    }
    client.send("BEGIN\ntransaction:c\n\n\0");
    client.error(1002);

    let held = "SEND\ndestination:/topic/limits\ntransaction:a\n\nx\0";
    let mut client = connect();
    client.send(&format!("BEGIN\ntransaction:a\n\n\0{}", held.repeat(5)));
    client.is_quiet();
    client.send(held);
    client.error(1002);

    let large = format!("SEND\ndestination:/topic/limits\ntransaction:a\n\n{}\0", "x".repeat(5000));
    let mut client = connect();
    client.send(&format!("BEGIN\ntransaction:a\n\n\0{large}"));
    client.is_quiet();
    client.send(&large);
    client.error(1002);
}

#[test]
fn z03_the_usual_limit_is_one_mebibyte_in_one_message() {
    let server = SERVER.get();
    let topic = topic();
    let mut client = Client::connect(server.address, "/ws", "1.2", &[]);
    client.subscribe("a", &topic);
    client.confirmed(&format!("SEND\ndestination:{topic}x"), &"x".repeat(1 << 20));
    client.send(&format!("SEND\ndestination:{topic}\n\n{}\0", "x".repeat((1 << 20) + 1)));
    let error = client.error(1002);
    assert!(header(&error, "message").unwrap().contains("1048576"), "{error:?}");
}

#[test]
fn z04_a_message_that_the_transport_cannot_take_is_told_too() {
    let server = SERVER.get();
    let mut client = Client::connect(server.address, "/ws", "1.2", &[]);
    client.send(&format!("SEND\ndestination:/topic/x\n\n{}\0", "x".repeat(4 << 20)));
    client.error(1009);
}
