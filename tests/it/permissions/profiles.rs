//! Which profile holds, and that the node says so.

use super::connect;
use crate::support::process::{Launch, serve, until};

#[test]
fn alone_on_this_machine_it_is_springs() {
    let server = serve("");
    server.prints("permissions spring");
    server.prints("only this machine reaches this node");
    let mut ann = connect(server.address, "ann");
    let mut bob = connect(server.address, "bob");
    bob.subscribe("0", "/topic/**");
    bob.subscribe("1", "/user/ann/queue/x");
    ann.confirmed("SEND\ndestination:/topic/a/b", "1");
    let mut carl = connect(server.address, "carl");
    carl.confirmed("SEND\ndestination:/user/ann/queue/x", "2");
    bob.message("1");
    bob.message("2");
    for pattern in ["/user/*/queue/x", "/user/**"] {
        let mut mallory = connect(server.address, "mallory");
        mallory.send(&format!("SUBSCRIBE\nid:0\ndestination:{pattern}\n\n\0"));
        assert!(mallory.error(1002).contains("several users"));
    }
}

#[test]
fn in_reach_of_others_it_is_guarded() {
    let launch = Launch::new(&[]).env("STAMPEDE__LOG__FILTER", "info").env("STAMPEDE__IDENTITY__ANONYMOUS", "always");
    let server = launch.serve_at("0.0.0.0:0");
    server.prints("permissions guarded");
    server.prints("other machines reach this node");
    let told = || server.errors().contains("profile=\"guarded\"").then_some(());
    until(told, || server.errors());
}

#[test]
fn it_is_what_is_configured() {
    for profile in ["guarded", "spring"] {
        let server = serve(&format!("[permissions]\nprofile = '{profile}'\n"));
        server.prints(&format!("permissions {profile}"));
        server.prints("as configured");
    }
}

/// The page and its routes need nothing that the guarded profile closes.
#[test]
fn the_demo_runs_guarded() {
    let server = serve("[permissions]\nprofile = 'guarded'\n");
    let [mut ann, mut ben] = ["ann", "ben"].map(|name| connect(server.address, name));
    for client in [&mut ann, &mut ben] {
        client.subscribe("m", "/topic/demo/lobby/members");
        client.subscribe("c", "/topic/demo/lobby/chat");
        client.subscribe("t", "/topic/demo/lobby/text");
        client.subscribe("w", "/user/queue/whispers");
        client.send("SUBSCRIBE\nid:n\ndestination:/app/demo/node\n\n\0");
        client.expect("MESSAGE");
    }
    ann.confirmed("SEND\ndestination:/app/demo/whisper/ben", "psst");
    ben.message(r#"{"from":"ann","message":"psst"}"#);
}
