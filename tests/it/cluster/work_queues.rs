//! Work queues over several nodes: each message to one subscriber, wherever it is.

use std::collections::BTreeSet;

use crate::support::client::{Client, body, header};
use crate::support::cluster::{Cluster, Setup};
use crate::support::process::until;
use crate::support::rabbit::Rabbit;

const WORK: &str = "
[[destination]]
match = '/queue/work/**'
share = true
keep = { for = '1h', max = 1000, max_deliveries = 4 }
[[destination]]
match = '/queue/small/**'
share = true
keep = { for = '1h', max = 2, max_bytes = '2KiB', overflow = 'refuse' }
";
const QUEUE: &str = "/queue/work/a";

fn worker(cluster: &Cluster, node: usize) -> Client {
    let mut worker = cluster.user(node, "worker");
    worker.confirmed(&format!("SUBSCRIBE\nid:w\ndestination:{QUEUE}\nack:client-individual"), "");
    worker
}

fn send(cluster: &Cluster, node: usize, bodies: impl IntoIterator<Item = usize>) {
    let mut sender = cluster.user(node, "sender");
    for body in bodies {
        sender.confirmed(&format!("SEND\ndestination:{QUEUE}"), &body.to_string());
    }
}

fn settle(worker: &mut Client, how: &str, message: &str) {
    // Without a receipt: other messages may come at any time.
    worker.send(&format!("{how}\nid:{}\n\n\0", header(message, "ack").unwrap()));
}

fn is_redelivered(message: &str) -> bool {
    header(message, "redelivered") == Some("true")
}

/// Until RabbitMQ holds nothing that is not settled.
fn until_empty(cluster: &Cluster) {
    let vhost = cluster.vhost();
    until(|| (vhost.messages() == 0).then_some(()), || format!("{} messages are left", vhost.messages()));
}

#[test]
fn each_message_has_one_receiver_on_any_node() {
    const MESSAGES: usize = 100;
    let cluster = Cluster::with(WORK, 2);
    let mut workers = [worker(&cluster, 0), worker(&cluster, 0), worker(&cluster, 1)];
    send(&cluster, 0, 0..MESSAGES / 2);
    send(&cluster, 1, MESSAGES / 2..MESSAGES);
    let mut done = [Vec::new(), Vec::new(), Vec::new()];
    until(
        || {
            for (worker, done) in workers.iter_mut().zip(&mut done) {
                worker.send("SEND\ndestination:/topic/none\nreceipt:turn\n\n\0");
                loop {
                    let frame = worker.next();
                    if frame.starts_with("RECEIPT") {
                        break;
                    }
                    assert!(!is_redelivered(&frame), "{frame:?}");
                    done.push(body(&frame).parse::<usize>().unwrap());
                    worker.send(&format!("ACK\nid:{}\n\n\0", header(&frame, "ack").unwrap()));
                }
            }
            (done.iter().map(Vec::len).sum::<usize>() == MESSAGES).then_some(())
        },
        || "some did not come".into(),
    );
    assert_eq!(done.iter().flatten().copied().collect::<BTreeSet<_>>(), (0..MESSAGES).collect());
    assert!(done.iter().all(|done| done.is_sorted() && !done.is_empty()), "{done:?}");
    until_empty(&cluster);
    cluster.is_well();
}

#[test]
fn it_is_kept_while_nobody_listens() {
    let cluster = Cluster::with(WORK, 2);
    send(&cluster, 0, 1..=3);
    let mut first = worker(&cluster, 1);
    let messages: Vec<String> = ["1", "2", "3"].iter().map(|body| first.message(body)).collect();
    settle(&mut first, "ACK", &messages[1]);
    drop(first);
    let mut second = worker(&cluster, 0);
    for body in ["1", "3"] {
        let message = second.message(body);
        assert!(is_redelivered(&message), "{message:?}");
        settle(&mut second, "ACK", &message);
    }
    second.is_quiet();
    until_empty(&cluster);
}

#[test]
fn what_one_node_rejects_goes_to_the_other() {
    let cluster = Cluster::with(WORK, 2);
    let mut workers = [worker(&cluster, 0), worker(&cluster, 1)];
    send(&cluster, 0, 1..=2);
    let first = workers[0].next();
    let second = workers[1].next();
    let bodies = BTreeSet::from([body(&first), body(&second)]);
    assert_eq!(bodies, BTreeSet::from(["1", "2"]));
    settle(&mut workers[1], "ACK", &second);
    settle(&mut workers[0], "NACK", &first);
    let again = workers[1].message(body(&first));
    assert!(is_redelivered(&again), "{again:?}");
    assert_eq!(header(&again, "message-id"), header(&first, "message-id"));
    settle(&mut workers[1], "ACK", &again);
    until_empty(&cluster);
}

