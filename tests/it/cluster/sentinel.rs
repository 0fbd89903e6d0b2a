//! Nodes that find Redis through sentinels: another server takes over, and the nodes go on.

use super::{KEEP, receive_numbers, send_asking, send_confirmed};
use crate::kept::{settled, subscribe};
use crate::support::client::topic;
use crate::support::cluster::{Cluster, Setup};
use crate::support::process::until;
use crate::support::sentinel::Sentinels;

const CHAT: &str = "/user/ann/queue/chat";
const UNKEPT: &str = "/user/ann/topic/chat";

fn two_nodes(sentinels: &Sentinels) -> Cluster {
    let mut cluster = Setup::new().config(KEEP).start(0);
    let url = sentinels.url("redis-sentinel", "");
    for _ in 0..2 {
        cluster.add_node_with(&[("STAMPEDE__REDIS__URL", &url)]);
    }
    cluster
}

/// Waits until messages are kept again, on either node.
fn until_it_keeps(cluster: &Cluster) {
    for node in 0..2 {
        let keeps = || {
            let mut probe = cluster.user(node, "probe");
            probe.send("SEND\ndestination:/user/probe-target/queue/chat\nreceipt:1\n\n\0");
            probe.next().starts_with("RECEIPT").then_some(())
        };
        until(keeps, || format!("what is to be kept is still refused: {}", cluster.node(node).errors()));
    }
}

/// Sends again what was refused because Redis did not answer just then, as the ERROR asks for: while a server takes over, and
/// on a machine that does much else, that can happen once more. What was refused so was not kept.
fn send_until_kept(cluster: &Cluster, number: usize) {
    let kept = || {
        let mut sender = cluster.user(0, "sender");
        send_asking(&mut sender, CHAT, number);
        let answer = sender.next();
        assert!(answer.starts_with("RECEIPT") || answer.contains("send again later"), "{answer:?}");
        answer.starts_with("RECEIPT").then_some(())
    };
    until(kept, || format!("{number} is refused: {}", cluster.node(0).errors()));
}

#[test]
fn another_server_takes_over_and_nothing_that_it_has_is_lost() {
    let mut sentinels = Sentinels::start();
    let cluster = two_nodes(&sentinels);
    (0..2).for_each(|node| cluster.node(node).until_metric("stampede_cluster_nodes", 2));
    let topic = topic();
    let mut bob = cluster.user(1, "bob");
    bob.subscribe("0", &topic);
    bob.subscribe("1", "/user/topic/chat");
    let mut stranger = cluster.user(1, "eve");
    stranger.subscribe("0", "/user/topic/chat");
    stranger.subscribe("1", "/user/queue/chat");
    let mut sender = cluster.user(0, "sender");
    for round in 0..2 {
        (0..20).for_each(|number| send_confirmed(&mut sender, CHAT, &number.to_string()));
        sentinels.until_replicated();
        let crashed = sentinels.crash_primary();
        // What needs no registry goes on meanwhile.
        for number in 0..20 {
            send_confirmed(&mut sender, [&*topic, "/user/bob/topic/chat"][number % 2], &number.to_string());
            bob.message(&number.to_string());
        }
        sentinels.until_taken_over_from(crashed);
        until_it_keeps(&cluster);
        (20..30).for_each(|number| send_until_kept(&cluster, number));
        let mut ann = cluster.user(1, "ann");
        subscribe(&mut ann, "/user/queue/chat", "auto");
        receive_numbers(&mut ann, 0..30);
        settled(&mut ann);
        // New subscriptions are found, whatever the servers know of the old ones.
        ann.subscribe("live", "/user/topic/chat");
        for destination in [UNKEPT, CHAT, &topic] {
            let after = 99;
            match destination {
                CHAT => send_until_kept(&cluster, after),
                _ => send_confirmed(&mut sender, destination, &after.to_string()),
            }
            if destination == topic { &mut bob } else { &mut ann }.message(&after.to_string());
        }
        settled(&mut ann);
        for node in 0..2 {
            let ready = || cluster.node(node).get("/ready");
            until(
                || (ready() == (200, "ready\n".to_owned())).then_some(()),
                || format!("round {round}: {:?}", ready()),
            );
            cluster.node(node).until_metric("stampede_cluster_nodes", 2);
        }
        sentinels.restart(crashed);
    }
    [&mut bob, &mut stranger].into_iter().for_each(settled);
    cluster.is_well();
}
