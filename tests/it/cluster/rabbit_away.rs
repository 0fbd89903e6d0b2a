//! RabbitMQ, or the way to it, is away for a while: nothing that was confirmed is lost, and nothing changes places.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use super::{KEEP, LONG, next_within, number, receipts, receive_numbers, send, send_asking, send_confirmed};
use crate::kept::settled;
use crate::support::client::{Client, body, topic};
use crate::support::cluster::{Cluster, Setup};
use crate::support::process::until;
use crate::support::proxy::{Mode, Proxy};
use crate::support::rabbit::Rabbit;

const CHAT: &str = "/user/ann/queue/chat";

/// Two nodes; the way of the second to RabbitMQ leads through the proxy.
fn behind_a_proxy() -> (Cluster, Proxy) {
    let mut cluster = Cluster::start(1);
    let proxy = Proxy::to(cluster.vhost().port());
    let url = cluster.vhost().url_through(proxy.port());
    cluster.add_node_with(&[("STAMPEDE__RABBITMQ__URL", &url), ("STAMPEDE__RABBITMQ__HEARTBEAT", "1s")]);
    (cluster, proxy)
}

/// A session on each node, both subscribed to the topic.
fn two_sessions(cluster: &Cluster, topic: &str) -> (Client, Client) {
    let mut sessions = (cluster.user(0, "zero"), cluster.user(1, "one"));
    sessions.0.subscribe("0", topic);
    sessions.1.subscribe("0", topic);
    sessions
}

#[test]
fn what_is_sent_while_the_way_is_cut_arrives_later_and_in_order() {
    let (cluster, proxy) = behind_a_proxy();
    let topic = topic();
    let (mut far, mut near) = two_sessions(&cluster, &topic);
    let mut sender = cluster.user(1, "sender");
    (0..50).for_each(|number| send_asking(&mut sender, &topic, number));
    proxy.set(Mode::Cut);
    (50..100).for_each(|number| send_asking(&mut sender, &topic, number));
    // Whoever is on the same node does not wait.
    receive_numbers(&mut near, 0..100);
    proxy.set(Mode::HangUp);
    send_asking(&mut sender, &topic, 100);
    near.message("100");
    proxy.set(Mode::Forward);
    receipts(&mut sender, 0..101);
    // What was published and not confirmed is published again, and comes once all the same.
    receive_numbers(&mut far, 0..101);
    [&mut far, &mut near].into_iter().for_each(Client::is_quiet);
    cluster.is_well();
}

#[test]
fn what_comes_for_a_node_that_is_cut_off_waits_for_it() {
    let (cluster, proxy) = behind_a_proxy();
    let topic = topic();
    let (_, mut far) = two_sessions(&cluster, &topic);
    far.subscribe("1", "/user/queue/x");
    let mut sender = cluster.user(0, "sender");
    proxy.set(Mode::Cut);
    (0..100).for_each(|number| send_asking(&mut sender, [&*topic, "/user/one/queue/x"][number / 50], number));
    // The broker has it.
    receipts(&mut sender, 0..100);
    proxy.set(Mode::Forward);
    receive_numbers(&mut far, 0..100);
    far.is_quiet();
}

#[test]
fn a_black_hole_ends_like_a_cut() {
    let (cluster, proxy) = behind_a_proxy();
    let topic = topic();
    let (mut far, mut near) = two_sessions(&cluster, &topic);
    let mut sender = cluster.user(1, "sender");
    for mode in [Mode::Silent, Mode::SilentToClient] {
        proxy.set(mode);
        (0..20).for_each(|number| send_asking(&mut sender, &topic, number));
        receive_numbers(&mut near, 0..20);
        until_it_knows(&cluster);
        proxy.set(Mode::HangUp);
        proxy.set(Mode::Forward);
        receipts(&mut sender, 0..20);
        receive_numbers(&mut far, 0..20);
        [&mut far, &mut near].into_iter().for_each(Client::is_quiet);
    }
}

/// The second node says that it has no way to RabbitMQ.
fn until_it_knows(cluster: &Cluster) {
    let node = cluster.node(1);
    until(
        || node.get("/ready").1.contains("RabbitMQ").then_some(()),
        || format!("it does not notice: {:?} {}", node.get("/ready"), node.errors()),
    );
}

#[test]
fn connections_closed_by_an_operator_come_back() {
    let cluster = Cluster::start(2);
    let topic = topic();
    let (mut far, _near) = two_sessions(&cluster, &topic);
    let mut sender = cluster.user(1, "sender");
    for round in 0..5 {
        (0..40).for_each(|number| send_asking(&mut sender, &topic, round * 40 + number));
        cluster.vhost().close_connections();
    }
    receipts(&mut sender, 0..200);
    receive_numbers(&mut far, 0..200);
    far.is_quiet();
}