#[test]
fn what_is_rejected_too_often_is_given_up() {
    let cluster = Cluster::with(WORK, 1);
    let mut only = worker(&cluster, 0);
    send(&cluster, 0, [1]);
    for round in 0..4 {
        let message = only.message("1");
        assert_eq!(is_redelivered(&message), round > 0, "{message:?}");
        settle(&mut only, "NACK", &message);
    }
    until_empty(&cluster);
    only.is_quiet();
    assert_eq!(cluster.node(0).metric("stampede_messages_dropped_total{reason=\"kept-rejected\"}"), 1);
}

#[test]
fn what_a_killed_node_held_comes_to_the_other() {
    let mut cluster = Cluster::with(WORK, 2);
    let mut doomed = worker(&cluster, 0);
    send(&cluster, 1, 1..=5);
    for body in ["1", "2", "3", "4", "5"] {
        doomed.message(body);
    }
    let mut survivor = worker(&cluster, 1);
    survivor.is_quiet();
    cluster.crash(0);
    for body in ["1", "2", "3", "4", "5"] {
        let message = survivor.message(body);
        assert!(is_redelivered(&message), "{message:?}");
        settle(&mut survivor, "ACK", &message);
    }
    until_empty(&cluster);
}

#[test]
fn a_node_that_ends_in_order_gives_back_what_is_open() {
    let mut cluster = Cluster::with(WORK, 2);
    let mut leaving = worker(&cluster, 0);
    send(&cluster, 1, 1..=3);
    let messages: Vec<String> = ["1", "2", "3"].iter().map(|body| leaving.message(body)).collect();
    settle(&mut leaving, "ACK", &messages[0]);
    let (status, _) = cluster.terminate(0);
    assert!(status.success(), "{status:?}");
    let mut other = worker(&cluster, 1);
    for body in ["2", "3"] {
        let message = other.message(body);
        settle(&mut other, "ACK", &message);
    }
    until_empty(&cluster);
}

#[test]
fn a_full_queue_refuses_and_names_the_limit() {
    let cluster = Cluster::with(WORK, 2);
    let send = |node, body: &str| {
        let mut sender = cluster.user(node, "sender");
        sender.send(&format!("SEND\ndestination:/queue/small/a\nreceipt:r\n\n{body}\0"));
        sender.next()
    };
    for node in [0, 1] {
        assert!(send(node, "x").starts_with("RECEIPT\n"));
    }
    for node in [0, 1] {
        let error = send(node, "x");
        assert!(error.starts_with("ERROR\n") && error.contains("2 messages (keep.max)"), "{error:?}");
    }
    let error = send(0, &"x".repeat(3000));
    assert!(error.starts_with("ERROR\n") && error.contains("2048 (keep.max_bytes)"), "{error:?}");
    assert_eq!(cluster.vhost().messages(), 2);
}

#[test]
fn a_queue_that_was_declared_otherwise_is_named() {
    let before = Setup::new().config(WORK).start(1);
    send(&before, 0, [1]);
    let changed = WORK.replace("max = 1000", "max = 999");
    // Stands for the same cluster after its configuration was changed.
    let after = Setup::new().set("STAMPEDE__RABBITMQ__URL", &before.vhost().url()).config(&changed).start(1);
    let mut sender = after.user(0, "sender");
    sender.send(&format!("SEND\ndestination:{QUEUE}\nreceipt:r\n\n2\0"));
    let mut subscriber = after.user(0, "worker");
    subscriber.send(&format!("SUBSCRIBE\nid:w\ndestination:{QUEUE}\n\n\0"));
    for client in [&mut sender, &mut subscriber] {
        let error = client.expect("ERROR");
        assert!(error.contains("wx_work_/queue/work/a") && error.contains("delete it in RabbitMQ"), "{error:?}");
    }
    assert_eq!(before.vhost().messages(), 1);
}

#[test]
fn a_restart_of_rabbitmq_loses_nothing_that_was_confirmed() {
    let mut rabbit = Rabbit::own();
    let cluster = Setup::new().vhost(rabbit.vhost()).config(WORK).start(2);
    send(&cluster, 0, 1..=20);
    let mut one = worker(&cluster, 0);
    let first = one.message("1");
    rabbit.restart();
    // Offered while it comes back: confirmed when it is there.
    send(&cluster, 1, 21..=25);
    settle(&mut one, "ACK", &first);
    let mut other = worker(&cluster, 1);
    let mut seen = BTreeSet::from([1]);
    until(
        || {
            for worker in [&mut one, &mut other] {
                worker.send("SEND\ndestination:/topic/none\nreceipt:turn\n\n\0");
                loop {
                    let frame = worker.next();
                    if frame.starts_with("RECEIPT") {
                        break;
                    }
                    seen.insert(body(&frame).parse::<usize>().unwrap());
                    worker.send(&format!("ACK\nid:{}\n\n\0", header(&frame, "ack").unwrap()));
                }
            }
            (seen.len() == 25).then_some(())
        },
        || "some are lost".into(),
    );
    // What was handed out before the restart comes again where its proof could not be told.
    until_empty(&cluster);
}
