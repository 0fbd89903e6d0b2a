//! What a node tells over HTTP.

use crate::support::client::Client;
use crate::support::process::{ask, serve};

#[test]
fn health_readiness_and_metrics() {
    let server = serve("");
    assert_eq!(server.get("/health"), (200, "healthy\n".to_owned()));
    assert_eq!(server.get("/ready"), (200, "ready\n".to_owned()));
    let mut client = Client::connect(server.address, "/ws", "1.2", &[]);
    client.subscribe("0", "/topic/a");
    client.send("SEND\ndestination:/topic/a\n\nhello\0");
    client.message("hello");
    let (status, metrics) = server.get("/metrics");
    assert_eq!(status, 200);
    for line in [
        "# TYPE stampede_sessions_open gauge",
        "stampede_sessions_open{reason=\"websocket\"} 1",
        "stampede_subscriptions_open 1",
        "stampede_frames_received_total 3",
        "stampede_messages_published_total 1",
        "stampede_messages_delivered_total 1",
        "# EOF",
    ] {
        assert!(metrics.contains(line), "{line}\nis not in\n{metrics}");
    }
    assert!(!metrics.contains("/topic/a"), "labels never come from clients");
}

#[test]
fn other_methods_and_paths_are_refused() {
    let server = serve("");
    for path in ["/health", "/ready", "/metrics", "/"] {
        let post = format!("POST {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
        assert_eq!(ask(server.address, post).0, 405, "{path}");
        let head = format!("HEAD {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        assert_eq!(ask(server.address, head), (200, String::new()), "{path}");
    }
    assert_eq!(server.get("/nothing").0, 404);
    assert_eq!(server.get("/health/").0, 404);
}