#[test]
fn a_crash_of_rabbitmq_loses_nothing_that_was_confirmed_and_kept() {
    let mut rabbit = Rabbit::own();
    let cluster = Setup::new().vhost(rabbit.vhost()).config(KEEP).start(2);
    let mut ann = cluster.user(1, "ann");
    ann.subscribe("0", "/user/queue/chat");
    let mut sender = cluster.user(0, "sender");
    let mut sent = 0;
    let broker: &mut Rabbit = &mut rabbit;
    thread::scope(|scope| {
        let restart = scope.spawn(|| broker.restart());
        while !restart.is_finished() {
            send_asking(&mut sender, CHAT, sent);
            sent += 1;
            // A pace at which the session is never bound by what it has open.
            thread::sleep(Duration::from_millis(20));
        }
        restart.join().unwrap();
    });
    (sent..sent + 50).for_each(|number| send_asking(&mut sender, CHAT, number));
    receipts(&mut sender, 0..sent + 50);
    let mut found = BTreeSet::new();
    while found.len() < sent + 50 {
        let number = number(&next_within(&mut ann, LONG));
        // Nothing overtakes what comes first.
        assert!(found.contains(&number) || number == found.len(), "{number} after {}", found.len());
        found.insert(number);
    }
    settled(&mut ann);
    cluster.is_well();
}

#[test]
fn what_is_not_kept_waits_until_rabbitmq_is_back() {
    let rabbit = Rabbit::own();
    let cluster = Setup::new().vhost(rabbit.vhost()).start(2);
    let topic = topic();
    let (mut near, mut far) = two_sessions(&cluster, &topic);
    let mut sender = cluster.user(0, "sender");
    rabbit.stop_app();
    (0..100).for_each(|number| send_asking(&mut sender, &topic, number));
    receive_numbers(&mut near, 0..100);
    rabbit.start_app();
    receipts(&mut sender, 0..100);
    receive_numbers(&mut far, 0..100);
    send_confirmed(&mut sender, &topic, "after");
    far.message("after");
}

#[test]
fn an_end_of_patience_is_told_to_the_sender() {
    let (cluster, proxy) = {
        let cluster = Setup::new().set("STAMPEDE__RELAY__SEND_TIMEOUT", "1s").start(1);
        let proxy = Proxy::to(cluster.vhost().port());
        let mut cluster = cluster;
        let url = cluster.vhost().url_through(proxy.port());
        cluster.add_node_with(&[("STAMPEDE__RABBITMQ__URL", &url)]);
        (cluster, proxy)
    };
    let topic = topic();
    let (_far, _near) = two_sessions(&cluster, &topic);
    let mut sender = cluster.user(1, "sender");
    proxy.set(Mode::Cut);
    sender.send(&format!("SEND\ndestination:{topic}\nreceipt:1\n\n\0"));
    let error = sender.error(1002);
    assert!(error.contains("relay.send_timeout") && error.contains("receipt-id:1"), "{error}");
}

#[test]
fn an_alarm_slows_the_senders_and_loses_nothing() {
    const COUNT: usize = 2500;
    let rabbit = Rabbit::own();
    let setup = Setup::new().vhost(rabbit.vhost());
    let setup = setup.set("STAMPEDE__RELAY__BUFFER_SIZE_LIMIT", "2MiB").set("STAMPEDE__RELAY__SEND_TIMEOUT", "60s");
    let cluster = setup.set("STAMPEDE__OUTBOX__SEND_BUFFER_SIZE_LIMIT", "64MiB").start(2);
    let mut far = cluster.user(1, "far");
    far.subscribe("0", "/topic/alarm");
    let mut sender = cluster.user(0, "sender");
    rabbit.alarm(true);
    let written = AtomicUsize::new(0);
    thread::scope(|scope| {
        scope.spawn(|| {
            let padding = "x".repeat(12 << 10);
            for number in 0..COUNT {
                send(&mut sender, "/topic/alarm", &format!("{number} {padding}"));
                written.store(number + 1, Ordering::Relaxed);
            }
        });
        let mut before = 0;
        until(
            || {
                thread::sleep(Duration::from_millis(500));
                let now = written.load(Ordering::Relaxed);
                (now > 0 && now == std::mem::replace(&mut before, now)).then_some(())
            },
            || "the sender is never slowed".to_owned(),
        );
        assert!(written.load(Ordering::Relaxed) < COUNT, "everything was read although nothing could leave");
        assert!(cluster.node(0).resident_bytes() < 100 << 20);
        rabbit.alarm(false);
        for number in 0..COUNT {
            let frame = next_within(&mut far, LONG);
            assert_eq!(body(&frame).split(' ').next(), Some(&*number.to_string()));
        }
    });
    far.is_quiet();
}
