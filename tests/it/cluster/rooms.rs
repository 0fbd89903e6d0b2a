//! A room is one room, whatever nodes its members are on; and every leave is announced once.

use super::is_forgotten;
use crate::support::client::{Client, body};
use crate::support::cluster::Cluster;

const ROOMS: &str = "
[[route]]
on = '/app/join/{room}/{id}'
join = { room = '{room}', member = '{id}', profile = '{body.json}' }
to = '/topic/members/{room}'
json = '{members}'

[[route]]
on = '/app/leave/{room}'
leave = { room = '{room}' }

[[room]]
match = '*'
subscribe = '/topic/room/{room}'
on_join = [{ to = '/topic/joined/{room}', json = '{member-id}' }]
on_leave = [{ to = '/topic/left/{room}', json = '{member-id}' }]
";

/// Sees who comes to a room and who goes.
fn watcher(cluster: &Cluster, node: usize) -> Client {
    let mut watcher = cluster.user(node, "watcher");
    watcher.subscribe("joined", "/topic/joined/r");
    watcher.subscribe("left", "/topic/left/r");
    watcher
}

/// Two that came on different nodes are announced in either order.
#[track_caller]
fn both_joined(watcher: &mut Client) {
    let mut who = [(); 2].map(|()| body(&watcher.expect("MESSAGE")).to_owned());
    who.sort();
    assert_eq!(who, ["\"ann\"", "\"bob\""]);
}

fn member(cluster: &Cluster, node: usize, name: &str) -> Client {
    let mut member = cluster.user(node, name);
    member.subscribe("0", "/topic/room/r");
    member
}

/// The next announcement must be this one.
#[track_caller]
fn told(watcher: &mut Client, what: &str, who: &str) {
    let frame = watcher.message(&format!("\"{who}\""));
    assert!(frame.contains(&format!("destination:/topic/{what}/r")), "{frame}");
}

#[test]
fn joins_and_leaves_are_told_on_every_node() {
    let cluster = Cluster::with(ROOMS, 2);
    let mut watchers = [watcher(&cluster, 0), watcher(&cluster, 1)];
    let ann = member(&cluster, 0, "ann");
    let mut bob = member(&cluster, 1, "bob");
    watchers.iter_mut().for_each(both_joined);
    bob.confirmed("UNSUBSCRIBE\nid:0", "");
    watchers.iter_mut().for_each(|watcher| told(watcher, "left", "bob"));
    drop(ann);
    watchers.iter_mut().for_each(|watcher| told(watcher, "left", "ann"));
    watchers.iter_mut().for_each(Client::is_quiet);
}

#[test]
fn a_member_with_sessions_on_two_nodes_is_one() {
    let cluster = Cluster::with(ROOMS, 2);
    let mut watcher = watcher(&cluster, 0);
    let mut first = member(&cluster, 0, "ann");
    let mut second = member(&cluster, 1, "ann");
    told(&mut watcher, "joined", "ann");
    watcher.is_quiet();
    first.confirmed("UNSUBSCRIBE\nid:0", "");
    watcher.is_quiet();
    second.confirmed("UNSUBSCRIBE\nid:0", "");
    told(&mut watcher, "left", "ann");
    watcher.is_quiet();
}

#[test]
fn the_list_of_members_is_that_of_the_cluster() {
    let cluster = Cluster::with(ROOMS, 2);
    let mut watcher = cluster.user(1, "watcher");
    watcher.subscribe("0", "/topic/members/r");
    let members = |watcher: &mut Client| -> Vec<String> {
        let frame = watcher.expect("MESSAGE");
        let members: Vec<serde_json::Value> = serde_json::from_str(body(&frame)).unwrap();
        members.iter().map(|member| member["id"].as_str().unwrap().to_owned()).collect()
    };
    let (mut ann, mut bob) = (cluster.user(0, "ann"), cluster.user(1, "bob"));
    ann.confirmed("SEND\ndestination:/app/join/r/ann", "{\"id\":\"ann\"}");
    assert_eq!(members(&mut watcher), ["ann"]);
    bob.confirmed("SEND\ndestination:/app/join/r/bob", "{\"id\":\"bob\"}");
    assert_eq!(members(&mut watcher), ["ann", "bob"]);
    ann.confirmed("SEND\ndestination:/app/leave/r", "");
    bob.confirmed("SEND\ndestination:/app/join/r/bob", "{\"id\":\"bob\"}");
    assert_eq!(members(&mut watcher), ["bob"]);
}

#[test]
fn whoever_was_on_a_node_that_died_has_left_once() {
    let mut cluster = Cluster::with(ROOMS, 2);
    let lost = cluster.add_node_with(&[("STAMPEDE__SERVER__NODE_ID", "lost-node")]);
    let mut watchers = [watcher(&cluster, 0), watcher(&cluster, 1)];
    let _ann = member(&cluster, lost, "ann");
    let _elsewhere = member(&cluster, 0, "bob");
    let _bob = member(&cluster, lost, "bob");
    watchers.iter_mut().for_each(both_joined);
    cluster.crash(lost);
    watchers.iter_mut().for_each(|watcher| told(watcher, "left", "ann"));
    is_forgotten(&cluster, "lost-node");
    watchers.iter_mut().for_each(Client::is_quiet);
}

#[test]
fn a_node_that_ends_in_order_takes_its_members_out() {
    let mut cluster = Cluster::with(ROOMS, 2);
    let mut watcher = watcher(&cluster, 0);
    let _ann = member(&cluster, 1, "ann");
    told(&mut watcher, "joined", "ann");
    let (status, errors) = cluster.terminate(1);
    assert_eq!(status.code(), Some(0), "{errors}");
    told(&mut watcher, "left", "ann");
    watcher.is_quiet();
}
