//! Checks 1 to 13: greeting, info, iframe page, and what is not there.

use std::collections::HashSet;

use super::{E, K, N, Server, check_cors, check_no_cache};

#[tokio::test]
async fn check_1_greeting() {
    let server = Server::start().await;
    for path in ["/echo", "/echo/"] {
        let answer = server.get(path).await;
        assert_eq!(answer.seen(), (200, "Welcome to SockJS!\n"));
        assert_eq!(answer.get("content-type"), Some("text/plain; charset=UTF-8"));
        assert_eq!(answer.get("set-cookie"), None);
    }
}

#[tokio::test]
async fn check_2_paths_that_are_not_there() {
    let server = Server::start().await;
    for tail in ["/a", "/a.html", "//", "///", "/a/a", "/a/a/", "/a/"] {
        assert_eq!(server.get(&format!("{E}{tail}")).await.head.status, 404, "{tail}");
    }
}

#[tokio::test]
async fn check_3_wrong_methods_on_the_base() {
    let server = Server::start().await;
    for method in ["POST", "PUT", "DELETE"] {
        let answer = server.ask(&format!("{method} {E}"), &[], b"").await;
        assert_eq!(answer.seen(), (405, ""), "{method}");
        assert_eq!(answer.get("allow"), Some("GET"));
        assert_eq!(answer.get("content-type"), None);
    }
}

#[tokio::test]
async fn check_4_9_info() {
    let server = Server::start().await;
    for tail in ["/info", "/info?a=b&t=1", "/info/"] {
        let answer = server.ask(&format!("GET {E}{tail}"), &[("Origin", "test")], b"").await;
        assert_eq!(answer.head.status, 200);
        assert_eq!(answer.get("content-type"), Some("application/json; charset=UTF-8"));
        assert_eq!(answer.get("set-cookie"), None);
        check_cors(&answer, "test");
        check_no_cache(&answer);
        let info: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!(info["websocket"], true);
        assert_eq!(info["origins"], serde_json::json!(["*:*"]));
        assert_eq!(info["cookie_needed"], false);
        assert!(info["entropy"].as_u64().unwrap() <= u64::from(u32::MAX));
        assert_eq!(info.as_object().unwrap().len(), 4);
    }
}

#[tokio::test]
async fn check_5_info_without_origin() {
    let answer = Server::start().await.get(&format!("{E}/info")).await;
    assert_eq!(answer.get("access-control-allow-origin"), Some("*"));
    assert_eq!(answer.get("access-control-allow-credentials"), None);
}

#[tokio::test]
async fn check_6_entropy_differs() {
    let mut client = Server::start().await.client().await;
    let mut seen = HashSet::new();
    for _ in 0..1000 {
        let answer = client.ask(&format!("GET {E}/info"), &[], b"").await;
        let info: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
        seen.insert(info["entropy"].as_u64().unwrap());
    }
    // Two of a thousand draws from 2^32 are equal once in 8,600 runs; three never.
    assert!(seen.len() >= 998, "{}", seen.len());
}

#[tokio::test]
async fn check_7_options_on_info() {
    let server = Server::start().await;
    for origin in ["test", "null"] {
        let answer = server.ask(&format!("OPTIONS {E}/info"), &[("Origin", origin)], b"").await;
        assert_eq!(answer.seen(), (204, ""));
        check_cors(&answer, origin);
        assert_eq!(answer.get("access-control-allow-methods"), Some("OPTIONS, GET"));
        assert!(answer.get("access-control-max-age").unwrap().parse::<u64>().unwrap() > 1_000_000);
        assert_eq!(answer.get("cache-control"), Some("public, max-age=31536000"));
        assert!(httpdate::parse_http_date(answer.get("expires").unwrap()).is_ok());
    }
    let answer = server.ask(&format!("POST {E}/info"), &[], b"").await;
    assert_eq!((answer.head.status, answer.get("allow")), (405, Some("OPTIONS, GET")));
}

#[tokio::test]
async fn check_8_info_tells_the_switches() {
    let server = Server::with(|config| config.base_url = Some("https://node-1.example/ws".into())).await;
    let answer = server.get(&format!("{N}/info")).await;
    let info: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!((&info["websocket"], &info["cookie_needed"]), (&false.into(), &false.into()));
    assert_eq!(info["base_url"], "https://node-1.example/ws");
    let answer = server.get(&format!("{K}/info")).await;
    let info: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!((&info["websocket"], &info["cookie_needed"]), (&true.into(), &true.into()));
    assert_eq!(answer.get("set-cookie"), None);
}

const PAGE: &str = r#"<!DOCTYPE html>
<html>
<head>
  <meta http-equiv="X-UA-Compatible" content="IE=edge" />
  <meta http-equiv="Content-Type" content="text/html; charset=UTF-8" />
  <script src="/sockjs.min.js"></script>
  <script>
    document.domain = document.domain;
    SockJS.bootstrap_iframe();
  </script>
</head>
<body>
  <h2>Don't panic!</h2>
  <p>This is a SockJS hidden iframe. It's used for cross domain magic.</p>
</body>
</html>"#;

#[tokio::test]
async fn check_10_iframe_page() {
    let server = Server::start().await;
    for name in
        ["/iframe.html", "/iframe-a.html", "/iframe-.html", "/iframe-0.1.2abc-dirty.2144.html", "/iframe.html?t=1"]
    {
        let answer = server.get(&format!("{E}{name}")).await;
        assert_eq!(answer.seen(), (200, PAGE), "{name}");
        assert_eq!(answer.get("content-type"), Some("text/html; charset=UTF-8"));
        assert_eq!(answer.get("cache-control"), Some("public, max-age=31536000"));
        assert!(answer.get("expires").is_some() && answer.get("etag").is_some());
        assert_eq!(answer.get("last-modified"), None);
        assert_eq!(answer.get("set-cookie"), None);
        assert_eq!(answer.get("x-frame-options"), None);
    }
}

#[tokio::test]
async fn check_11_iframe_names_that_are_not_there() {
    let server = Server::start().await;
    for name in ["/iframe", "/iframe.htm", "/IFRAME.HTML", "/iframe.HTML", "/iframe.xml", "/iframe-/.html"] {
        assert_eq!(server.get(&format!("{E}{name}")).await.head.status, 404, "{name}");
    }
}

#[tokio::test]
async fn check_12_13_iframe_page_is_fetched_once() {
    let server = Server::start().await;
    let line = format!("GET {E}/iframe.html");
    let etag = server.ask(&line, &[], b"").await.get("etag").unwrap().to_owned();
    assert_eq!(server.ask(&line, &[], b"").await.get("etag"), Some(etag.as_str()));
    for known in [etag.clone(), format!("W/{etag}"), format!("\"other\", {etag}")] {
        let answer = server.ask(&line, &[("If-None-Match", &known)], b"").await;
        assert_eq!(answer.head.status, 304, "{known}");
        assert_eq!(answer.get("content-type"), None);
    }
    assert_eq!(server.ask(&line, &[("If-None-Match", "\"other\"")], b"").await.head.status, 200);
}
