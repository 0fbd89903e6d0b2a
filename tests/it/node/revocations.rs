//! Users and tokens that an operator revokes.

use crate::support::client::Client;
use crate::support::process::{Launch, Process, serve};

const TOKEN: &str = "0123456789abcdef";
const CONFIG: &str = "[api]\ntoken = '0123456789abcdef'\n";

fn connect(node: &Process, user: &str) -> Client {
    Client::connect(node.address, "/ws", "1.2", &[&format!("login:{user}")])
}

fn is_refused(node: &Process, user: &str) {
    let mut client = Client::open(node.address, "/ws");
    client.send(&format!("CONNECT\naccept-version:1.2\nhost:localhost\nlogin:{user}\n\n\0"));
    assert!(client.error(1002).contains("revoked"));
}

#[test]
fn a_revoked_user_is_out_at_once_and_others_are_not_disturbed() {
    let node = serve(CONFIG);
    let (mut ann, mut twice, mut ben) = (connect(&node, "ann"), connect(&node, "ann"), connect(&node, "ben"));
    let (status, answer) = node.revocations("POST", TOKEN, r#"{"user": "ann", "for": "1h"}"#);
    assert_eq!(status, 200, "{answer}");
    assert!(answer.contains(r#""ended":2"#), "{answer}");
    for client in [&mut ann, &mut twice] {
        assert!(client.error(1002).contains("the user or the token was revoked"));
    }
    is_refused(&node, "ann");
    ben.subscribe("0", "/topic/still-here");
    assert!(node.revocations("GET", TOKEN, "").1.contains(r#"{"user":"ann","at":"#));
    assert!(node.get("/metrics").1.contains("stampede_sessions_closed_total{reason=\"revoked\"} 2"));
    assert_eq!(node.revocations("DELETE", TOKEN, r#"{"user": "ann"}"#).0, 200);
    connect(&node, "ann").subscribe("0", "/topic/back");
    assert!(node.revocations("GET", TOKEN, "").1.ends_with("[]\n"));
    node.is_well();
}

#[test]
fn it_lasts_longer_than_the_process_where_there_is_a_directory() {
    let directory = tempfile::tempdir().unwrap();
    let launch =
        || Launch::new(&[]).config(CONFIG).env("STAMPEDE__SERVER__DATA_DIR", directory.path().to_str().unwrap());
    let node = launch().serve();
    assert_eq!(node.revocations("POST", TOKEN, r#"{"user": "ann"}"#).0, 200);
    // As a machine that fails ends it.
    node.signal("KILL");
    drop(node);
    let node = launch().serve();
    is_refused(&node, "ann");
    connect(&node, "ben").subscribe("0", "/topic/t");
}

#[test]
fn only_who_knows_the_token_may_ask() {
    let node = serve(CONFIG);
    for (method, body) in [("GET", ""), ("POST", r#"{"user": "ann"}"#), ("DELETE", r#"{"user": "ann"}"#)] {
        for token in ["", "0123456789abcde", "0123456789abcdeF", "0123456789abcdef0"] {
            assert_eq!(node.revocations(method, token, body).0, 401, "{method} {token:?}");
        }
    }
    connect(&node, "ann").subscribe("0", "/topic/t");
    assert_eq!(serve("").revocations("GET", TOKEN, "").0, 404, "without a token in the configuration there is none");
}

#[test]
fn what_cannot_be_understood_is_refused_with_the_reason() {
    let node = serve(CONFIG);
    for (body, status, reason) in [
        ("", 400, "EOF"),
        ("{}", 400, "either"),
        (r#"{"user": "a", "token": "b"}"#, 400, "either"),
        (r#"{"user": ""}"#, 400, "0 octets"),
        (r#"{"user": "ann", "for": "soon"}"#, 400, "expected number"),
        (r#"{"name": "ann"}"#, 400, "unknown field"),
        (&format!(r#"{{"user": "{}"}}"#, "x".repeat(1025)), 400, "1025 octets"),
        (&"x".repeat(5000), 413, "4096"),
    ] {
        let (found, answer) = node.revocations("POST", TOKEN, body);
        assert!(found == status && answer.contains(reason), "{body:.40}: {found} {answer}");
    }
    assert_eq!(node.revocations("PUT", TOKEN, "").0, 405);
    node.is_well();
}

#[test]
fn a_token_that_can_be_guessed_is_refused_before_anything_listens() {
    let ended = Launch::new(&[]).config("[api]\ntoken = 'secret-word'\n").run();
    assert_eq!(ended.code, Some(1));
    assert!(ended.errors.contains("api: token: has 11 octets"), "{}", ended.errors);
    assert!(!ended.errors.contains("secret-word"), "{}", ended.errors);
}
