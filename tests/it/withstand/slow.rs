//! Clients that read slowly, or not at all.

use super::client;
use crate::support::client::{Client, body, header};
use crate::support::process::serve;
use crate::support::ws::Event;

const MIB: usize = 1 << 20;

#[test]
fn a_client_that_never_reads_is_closed_and_costs_nobody_anything() {
    let server = serve("");
    let mut deaf = client(&server);
    deaf.subscribe("0", "/topic/large");
    let mut reader = client(&server);
    reader.subscribe("0", "/topic/large");
    let mut sender = client(&server);
    let large = "x".repeat(MIB - 3);
    let send = |sender: &mut Client, reader: &mut Client, number: usize| {
        sender.send(&format!("SEND\ndestination:/topic/large\n\n{number:03}{large}\0"));
        let message = reader.expect("MESSAGE");
        assert!(body(&message).starts_with(&format!("{number:03}")) && body(&message).len() == MIB);
    };
    send(&mut sender, &mut reader, 0);
    let before = server.resident_bytes();
    // More than the kernel holds for a connection, whatever it holds.
    let mut most = 0;
    for number in 1..40 {
        send(&mut sender, &mut reader, number);
        most = most.max(server.resident_bytes());
    }
    assert!(most < before + 16 * MIB, "grew from {before} to {most}");
    let (_, metrics) = server.get("/metrics");
    assert!(metrics.contains("stampede_sessions_closed_total{reason=\"slow-consumer\"} 1"), "{metrics}");
    // What it did not read it may still find; then the end.
    let last = std::iter::repeat_with(|| deaf.socket.next()).find(|event| !matches!(event, Event::Text(_))).unwrap();
    assert!(matches!(last, Event::Lost | Event::Closed(4500, _)), "{last:?}");
    reader.is_quiet();
    server.is_well();
}

/// 100 messages of 10 KiB in one transaction: more than an outbox holds, and they come at once.
fn burst(sender: &mut Client, destination: &str) {
    sender.send("BEGIN\ntransaction:t\n\n\0");
    let pad = "x".repeat(10 << 10);
    for number in 0..BURST {
        sender.send(&format!("SEND\ndestination:{destination}\ntransaction:t\n\n{number}:{pad}\0"));
    }
    sender.confirmed("COMMIT\ntransaction:t", "");
}

const BURST: usize = 100;

/// One thread, so that nobody reads between two messages of the burst.
const ONE_AT_A_TIME: &str = "
[server]
workers = 1
[[destination]]
match = '/topic/oldest/**'
overflow = 'drop-oldest'
[[destination]]
match = '/topic/latest/**'
overflow = 'keep-latest'
";

/// The numbers of the burst that came, up to the last.
fn numbers(receiver: &mut Client) -> Vec<usize> {
    let mut numbers = Vec::new();
    while numbers.last() != Some(&(BURST - 1)) {
        let message = receiver.expect("MESSAGE");
        numbers.push(body(&message).split(':').next().unwrap().parse().unwrap());
    }
    numbers
}

#[test]
fn a_full_outbox_is_told_with_an_error_and_4500() {
    let server = serve(ONE_AT_A_TIME);
    let mut full = client(&server);
    full.subscribe("0", "/topic/close");
    let mut other = client(&server);
    other.subscribe("0", "/topic/other");
    let mut sender = client(&server);
    burst(&mut sender, "/topic/close");
    let mut messages = 0;
    let error = loop {
        let frame = full.next();
        match frame.starts_with("MESSAGE") {
            true => messages += 1,
            false => break frame,
        }
    };
    assert!(error.starts_with("ERROR\n") && messages < BURST, "{error}");
    let text = header(&error, "message").unwrap();
    assert!(text.contains("outbox") && text.contains("524288"), "{text}");
    full.closed(4500);
    sender.confirmed("SEND\ndestination:/topic/other", "on");
    other.message("on");
}

#[test]
fn drop_oldest_keeps_the_newest_in_order() {
    let server = serve(ONE_AT_A_TIME);
    let mut receiver = client(&server);
    receiver.subscribe("0", "/topic/oldest/a");
    burst(&mut client(&server), "/topic/oldest/a");
    let numbers = numbers(&mut receiver);
    let expected: Vec<usize> = (BURST - numbers.len()..BURST).collect();
    assert_eq!(numbers, expected, "the last ones, none missing in between");
    assert!(numbers.len() < BURST && numbers.len() * (10 << 10) > 400 << 10, "{} came", numbers.len());
    let dropped = server.metric("stampede_messages_dropped_total") as usize;
    assert_eq!(dropped, BURST - numbers.len());
    receiver.is_quiet();
}

#[test]
fn keep_latest_keeps_the_latest_of_each_subscription() {
    let server = serve(ONE_AT_A_TIME);
    let mut receiver = client(&server);
    receiver.subscribe("0", "/topic/latest/a");
    receiver.subscribe("1", "/topic/latest/quiet");
    let mut sender = client(&server);
    burst(&mut sender, "/topic/latest/a");
    let numbers = numbers(&mut receiver);
    assert!(numbers.is_sorted() && numbers.len() < BURST, "{numbers:?}");
    sender.confirmed("SEND\ndestination:/topic/latest/quiet", "still here");
    receiver.message("still here");
    receiver.is_quiet();
}

#[test]
fn a_client_that_reads_no_receipts_is_not_read_either() {
    let server = serve("[outbox]\nsend_time_limit = '1h'\n");
    let mut witness = client(&server);
    let mut deaf = client(&server);
    let receipt = "r".repeat(1000);
    let frame = format!("SEND\ndestination:/topic/none\nreceipt:{receipt}\n\n\0").repeat(16);
    let before = server.resident_bytes();
    deaf.socket.patience(std::time::Duration::from_millis(500));
    // Far more than the kernel holds for both directions of a connection.
    let written = (0..128 * MIB / frame.len()).find(|_| !deaf.socket.try_text(&frame));
    assert!(written.is_some(), "everything was read though nothing of it was answered");
    let after = server.resident_bytes();
    assert!(after < before + 16 * MIB, "grew from {before} to {after}");
    witness.is_quiet();
}

#[test]
fn a_client_that_never_acknowledges_does_not_grow() {
    let server = serve("");
    let mut receiver = client(&server);
    receiver.confirmed("SUBSCRIBE\nid:0\nack:client\ndestination:/topic/many", "");
    let mut sender = client(&server);
    let batch = "SEND\ndestination:/topic/many\n\nx\0".repeat(500);
    let mut round = || {
        sender.send(&batch);
        let messages: Vec<String> = (0..500).map(|_| receiver.message("x")).collect();
        header(&messages[0], "ack").unwrap().to_owned()
    };
    let first = round();
    (0..10).for_each(|_| drop(round()));
    let before = server.resident_bytes();
    let last = (0..60).map(|_| round()).last().unwrap();
    let after = server.resident_bytes();
    assert!(after < before + MIB, "grew from {before} to {after}");
    // What is long forgotten may be acknowledged nevertheless.
    receiver.confirmed(&format!("ACK\nid:{first}"), "");
    receiver.confirmed(&format!("ACK\nid:{last}"), "");
}
