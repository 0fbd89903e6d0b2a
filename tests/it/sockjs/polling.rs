//! Checks 14 to 37, and the JSON of 87 to 89: long polling and sending.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::{E, GO_AWAY, INTERRUPTED, Server, X, check_cors, check_no_cache, fresh, hasty, until};
use crate::support::soon;

#[tokio::test]
async fn check_14_any_server_and_session_names() {
    let server = Server::start().await;
    for path in ["/_/_1/xhr", "/1/2/xhr", "/abcdefgh_i-j%20/x%20/xhr"] {
        assert_eq!(server.post(&format!("{E}{path}"), "").await.seen(), (200, "o\n"), "{path}");
    }
}

#[tokio::test]
async fn check_15_paths_that_are_no_session() {
    let server = Server::start().await;
    for path in ["//xhr", "/a./a/xhr", "/a/a./xhr", "/./xhr", "///xhr"] {
        assert_eq!(server.get(&format!("{E}{path}")).await.head.status, 404, "{path}");
        assert_eq!(server.post(&format!("{E}{path}"), "").await.head.status, 404, "{path}");
    }
}

#[tokio::test]
async fn check_16_the_server_segment_names_nothing() {
    let server = Server::start().await;
    assert_eq!(server.poll(&format!("{E}/000/one")).await, "o\n");
    server.say(&format!("{E}/000/one"), "[\"a\"]").await;
    assert_eq!(server.poll(&format!("{E}/999/one")).await, "a[\"a\"]\n");
}

#[tokio::test]
async fn check_17_a_simple_session() {
    let server = Server::start().await;
    let session = server.open(E).await;
    server.say(&session, "[\"a\"]").await;
    assert_eq!(server.poll(&session).await, "a[\"a\"]\n");
}

#[tokio::test]
async fn check_18_sending_to_an_unknown_session() {
    let server = Server::start().await;
    let session = fresh(E);
    let send = format!("{session}/xhr_send");
    assert_eq!(server.post(&send, "[\"a\"]").await.head.status, 404);
    assert_eq!(server.post(&send, "").await.head.status, 500);
    assert_eq!(server.poll(&session).await, "o\n");
}

#[tokio::test]
async fn check_19_a_second_poll_is_turned_away() {
    let server = Server::start().await;
    let session = server.open(E).await;
    let mut first = server.park(&session).await;
    assert_eq!(server.poll(&session).await, "c[2010,\"Another connection still open\"]\n");
    server.say(&session, "[\"x\"]").await;
    assert_eq!(first.answer().await.seen(), (200, "a[\"x\"]\n"));
}

#[tokio::test]
async fn check_20_close_is_repeated() {
    let server = Server::start().await;
    let session = server.open(X).await;
    assert_eq!(server.poll(&session).await, GO_AWAY);
    assert_eq!(server.poll(&session).await, GO_AWAY);
}

#[tokio::test]
async fn check_21_close_is_repeated_for_the_delay_after_the_last_request() {
    let server = Server::with(hasty).await;
    let session = server.open(X).await;
    let mut asked = 0;
    let begun = Instant::now();
    // Each poll begins the 0.4 s anew: more than twice as long, the answer stays.
    while begun.elapsed() < Duration::from_millis(900) {
        assert_eq!(server.poll(&session).await, GO_AWAY);
        asked += 1;
        tokio::time::sleep(Duration::from_millis(40)).await;
    }
    assert!(asked > 2);
    let closing = server.endpoints[3].counters();
    until(|| closing.sessions_open.load(Ordering::Relaxed) == 0).await;
    assert_eq!(server.poll(&session).await, "o\n");
}

#[tokio::test]
async fn check_22_sends_after_the_close_are_dropped() {
    let server = Server::start().await;
    let session = server.open(X).await;
    assert_eq!(server.poll(&session).await, GO_AWAY);
    server.say(&session, "[\"a\"]").await;
    assert_eq!(server.poll(&session).await, GO_AWAY);
}

