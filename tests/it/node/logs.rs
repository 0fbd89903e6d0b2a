//! Logs: a form that machines read, and nothing in them that is nobody's business.

use crate::support::client::Client;
use crate::support::process::Launch;

const SECRET: &str = "correct-horse";
const BODY: &str = "battery-staple";

/// A little of everything, with secrets wherever a client may put them; what was logged meanwhile.
fn logged(format: &str) -> String {
    let server = Launch::new(&[])
        .config("[[route]]\non = '/app/say/{who}'\nto = '/topic/said'\njson = { said = '{body}' }\n")
        .env("STAMPEDE__LOG__FORMAT", format)
        .env("STAMPEDE__LOG__FILTER", "trace")
        .serve();
    let passcode = format!("passcode:{SECRET}");
    let authorization = format!("Authorization:Bearer {SECRET}");
    let mut client =
        Client::connect(server.address, "/ws", "1.2", &["heart-beat:0,0", "login:ann", &passcode, &authorization]);
    client.subscribe("0", "/topic/said");
    client.send(&format!("SEND\ndestination:/app/say/ann\n\n{BODY}\0"));
    client.expect("MESSAGE");
    client.send(&format!("SEND\ndestination:/nowhere\n{authorization}\n\n{BODY}\0"));
    client.send(&format!("SEND\ndestination:/nowhere\nreceipt:1\n{passcode}\n\n{BODY}\0"));
    client.error(1002);
    // Before anybody is known, and broken on top of it.
    let mut broken = Client::open(server.address, "/ws");
    broken.send(&format!("CONNECT\naccept-version:9\n{passcode}\n\n\0"));
    broken.error(1002);
    for greeting in [format!("CONNECT\npasscode {SECRET}\n\n\0"), format!("{SECRET}\n\n\0")] {
        let mut broken = Client::open(server.address, "/ws");
        broken.send(&greeting);
        broken.error(1002);
    }
    for frame in
        [format!("SEND\n{authorization}\\q\n\n\0"), format!("SEND\ncontent-length:1\ndestination:/topic/a\n\n{BODY}\0")]
    {
        let mut broken = Client::connect(server.address, "/ws", "1.2", &["heart-beat:0,0"]);
        broken.send(&frame);
        broken.error(1002);
    }
    server.signal("TERM");
    let (status, errors) = server.ended();
    assert_eq!(status.code(), Some(0), "{errors}");
    errors
}

#[test]
fn json_lines_are_json_and_keep_secrets() {
    let log = logged("json");
    let mut messages = Vec::new();
    for line in log.lines() {
        let value: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        for key in ["timestamp", "level", "target", "message"] {
            assert!(value[key].is_string(), "no {key}: {line}");
        }
        messages.push(value["message"].as_str().unwrap().to_owned());
    }
    for message in ["listening", "session opened", "session ended", "draining", "stopped"] {
        assert!(messages.iter().any(|found| found == message), "{message:?} is not logged:\n{log}");
    }
    keeps_secrets(&log);
}

#[test]
fn text_keeps_secrets_too() {
    let log = logged("text");
    assert!(log.contains("session opened") && !log.contains('\u{1b}'), "{log}");
    keeps_secrets(&log);
}

#[track_caller]
fn keeps_secrets(log: &str) {
    for secret in [SECRET, BODY] {
        let leak = log.lines().find(|line| line.contains(secret));
        assert!(leak.is_none(), "{leak:?}");
    }
}
