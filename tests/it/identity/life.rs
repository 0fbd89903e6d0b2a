//! The life of a token: it ends its session, unless another takes its place.

use super::{accepted, refused, token, with_tokens};
use crate::support::client::Client;
use crate::support::process::serve;

const RENEW: &str = "[identity]\nrenew_destination = '/app/token'\n";

fn authorization(token: &str) -> String {
    format!("Authorization:Bearer {token}")
}

fn renew(client: &mut Client, token: &str) {
    client.send(&format!("SEND\ndestination:/app/token\nreceipt:renewed\n{}\n\n\0", authorization(token)));
}

#[test]
fn a_session_ends_with_its_token() {
    let config = with_tokens("leeway = '0s'");
    let node = serve(&config);
    let short = token(&config, &["ann", "--expires", "2s"]);
    let long = token(&config, &["ben", "--expires", "1h"]);
    let mut ben = accepted(&node, &[&authorization(&long)], Some("ben"));
    let mut ann = accepted(&node, &[&authorization(&short)], Some("ann"));
    ann.subscribe("0", "/topic/t");
    assert!(ann.error(1002).contains("the token has expired"));
    refused(&node, &[&authorization(&short)], "the token has expired");
    ben.subscribe("0", "/topic/t");
    assert!(node.get("/metrics").1.contains("stampede_sessions_closed_total{reason=\"expired\"} 1"));
}

#[test]
fn a_send_renews_it_in_place() {
    let config = format!("{RENEW}{}", with_tokens("leeway = '0s'"));
    let node = serve(&config);
    let short = token(&config, &["ann", "--expires", "3s"]);
    let mut ann = accepted(&node, &[&authorization(&short)], Some("ann"));
    ann.subscribe("0", "/user/queue/x");
    renew(&mut ann, &token(&config, &["ann", "--expires", "1h"]));
    ann.expect("RECEIPT");
    // The old end passes: whoever connects with that token now is refused, and the session lives.
    let mut other = accepted(&node, &[&authorization(&token(&config, &["ben", "--expires", "3s"]))], Some("ben"));
    assert!(other.error(1002).contains("expired"));
    refused(&node, &[&authorization(&short)], "the token has expired");
    ann.is_quiet();
}

#[test]
fn frames_behind_a_renewal_wait_for_it_in_their_order() {
    let config = format!("{RENEW}{}", with_tokens(""));
    let node = serve(&config);
    let first = token(&config, &["ann"]);
    let mut ann = accepted(&node, &[&authorization(&first)], Some("ann"));
    ann.subscribe("0", "/topic/order");
    let renewal = format!("SEND\ndestination:/app/token\nreceipt:r\n{}\n\n\0", authorization(&first));
    let sends: String = (0..50).map(|n| format!("SEND\ndestination:/topic/order\n\n{n}\0{renewal}")).collect();
    ann.send(&sends);
    for number in 0..50 {
        ann.message(&number.to_string());
        ann.expect("RECEIPT");
    }
}

#[test]
fn a_renewal_changes_no_user_and_takes_no_bad_token() {
    let config = format!("{RENEW}{}", with_tokens(""));
    let node = serve(&config);
    let good = token(&config, &["ann"]);
    for (bad, told) in [
        (token(&config, &["ben"]), "another user"),
        (format!("{good}x"), "not accepted"),
        (String::new(), "nothing that proves"),
    ] {
        let mut ann = accepted(&node, &[&authorization(&good)], Some("ann"));
        renew(&mut ann, &bad);
        let error = ann.error(1002);
        assert!(error.contains(told) && error.contains("receipt-id:renewed"), "{error:?}");
    }
    let mut ann = accepted(&node, &[&authorization(&good)], Some("ann"));
    ann.send("BEGIN\ntransaction:t\n\n\0SEND\ndestination:/app/token\ntransaction:t\n\n\0COMMIT\ntransaction:t\nreceipt:1\n\n\0");
    assert!(ann.error(1002).contains("no such destination"));
}

#[test]
fn a_revoked_token_ends_its_session_and_no_other_of_the_user() {
    let config = format!("[api]\ntoken = '0123456789abcdef'\n{RENEW}{}", with_tokens(""));
    let node = serve(&config);
    let stolen = token(&config, &["ann", "--claim", "jti=stolen"]);
    let other = token(&config, &["ann", "--claim", "jti=other"]);
    let mut thief = accepted(&node, &[&authorization(&stolen)], Some("ann"));
    let mut ann = accepted(&node, &[&authorization(&other)], Some("ann"));
    let (status, answer) = node.revocations("POST", "0123456789abcdef", r#"{"token": "stolen"}"#);
    assert!(status == 200 && answer.contains("\"ended\":1"), "{answer}");
    assert!(thief.error(1002).contains("revoked"));
    refused(&node, &[&authorization(&stolen)], "revoked");
    ann.is_quiet();
    // Nor does it come in by the other door.
    renew(&mut ann, &stolen);
    assert!(ann.error(1002).contains("revoked"));
}

#[test]
fn a_revoked_user_comes_back_with_a_token_that_was_issued_later() {
    let config = format!("[api]\ntoken = '0123456789abcdef'\n{}", with_tokens(""));
    let node = serve(&config);
    let before = token(&config, &["ann", "--claim", "iat=1"]);
    let mut ann = accepted(&node, &[&authorization(&before)], Some("ann"));
    assert_eq!(node.revocations("POST", "0123456789abcdef", r#"{"user": "ann"}"#).0, 200);
    assert!(ann.error(1002).contains("revoked"));
    refused(&node, &[&authorization(&before)], "revoked");
    let after = crate::support::process::until(
        || {
            // Times of tokens are whole seconds.
            let token = token(&config, &["ann"]);
            let mut client = Client::open(node.address, "/ws");
            client.send(&super::connect_frame(&[&authorization(&token)]));
            client.next().starts_with("CONNECTED").then_some(token)
        },
        || "a new token is refused".into(),
    );
    accepted(&node, &[&authorization(&after)], Some("ann"));
}
