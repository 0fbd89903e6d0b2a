//! STOMP over SockJS, as far as the two meet; SockJS by itself is tested in `tests/it/sockjs`.

use std::net::SocketAddr;

use super::PROFILE_A;
use crate::support::client::{Client, topic, unique};
use crate::support::ws::{Event, Response, Socket, request};

const CONNECT: &str = r#"["CONNECT\naccept-version:1.2\nheart-beat:4000,4000\n\n\u0000"]"#;
const CONNECTED: &str = r#"a["CONNECTED\nversion:1.2\nheart-beat:0,0\n\n\u0000"]"#;

fn open() -> Socket {
    let path = format!("/ws/0/p{}/websocket", unique());
    let mut socket = Socket::open(PROFILE_A.get().address, &path, "");
    assert_eq!(socket.next(), Event::Text(b"o".to_vec()));
    socket
}

fn post(to: SocketAddr, path: &str, body: &str) -> Response {
    let head = format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n", body.len());
    request(to, &(head + body)).0
}

#[test]
fn p85_connect_over_a_sockjs_websocket() {
    let _server = PROFILE_A.get();
    let mut socket = open();
    socket.text(CONNECT);
    assert_eq!(socket.next(), Event::Text(CONNECTED.as_bytes().to_vec()));
    socket.text(r#"["DISCONNECT\nreceipt:1\n\n\u0000"]"#);
    assert_eq!(socket.next(), Event::Text(br#"a["RECEIPT\nreceipt-id:1\n\n\u0000"]"#.to_vec()));
    assert_eq!(socket.next(), Event::Text(br#"c[1000,""]"#.to_vec()));
    assert!(matches!(socket.next(), Event::Closed(1000, _)));
}

#[test]
fn p86_octets_that_are_not_for_text_end_nobody_elses_session() {
    let _server = PROFILE_A.get();
    let topic = topic();
    let mut subscriber = open();
    subscriber.text(CONNECT);
    subscriber.next();
    subscriber.text(format!(r#"["SUBSCRIBE\nid:1\ndestination:{topic}\nreceipt:s\n\n\u0000"]"#));
    assert_eq!(subscriber.next(), Event::Text(br#"a["RECEIPT\nreceipt-id:s\n\n\u0000"]"#.to_vec()));
    let mut sender = Client::connect(PROFILE_A.get().address, "/ws", "1.2", &[]);
    sender.socket.binary([format!("SEND\ndestination:{topic}\n\n").as_bytes(), b"\xff\xfe\0"].concat());
    sender.confirmed(&format!("SEND\ndestination:{topic}\ncontent-type:application/octet-stream"), "text");
    let Event::Text(message) = subscriber.next() else { panic!("the subscriber was closed") };
    let message = String::from_utf8(message).unwrap();
    assert!(message.starts_with("a[\"MESSAGE\\n") && message.ends_with("\\n\\ntext\\u0000\"]"), "{message}");
}

#[test]
fn p87_p88_polling() {
    let server = PROFILE_A.get();
    let topic = topic();
    let session = format!("/ws/0/p{}", unique());
    let poll = || post(server.address, &format!("{session}/xhr"), "");
    let send = |frames: &str| {
        let answer = post(server.address, &format!("{session}/xhr_send"), frames);
        assert_eq!(answer.status, 204, "{answer:?}");
    };
    assert_eq!(poll().body, "o\n");
    send(CONNECT);
    assert_eq!(poll().body, format!("{CONNECTED}\n"));
    send(&format!(r#"["SUBSCRIBE\nid:1\ndestination:{topic}\nreceipt:s\n\n\u0000"]"#));
    assert_eq!(poll().body, "a[\"RECEIPT\\nreceipt-id:s\\n\\n\\u0000\"]\n");
    let mut sender = Client::connect(server.address, "/ws", "1.2", &[]);
    sender.confirmed(&format!("SEND\ndestination:{topic}"), "1");
    sender.confirmed(&format!("SEND\ndestination:{topic}"), "2");
    // Confirmed means that both wait for the session; its task may have handed over one of them so far.
    let mut seen = String::new();
    while seen.matches("MESSAGE").count() < 2 {
        let body = poll().body;
        assert!(body.starts_with("a[\"MESSAGE\\n") && body.ends_with("\"]\n"), "{body:?}");
        seen.push_str(&body);
    }
    assert!(seen.find("\\n\\n1\\u0000").unwrap() < seen.find("\\n\\n2\\u0000").unwrap(), "{seen:?}");
}
