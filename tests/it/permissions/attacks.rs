//! Reading what is another's, and speaking in another's name.

use super::{GUARDED, Place};
use crate::support::client::{Client, header};

/// SUBSCRIBEs of mallory that must be refused, with a part of the ERROR.
const EAVESDROPS: [(&str, &str); 21] = [
    ("/user/bob/queue/private", "only the user itself"),
    ("/user/bob/queue/*", "only the user itself"),
    ("/user/bob/**", "only the user itself"),
    ("/user/*/queue/private", "several users"),
    ("/user/{who}/queue/private", "several users"),
    ("/user/b?b/queue/private", "several users"),
    ("/user/bo*/queue/private", "several users"),
    ("/user/**", "several users"),
    ("/user/**/private", "several users"),
    ("/user/mallory%2F..%2Fbob/queue/private", "only the user itself"),
    ("/user/bob%2Fqueue/private", "only the user itself"),
    ("/user/bob\\n/queue/private", "only the user itself"),
    ("/user/b\u{43e}b/queue/private", "only the user itself"),
    ("/topic/**", "audit is closed"),
    ("/queue/**", "patterns with **"),
    ("/topic/audit", "audit is closed"),
    ("/topic//audit", "audit is closed"),
    ("/topic/audit/", "audit is closed"),
    ("/topic/aud*", "audit is closed"),
    ("/topic/of/bob/x", "/topic/of/**"),
    ("/topic/of/{user}/x", "/topic/of/**"),
];

/// SUBSCRIBEs that are allowed, or reach nothing, and read nothing of bob.
const HARMLESS: [&str; 9] = [
    "/user/queue/private",
    "/user/mallory/queue/private",
    "/user/mallory/../bob/queue/private",
    "/user//bob/queue/private",
    "/user/queue/../../bob/queue/private",
    "/queue/private-userbob",
    "/queue/private-user*",
    "/topic/of/mallory/**",
    "/topic/user/bob/queue/private",
];

/// SENDs of mallory that must be refused.
const FORGERIES: [(&str, &str); 18] = [
    ("/user/bob/queue/private", "clients send to users through routes"),
    ("/user/bob//queue/private", "clients send to users through routes"),
    ("/user/bob%2F/queue/private", "clients send to users through routes"),
    ("/user/mallory/queue/private", "clients send to users through routes"),
    ("/topic/news", "clients send to broker destinations through routes"),
    ("/topic//news", "clients send to broker destinations through routes"),
    ("/topic/news/", "clients send to broker destinations through routes"),
    ("/topic/../topic/news", "clients send to broker destinations through routes"),
    ("/topic/n%65ws", "clients send to broker destinations through routes"),
    ("/topic/news\\n", "clients send to broker destinations through routes"),
    ("/topic/n\u{435}ws", "clients send to broker destinations through routes"),
    ("/topic/*", "clients send to broker destinations through routes"),
    ("/topic/audit", "audit is closed"),
    ("/topic/audit//", "audit is closed"),
    ("/topic/of/bob/x", "/topic/of/**"),
    ("/topic/room/3", "clients send to broker destinations through routes"),
    ("/topic/room/*", "clients send to broker destinations through routes"),
    ("/app/say/ann/bob", "not allowed to use /app/say/ann/bob: it needs from == user"),
];

fn refused(mut attacker: Client, frame: &str, reason: &str) {
    attacker.send(frame);
    let error = attacker.error(1002);
    let message = header(&error, "message").unwrap();
    assert!(message.replace("\\c", ":").contains(reason), "{frame:?}: {message}");
    assert_eq!(header(&error, "receipt-id"), Some("r"), "{frame:?}: {error}");
}

#[test]
fn nobody_reads_or_speaks_for_another() {
    for place in Place::both(GUARDED) {
        let mut bob = place.far("bob");
        bob.subscribe("0", "/user/queue/private");
        bob.subscribe("1", "/topic/news");
        bob.subscribe("2", "/topic/{n}ws");
        for (destination, reason) in EAVESDROPS {
            let frame = format!("SUBSCRIBE\nid:0\ndestination:{destination}\nreceipt:r\n\n\0");
            refused(place.near("mallory"), &frame, reason);
        }
        for (destination, reason) in FORGERIES {
            refused(place.near("mallory"), &format!("SEND\ndestination:{destination}\nreceipt:r\n\nforged\0"), reason);
        }
        let mut mallory = place.near("mallory");
        for (number, destination) in HARMLESS.iter().enumerate() {
            mallory.send(&format!("SUBSCRIBE\nid:{number}\ndestination:{destination}\n\n\0"));
        }
        mallory.is_quiet();

        let mut ann = place.near("ann");
        let forged = "message-id:1\nsubscription:9\nuser-name:bob\nsimpOrigDestination:/topic/audit";
        ann.confirmed(&format!("SEND\ndestination:/app/say/ann/bob\n{forged}"), "from ann");
        let message = bob.message("from ann");
        assert_eq!(header(&message, "destination"), Some("/user/queue/private"));
        assert_ne!(header(&message, "message-id"), Some("1"));
        assert_eq!(header(&message, "user-name"), None);
        ann.confirmed("SEND\ndestination:/app/news", "news");
        for _ in 0..2 {
            // As a destination and by the pattern.
            bob.message("news");
        }
        bob.is_quiet();
        mallory.is_quiet();
    }
}

/// Session ids are known to their sessions alone; even so nothing comes of knowing one.
#[test]
fn a_session_is_not_read_by_its_id() {
    for place in Place::both(GUARDED) {
        let mut bob = match &place {
            Place::Alone(server) => Client::connect(server.address, "/ws", "1.0", &["login:bob"]),
            Place::Two(cluster) => Client::connect(cluster.node(1).address, "/ws", "1.0", &["login:bob"]),
        };
        let id = header(&bob.connected, "session").unwrap().to_owned();
        bob.subscribe("0", "/user/queue/private");
        for destination in [format!("/user/{id}/queue/private"), format!("/user/{id}/**")] {
            let frame = format!("SUBSCRIBE\nid:0\ndestination:{destination}\nreceipt:r\n\n\0");
            refused(place.near("mallory"), &frame, "only the user itself");
            let frame = format!("SEND\ndestination:/user/{id}/queue/private\nreceipt:r\n\nforged\0");
            refused(place.near("mallory"), &frame, "through routes");
        }
        let mut mallory = place.near("mallory");
        mallory.subscribe("0", &format!("/queue/private-user{id}"));
        place.near("ann").confirmed("SEND\ndestination:/app/say/ann/bob", "for bob");
        bob.message("for bob");
        mallory.is_quiet();
    }
}

#[test]
fn rules_open_what_they_name_and_no_more() {
    for place in Place::both(GUARDED) {
        let mut reader = place.far("reader");
        reader.subscribe("0", "/topic/room/1");
        reader.subscribe("1", "/topic/of/reader/**");
        let mut sender = place.near("sender");
        sender.confirmed("SEND\ndestination:/topic/room/1", "one");
        reader.message("one");
        refused(sender, "SEND\ndestination:/topic/of/reader/x\nreceipt:r\n\nforged\0", "/topic/of/**");
        let mut own = place.near("reader");
        own.confirmed("SEND\ndestination:/topic/of/reader/x", "two");
        reader.message("two");
        refused(place.near("guest"), "SEND\ndestination:/app/news\nreceipt:r\n\nx\0", "no news for guests");
        place.near("ann").confirmed("SEND\ndestination:/app/news", "news");
        reader.is_quiet();
    }
}
