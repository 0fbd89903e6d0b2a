//! Checks 57 to 68: JSONP, and the cookie for load balancers.

use super::{E, K, NO_CACHE, Server, X, fresh, hasty};

const FORM: (&str, &str) = ("Content-Type", "application/x-www-form-urlencoded");

impl Server {
    async fn script(&self, session: &str) -> String {
        self.get(&format!("{session}/jsonp?c=%63allback")).await.body
    }

    async fn submit(&self, session: &str, headers: &[(&str, &str)], body: &str) -> (u16, String) {
        let answer = self.ask(&format!("POST {session}/jsonp_send"), headers, body.as_bytes()).await;
        (answer.head.status, answer.body)
    }
}

fn ok() -> (u16, String) {
    (200, "ok".into())
}

#[tokio::test]
async fn check_57_a_simple_session() {
    let server = Server::start().await;
    let session = fresh(E);
    let answer = server.get(&format!("{session}/jsonp?c=%63allback")).await;
    assert_eq!(answer.seen(), (200, "/**/callback(\"o\");\r\n"));
    assert_eq!(answer.get("content-type"), Some("application/javascript; charset=UTF-8"));
    assert_eq!(answer.get("cache-control"), Some(NO_CACHE));
    assert_eq!(answer.get("x-content-type-options"), Some("nosniff"));
    let send = server.ask(&format!("POST {session}/jsonp_send"), &[FORM], b"d=%5B%22x%22%5D").await;
    assert_eq!(send.seen(), (200, "ok"));
    assert_eq!(send.get("content-type"), Some("text/plain; charset=UTF-8"));
    assert_eq!(send.get("cache-control"), Some(NO_CACHE));
    assert_eq!(server.script(&session).await, "/**/callback(\"a[\\\"x\\\"]\");\r\n");
}

#[tokio::test]
async fn check_58_callbacks() {
    let server = Server::start().await;
    let answer = server.get(&format!("{}/jsonp", fresh(E))).await;
    assert_eq!(answer.seen(), (500, "\"callback\" parameter required"));
    for callback in ["%20", "*", "abc(", "abc%28", &"x".repeat(33)] {
        let answer = server.get(&format!("{}/jsonp?c={callback}", fresh(E))).await;
        assert_eq!(answer.seen(), (500, "invalid \"callback\" parameter"), "{callback}");
    }
    assert_eq!(server.get(&format!("{}/jsonp?callback={}", fresh(E), "x".repeat(32))).await.head.status, 200);
}

#[tokio::test]
async fn check_59_62_bad_and_empty_payloads() {
    let server = Server::start().await;
    let session = fresh(E);
    server.script(&session).await;
    let broken = (500, "Broken JSON encoding.".into());
    assert_eq!(server.submit(&session, &[FORM], "d=%5B%22x").await, broken);
    for body in ["", "d=", "p=p"] {
        assert_eq!(server.submit(&session, &[FORM], body).await, (500, "Payload expected.".into()), "{body}");
    }
    assert_eq!(server.submit(&session, &[FORM], "d=%5B%5D").await, ok());
    assert_eq!(server.submit(&session, &[FORM], "d=%5B%22b%22%5D").await, ok());
    assert_eq!(server.script(&session).await, "/**/callback(\"a[\\\"b\\\"]\");\r\n");
}

#[tokio::test]
async fn check_60_61_plain_text_is_not_url_decoded_and_forms_are() {
    let server = Server::start().await;
    let session = fresh(E);
    server.script(&session).await;
    assert_eq!(server.submit(&session, &[("Content-Type", "text/plain")], "[\"%61bc\"]").await, ok());
    assert_eq!(server.submit(&session, &[], "[\"%61\"]").await, ok());
    assert_eq!(server.submit(&session, &[FORM], "i=1&d=%5B%22a+b%2Bc%22%5D").await, ok());
    assert_eq!(server.script(&session).await, "/**/callback(\"a[\\\"%61bc\\\",\\\"%61\\\",\\\"a b+c\\\"]\");\r\n");
}

#[tokio::test]
async fn check_63_close_is_repeated() {
    let server = Server::start().await;
    let session = fresh(X);
    assert_eq!(server.script(&session).await, "/**/callback(\"o\");\r\n");
    for _ in 0..2 {
        assert_eq!(server.script(&session).await, "/**/callback(\"c[3000,\\\"Go away!\\\"]\");\r\n");
    }
}

#[tokio::test]
async fn check_64_sending_to_an_unknown_session() {
    let server = Server::start().await;
    assert_eq!(server.submit(&fresh(E), &[FORM], "d=%5B%5D").await.0, 404);
}

#[tokio::test]
async fn check_65_an_idle_script_is_answered_by_a_heart_beat() {
    let server = Server::with(hasty).await;
    let session = fresh(E);
    server.script(&session).await;
    assert_eq!(server.script(&session).await, "/**/callback(\"h\");\r\n");
}

#[tokio::test]
async fn check_66_67_the_cookie_for_load_balancers() {
    let server = Server::with(|config| config.session_cookie_attributes = "; Secure; SameSite=None".into()).await;
    let with = |value: &str| format!("JSESSIONID={value}; path=/; Secure; SameSite=None");
    for (method, transport) in [
        ("POST", "xhr"),
        ("POST", "xhr_streaming"),
        ("GET", "eventsource"),
        ("GET", "htmlfile?c=x"),
        ("GET", "jsonp?c=x"),
        ("POST", "jsonp_send"),
        ("POST", "xhr_send"),
        ("OPTIONS", "xhr"),
    ] {
        for (headers, value) in [(&[][..], "dummy"), (&[("Cookie", "a=b; JSESSIONID=abcdef; c=d")], "abcdef")] {
            let mut client = server.client().await;
            client.send(&format!("{method} {}/{transport}", fresh(K)), headers, b"").await;
            assert_eq!(client.head().await.get("set-cookie"), Some(with(value).as_str()), "{transport}");
        }
    }
    assert_eq!(server.get(K).await.get("set-cookie"), None);
    assert_eq!(server.get(&format!("{K}/iframe.html")).await.get("set-cookie"), None);
}

#[tokio::test]
async fn check_68_no_cookie_unless_asked_for() {
    let server = Server::start().await;
    for line in [
        format!("GET {E}"),
        format!("GET {E}/info"),
        format!("GET {E}/iframe.html"),
        format!("POST {}/xhr", fresh(E)),
        format!("POST {}/xhr_streaming", fresh(E)),
        format!("POST {}/xhr_send", fresh(E)),
        format!("GET {}/eventsource", fresh(E)),
        format!("GET {}/htmlfile?c=x", fresh(E)),
        format!("GET {}/jsonp?c=x", fresh(E)),
        format!("POST {}/jsonp_send", fresh(E)),
        format!("GET {}/websocket", fresh(E)),
    ] {
        let mut client = server.client().await;
        client.send(&line, &[("Cookie", "JSESSIONID=abcdef")], b"").await;
        assert_eq!(client.head().await.get("set-cookie"), None, "{line}");
    }
}
