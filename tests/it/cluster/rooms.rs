//! A room is one room, whatever nodes its members are on; and every leave is announced once.

use super::{is_forgotten, send};
use crate::support::client::{Client, body};
use crate::support::cluster::{Cluster, Setup};

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

#[test]
fn every_way_to_end_a_session_leaves_once() {
    let cluster = Cluster::with(ROOMS, 2);
    let mut watchers = [watcher(&cluster, 0), watcher(&cluster, 1)];
    let ways: [fn(Client); 3] = [
        |mut member| member.confirmed("DISCONNECT", ""),
        |member| drop(member),
        |mut member| {
            member.send("SHOUT\n\n\0");
            member.error(1002);
        },
    ];
    for way in ways {
        let member = member(&cluster, 1, "ann");
        watchers.iter_mut().for_each(|watcher| told(watcher, "joined", "ann"));
        way(member);
        watchers.iter_mut().for_each(|watcher| told(watcher, "left", "ann"));
    }
    watchers.iter_mut().for_each(Client::is_quiet);
}

#[test]
fn a_receipt_comes_when_the_room_has_changed() {
    let cluster = Cluster::with(ROOMS, 2);
    let mut other = cluster.user(1, "other");
    other.subscribe("0", "/topic/members/r");
    let mut ann = cluster.user(0, "ann");
    // What follows a join goes behind it, also where it needs no room.
    ann.subscribe("0", "/topic/members/r");
    ann.send(
        "SEND\ndestination:/app/join/r/ann\n\n{\"id\":\"ann\"}\0SEND\ndestination:/topic/members/r\n\n2\0\
         SEND\ndestination:/app/leave/r\nreceipt:left\n\n\0",
    );
    ann.message("[{\"id\":\"ann\"}]");
    ann.message("2");
    assert!(ann.expect("RECEIPT").contains("receipt-id:left"));
    send(&mut ann, "/app/join/r/ann", "{}");
    ann.message("[{}]");
    for body in ["[{\"id\":\"ann\"}]", "2", "[{}]"] {
        other.message(body);
    }
}

#[test]
fn without_redis_nobody_joins_and_a_leave_is_told_later() {
    let cluster = Cluster::with(ROOMS, 2);
    let mut watcher = watcher(&cluster, 1);
    let ann = member(&cluster, 0, "ann");
    told(&mut watcher, "joined", "ann");
    cluster.redis().freeze();
    let mut bob = cluster.user(0, "bob");
    bob.send("SEND\ndestination:/app/join/r/bob\n\n{}\0");
    let refused = bob.error(1002);
    assert!(refused.contains("the rooms of all nodes cannot be reached"), "{refused}");
    drop(ann);
    cluster.redis().thaw();
    told(&mut watcher, "left", "ann");
    watcher.is_quiet();
}

#[test]
fn the_example_of_co_editing_runs_on_two_nodes() {
    the_example_runs("spring");
}

/// Its own rules open what the guarded profile closes.
#[test]
fn the_example_of_co_editing_runs_guarded() {
    the_example_runs("guarded");
}

fn the_example_runs(profile: &str) {
    const EXAMPLE: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/co-editing/stampede.toml"));
    let cluster = Setup::new().config(EXAMPLE).set("STAMPEDE__PERMISSIONS__PROFILE", profile).start(2);
    let page = |node: usize, id: &str| {
        let headers = ["heart-beat:0,0", &format!("Authorization:{id}")];
        let mut page = Client::connect(cluster.node(node).address, "/cooperate", "1.2", &headers);
        for destination in [
            "/user/34/topic/users",
            "/user/34/topic/popUser",
            "/topic/content/34",
            "/topic/over",
            &format!("/user/{id}/34/queue/chat"),
        ] {
            page.subscribe(destination, destination);
        }
        page
    };
    let (ann_is, ben_is) = ("{\"id\":\"12\",\"username\":\"Ann\"}", "{\"id\":\"13\",\"username\":\"Ben\"}");
    let (mut ann, mut ben) = (page(0, "12"), page(1, "13"));
    let both = |ann: &mut Client, ben: &mut Client, body: &str| [ann, ben].map(|page| drop(page.message(body)));
    send(&mut ann, "/app/pushUser/12/34", ann_is);
    both(&mut ann, &mut ben, &format!("[{ann_is}]"));
    send(&mut ben, "/app/pushUser/13/34", ben_is);
    both(&mut ann, &mut ben, &format!("[{ann_is},{ben_is}]"));
    send(&mut ann, "/app/chat/12/13/34", "hi");
    ben.message("{\"message\":\"hi\",\"from\":\"12\",\"to\":\"13\",\"blogId\":\"34\"}");
    send(&mut ben, "/app/sync/13/34", "# T");
    both(&mut ann, &mut ben, "{\"from\":\"13\",\"content\":\"# T\",\"blogId\":\"34\"}");
    send(&mut ann, "/app/taskOver/12", "34");
    both(&mut ann, &mut ben, "{\"id\":\"12\",\"blogId\":\"34\"}");
    drop(ben);
    ann.message(ben_is);
    ann.message(&format!("[{ann_is}]"));
    send(&mut ann, "/app/destroy/34", "12");
    ann.message(ann_is);
    ann.message("[]");
    // Nothing waits.
    ann.confirmed("UNSUBSCRIBE\nid:/topic/over", "");
}