#[tokio::test]
async fn check_23_24_headers() {
    let server = Server::start().await;
    let session = fresh(E);
    let answer = server.ask(&format!("POST {session}/xhr"), &[("Origin", "test")], b"").await;
    assert_eq!(answer.seen(), (200, "o\n"));
    assert_eq!(answer.get("content-type"), Some("application/javascript; charset=UTF-8"));
    check_cors(&answer, "test");
    check_no_cache(&answer);
    let answer = server.ask(&format!("POST {session}/xhr_send"), &[("Origin", "test")], b"[\"x\"]").await;
    assert_eq!(answer.seen(), (204, ""));
    assert_eq!(answer.get("content-type"), Some("text/plain; charset=UTF-8"));
    check_cors(&answer, "test");
    check_no_cache(&answer);
}

#[tokio::test]
async fn check_25_26_27_28_bad_payloads_harm_nothing() {
    let server = Server::start().await;
    let session = server.open(E).await;
    for (payload, text) in [
        ("[\"x", "Broken JSON encoding."),
        ("", "Payload expected."),
        ("\"a\"", "Payload expected."),
        ("{}", "Payload expected."),
        ("null", "Payload expected."),
        ("1", "Payload expected."),
        ("[1,null,{\"x\":2}]", "Payload expected."),
    ] {
        assert_eq!(server.post(&format!("{session}/xhr_send"), payload).await.seen(), (500, text), "{payload}");
    }
    server.say(&session, "[\"a\"]").await;
    assert_eq!(server.poll(&session).await, "a[\"a\"]\n");
}

#[tokio::test]
async fn check_29_content_types_mean_nothing() {
    let server = Server::start().await;
    let session = server.open(E).await;
    let kinds = [
        "text/plain",
        "T",
        "application/json",
        "application/xml",
        "text/xml",
        "",
        "text/plain; charset=utf-8",
        "application/x-www-form-urlencoded",
    ];
    for (number, kind) in kinds.iter().enumerate() {
        let body = format!("[\"{number}\"]");
        let line = format!("POST {session}/xhr_send");
        assert_eq!(server.ask(&line, &[("Content-Type", kind)], body.as_bytes()).await.head.status, 204, "{kind}");
    }
    server.say(&session, "[\"last\"]").await;
    assert_eq!(server.poll(&session).await, "a[\"0\",\"1\",\"2\",\"3\",\"4\",\"5\",\"6\",\"7\",\"last\"]\n");
}

#[tokio::test]
async fn check_30_an_empty_array_is_nothing() {
    let server = Server::start().await;
    let session = server.open(E).await;
    server.say(&session, "[]").await;
    server.say(&session, "[\"a\"]").await;
    assert_eq!(server.poll(&session).await, "a[\"a\"]\n");
}

#[tokio::test]
async fn check_31_32_options() {
    let server = Server::start().await;
    for transport in ["xhr", "xhr_send", "xhr_streaming"] {
        let line = format!("OPTIONS {}/{transport}", fresh(E));
        for origin in ["test", "null"] {
            let answer = server.ask(&line, &[("Origin", origin)], b"").await;
            assert_eq!(answer.seen(), (204, ""));
            check_cors(&answer, origin);
            assert_eq!(answer.get("access-control-allow-methods"), Some("OPTIONS, POST"));
            assert_eq!(answer.get("cache-control"), Some("public, max-age=31536000"));
            assert!(answer.get("expires").is_some());
            assert_eq!(answer.get("access-control-allow-headers"), None);
        }
        for (wanted, allowed) in [("a, b, c", Some("a, b, c")), ("", None)] {
            let headers = [("Origin", "test"), ("Access-Control-Request-Headers", wanted)];
            assert_eq!(server.ask(&line, &headers, b"").await.get("access-control-allow-headers"), allowed);
        }
        let answer = server.ask(&line.replace("OPTIONS", "PUT"), &[], b"").await;
        assert_eq!((answer.seen(), answer.get("allow")), ((405, ""), Some("POST, OPTIONS")));
    }
}

