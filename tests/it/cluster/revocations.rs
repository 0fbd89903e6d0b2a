//! A user or a token that is revoked on one node is revoked on all.

use crate::support::client::Client;
use crate::support::cluster::Cluster;
use crate::support::process::until;

const TOKEN: &str = "0123456789abcdef";
const CONFIG: &str = "[api]\ntoken = '0123456789abcdef'\n";

fn is_refused(cluster: &Cluster, node: usize) {
    let mut client = Client::open(cluster.node(node).address, "/ws");
    client.send("CONNECT\naccept-version:1.2\nhost:localhost\nlogin:ann\n\n\0");
    assert!(client.error(1002).contains("revoked"));
}

#[test]
fn a_user_revoked_on_one_node_is_out_on_all() {
    let mut cluster = Cluster::with(CONFIG, 2);
    let (mut here, mut there) = (cluster.user(0, "ann"), cluster.user(1, "ann"));
    let mut ben = cluster.user(1, "ben");
    assert_eq!(cluster.node(0).revocations("POST", TOKEN, r#"{"user": "ann"}"#).0, 200);
    here.error(1002);
    there.error(1002);
    is_refused(&cluster, 0);
    is_refused(&cluster, 1);
    let late = cluster.add_node();
    is_refused(&cluster, late);
    ben.subscribe("0", "/topic/still-here");
    // Lifted on another node than it was made on.
    assert_eq!(cluster.node(1).revocations("DELETE", TOKEN, r#"{"user": "ann"}"#).0, 200);
    let lifted = |node: usize| cluster.node(node).revocations("GET", TOKEN, "").1.ends_with("[]\n").then_some(());
    for node in [0, 1, late] {
        until(|| lifted(node), || format!("node {node} still refuses"));
        cluster.user(node, "ann").subscribe("0", "/topic/back");
    }
}

#[test]
fn a_node_that_could_not_be_told_finds_out_from_redis() {
    let cluster = Cluster::with(CONFIG, 2);
    let mut ann = cluster.user(1, "ann");
    // As a node writes it that cannot reach the others: no notice comes.
    let until_far = format!("0 {}", u64::MAX / 2);
    cluster.redis().cli(&["HSET", "stampede:revoked", "u:ann", &until_far]);
    ann.error(1002);
    is_refused(&cluster, 1);
}
