//! Work queues: one receiver for each message, and another one when that fails.

use std::collections::BTreeSet;

use super::{answer, is_redelivered, numbers, receive, send, settled, subscribe, user};
use crate::support::client::{Client, body};
use crate::support::process::{Process, serve};

const WORK: &str = "
[[destination]]
match = '/queue/work/**'
share = true
keep = { max = 1000, overflow = 'refuse', max_deliveries = 3 }
";

const QUEUE: &str = "/queue/work/a";

fn worker(server: &Process, ack: &str) -> Client {
    let mut worker = user(server, "worker");
    subscribe(&mut worker, QUEUE, ack);
    worker
}

#[test]
fn each_message_has_one_receiver_and_the_work_is_shared() {
    const MESSAGES: usize = 200;
    let server = serve(WORK);
    let mut workers = [worker(&server, "client-individual"), worker(&server, "client-individual")];
    workers.iter_mut().for_each(Client::is_quiet);
    let all = numbers(0..MESSAGES);
    send(&server, QUEUE, &all.iter().map(String::as_str).collect::<Vec<_>>());
    // Both acknowledge as they go; the one that has more to do does not keep the other one waiting.
    let mut done: [Vec<usize>; 2] = [Vec::new(), Vec::new()];
    while done.iter().map(Vec::len).sum::<usize>() < MESSAGES {
        for (worker, done) in workers.iter_mut().zip(&mut done) {
            worker.send("SEND\ndestination:/topic/none\nreceipt:turn\n\n\0");
            loop {
                let frame = worker.next();
                if frame.starts_with("RECEIPT") {
                    break;
                }
                done.push(body(&frame).parse().unwrap());
                let ack = crate::support::client::header(&frame, "ack").unwrap();
                worker.send(&format!("ACK\nid:{ack}\n\n\0"));
            }
        }
    }
    let union: BTreeSet<usize> = done.iter().flatten().copied().collect();
    assert_eq!(union.len(), MESSAGES, "each once");
    for done in &done {
        assert!(done.is_sorted(), "{done:?}");
        assert!(done.len() >= MESSAGES / 4, "{} of {MESSAGES}", done.len());
    }
}

#[test]
fn it_is_kept_while_nobody_listens() {
    let server = serve(WORK);
    send(&server, QUEUE, &["1", "2", "3"]);
    let mut first = worker(&server, "auto");
    receive(&mut first, &["1", "2", "3"]);
    settled(&mut first);
    drop(first);
    send(&server, QUEUE, &["4"]);
    let mut second = worker(&server, "auto");
    let messages = receive(&mut second, &["4"]);
    assert!(!is_redelivered(&messages[0]), "{messages:?}");
}

#[test]
fn a_refused_message_goes_to_another() {
    let server = serve(WORK);
    let mut first = worker(&server, "client-individual");
    first.is_quiet();
    send(&server, QUEUE, &["1"]);
    let mut second = worker(&server, "client-individual");
    second.is_quiet();
    let messages = receive(&mut first, &["1"]);
    answer(&mut first, "NACK", &messages[0]);
    let again = receive(&mut second, &["1"]);
    assert!(is_redelivered(&again[0]), "{again:?}");
    first.is_quiet();
    answer(&mut second, "ACK", &again[0]);
}

#[test]
fn a_lost_session_loses_no_work() {
    let server = serve(WORK);
    let mut first = worker(&server, "client");
    first.is_quiet();
    send(&server, QUEUE, &["1", "2", "3"]);
    let mut second = worker(&server, "client");
    second.is_quiet();
    let messages = receive(&mut first, &["1", "2", "3"]);
    answer(&mut first, "ACK", &messages[0]);
    drop(first);
    let again = receive(&mut second, &["2", "3"]);
    assert!(again.iter().all(|message| is_redelivered(message)), "{again:?}");
    assert_eq!(super::ids(&messages[1..]), super::ids(&again));
}

#[test]
fn a_message_that_everybody_refuses_is_given_up() {
    let server = serve(WORK);
    send(&server, QUEUE, &["poison", "good"]);
    let mut only = worker(&server, "client-individual");
    let mut seen = 0;
    loop {
        let message = only.expect("MESSAGE");
        if body(&message) == "poison" {
            seen += 1;
            answer_between(&mut only, "NACK", &message);
        } else {
            answer_between(&mut only, "ACK", &message);
        }
        if seen == 3 {
            break;
        }
    }
    settled(&mut only);
    let (_, metrics) = server.get("/metrics");
    assert!(metrics.contains("stampede_messages_dropped_total{reason=\"kept-rejected\"} 1"), "{metrics}");
}

/// Answers a message while others may come.
fn answer_between(client: &mut Client, command: &str, message: &str) {
    let ack = crate::support::client::header(message, "ack").unwrap();
    client.send(&format!("{command}\nid:{ack}\n\n\0"));
}

#[test]
fn an_acknowledgement_counts_when_its_transaction_does() {
    let server = serve(WORK);
    send(&server, QUEUE, &["1", "2"]);
    let mut first = worker(&server, "client-individual");
    let messages = receive(&mut first, &["1", "2"]);
    let ack = |message: &str| crate::support::client::header(message, "ack").unwrap().to_owned();
    first.confirmed("BEGIN\ntransaction:yes", "");
    first.send(&format!("ACK\nid:{}\ntransaction:yes\n\n\0", ack(&messages[0])));
    first.confirmed("COMMIT\ntransaction:yes", "");
    first.confirmed("BEGIN\ntransaction:no", "");
    first.send(&format!("ACK\nid:{}\ntransaction:no\n\n\0", ack(&messages[1])));
    first.confirmed("ABORT\ntransaction:no", "");
    drop(first);
    let mut second = worker(&server, "client-individual");
    let again = receive(&mut second, &["2"]);
    second.is_quiet();
    // What an open transaction holds goes with its session.
    second.confirmed("BEGIN\ntransaction:lost", "");
    second.send(&format!("ACK\nid:{}\ntransaction:lost\n\n\0", ack(&again[0])));
    second.is_quiet();
    drop(second);
    receive(&mut worker(&server, "client-individual"), &["2"]);
}

#[test]
fn a_full_queue_tells_its_sender() {
    let server = serve(&WORK.replace("1000", "2"));
    send(&server, QUEUE, &["1", "2"]);
    let mut third = user(&server, "sender");
    third.send(&format!("SEND\ndestination:{QUEUE}\nreceipt:3\n\n3\0"));
    let error = third.error(1002);
    assert!(error.contains("keep.max") && error.contains("receipt-id:3"), "{error}");
    let mut one = worker(&server, "auto");
    receive(&mut one, &["1", "2"]);
}

#[test]
fn a_plain_queue_is_no_work_queue() {
    let server = serve(WORK);
    let mut both = [user(&server, "a"), user(&server, "b")];
    both.iter_mut().for_each(|client| client.subscribe("0", "/queue/plain"));
    send(&server, "/queue/plain", &["1"]);
    both.iter_mut().for_each(|client| drop(client.message("1")));
}