#[tokio::test]
async fn check_33_what_waits_comes_as_one_frame() {
    let server = Server::start().await;
    let session = server.open(E).await;
    for message in ["[\"m0\"]", "[\"m1\"]", "[\"m2\"]"] {
        server.say(&session, message).await;
    }
    assert_eq!(server.poll(&session).await, "a[\"m0\",\"m1\",\"m2\"]\n");
}

#[tokio::test]
async fn check_34_a_session_waits_for_its_next_poll_and_then_ends() {
    let server = Server::with(hasty).await;
    let session = server.open(E).await;
    let polled = Instant::now();
    server.say(&session, "[\"a\"]").await;
    let line = format!("{session}/xhr_send");
    soon(async { while server.post(&line, "[]").await.head.status == 204 {} }).await;
    assert!(polled.elapsed() >= Duration::from_millis(400), "{:?}", polled.elapsed());
    // Who comes late is told, and does not find itself in a new session.
    assert_eq!(server.poll(&session).await, INTERRUPTED);
}

#[tokio::test]
async fn check_35_an_idle_poll_is_answered_by_a_heart_beat() {
    let server = Server::with(hasty).await;
    let session = server.open(E).await;
    let begun = Instant::now();
    assert_eq!(server.poll(&session).await, "h\n");
    assert!(begun.elapsed() >= Duration::from_millis(300));
}

#[tokio::test(flavor = "multi_thread")]
async fn check_36_37_an_aborted_poll_ends_the_session() {
    let server = Server::with(|config| config.remember_lost_sessions = Duration::from_millis(300)).await;
    let session = server.open(E).await;
    drop(server.park(&session).await);
    // At once: the news of the end may still be on its way.
    assert_eq!(server.poll(&session).await, INTERRUPTED);
    assert_eq!(server.post(&format!("{session}/xhr_send"), "[\"a\"]").await.head.status, 404);
    soon(async { while server.poll(&session).await == INTERRUPTED {} }).await;
}

#[tokio::test]
async fn check_87_code_points_that_browsers_mangle_come_back_escaped() {
    let server = Server::start().await;
    let session = server.open(E).await;
    let ranges = [0x200c..=0x200f, 0x2028..=0x202f, 0x2060..=0x206f, 0xfff0..=0xffff_u32];
    let points: Vec<u32> = ranges.into_iter().flatten().collect();
    let raw: String = points.iter().filter_map(|point| char::from_u32(*point)).collect();
    server.say(&session, &format!("[\"{raw}\"]")).await;
    let escaped: String = points.iter().map(|point| format!("\\u{point:04x}")).collect();
    assert_eq!(server.poll(&session).await, format!("a[\"{escaped}\"]\n"));
}

#[tokio::test]
async fn check_88_what_the_client_library_escapes_is_read() {
    let server = Server::start().await;
    let session = server.open(E).await;
    let ranges = [0..=0x1f, 0x300..=0x333, 0x5d0..=0x5ff, 0x600..=0x604, 0x17b4..=0x17b5, 0xf900..=0xfad9_u32];
    let points: Vec<u32> = ranges.into_iter().flatten().collect();
    let escaped: String = points.iter().map(|point| format!("\\u{point:04x}")).collect();
    server.say(&session, &format!("[\"{escaped}\"]")).await;
    let answer = server.poll(&session).await;
    let back: Vec<String> = serde_json::from_str(answer.trim_end().strip_prefix('a').unwrap()).unwrap();
    assert_eq!(back, [points.iter().filter_map(|point| char::from_u32(*point)).collect::<String>()]);
}

#[tokio::test]
async fn check_89_surrogates() {
    let server = Server::start().await;
    let session = server.open(E).await;
    server.say(&session, "[\"\\ud83d\\ude00\",\"\\ud800\"]").await;
    assert_eq!(server.poll(&session).await, "a[\"\\ud83d\\ude00\",\"\\ufffd\"]\n");
}
