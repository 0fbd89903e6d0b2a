//! Checks 84 to 86: WebSocket without SockJS frames, at two paths.

use tokio_tungstenite::tungstenite::Message;

use super::{E, Server, X};

const PATHS: [&str; 2] = ["", "/websocket"];

#[tokio::test]
async fn check_84_messages_are_not_touched() {
    let server = Server::start().await;
    for path in PATHS {
        let mut socket = server.socket(&format!("{E}{path}")).await;
        for text in ["Hello world!\u{ffff}", "[\"a", "[]"] {
            socket.send(text).await;
            assert_eq!(socket.text().await, text);
        }
        socket.send(Message::Binary(vec![0xff].into())).await;
        assert_eq!(socket.next().await, Message::Binary(vec![0xff].into()));
    }
}

#[tokio::test]
async fn check_85_close_has_code_and_reason() {
    let server = Server::start().await;
    for path in PATHS {
        let mut socket = server.socket(&format!("{X}{path}")).await;
        assert_eq!(socket.closed().await, (3000, "Go away!".into()));
    }
}

#[tokio::test]
async fn check_86_a_subprotocol_is_chosen() {
    let server = Server::start().await;
    for (offer, chosen) in
        [("v12.stomp, v11.stomp", Some("v12.stomp")), ("v10.stomp, V11.Stomp", Some("V11.Stomp")), ("mqtt", None)]
    {
        for path in PATHS {
            let headers = [
                ("Upgrade", "websocket"),
                ("Connection", "Upgrade"),
                ("Sec-WebSocket-Version", "13"),
                ("Sec-WebSocket-Key", "x3JJHMbDL1EzLkh9GBhXDw=="),
                ("Sec-WebSocket-Protocol", offer),
            ];
            let mut client = server.client().await;
            client.send(&format!("GET {E}{path}"), &headers, b"").await;
            let head = client.head().await;
            assert_eq!((head.status, head.get("sec-websocket-protocol")), (101, chosen));
        }
    }
}
