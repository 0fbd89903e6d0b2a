//! Tokens, as front ends send them.

use super::web::{Reply, Web};
use super::{accepted, connect_frame, refused, token, with_tokens};
use crate::support::client::{Client, header};
use crate::support::process::{Launch, serve, until};

#[test]
fn a_token_in_connect_names_the_user() {
    let config = with_tokens("");
    let node = serve(&config);
    let token = token(&config, &["ann"]);
    for line in [
        format!("Authorization:Bearer {token}"),
        format!("Authorization:{token}"),
        format!("authorization:bearer {token}"),
    ] {
        // What fills the form besides names nobody.
        accepted(&node, &[&line, "login:ben", "passcode:x"], Some("ann"));
    }
    refused(&node, &[], "nothing that proves who you are");
    refused(&node, &["login:ann"], "nothing that proves who you are");
    refused(&node, &[&format!("passcode:{token}")], "nothing that proves who you are");
    refused(&node, &[&format!("Authorization:Bearer {token}x")], "the token is not accepted");
    let other = super::token("[identity.jwt]\nsecret = 'another secret, as long as the first'\n", &["ann"]);
    refused(&node, &[&format!("Authorization:Bearer {other}")], "the token is not accepted");
    node.is_well();
}

#[test]
fn a_token_may_stand_in_the_handshake() {
    let config = with_tokens("cookie = 'sid'\nquery_parameter = 'access_token'");
    let node = serve(&config);
    let token = token(&config, &["ann"]);
    let open = |path: &str, headers: &[(&str, &str)]| {
        let mut client = Client::open_with(node.address, path, headers);
        client.send(&connect_frame(&[]));
        client.expect("CONNECTED")
    };
    let (bearer, cookie) = (format!("Bearer {token}"), format!("a=b; sid={token}"));
    for (path, headers) in [
        ("/ws", &[("Authorization", &*bearer)][..]),
        ("/ws", &[("Cookie", &*cookie)]),
        (&*format!("/ws?access_token={token}"), &[]),
    ] {
        assert_eq!(header(&open(path, headers), "user-name"), Some("ann"), "{path} {headers:?}");
    }
}

#[test]
fn keys_from_a_file_change_with_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("keys.json");
    let write = |text: String| {
        // At once, as a careful operator does: half a file is no set.
        let new = directory.path().join("new.json");
        std::fs::write(&new, text).unwrap();
        std::fs::rename(&new, &path).unwrap();
    };
    write(super::services::key_set("one"));
    // The default `jwks_refresh` is minutes: what is seen earlier was seen because it changed.
    let node = serve(&format!("[identity.jwt]\njwks_file = '{}'\n", path.display()));
    let (one, two) = (super::services::signed("one"), super::services::signed("two"));
    let sets = |outcome: &str| {
        let name = format!("stampede_key_sets_total{{reason=\"{outcome}\"}} ");
        let metrics = node.get("/metrics").1;
        metrics.lines().find_map(|line| line.strip_prefix(&name)).map_or(0, |value| value.parse::<u64>().unwrap())
    };
    let counted = |outcome: &str, before: u64| {
        until(|| (sets(outcome) > before).then_some(()), || format!("{outcome}: {}", sets(outcome)));
    };
    counted("read", 0);
    accepted(&node, &[&format!("Authorization:{one}")], Some("ann"));
    refused(&node, &[&format!("Authorization:{two}")], "the token is not accepted");
    let before = sets("read");
    write(super::services::key_set("two"));
    counted("read", before);
    accepted(&node, &[&format!("Authorization:{two}")], Some("ann"));
    refused(&node, &[&format!("Authorization:{one}")], "the token is not accepted");
    // An operator who asks has it read also where nothing changed.
    let before = sets("read");
    node.signal("HUP");
    counted("read", before);
    // What cannot be read changes nothing, and is told once.
    write("{".into());
    counted("failed", 0);
    node.signal("HUP");
    counted("failed", 1);
    accepted(&node, &[&format!("Authorization:{two}")], Some("ann"));
    let before = sets("read");
    write(super::services::key_set("one"));
    counted("read", before);
    accepted(&node, &[&format!("Authorization:{one}")], Some("ann"));
    assert_eq!(sets("failed"), 2);
    node.is_well();
}

#[test]
fn keys_from_a_url_are_fetched_when_a_token_names_one_that_is_not_known() {
    let web = Web::start(Reply::With(503, String::new()));
    let config = format!("[identity.jwt]\njwks_url = '{}'\njwks_refresh = '1s'\n", web.url("/keys"));
    let node = serve(&config);
    let (one, two) = (super::services::signed("one"), super::services::signed("two"));
    refused(&node, &[&format!("Authorization:{one}")], "cannot be found out now");
    web.answer(Reply::With(200, super::services::key_set("one")));
    until(|| is_accepted(&node, one).then_some(()), || "the key was not fetched".into());
    refused(&node, &[&format!("Authorization:{two}")], "the token is not accepted");
    web.answer(Reply::With(200, super::services::key_set("two")));
    until(|| is_accepted(&node, two).then_some(()), || "the new key was not fetched".into());
    for broken in
        [Reply::With(200, "x".repeat(300_000)), Reply::With(500, String::new()), Reply::Raw(b"garbage\r\n\r\n".into())]
    {
        let failed = node.metric("stampede_key_sets_total");
        web.answer(broken);
        until(|| (node.metric("stampede_key_sets_total") > failed + 1).then_some(()), || "not asked again".into());
        accepted(&node, &[&format!("Authorization:{two}")], Some("ann"));
    }
}

fn is_accepted(node: &crate::support::process::Process, token: &str) -> bool {
    let mut client = Client::open(node.address, "/ws");
    client.send(&connect_frame(&[&format!("Authorization:{token}")]));
    client.next().starts_with("CONNECTED")
}

#[test]
fn a_token_is_made_only_where_there_is_a_secret() {
    let ended = Launch::new(&["token", "--user", "ann"]).config("").run();
    assert_eq!(ended.code, Some(1));
    assert!(ended.errors.contains("[identity.jwt]"), "{}", ended.errors);
}
