//! Checks 38 to 46: streaming by XMLHttpRequest.

use std::time::Duration;

use super::{E, GO_AWAY, INTERRUPTED, Server, X, check_cors, check_no_cache, fresh, hasty};
use crate::support::http::Answer;
use crate::support::soon;

#[tokio::test]
async fn check_38_39_prelude_open_and_messages_are_chunks_of_their_own() {
    let server = Server::start().await;
    let session = fresh(E);
    let mut client = server.client().await;
    client.send(&format!("POST {session}/xhr_streaming"), &[("Origin", "test")], b"").await;
    let answer = Answer { head: client.head().await, body: String::new() };
    assert_eq!(answer.get("content-type"), Some("application/javascript; charset=UTF-8"));
    assert_eq!(answer.get("x-accel-buffering"), Some("no"));
    assert_eq!(answer.get("content-length"), None);
    check_cors(&answer, "test");
    check_no_cache(&answer);
    assert_eq!(client.chunk().await.unwrap(), "h".repeat(2048) + "\n");
    assert_eq!(client.chunk().await.unwrap(), "o\n");
    server.say(&session, "[\"x\"]").await;
    assert_eq!(client.chunk().await.unwrap(), "a[\"x\"]\n");
    server.say(&session, "[\"1\",\"2\",\"3\"]").await;
    for expected in ["a[\"1\"]\n", "a[\"2\"]\n", "a[\"3\"]\n"] {
        assert_eq!(client.chunk().await.unwrap(), expected);
    }
}

#[tokio::test]
async fn check_40_41_an_answer_ends_at_the_limit_and_nothing_is_lost() {
    let server = Server::start().await;
    let session = fresh(E);
    let mut client = server.stream(&session).await;
    assert_eq!(client.chunk().await.unwrap(), "o\n");
    let message = format!("[\"{}\"]", "x".repeat(128));
    for _ in 0..31 {
        server.say(&session, &message).await;
        assert_eq!(client.chunk().await.unwrap(), format!("a{message}\n"));
    }
    assert_eq!(client.chunk().await, None);
    server.say(&session, "[\"1\"]").await;
    server.say(&session, "[\"2\"]").await;
    // On the same connection: an ended stream leaves it usable.
    client.send(&format!("POST {session}/xhr_streaming"), &[], b"").await;
    client.head().await;
    client.chunk().await;
    assert_eq!(client.chunk().await.unwrap(), "a[\"1\",\"2\"]\n");
    server.say(&session, "[\"3\"]").await;
    assert_eq!(client.chunk().await.unwrap(), "a[\"3\"]\n");
}

#[tokio::test]
async fn check_42_a_second_stream_is_turned_away() {
    let server = Server::start().await;
    let session = fresh(E);
    let mut first = server.stream(&session).await;
    assert_eq!(first.chunk().await.unwrap(), "o\n");
    let mut second = server.stream(&session).await;
    assert_eq!(second.chunk().await.unwrap(), "c[2010,\"Another connection still open\"]\n");
    assert_eq!(second.chunk().await, None);
    server.say(&session, "[\"x\"]").await;
    assert_eq!(first.chunk().await.unwrap(), "a[\"x\"]\n");
}

#[tokio::test]
async fn check_43_close_ends_each_stream() {
    let server = Server::start().await;
    let session = fresh(X);
    let mut client = server.stream(&session).await;
    assert_eq!(client.chunk().await.unwrap(), "o\n");
    assert_eq!(client.chunk().await.unwrap(), GO_AWAY);
    assert_eq!(client.chunk().await, None);
    let mut client = server.stream(&session).await;
    assert_eq!(client.chunk().await.unwrap(), GO_AWAY);
    assert_eq!(client.chunk().await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn check_44_an_aborted_stream_ends_the_session() {
    let server = Server::start().await;
    let session = fresh(E);
    let mut client = server.stream(&session).await;
    assert_eq!(client.chunk().await.unwrap(), "o\n");
    drop(client);
    let mut client = server.stream(&session).await;
    assert_eq!(client.chunk().await.unwrap(), INTERRUPTED);
    assert_eq!(client.chunk().await, None);
    assert_eq!(server.post(&format!("{session}/xhr_send"), "[\"a\"]").await.head.status, 404);
}

#[tokio::test]
async fn check_45_what_waits_comes_as_one_frame() {
    let server = Server::start().await;
    let session = server.open(E).await;
    for message in ["[\"m0\"]", "[\"m1\"]", "[\"m2\"]"] {
        server.say(&session, message).await;
    }
    let mut client = server.stream(&session).await;
    assert_eq!(client.chunk().await.unwrap(), "a[\"m0\",\"m1\",\"m2\"]\n");
}

#[tokio::test]
async fn check_46_idle_streams_get_heart_beats() {
    let server = Server::with(hasty).await;
    let mut client = server.stream(&fresh(E)).await;
    assert_eq!(client.chunk().await.unwrap(), "o\n");
    let begun = std::time::Instant::now();
    for _ in 0..3 {
        assert_eq!(client.chunk().await.unwrap(), "h\n");
    }
    assert!(begun.elapsed() >= Duration::from_millis(850), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_session_may_change_its_transport() {
    let server = Server::start().await;
    let session = server.open(E).await;
    let mut client = server.client().await;
    client.send(&format!("GET {session}/eventsource"), &[], b"").await;
    client.head().await;
    assert_eq!(client.chunk().await.unwrap(), "\r\n");
    server.say(&session, "[\"x\"]").await;
    assert_eq!(soon(client.chunk()).await.unwrap(), "data: a[\"x\"]\r\n\r\n");
}
