//! Many at once, and then none.

use std::process::Command;

use super::{Bystanders, client};
use crate::support::client::Client;
use crate::support::process::{Process, serve};

#[test]
fn two_thousand_idle_connections_leave_nothing_behind() {
    const MANY: usize = 2000;
    // Many systems let a process open 1024 files unless it asks for more.
    let own = std::process::id().to_string();
    let raised = Command::new("prlimit").args(["--pid", &own, "--nofile=8192:"]).status().unwrap();
    assert!(raised.success(), "the limit of open files cannot be raised");
    let server = serve("");
    let mut bystanders = Bystanders::new(&server);
    let mut round = |from: usize| {
        let mut idle: Vec<Client> = (0..MANY)
            .map(|n| {
                let mut client = Client::open(server.address, "/ws");
                client.send(&format!(
                    "CONNECT\naccept-version:1.2\nhost:a\nlogin:u{n}\nheart-beat:0,0\n\n\0\
                     SUBSCRIBE\nid:0\ndestination:/topic/idle/{n}\n\n\0\
                     SUBSCRIBE\nid:1\ndestination:/user/queue/idle\nreceipt:{from}\n\n\0"
                ));
                client
            })
            .collect();
        for client in &mut idle {
            client.expect("CONNECTED");
            client.expect("RECEIPT");
        }
        assert_eq!(server.metric("stampede_sessions_open"), MANY as u64 + 2);
        assert_eq!(server.metric("stampede_subscriptions_open"), 2 * MANY as u64 + 1);
        assert!(server.metric("stampede_connections_open") >= MANY as u64 + 2);
        drop(idle);
        server.until_metric("stampede_sessions_open", 2);
        assert_eq!(server.metric("stampede_subscriptions_open"), 1);
        bystanders.are_undisturbed();
        server.resident_bytes()
    };
    let first = round(0);
    let second = round(1);
    // The second round lives in the memory that the first has given back, give or take what the allocator holds: two
    // thousand sessions that stayed would be 4 KiB each and more.
    assert!(second < first + MANY * 3 * 1024, "grew from {first} to {second}");
    drop(bystanders);
    // What is left is the connection that asks.
    server.until_metric("stampede_connections_open", 1);
}

#[test]
fn a_storm_of_subscriptions_leaves_none() {
    let server = serve("[[destination]]\nmatch = '/queue/kept/**'\nkeep = {}\n");
    let mut bystanders = Bystanders::new(&server);
    let mut storm = Client::connect(server.address, "/ws", "1.2", &["heart-beat:0,0", "login:storm"]);
    let destinations =
        |n: usize| [format!("/topic/{n}"), format!("/topic/{n}/*"), format!("/queue/kept/{n}"), "/user/queue/x".into()];
    for start in (0..4000).step_by(100) {
        let mut frames = String::new();
        for n in start..start + 100 {
            let destination = &destinations(n / 4)[n % 4];
            frames += &format!("SUBSCRIBE\nid:{n}\ndestination:{destination}\n\n\0");
            frames += &format!("SEND\ndestination:/topic/{n}/x\n\nhello\0");
            frames += &format!("UNSUBSCRIBE\nid:{n}\n\n\0");
        }
        storm.send(&frames);
        bystanders.are_undisturbed();
    }
    // What was delivered between SUBSCRIBE and UNSUBSCRIBE may have come; then nothing more does.
    storm.send("SEND\ndestination:/topic/none\nreceipt:over\n\n\0");
    while storm.next().starts_with("MESSAGE") {}
    assert_eq!(server.metric("stampede_subscriptions_open"), 1, "the bystander's");
    storm.is_quiet();
    // Whoever leaves in the middle leaves nothing either.
    let frames: String = (0..900).map(|n| format!("SUBSCRIBE\nid:{n}\ndestination:/topic/s/{n}\n\n\0")).collect();
    storm.send(&frames);
    storm.is_quiet();
    assert_eq!(server.metric("stampede_subscriptions_open"), 901);
    drop(storm);
    drop(bystanders);
    server.until_metric("stampede_subscriptions_open", 0);
    server.is_well();
}

/// A subscription that must be refused, and why.
#[track_caller]
fn refused(server: &Process, destination: &str, why: &str) {
    let mut bomber = client(server);
    bomber.send(&format!("SUBSCRIBE\nid:0\ndestination:{destination}\n\n\0"));
    let error = bomber.error(1002);
    assert!(error.contains(why), "{error}");
}

#[test]
fn patterns_that_would_be_dear_are_refused() {
    let server = serve("");
    let mut bystanders = Bystanders::new(&server);
    refused(&server, &format!("/topic{}", "/*".repeat(40)), "segments");
    refused(&server, &format!("/topic/{}", "*a".repeat(65)), "wildcards");
    refused(&server, "/topic/{x:(a+)+b}", "regular expressions");
    bystanders.are_undisturbed();
}

#[test]
fn patterns_at_the_limit_are_cheap_to_match() {
    let server = serve("");
    let mut bystanders = Bystanders::new(&server);
    let mut bomber = client(&server);
    for n in 0..200 {
        let pattern = match n % 3 {
            0 => format!("/topic{}/end{n}", "/**/a".repeat(14)),
            1 => format!("/topic/{}/end{n}", "*a".repeat(60)),
            _ => format!("/topic/**/{}/**/end{n}", "?*".repeat(30)),
        };
        bomber.send(&format!("SUBSCRIBE\nid:{n}\ndestination:{pattern}\n\n\0"));
    }
    bomber.is_quiet();
    // What fits all of them almost to the end.
    for destination in [format!("/topic{}", "/a".repeat(400)), format!("/topic/{}", "a".repeat(900))] {
        for _ in 0..20 {
            bomber.confirmed(&format!("SEND\ndestination:{destination}"), "");
        }
    }
    bystanders.are_undisturbed();
}
