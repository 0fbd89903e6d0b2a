//! Clauses that only show over many frames, or below the level of messages.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{ENDPOINTS, SERVER};
use crate::support::client::{Client, body, header, topic};
use crate::support::server::Server;
use crate::support::ws::{BINARY, Event, TEXT};
use crate::support::{PATIENCE, ws};

#[test]
fn f02_a_frame_comes_octet_by_octet() {
    let server = SERVER.get();
    for path in ENDPOINTS {
        let mut client = Client::open(server.address, path);
        client.socket.trickle(b"CONNECT\naccept-version:1.2\nhost:x\n\n\0");
        client.expect("CONNECTED");
        client.is_quiet();
    }
}

#[test]
fn w08_fragments_of_a_message_are_invisible() {
    let server = SERVER.get();
    for opcode in [TEXT, BINARY] {
        let mut client = Client::open(server.address, "/ws");
        client.socket.frame(false, opcode, b"CONNECT\naccept-");
        client.socket.frame(false, 0, b"");
        client.socket.frame(true, 0, b"version:1.2\nhost:x\n\n\0");
        client.expect("CONNECTED");
    }
}

#[test]
fn w02_no_offer_no_name() {
    let server = SERVER.get();
    let (response, _socket) = ws::request(server.address, &ws::handshake("GET", "/ws", &[]));
    assert_eq!((response.status, response.header("sec-websocket-protocol")), (101, None));
}

#[test]
fn w06_a_text_message_that_is_not_utf_8_ends_the_connection() {
    let server = SERVER.get();
    let mut client = Client::connect(server.address, "/ws", "1.2", &[]);
    client.socket.text(b"SEND\ndestination:/topic/x\n\n\xff\0");
    client.closed(1007);
}

#[test]
fn s09_s10_u21_r07_order_is_kept() {
    let server = SERVER.get();
    for path in ENDPOINTS {
        let topic = topic();
        let mut sender = Client::connect(server.address, path, "1.2", &[]);
        let mut receiver = Client::connect(server.address, path, "1.2", &[]);
        receiver.subscribe("a", &topic);
        for n in 0..1000 {
            sender.send(&format!("SEND\ndestination:{topic}\n\n{n}\0"));
        }
        sender.confirmed(&format!("SEND\ndestination:{topic}"), "last");
        drop(sender);
        for n in 0..1000 {
            receiver.message(&n.to_string());
        }
        receiver.message("last");
    }
}

#[test]
fn s10_a_subscription_is_there_for_the_next_frame() {
    let server = SERVER.get();
    let mut client = Client::connect(server.address, "/ws", "1.2", &[]);
    for n in 0..300 {
        let topic = topic();
        client.send(&format!("SUBSCRIBE\nid:{n}\ndestination:{topic}\n\n\0SEND\ndestination:{topic}\n\n{n}\0"));
        client.message(&n.to_string());
    }
}

#[test]
fn u21_a_confirmed_subscription_is_live_for_others() {
    let server = SERVER.get();
    let mut sender = Client::connect(server.address, "/ws", "1.2", &[]);
    let mut receiver = Client::connect(server.address, "/ws", "1.2", &[]);
    for n in 0..300 {
        let topic = topic();
        receiver.subscribe(&n.to_string(), &topic);
        sender.send(&format!("SEND\ndestination:{topic}\n\n{n}\0"));
        receiver.message(&n.to_string());
    }
}

#[test]
fn m03_message_ids_are_unique() {
    let server = SERVER.get();
    for version in ["1.0", "1.1", "1.2"] {
        let topic = topic();
        let mut client = Client::connect(server.address, "/ws", version, &[]);
        client.subscribe("a", &topic);
        client.subscribe("b", "/topic/*");
        let mut ids = BTreeSet::new();
        for n in 0..200 {
            client.send(&format!("SEND\ndestination:{topic}\n\n{n}\0"));
            // The pattern hears other tests as well.
            let mut own = 0;
            while own < 2 {
                let frame = client.expect("MESSAGE");
                own += u32::from(header(&frame, "destination") == Some(&topic));
                let id = header(&frame, "message-id").unwrap();
                assert!(ids.insert(id.to_owned()), "{id} came twice");
            }
        }
    }
}

#[test]
fn r11_what_was_sent_before_leaving_is_served() {
    let server = SERVER.get();
    let topic = topic();
    let mut receiver = Client::connect(server.address, "/ws", "1.2", &[]);
    receiver.subscribe("a", &topic);
    let mut sender = Client::connect(server.address, "/ws", "1.2", &[]);
    let all: String = (0..100).map(|n| format!("SEND\ndestination:{topic}\n\n{n}\0")).collect();
    sender.send(&all);
    sender.socket.close(1000);
    for n in 0..100 {
        receiver.message(&n.to_string());
    }
}

