//! Checks 103 and 104: pages that may not connect, and that no refusal looks like an answer.

use super::{E, K, N, Server, fresh};

const UPGRADE: [(&str, &str); 4] = [
    ("Upgrade", "websocket"),
    ("Connection", "Upgrade"),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Key", "x3JJHMbDL1EzLkh9GBhXDw=="),
];

async fn status(server: &Server, line: &str, origin: Option<&str>) -> u16 {
    let mut headers = UPGRADE.to_vec();
    if !line.ends_with("websocket") && !line.ends_with("echo") {
        headers.clear();
    }
    headers.extend(origin.map(|origin| ("Origin", origin)));
    let mut client = server.client().await;
    client.send(line, &headers, b"").await;
    client.head().await.status
}

#[tokio::test]
async fn check_103_a_list_of_origins() {
    let server = Server::with(|config| config.allowed_origins = vec!["https://*.example".into()]).await;
    let session = |transport: &str| format!("{}/{transport}", fresh(E));
    for line in [
        format!("GET {E}/info"),
        format!("OPTIONS {E}/info"),
        format!("GET {E}"),
        format!("GET {E}/websocket"),
        format!("GET {}", session("websocket")),
        format!("POST {}", session("xhr")),
        format!("POST {}", session("xhr_send")),
        format!("OPTIONS {}", session("xhr")),
        format!("POST {}", session("xhr_streaming")),
        format!("GET {}", session("eventsource")),
        format!("GET {}", session("htmlfile?c=x")),
    ] {
        for origin in ["https://example.evil", "null", "http://a.example"] {
            assert_eq!(status(&server, &line, Some(origin)).await, 403, "{line} {origin}");
        }
    }
    assert_eq!(status(&server, &format!("GET {E}/iframe.html"), None).await, 404);
    assert_eq!(status(&server, &format!("GET {}", session("jsonp?c=x")), None).await, 404);
    assert_eq!(status(&server, &format!("POST {}", session("jsonp_send")), None).await, 404);
    for origin in [None, Some("https://a.example"), Some("http://localhost")] {
        assert_eq!(status(&server, &format!("POST {}", session("xhr")), origin).await, 200, "{origin:?}");
        assert_eq!(status(&server, &format!("GET {E}/websocket"), origin).await, 101, "{origin:?}");
        assert_eq!(status(&server, &format!("GET {E}"), origin).await, 101, "{origin:?}");
    }
}

#[tokio::test]
async fn check_103_the_own_origin_only() {
    let server = Server::with(|config| config.allowed_origins.clear()).await;
    assert_eq!(status(&server, &format!("GET {E}/info"), Some("http://other")).await, 403);
    assert_eq!(status(&server, &format!("GET {E}/info"), Some("http://localhost")).await, 200);
    assert_eq!(status(&server, &format!("GET {}/jsonp?c=x", fresh(E)), None).await, 404);
    let page = server.get(&format!("{E}/iframe.html")).await;
    assert_eq!((page.head.status, page.get("x-frame-options")), (200, Some("SAMEORIGIN")));
}

#[tokio::test]
async fn check_104_a_refused_receiver_never_gets_an_empty_answer() {
    use stampede::config::sockjs::HttpTransport;
    let foreign = Server::with(|config| config.allowed_origins.clear()).await;
    let none = Server::with(|config| config.transports = vec![HttpTransport::Xhr]).await;
    let full = Server::with(|config| config.sessions = 0).await;
    for (method, transport) in [
        ("POST", "xhr"),
        ("POST", "xhr_streaming"),
        ("GET", "eventsource"),
        ("GET", "htmlfile?c=x"),
        ("GET", "jsonp?c=x"),
    ] {
        let line = |endpoint| format!("{method} {}/{transport}", fresh(endpoint));
        assert!(matches!(status(&foreign, &line(E), Some("http://other")).await, 403 | 404), "{transport}");
        if transport != "xhr" {
            assert_eq!(status(&none, &line(K), None).await, 404, "{transport}");
        }
        assert_eq!(status(&full, &line(N), None).await, 503, "{transport}");
    }
}
