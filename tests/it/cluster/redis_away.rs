//! Redis is away for a while: what needs no registry goes on, what must not be lost is refused, and afterwards all is well.

use super::{KEEP, receive_numbers, send_confirmed};
use crate::kept::{settled, subscribe};
use crate::support::client::{header, topic};
use crate::support::cluster::{Cluster, Setup};
use crate::support::process::until;
use crate::support::proxy::{Mode, Proxy};
use crate::support::redis::Redis;

const KEPT: &str = "/user/ann/queue/chat";
const UNKEPT: &str = "/user/ann/topic/chat";

/// What happens while Redis is away and when it is back.
fn survives(leave: impl FnOnce(&mut Redis), come_back: impl FnOnce(&mut Redis)) {
    let mut cluster = Cluster::with(KEEP, 2);
    let topic = topic();
    let mut ann = cluster.user(1, "ann");
    ann.subscribe("0", &topic);
    ann.subscribe("1", "/user/topic/chat");
    ann.subscribe("2", "/user/queue/chat");
    let mut sender = cluster.user(0, "sender");
    send_confirmed(&mut sender, KEPT, "kept before");
    ann.message("kept before");

    leave(cluster.redis_mut());
    for number in 0..20 {
        let body = number.to_string();
        send_confirmed(&mut sender, [&*topic, UNKEPT][number % 2], &body);
        ann.message(&body);
    }
    let mut refused = cluster.user(0, "refused");
    refused.send(&format!("SEND\ndestination:{KEPT}\nreceipt:7\n\nrefused\0"));
    let error = refused.error(1002);
    assert_eq!(header(&error, "receipt-id"), Some("7"), "{error}");
    // Confirmed now or later; but once it is, it is live.
    let mut bob = cluster.user(1, "bob");
    bob.send("SUBSCRIBE\nid:0\nreceipt:live\ndestination:/user/topic/chat\n\n\0");

    come_back(cluster.redis_mut());
    until(|| keeps(&cluster).then_some(()), || "what is to be kept is still refused".to_owned());
    bob.expect("RECEIPT");
    send_confirmed(&mut sender, "/user/bob/topic/chat", "for bob");
    bob.message("for bob");
    // The session that was there before is reached on all ways.
    for destination in [&*topic, UNKEPT] {
        send_confirmed(&mut sender, destination, "after");
        ann.message("after");
    }
    (0..20).for_each(|number| send_confirmed(&mut sender, KEPT, &number.to_string()));
    receive_numbers(&mut ann, 0..20);
    cluster.is_well();
}

/// Whether a message that must be kept is taken.
fn keeps(cluster: &Cluster) -> bool {
    let mut probe = cluster.user(0, "probe");
    probe.send("SEND\ndestination:/user/probe-target/queue/chat\nreceipt:1\n\n\0");
    probe.next().starts_with("RECEIPT")
}

#[test]
fn killed_and_started_again_with_nothing_in_it() {
    survives(Redis::kill, Redis::restart);
}

#[test]
fn silent_for_a_while() {
    survives(|redis| redis.freeze(), |redis| redis.thaw());
}

#[test]
fn what_was_kept_is_there_again_after_a_crash_of_a_durable_redis() {
    let mut cluster = Setup::new().redis(Redis::durable()).config(KEEP).start(2);
    let mut sender = cluster.user(0, "sender");
    (0..10).for_each(|number| send_confirmed(&mut sender, KEPT, &number.to_string()));
    cluster.redis_mut().restart();
    until(|| keeps(&cluster).then_some(()), || "what is to be kept is still refused".to_owned());
    let mut ann = cluster.user(1, "ann");
    subscribe(&mut ann, "/user/queue/chat", "auto");
    receive_numbers(&mut ann, 0..10);
    settled(&mut ann);
}

#[test]
fn a_node_that_the_others_took_for_dead_is_whole_again() {
    let redis = Redis::start();
    let proxy = Proxy::to(redis.port());
    let mut cluster = Setup::new().redis(redis).config(KEEP).start(1);
    let url = format!("redis://127.0.0.1:{}/0", proxy.port());
    let apart = cluster.add_node_with(&[("STAMPEDE__REDIS__URL", &url), ("STAMPEDE__SERVER__NODE_ID", "apart")]);
    let topic = topic();
    let mut ann = cluster.user(apart, "ann");
    ann.subscribe("0", &topic);
    ann.subscribe("1", "/user/topic/chat");
    ann.subscribe("2", "/user/queue/chat");
    cluster.node(0).until_metric("stampede_cluster_nodes", 2);
    proxy.set(Mode::Silent);
    // Its lease runs out.
    cluster.node(0).until_metric("stampede_cluster_nodes", 1);
    proxy.set(Mode::Forward);
    cluster.node(0).until_metric("stampede_cluster_nodes", 2);
    let mut sender = cluster.user(0, "sender");
    // All its names may take a moment longer than the node itself.
    until(
        || {
            send_confirmed(&mut sender, UNKEPT, "probe");
            ann.socket.next_within(std::time::Duration::from_millis(100))
        },
        || "the user is not found".to_owned(),
    );
    send_confirmed(&mut sender, &topic, "topic");
    while ann.expect("MESSAGE").contains("probe") {}
    send_confirmed(&mut sender, KEPT, "kept");
    ann.message("kept");
    cluster.is_well();
}