#[test]
fn d02_d03_the_receipt_of_disconnect_is_never_lost_and_covers_what_came_before() {
    let server = SERVER.get();
    let topic = topic();
    let mut receiver = Client::connect(server.address, "/ws", "1.2", &[]);
    receiver.subscribe("a", &topic);
    for n in 0..200 {
        let mut client = Client::connect(server.address, "/ws", "1.2", &[]);
        client.send(&format!("SEND\ndestination:{topic}\n\n{n}\0DISCONNECT\nreceipt:bye\n\n\0"));
        assert_eq!(header(&client.expect("RECEIPT"), "receipt-id"), Some("bye"));
        // Most clients close as soon as they read it.
        client.socket.close(1000);
        assert!(matches!(client.socket.next(), Event::Closed(1000, _)));
        receiver.message(&n.to_string());
    }
}

#[test]
fn t14_a_lost_connection_aborts() {
    let server = SERVER.get();
    let topic = topic();
    let mut receiver = Client::connect(server.address, "/ws", "1.2", &[]);
    receiver.subscribe("a", &topic);
    let mut sender = Client::connect(server.address, "/ws", "1.2", &[]);
    sender.confirmed("BEGIN\ntransaction:x", "");
    sender.send(&format!("SEND\ndestination:{topic}\ntransaction:x\n\nx\0"));
    // A close is answered when the session has ended, which shows that it has.
    sender.socket.close(1001);
    sender.closed(1001);
    assert!(sender.socket.is_ended_within(PATIENCE));
    receiver.is_quiet();
}

#[test]
fn t16_a_committed_transaction_keeps_its_order() {
    let server = SERVER.get();
    let topic = topic();
    let mut client = Client::connect(server.address, "/ws", "1.2", &[]);
    client.subscribe("a", &topic);
    client.send("BEGIN\ntransaction:x\n\n\0");
    for n in 0..100 {
        client.send(&format!("SEND\ndestination:{topic}\ntransaction:x\n\n{n}\0"));
    }
    client.send("COMMIT\ntransaction:x\n\n\0");
    for n in 0..100 {
        client.message(&n.to_string());
    }
}

#[test]
fn c07_sessions_have_different_ids() {
    let server = SERVER.get();
    let ids: BTreeSet<String> = (0..20)
        .map(|_| Client::connect(server.address, "/strict", "1.2", &[]).connected)
        .map(|connected| header(&connected, "session").unwrap().to_owned())
        .collect();
    assert_eq!(ids.len(), 20);
}

#[test]
fn c08_the_server_header_is_a_name_and_a_version() {
    let server = SERVER.get();
    let connected = Client::connect(server.address, "/strict", "1.2", &[]).connected;
    let (name, version) = header(&connected, "server").unwrap().split_once('/').unwrap();
    assert!(!name.is_empty() && !version.is_empty() && !version.contains([' ', '/']), "{connected:?}");
}

#[test]
fn c16_rapid_connections_leave_nothing() {
    let server = Server::start("");
    for n in 0..500 {
        let mut client = Client::open(server.address, "/ws");
        client.send("CONNECT\naccept-version:1.2\nhost:x\n\n\0SUBSCRIBE\nid:0\ndestination:/topic/rapid\n\n\0");
        if n % 2 == 0 {
            client.expect("CONNECTED");
        }
    }
    let deadline = std::time::Instant::now() + PATIENCE;
    let open = || {
        let head = "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n";
        let (metrics, _) = ws::request(server.address, head);
        let value = |name: &str| {
            let line = metrics.body.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("no {name}"));
            line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()
        };
        (value("stampede_sessions_open{"), value("stampede_subscriptions_open "))
    };
    while open() != (0.0, 0.0) {
        assert!(std::time::Instant::now() < deadline, "{:?} are left", open());
        std::thread::yield_now();
    }
}

#[test]
fn c17_a_closed_connection_lingers_only_briefly() {
    let server = SERVER.get();
    let mut client = Client::connect(server.address, "/ws", "1.2", &[]);
    client.socket.mute = true;
    client.send("BAD\n\n\0");
    client.error(1002);
    assert!(client.socket.is_ended_within(Duration::from_secs(2)), "the server waits for an answer to its close");
}

#[test]
fn e07_nothing_is_served_behind_a_bad_frame_in_later_messages() {
    let server = SERVER.get();
    let topic = topic();
    let mut receiver = Client::connect(server.address, "/ws", "1.2", &[]);
    receiver.subscribe("a", &topic);
    let mut client = Client::connect(server.address, "/ws", "1.2", &[]);
    client.send("BAD\n\n\0");
    client.send(&format!("SEND\ndestination:{topic}\n\nx\0"));
    client.error(1002);
    receiver.is_quiet();
}

#[test]
fn l04_a_large_body_passes_whole() {
    let server = SERVER.get();
    let topic = topic();
    let mut client = Client::connect(server.address, "/ws", "1.2", &[]);
    client.subscribe("a", &topic);
    let large = "Älä😀".repeat(20_000);
    client.send(&format!("SEND\ndestination:{topic}\ncontent-length:{}\n\n{large}\0", large.len()));
    let frame = client.expect("MESSAGE");
    assert_eq!(header(&frame, "content-length"), Some(&*large.len().to_string()));
    assert!(body(&frame) == large, "the body came back changed");
}
