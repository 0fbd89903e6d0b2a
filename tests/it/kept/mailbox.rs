//! Mailboxes over WebSocket.

use super::{answer, bodies_until, ids, is_redelivered, numbers, receive, send, settled, subscribe, user};
use crate::support::client::header;
use crate::support::process::serve;

const KEEP: &str = "
[[destination]]
match = '/user/*/queue/few/**'
keep = { max = 3 }
[[destination]]
match = '/user/*/queue/refuse/**'
keep = { max = 3, overflow = 'refuse' }
[[destination]]
match = '/user/*/queue/octets/**'
keep = { max_bytes = '8KiB', overflow = 'refuse' }
[[destination]]
match = '/user/*/queue/soon/**'
keep = { for = '300ms' }
[[destination]]
match = '/user/*/queue/**'
keep = {}
";

const CHAT: &str = "/user/ann/queue/chat";
/// The same as its owner subscribes to it.
const OWN: &str = "/user/queue/chat";

#[test]
fn what_came_for_an_absent_user_waits_in_order() {
    let server = serve(KEEP);
    send(&server, CHAT, &["1", "2", "3"]);
    send(&server, "/user/bob/queue/chat", &["for bob"]);
    let mut ann = user(&server, "ann");
    subscribe(&mut ann, OWN, "auto");
    let messages = receive(&mut ann, &["1", "2", "3"]);
    for message in &messages {
        assert_eq!(header(message, "destination"), Some(OWN), "{message}");
        assert_eq!(header(message, "redelivered"), None, "{message}");
    }
    settled(&mut ann);
    drop(ann);
    let mut ann = user(&server, "ann");
    subscribe(&mut ann, OWN, "auto");
    ann.is_quiet();
    // Whoever subscribes with an addressee in the destination finds the same mailbox.
    let mut bob = user(&server, "anyone");
    subscribe(&mut bob, "/user/bob/queue/chat", "auto");
    receive(&mut bob, &["for bob"]);
}

#[test]
fn what_waited_comes_before_what_comes() {
    let server = serve(KEEP);
    let waited = numbers(0..100);
    let waited: Vec<&str> = waited.iter().map(String::as_str).collect();
    send(&server, CHAT, &waited);
    let mut ann = user(&server, "ann");
    subscribe(&mut ann, OWN, "auto");
    // Ann has read nothing of it when this comes, and not all of it was handed to her.
    send(&server, CHAT, &["live"]);
    assert_eq!(bodies_until(&mut ann, "live"), waited);
    settled(&mut ann);
}

#[test]
fn without_a_proof_everything_comes_again() {
    let server = serve(KEEP);
    send(&server, CHAT, &["1", "2"]);
    let mut deaf = user(&server, "ann");
    // Its pings are not answered, although it reads.
    deaf.socket.mute = true;
    subscribe(&mut deaf, OWN, "auto");
    let first = receive(&mut deaf, &["1", "2"]);
    deaf.is_quiet();
    drop(deaf);
    let mut ann = user(&server, "ann");
    subscribe(&mut ann, OWN, "auto");
    let again = receive(&mut ann, &["1", "2"]);
    assert_eq!(ids(&first), ids(&again));
    assert!(again.iter().all(|message| is_redelivered(message)), "{again:?}");
    settled(&mut ann);
    drop(ann);
    let mut ann = user(&server, "ann");
    subscribe(&mut ann, OWN, "auto");
    ann.is_quiet();
}

#[test]
fn unsubscribing_is_no_proof() {
    let server = serve(KEEP);
    send(&server, CHAT, &["1"]);
    let mut ann = user(&server, "ann");
    subscribe(&mut ann, OWN, "client");
    receive(&mut ann, &["1"]);
    ann.confirmed(&format!("UNSUBSCRIBE\nid:{OWN}"), "");
    subscribe(&mut ann, OWN, "client");
    let again = receive(&mut ann, &["1"]);
    assert!(is_redelivered(&again[0]), "{again:?}");
}

/// What is left of four messages after an ACK of the third.
#[track_caller]
fn left_after_ack(version: &str, ack: &str, left: &[&str]) {
    let server = serve(KEEP);
    send(&server, CHAT, &["1", "2", "3", "4"]);
    let connect = || {
        let headers = ["heart-beat:0,0", "login:ann"];
        let mut ann = crate::support::client::Client::connect(server.address, "/ws", version, &headers);
        subscribe(&mut ann, OWN, ack);
        ann
    };
    let mut ann = connect();
    let messages = receive(&mut ann, &["1", "2", "3", "4"]);
    match version {
        "1.2" => answer(&mut ann, "ACK", &messages[2]),
        _ => {
            let id = header(&messages[2], "message-id").unwrap();
            ann.confirmed(&format!("ACK\nmessage-id:{id}\nsubscription:{OWN}"), "");
        }
    }
    drop(ann);
    let again = receive(&mut connect(), left);
    assert!(again.iter().all(|message| is_redelivered(message)), "{again:?}");
}

