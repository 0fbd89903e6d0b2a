//! What a refused frame does to its session, its receipt and its transaction.

use super::{GUARDED, Place};
use crate::support::client::{Client, header};

const OPEN: &str = "close = false\n";

fn open() -> String {
    GUARDED.replace("profile = 'guarded'\n", &format!("profile = 'guarded'\n{OPEN}"))
}

fn reader(place: &Place) -> Client {
    let mut reader = place.far("reader");
    for (number, destination) in ["/topic/news", "/topic/room/1", "/topic/audits"].iter().enumerate() {
        reader.subscribe(&number.to_string(), destination);
    }
    reader
}

#[test]
fn a_refused_frame_ends_its_session_and_no_other() {
    for place in Place::both(GUARDED) {
        let mut reader = reader(&place);
        let mut same_user = place.near("mallory");
        let mut mallory = place.near("mallory");
        mallory.send("SEND\ndestination:/topic/news\n\nx\0SEND\ndestination:/topic/room/1\n\nnever\0");
        let error = mallory.error(1002);
        assert_eq!(header(&error, "receipt-id"), None, "{error}");
        reader.is_quiet();
        same_user.is_quiet();
        let metrics = place.metrics();
        let line = "stampede_frames_forbidden_total{verb=\"send\",by=\"profile\"} 1\n";
        assert!(metrics.contains(line), "{metrics}");
    }
}

#[test]
fn a_transaction_with_a_forbidden_part_has_no_effect() {
    for place in Place::both(GUARDED) {
        let mut reader = reader(&place);
        let mut mallory = place.near("mallory");
        mallory.confirmed("BEGIN\ntransaction:t", "");
        for destination in ["/topic/room/1", "/app/news", "/topic/audit"] {
            mallory.send(&format!("SEND\ndestination:{destination}\ntransaction:t\nreceipt:s\n\nx\0"));
        }
        mallory.send("COMMIT\ntransaction:t\nreceipt:c\n\n\0");
        let error = mallory.error(1002);
        assert_eq!(header(&error, "receipt-id"), Some("c"));
        assert!(error.contains("audit is closed"), "{error}");
        reader.is_quiet();
    }
}

#[test]
fn with_close_off_a_refused_send_has_no_effect_and_no_receipt() {
    for place in Place::both(&open()) {
        let mut reader = reader(&place);
        let mut mallory = place.near("mallory");
        for head in ["", "receipt:never\n"] {
            mallory.send(&format!("SEND\ndestination:/topic/news\n{head}\nx\0"));
            mallory.send(&format!("SEND\ndestination:/app/say/ann/bob\n{head}\nx\0"));
        }
        mallory.confirmed("SEND\ndestination:/topic/room/1", "still here");
        reader.message("still here");
        reader.is_quiet();
        let metrics = place.metrics();
        assert!(metrics.contains("stampede_frames_dropped_total{reason=\"forbidden\"} 4\n"), "{metrics}");
    }
}

#[test]
fn with_close_off_a_refused_subscribe_leaves_its_id_free() {
    for place in Place::both(&open()) {
        let mut mallory = place.near("mallory");
        mallory.send("SUBSCRIBE\nid:0\ndestination:/user/bob/queue/private\nack:client\nreceipt:never\n\n\0");
        mallory.send("SUBSCRIBE\nid:0\ndestination:/topic/audit\n\n\0");
        mallory.subscribe("0", "/topic/room/1");
        mallory.confirmed("UNSUBSCRIBE\nid:0", "");
        mallory.subscribe("0", "/topic/room/2");
        let mut sender = place.near("sender");
        for room in ["1", "2"] {
            sender.confirmed(&format!("SEND\ndestination:/topic/room/{room}"), room);
        }
        mallory.message("2");
        mallory.is_quiet();
        let metrics = place.metrics();
        assert!(metrics.contains("stampede_frames_forbidden_total{verb=\"subscribe\",by=\"rule\"} 1\n"), "{metrics}");
        assert!(
            metrics.contains("stampede_frames_forbidden_total{verb=\"subscribe\",by=\"profile\"} 1\n"),
            "{metrics}"
        );
    }
}

#[test]
fn with_close_off_a_transaction_with_a_forbidden_part_is_dropped_whole() {
    for place in Place::both(&open()) {
        let mut reader = reader(&place);
        let mut mallory = place.near("mallory");
        mallory.confirmed("BEGIN\ntransaction:t", "");
        mallory.send("SEND\ndestination:/topic/room/1\ntransaction:t\nreceipt:s\n\nx\0");
        mallory.send("SEND\ndestination:/topic/audit\ntransaction:t\n\nx\0");
        mallory.send("COMMIT\ntransaction:t\nreceipt:c\n\n\0");
        mallory.is_quiet();
        reader.is_quiet();
    }
}

/// What is wrong without being forbidden still ends the session.
#[test]
fn with_close_off_other_mistakes_are_told() {
    let place = &Place::both(&open())[0];
    let mut client = place.near("ann");
    client.send("SEND\ndestination:/nowhere\nreceipt:r\n\n\0");
    assert!(client.error(1002).contains("no such destination"));
}
