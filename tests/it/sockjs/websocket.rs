//! Checks 69 to 83: SockJS over a WebSocket.

use std::sync::atomic::Ordering;

use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};
use tokio_tungstenite::tungstenite::protocol::frame::{CloseFrame, Frame};

use super::{E, N, Server, X, fresh, hasty, until};
use crate::support::soon;

const UPGRADE: [(&str, &str); 4] = [
    ("Upgrade", "WebSocket"),
    ("Connection", "keep-alive, Upgrade"),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Key", "x3JJHMbDL1EzLkh9GBhXDw=="),
];

/// What a test does with a socket.
pub(super) struct Socket(pub(super) WebSocketStream<TcpStream>);

impl Server {
    pub(super) async fn socket(&self, path: &str) -> Socket {
        let stream = soon(TcpStream::connect(self.address)).await.unwrap();
        let url = format!("ws://{}{path}", self.address);
        Socket(soon(tokio_tungstenite::client_async(url, stream)).await.unwrap().0)
    }
}

impl Socket {
    pub(super) async fn send(&mut self, message: impl Into<Message>) {
        soon(self.0.send(message.into())).await.unwrap();
    }

    pub(super) async fn next(&mut self) -> Message {
        soon(self.0.next()).await.unwrap().unwrap()
    }

    pub(super) async fn text(&mut self) -> String {
        self.next().await.into_text().unwrap().to_string()
    }

    /// Code and reason with which the server closes now.
    pub(super) async fn closed(&mut self) -> (u16, String) {
        let Message::Close(Some(frame)) = self.next().await else { panic!("not closed") };
        (frame.code.into(), frame.reason.to_string())
    }
}

#[tokio::test]
async fn check_69_73_bad_handshakes() {
    let server = Server::start().await;
    let without = |name: &str| UPGRADE.into_iter().filter(|(found, _)| *found != name).collect::<Vec<_>>();
    let with = |name: &str, value: &'static str| {
        UPGRADE.map(|(found, old)| (found, if found == name { value } else { old })).to_vec()
    };
    for path in [format!("{}/websocket", fresh(E)), format!("{E}/websocket")] {
        for (headers, status, body) in [
            (vec![], 400, "Can \"Upgrade\" only to \"WebSocket\"."),
            (with("Upgrade", "h2c"), 400, "Can \"Upgrade\" only to \"WebSocket\"."),
            (with("Connection", "close"), 400, "\"Connection\" must be \"upgrade\"."),
            (with("Sec-WebSocket-Version", "12"), 426, ""),
            (without("Sec-WebSocket-Version"), 426, ""),
            (without("Sec-WebSocket-Key"), 400, ""),
        ] {
            let answer = server.ask(&format!("GET {path}"), &headers, b"").await;
            assert_eq!(answer.seen(), (status, body), "{path} {headers:?}");
            assert_eq!(answer.get("sec-websocket-version"), (status == 426).then_some("13"));
        }
    }
}

#[tokio::test]
async fn check_70_wrong_methods() {
    let server = Server::start().await;
    for headers in [&UPGRADE[..], &[]] {
        let answer = server.ask(&format!("POST {}/websocket", fresh(E)), headers, b"").await;
        assert_eq!(answer.seen(), (405, ""));
        assert_eq!((answer.get("allow"), answer.get("content-type")), (Some("GET"), None));
    }
}

#[tokio::test]
async fn check_71_72_a_good_handshake() {
    let server = Server::start().await;
    let mut client = server.client().await;
    client.send(&format!("GET {}/websocket", fresh(E)), &UPGRADE, b"").await;
    let head = client.head().await;
    assert_eq!(head.status, 101);
    assert_eq!(head.get("sec-websocket-accept"), Some("HSmrc0sMlYUkAGmm5OPpG2HaGWk="));
    assert_eq!((head.get("content-length"), head.get("sec-websocket-protocol")), (None, None));
}

#[tokio::test]
async fn check_74_75_76_messages() {
    let server = Server::start().await;
    let mut socket = server.socket(&format!("{}/websocket", fresh(E))).await;
    assert_eq!(socket.text().await, "o");
    for nothing in ["", "[]"] {
        socket.send(nothing).await;
    }
    socket.send("[\"a\"]").await;
    assert_eq!(socket.text().await, "a[\"a\"]");
    socket.send("\"b\"").await;
    assert_eq!(socket.text().await, "a[\"b\"]");
    socket.send(Message::Binary("[\"c\"]".into())).await;
    assert_eq!(socket.text().await, "a[\"c\"]");
    for (octets, kind, last) in
        [("[\"d", Data::Text, false), ("e", Data::Continue, false), ("\"]", Data::Continue, true)]
    {
        socket.send(Message::Frame(Frame::message(octets, OpCode::Data(kind), last))).await;
    }
    assert_eq!(socket.text().await, "a[\"de\"]");
    socket.send("[\"1\",\"\\ud800\"]").await;
    assert_eq!([socket.text().await, socket.text().await], ["a[\"1\"]", "a[\"\\ufffd\"]"]);
}