#[test]
fn an_ack_is_the_proof_where_the_client_promises_one() {
    for version in ["1.2", "1.1"] {
        left_after_ack(version, "client", &["4"]);
        left_after_ack(version, "client-individual", &["1", "2", "4"]);
    }
}

#[test]
fn a_refused_message_waits_for_the_next_subscription() {
    let server = serve(KEEP);
    send(&server, CHAT, &["1"]);
    let mut ann = user(&server, "ann");
    subscribe(&mut ann, OWN, "client-individual");
    let messages = receive(&mut ann, &["1"]);
    answer(&mut ann, "NACK", &messages[0]);
    ann.is_quiet();
    let mut later = user(&server, "ann");
    subscribe(&mut later, OWN, "client-individual");
    let again = receive(&mut later, &["1"]);
    assert!(is_redelivered(&again[0]), "{again:?}");
}

#[test]
fn every_session_of_a_user_gets_what_comes_while_it_is_there() {
    let server = serve(KEEP);
    let mut sessions = [user(&server, "ann"), user(&server, "ann")];
    for session in &mut sessions {
        subscribe(session, OWN, "auto");
        session.is_quiet();
    }
    send(&server, CHAT, &["1", "2"]);
    let [first, second] = &mut sessions;
    receive(first, &["1", "2"]);
    settled(first);
    // That it was proved by one takes nothing from the other.
    receive(second, &["1", "2"]);
    settled(second);
    let mut third = user(&server, "ann");
    subscribe(&mut third, OWN, "auto");
    third.is_quiet();
}

#[test]
fn the_oldest_make_room() {
    let server = serve(KEEP);
    send(&server, "/user/ann/queue/few/a", &["1", "2", "3", "4", "5"]);
    let (_, metrics) = server.get("/metrics");
    assert!(metrics.contains("stampede_messages_dropped_total{reason=\"kept-overflow\"} 2"), "{metrics}");
    let mut ann = user(&server, "ann");
    subscribe(&mut ann, "/user/queue/few/a", "auto");
    receive(&mut ann, &["3", "4", "5"]);
    settled(&mut ann);
}

#[test]
fn or_the_sender_is_told_and_what_is_kept_stays() {
    let server = serve(KEEP);
    send(&server, "/user/ann/queue/refuse/a", &["1", "2", "3"]);
    let mut fourth = user(&server, "sender");
    fourth.send("SEND\ndestination:/user/ann/queue/refuse/a\nreceipt:7\n\n4\0");
    let error = fourth.error(1002);
    assert_eq!(header(&error, "receipt-id"), Some("7"));
    let text = header(&error, "message").unwrap();
    assert!(text.contains("keep.max") && text.contains('3'), "{text}");

    let large = "x".repeat(3 << 10);
    send(&server, "/user/ann/queue/octets/a", &[&large]);
    let mut second = user(&server, "sender");
    second.send(&format!("SEND\ndestination:/user/ann/queue/octets/a\n\n{large}{large}\0"));
    let error = second.error(1002);
    assert!(error.contains("keep.max_bytes") && error.contains("8192"), "{error}");

    let mut ann = user(&server, "ann");
    subscribe(&mut ann, "/user/queue/refuse/a", "auto");
    receive(&mut ann, &["1", "2", "3"]);
    settled(&mut ann);
    // There is room again.
    send(&server, "/user/ann/queue/refuse/a", &["5"]);
    receive(&mut ann, &["5"]);
}

#[test]
fn what_waits_too_long_is_given_up() {
    let server = serve(KEEP);
    send(&server, "/user/ann/queue/soon/a", &["late"]);
    server.until_metric("stampede_messages_dropped_total", 1);
    let (_, metrics) = server.get("/metrics");
    assert!(metrics.contains("stampede_messages_dropped_total{reason=\"kept-expired\"} 1"), "{metrics}");
    let mut ann = user(&server, "ann");
    subscribe(&mut ann, "/user/queue/soon/a", "auto");
    ann.is_quiet();
}

#[test]
fn a_transaction_is_kept_as_a_whole() {
    let server = serve(KEEP);
    let mut sender = user(&server, "sender");
    sender.send("BEGIN\ntransaction:t\n\n\0");
    for body in ["1", "2", "3"] {
        sender.send(&format!("SEND\ndestination:{CHAT}\ntransaction:t\n\n{body}\0"));
    }
    sender.confirmed("COMMIT\ntransaction:t", "");
    let mut ann = user(&server, "ann");
    subscribe(&mut ann, OWN, "auto");
    receive(&mut ann, &["1", "2", "3"]);
}
