//! Checks 90 to 97: HTTP itself.

use super::{E, GO_AWAY, K, Server, X, fresh};

#[tokio::test]
async fn check_90_http_1_0_with_keep_alive() {
    let mut client = Server::start().await.client().await;
    for _ in 0..2 {
        client.send_raw(format!("GET {E} HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").as_bytes()).await;
        let answer = client.answer().await;
        assert_eq!(answer.seen(), (200, "Welcome to SockJS!\n"));
        assert_eq!(answer.get("transfer-encoding"), None);
        assert_eq!(answer.get("content-length"), Some("19"));
        assert_eq!(answer.get("connection"), Some("keep-alive"));
    }
    client.send_raw(format!("GET {E} HTTP/1.0\r\n\r\n").as_bytes()).await;
    client.answer().await;
    assert!(client.is_closed().await);
}

#[tokio::test]
async fn check_91_http_1_0_streams_end_with_the_connection() {
    let mut client = Server::start().await.client().await;
    let request = format!("POST {}/xhr_streaming HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", fresh(X));
    client.send_raw(request.as_bytes()).await;
    let answer = client.answer().await;
    assert_eq!((answer.get("transfer-encoding"), answer.get("content-length")), (None, None));
    assert_eq!(answer.body, "h".repeat(2048) + "\no\n" + GO_AWAY);
}

#[tokio::test]
async fn check_92_two_requests_on_one_connection() {
    let mut client = Server::start().await.client().await;
    for _ in 0..2 {
        assert_eq!(client.ask(&format!("GET {E}"), &[], b"").await.seen(), (200, "Welcome to SockJS!\n"));
    }
}

#[tokio::test]
async fn check_93_http_1_1_streams_are_chunked() {
    let mut client = Server::start().await.client().await;
    client.send(&format!("POST {}/xhr_streaming", fresh(X)), &[], b"").await;
    let head = client.head().await;
    assert_eq!((head.get("transfer-encoding"), head.get("content-length")), (Some("chunked"), None));
    for expected in ["h".repeat(2048) + "\n", "o\n".into(), GO_AWAY.into()] {
        assert_eq!(client.chunk().await.unwrap(), expected);
    }
    assert_eq!(client.chunk().await, None);
    assert_eq!(client.ask(&format!("GET {E}"), &[], b"").await.head.status, 200);
}

#[tokio::test]
async fn check_94_a_poll_without_content_length() {
    let mut client = Server::start().await.client().await;
    client.send_raw(format!("POST {}/xhr HTTP/1.1\r\nHost: x\r\n\r\n", fresh(E)).as_bytes()).await;
    assert_eq!(client.answer().await.seen(), (200, "o\n"));
}

#[tokio::test]
async fn check_95_a_chunked_send() {
    let server = Server::start().await;
    let session = server.open(E).await;
    let mut client = server.client().await;
    let head = format!("POST {session}/xhr_send HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
    client.send_raw(format!("{head}3\r\n[\"a\r\n2\r\n\"]\r\n0\r\n\r\n").as_bytes()).await;
    assert_eq!(client.answer().await.head.status, 204);
    assert_eq!(server.poll(&session).await, "a[\"a\"]\n");
}

#[tokio::test]
async fn check_96_a_send_beyond_the_limit() {
    let server = Server::with(|config| config.request_size_limit = 1000).await;
    let session = server.open(E).await;
    let large = format!("[\"{}\"]", "x".repeat(1000));
    assert_eq!(server.post(&format!("{session}/xhr_send"), &large).await.head.status, 413);
    let mut client = server.client().await;
    let head = format!("POST {session}/xhr_send HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
    client.send_raw(format!("{head}3ec\r\n{large}\r\n0\r\n\r\n").as_bytes()).await;
    assert_eq!(client.answer().await.head.status, 413);
    server.say(&session, "[\"a\"]").await;
    assert_eq!(server.poll(&session).await, "a[\"a\"]\n");
}

#[tokio::test]
async fn check_97_endpoints_keep_their_sessions_apart() {
    let server = Server::start().await;
    let session = server.open(E).await;
    let other = session.replace(E, K);
    assert_eq!(server.post(&format!("{other}/xhr_send"), "[\"a\"]").await.head.status, 404);
    assert_eq!(server.poll(&other).await, "o\n");
    server.say(&session, "[\"a\"]").await;
    assert_eq!(server.poll(&session).await, "a[\"a\"]\n");
}
