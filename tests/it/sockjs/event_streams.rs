//! Checks 47 to 56: server-sent events and the endless page.

use super::{E, NO_CACHE, Server, fresh};
use crate::support::http::Client;

/// A receiver whose head is read.
async fn begin(server: &Server, path: &str) -> Client {
    let mut client = server.client().await;
    client.send(&format!("GET {path}"), &[], b"").await;
    let head = client.head().await;
    assert_eq!(head.status, 200);
    assert_eq!(head.get("cache-control"), Some(NO_CACHE));
    assert_eq!(head.get("x-accel-buffering"), Some("no"));
    client
}

#[tokio::test]
async fn check_47_48_49_events() {
    let server = Server::start().await;
    let session = fresh(E);
    let mut client = server.client().await;
    client.send(&format!("GET {session}/eventsource"), &[], b"").await;
    let head = client.head().await;
    assert_eq!((head.status, head.get("content-type")), (200, Some("text/event-stream")));
    assert_eq!(head.get("cache-control"), Some(NO_CACHE));
    assert_eq!(client.chunk().await.unwrap(), "\r\n");
    assert_eq!(client.chunk().await.unwrap(), "data: o\r\n\r\n");
    server.say(&session, "[\"  \\u0000\\n\\r \"]").await;
    assert_eq!(client.chunk().await.unwrap(), "data: a[\"  \\u0000\\n\\r \"]\r\n\r\n");
    // The client library runs decodeURI over the data.
    server.say(&session, "[\"100% %41 é\"]").await;
    assert_eq!(client.chunk().await.unwrap(), "data: a[\"100%25 %2541 é\"]\r\n\r\n");
}

#[tokio::test]
async fn check_50_55_a_message_as_large_as_the_limit_is_delivered_whole() {
    let server = Server::start().await;
    for (path, before, after) in [
        ("eventsource", "data: a[\"", "\"]\r\n\r\n"),
        ("htmlfile?c=cb", "<script>\np(\"a[\\\"", "\\\"]\");\n</script>\r\n"),
    ] {
        let session = fresh(E);
        let mut client = begin(&server, &format!("{session}/{path}")).await;
        client.chunk().await;
        client.chunk().await;
        let message = "x".repeat(4096);
        server.say(&session, &format!("[\"{message}\"]")).await;
        assert_eq!(client.chunk().await.unwrap(), format!("{before}{message}{after}"));
        assert_eq!(client.chunk().await, None);
    }
}

#[tokio::test]
async fn check_51_origins_of_event_streams() {
    let server = Server::start().await;
    for (headers, origin, credentials) in [
        (&[("Origin", "http://a.example")][..], "http://a.example", Some("true")),
        (&[("Origin", "null")], "*", None),
        (&[], "*", None),
    ] {
        let mut client = server.client().await;
        client.send(&format!("GET {}/eventsource", fresh(E)), headers, b"").await;
        let head = client.head().await;
        assert_eq!(head.get("access-control-allow-origin"), Some(origin));
        assert_eq!(head.get("access-control-allow-credentials"), credentials);
    }
}

const HTML: &str = r#"<!doctype html>
<html><head>
  <meta http-equiv="X-UA-Compatible" content="IE=edge" />
  <meta http-equiv="Content-Type" content="text/html; charset=UTF-8" />
</head><body><h2>Don't panic!</h2>
  <script>
    document.domain = document.domain;
    var c = parent.callback;
    c.start();
    function p(d) {c.message(d);};
    window.onload = function() {c.stop();};
  </script>"#;

#[tokio::test]
async fn check_52_the_endless_page() {
    let server = Server::start().await;
    let session = fresh(E);
    let mut client = server.client().await;
    client.send(&format!("GET {session}/htmlfile?c=%63allback"), &[], b"").await;
    let head = client.head().await;
    assert_eq!((head.status, head.get("content-type")), (200, Some("text/html; charset=UTF-8")));
    assert_eq!(head.get("cache-control"), Some(NO_CACHE));
    let page = client.chunk().await.unwrap();
    assert!(page.len() > 1024);
    assert_eq!(page.trim(), HTML);
    assert_eq!(client.chunk().await.unwrap(), "<script>\np(\"o\");\n</script>\r\n");
    server.say(&session, "[\"x\"]").await;
    assert_eq!(client.chunk().await.unwrap(), "<script>\np(\"a[\\\"x\\\"]\");\n</script>\r\n");
}

#[tokio::test]
async fn check_53_54_callbacks_that_could_leave_the_script() {
    let server = Server::start().await;
    let answer = server.get(&format!("{}/htmlfile", fresh(E))).await;
    assert_eq!(answer.seen(), (500, "\"callback\" parameter required"));
    for callback in ["%20", "*", "abc(", "abc%28", "a%5B0%5D", "%0A", "", "a&c=a"] {
        let answer = server.get(&format!("{}/htmlfile?c={callback}", fresh(E))).await;
        assert_eq!(answer.seen(), (500, "invalid \"callback\" parameter"), "{callback}");
    }
}

#[tokio::test]
async fn check_56_a_message_cannot_end_the_script_it_travels_in() {
    let server = Server::start().await;
    let session = fresh(E);
    let mut client = begin(&server, &format!("{session}/htmlfile?c=cb")).await;
    client.chunk().await;
    client.chunk().await;
    server.say(&session, "[\"</script><script>parent.x=1</script>&\"]").await;
    let chunk = client.chunk().await.unwrap();
    let inside = chunk.strip_prefix("<script>\np(").and_then(|rest| rest.strip_suffix(");\n</script>\r\n")).unwrap();
    assert!(!inside.contains(['<', '>', '&']), "{inside}");
    let frame: String = serde_json::from_str(inside).unwrap();
    assert_eq!(frame, "a[\"</script><script>parent.x=1</script>&\"]");
}
