//! Rooms: whoever leaves, however it happens, is announced once.

use crate::support::client::{Client, body};
use crate::support::process::{Process, serve};

const ROOMS: &str = "
[[endpoint]]
path = '/ws'
heart_beat = [0, 200]

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

fn session(server: &Process, user: &str) -> Client {
    Client::connect(server.address, "/ws", "1.2", &["heart-beat:0,0", &format!("login:{user}")])
}

/// Sees who comes to a room and who goes.
fn watcher(server: &Process, room: &str) -> Client {
    let mut watcher = session(server, "watcher");
    watcher.subscribe("0", &format!("/topic/joined/{room}"));
    watcher.subscribe("1", &format!("/topic/left/{room}"));
    watcher
}

/// How a member that subscribed to the room may end.
fn leaves(room: &str, leave: impl FnOnce(&mut Client)) {
    let server = serve(ROOMS);
    let mut watcher = watcher(&server, room);
    let mut member = session(&server, "ann");
    member.subscribe("0", &format!("/topic/room/{room}"));
    watcher.message("\"ann\"");
    leave(&mut member);
    drop(member);
    let left = watcher.message("\"ann\"");
    assert!(left.contains("/topic/left/"), "{left}");
    server.until_metric("stampede_sessions_open", 1);
    watcher.is_quiet();
}

#[test]
fn by_unsubscribing() {
    leaves("a", |member| member.confirmed("UNSUBSCRIBE\nid:0", ""));
}

#[test]
fn by_disconnecting() {
    leaves("b", |member| member.confirmed("DISCONNECT", ""));
}

#[test]
fn by_closing_the_socket() {
    leaves("c", |member| member.socket.close(1000));
}

#[test]
fn by_vanishing() {
    leaves("d", |_| {});
}

#[test]
fn by_a_mistake() {
    leaves("e", |member| {
        member.send("SHOUT\n\n\0");
        member.error(1002);
    });
}

#[test]
fn by_falling_silent() {
    let server = serve(ROOMS);
    let mut watcher = watcher(&server, "f");
    let mut member = Client::connect(server.address, "/ws", "1.2", &["heart-beat:200,0", "login:ann"]);
    member.subscribe("0", "/topic/room/f");
    watcher.message("\"ann\"");
    watcher.message("\"ann\"");
    member.error(1002);
    watcher.is_quiet();
}

#[test]
fn with_the_last_of_several_sessions() {
    let server = serve(ROOMS);
    let mut watcher = watcher(&server, "g");
    let mut sessions: Vec<Client> = (0..3).map(|_| session(&server, "ann")).collect();
    sessions.iter_mut().for_each(|session| session.subscribe("0", "/topic/room/g"));
    watcher.message("\"ann\"");
    watcher.is_quiet();
    sessions.pop().unwrap().confirmed("DISCONNECT", "");
    drop(sessions.pop());
    server.until_metric("stampede_sessions_open", 2);
    watcher.is_quiet();
    drop(sessions);
    watcher.message("\"ann\"");
    server.until_metric("stampede_sessions_open", 1);
    watcher.is_quiet();
}

#[test]
fn by_route() {
    let server = serve(ROOMS);
    let mut watcher = watcher(&server, "h");
    watcher.subscribe("2", "/topic/members/h");
    let mut ann = session(&server, "ann");
    let mut bob = session(&server, "bob");
    ann.confirmed("SEND\ndestination:/app/join/h/ann", "{\"id\":\"ann\",\"color\":\"red\"}");
    watcher.message("\"ann\"");
    let members = |frame: String| serde_json::from_str::<serde_json::Value>(body(&frame)).unwrap();
    assert_eq!(members(watcher.expect("MESSAGE")), serde_json::json!([{"id": "ann", "color": "red"}]));
    bob.confirmed("SEND\ndestination:/app/join/h/bob", "{\"id\":\"bob\"}");
    watcher.message("\"bob\"");
    assert_eq!(members(watcher.expect("MESSAGE")).as_array().map(Vec::len), Some(2));
    ann.confirmed("SEND\ndestination:/app/leave/h", "");
    watcher.message("\"ann\"");
    // Its session ends later, and it has left already.
    drop(ann);
    server.until_metric("stampede_sessions_open", 2);
    watcher.is_quiet();
    drop(bob);
    watcher.message("\"bob\"");
    watcher.is_quiet();
}

#[test]
fn a_storm_of_joins_and_leaves_ends_with_nobody() {
    let server = serve(ROOMS);
    let mut watcher = watcher(&server, "i");
    for round in 0..20 {
        let mut member = session(&server, &format!("m{round}"));
        let frames: String = (0..10)
            .map(|n| format!("SUBSCRIBE\nid:{n}\ndestination:/topic/room/i\n\n\0UNSUBSCRIBE\nid:{n}\n\n\0"))
            .collect();
        member.send(&frames);
        member.subscribe("last", "/topic/room/i");
    }
    // Joins and leaves come in pairs, and the last one leaves.
    let (mut joined, mut left) = (0, 0);
    while (joined, left) != (220, 220) {
        match watcher.expect("MESSAGE") {
            frame if frame.contains("destination:/topic/joined/") => joined += 1,
            _ => left += 1,
        }
    }
    server.until_metric("stampede_sessions_open", 1);
    watcher.is_quiet();
}
