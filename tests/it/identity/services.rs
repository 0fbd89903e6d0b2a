//! A service that is asked who somebody is; keys as a login service publishes them.

use super::web::{Reply, Web};
use super::{accepted, refused};
use crate::support::process::{Process, serve, until};

/// Made for these tests with `openssl`, with the sets that publish their public halves.
const KEYS: [(&str, &str); 2] = [("one", include_str!("keys/one.json")), ("two", include_str!("keys/two.json"))];

/// The set that a login service publishes.
pub(super) fn key_set(name: &str) -> String {
    KEYS.iter().find(|(found, _)| *found == name).unwrap().1.to_owned()
}

/// A token of that service for `ann`, good until the year 2100.
pub(super) fn signed(name: &str) -> &'static str {
    match name {
        "one" => include_str!("keys/one.token").trim(),
        _ => include_str!("keys/two.token").trim(),
    }
}

fn start(web: &Web) -> Process {
    let url = web.url("/who");
    serve(&format!("[identity.callback]\nurl = '{url}'\ntimeout = '500ms'\nauthorization = 'Bearer of-the-node'\n"))
}

#[test]
fn the_service_says_who_somebody_is() {
    let web = Web::start(Reply::With(200, r#"{"user": "ann", "claims": {"role": "editor"}}"#.into()));
    let node = start(&web);
    accepted(&node, &["login:whoever", "passcode:secret", "x-tenant:7"], Some("ann"));
    let asked = &web.asked()[0];
    assert!(
        asked.head.starts_with("POST /who ") && asked.head.contains("authorization: Bearer of-the-node"),
        "{asked:?}"
    );
    for part in [
        r#""login":"whoever""#,
        r#""passcode":"secret""#,
        r#""x-tenant":"7""#,
        r#""path":"/ws""#,
        r#""peer":"127.0.0.1""#,
    ] {
        assert!(asked.body.contains(part), "{part} is not in {}", asked.body);
    }
    web.answer(Reply::With(200, "{}".into()));
    refused(&node, &[], "who you are is not accepted");
    for status in [401, 403] {
        web.answer(Reply::With(status, String::new()));
        refused(&node, &["login:ann"], "who you are is not accepted");
    }
}

#[test]
fn whoever_the_service_does_not_answer_for_is_refused() {
    let web = Web::start(Reply::Silence);
    let node = start(&web);
    refused(&node, &["login:ann"], "cannot be found out now");
    for reply in [
        Reply::With(500, String::new()),
        Reply::With(302, String::new()),
        Reply::With(200, String::new()),
        Reply::With(200, "ann".into()),
        Reply::With(200, r#"{"user": 7}"#.into()),
        Reply::With(200, r#"{"user": "ann", "expire": 1}"#.into()),
        Reply::With(200, format!(r#"{{"user": "{}"}}"#, "x".repeat(70_000))),
        Reply::Raw(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"user\":".into()),
        Reply::Raw(b"\0\0\0\0\r\n\r\n".into()),
    ] {
        web.answer(reply.clone());
        refused(&node, &["login:ann"], "cannot be found out now");
    }
    web.answer(Reply::With(200, r#"{"user": "ann"}"#.into()));
    accepted(&node, &["login:ann"], Some("ann"));
    node.is_well();
}

#[test]
fn the_service_says_what_somebody_may() {
    let rules = r#"[{"match": "/topic/prices/**", "send": "allow"}, {"match": "/topic/board", "subscribe": "deny"}]"#;
    let web = Web::start(Reply::With(200, format!(r#"{{"user": "bot", "permissions": {rules}}}"#)));
    let node = start(&web);
    let mut bot = accepted(&node, &[], Some("bot"));
    bot.subscribe("0", "/topic/prices/a");
    bot.send("SEND\ndestination:/topic/prices/a\n\n1\0");
    bot.message("1");
    bot.send("SUBSCRIBE\nid:1\ndestination:/topic/board\n\n\0");
    assert!(bot.error(1002).contains("a rule of this user"));
    web.answer(Reply::With(200, r#"{"user": "ann"}"#.into()));
    let mut ann = accepted(&node, &[], Some("ann"));
    ann.subscribe("0", "/topic/board");
    ann.send("SEND\ndestination:/topic/prices/a\n\n1\0");
    assert!(ann.error(1002).contains("profile guarded"));
    web.answer(Reply::With(200, r#"{"user": "ann", "permissions": [{"match": "/topic/{"}]}"#.into()));
    refused(&node, &[], "cannot be found out now");
}

#[test]
fn a_session_ends_when_the_service_said_it_would() {
    let web = Web::start(Reply::With(200, r#"{"user": "ann", "expires": 1}"#.into()));
    let node = start(&web);
    let mut ann = accepted(&node, &[], Some("ann"));
    assert!(ann.error(1002).contains("the token has expired"));
    until(|| (node.metric("stampede_sessions_open") == 0).then_some(()), || "it is still counted".into());
}