#[tokio::test]
async fn check_77_what_is_no_sockjs_ends_the_connection_without_another_word() {
    let server = Server::start().await;
    for broken in ["[\"a", "x", "[1]"] {
        let mut socket = server.socket(&format!("{}/websocket", fresh(E))).await;
        assert_eq!(socket.text().await, "o");
        socket.send(broken).await;
        assert_eq!(socket.closed().await, (3000, "Broken framing.".into()), "{broken}");
    }
}

#[tokio::test]
async fn check_78_close() {
    let server = Server::start().await;
    let mut socket = server.socket(&format!("{}/websocket", fresh(X))).await;
    assert_eq!(socket.text().await, "o");
    assert_eq!(socket.text().await, "c[3000,\"Go away!\"]");
    assert_eq!(socket.closed().await, (1000, "Normal closure".into()));
    assert!(soon(socket.0.next()).await.is_none());
}

#[tokio::test]
async fn check_79_80_sockets_stand_apart() {
    let server = Server::start().await;
    let session = server.open(E).await;
    let path = format!("{session}/websocket");
    let (mut one, mut two) = (server.socket(&path).await, server.socket(&path).await);
    assert_eq!([one.text().await, two.text().await], ["o", "o"]);
    one.send("\"1\"").await;
    two.send("\"2\"").await;
    assert_eq!([one.text().await, two.text().await], ["a[\"1\"]", "a[\"2\"]"]);
    soon(one.0.close(None)).await.unwrap();
    assert_eq!(server.socket(&path).await.text().await, "o");
    two.send("\"3\"").await;
    assert_eq!(two.text().await, "a[\"3\"]");
    server.say(&session, "[\"x\"]").await;
    assert_eq!(server.poll(&session).await, "a[\"x\"]\n");
}

#[tokio::test]
async fn check_81_pings_and_close_are_answered() {
    let server = Server::start().await;
    let mut socket = server.socket(&format!("{}/websocket", fresh(E))).await;
    assert_eq!(socket.text().await, "o");
    socket.send(Message::Ping("data".into())).await;
    assert_eq!(socket.next().await, Message::Pong("data".into()));
    let frame = CloseFrame { code: CloseCode::from(3456), reason: "enough".into() };
    socket.send(Message::Close(Some(frame))).await;
    assert_eq!(socket.closed().await, (3456, "enough".into()));
}

#[tokio::test]
async fn check_82_a_peer_that_answers_no_ping_is_dropped() {
    let server = Server::with(hasty).await;
    let mut client = server.client().await;
    client.send(&format!("GET {}/websocket", fresh(E)), &UPGRADE, b"").await;
    assert_eq!(client.head().await.status, 101);
    let begun = std::time::Instant::now();
    let seen = client.rest().await;
    assert!(begun.elapsed().as_millis() >= 600, "{:?}", begun.elapsed());
    let text = String::from_utf8_lossy(&seen);
    assert!(text.starts_with("\u{fffd}\u{1}o"), "{text:?}");
    assert!(text.contains("\u{1}h"), "{text:?}");
    let frame = "c[3000,\"No response from heartbeat\"]";
    assert!(text.contains(frame) && text.ends_with("Normal closure"), "{text:?}");
    let silent = server.echo_counters();
    until(|| silent.silent.load(Ordering::Relaxed) == 1).await;
}

#[tokio::test]
async fn a_peer_that_answers_pings_stays_and_sees_heart_beats() {
    let server = Server::with(hasty).await;
    let mut socket = server.socket(&format!("{}/websocket", fresh(E))).await;
    assert_eq!(socket.text().await, "o");
    for _ in 0..4 {
        assert_eq!(socket.text().await, "h");
        assert!(matches!(socket.next().await, Message::Ping(_)));
    }
    socket.send("\"x\"").await;
    assert_eq!(socket.text().await, "a[\"x\"]");
}

#[tokio::test]
async fn check_83_without_websocket() {
    let server = Server::start().await;
    for path in [format!("{}/websocket", fresh(N)), format!("{N}/websocket"), N.into()] {
        assert_eq!(server.ask(&format!("GET {path}"), &UPGRADE, b"").await.head.status, 404, "{path}");
        let mut client = server.client().await;
        client.send(&format!("GET {path}"), &UPGRADE, b"").await;
        // With the answer unread, this is a reset.
        drop(client);
    }
    assert_eq!(server.get(N).await.head.status, 200);
}
