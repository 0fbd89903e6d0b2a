//! `stampede subscribe`.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::peer::{header, peer};
use super::{CONFIG, Tool, send, server};
use crate::support::process;

#[test]
fn people_see_title_headers_and_body() {
    let (_server, url) = server();
    let subscriber = Tool::subscribe(&url, "/topic/people", &["--count=1"]);
    send(&url, "/topic/people", &["--header=a:b", "--quiet", "{\"n\":1}\n\x1b[2J"], b"").check(0, "");
    let ended = subscriber.ends();
    ended.check(0, "");
    let output = String::from_utf8(ended.output).unwrap();
    let (title, rest) = output.split_once('\n').unwrap();
    let words: Vec<&str> = title.split(' ').collect();
    assert!(words[0].ends_with('Z') && words[1] == "/topic/people" && !words[2].is_empty(), "{title}");
    // No terminal: neither colours nor another shape for JSON.
    assert_eq!(rest, "  a: b\n  subscription: 0\n  content-length: 12\n\n  {\"n\":1}\n  \\x1b[2J\n\n");
}

#[test]
fn several_destinations_have_subscriptions_of_their_own() {
    let (_server, url) = server();
    let subscriber = Tool::subscribe(&url, "/topic/several/a", &["/topic/several/*/x", "--json", "--count=2"]);
    subscriber.says("subscribed to /topic/several/*/x");
    for destination in ["/topic/several/a", "/topic/several/b/x"] {
        send(&url, destination, &["--quiet", "1"], b"").check(0, "");
    }
    let (first, second) = (subscriber.json(), subscriber.json());
    assert_eq!((&first["destination"], &first["subscription"]), (&"/topic/several/a".into(), &"0".into()));
    assert_eq!((&second["destination"], &second["subscription"]), (&"/topic/several/b/x".into(), &"1".into()));
    assert!(first["message_id"].is_string() && first["message_id"] != second["message_id"]);
    subscriber.ends().check(0, "");
}

#[test]
fn what_was_printed_of_a_work_queue_does_not_come_again() {
    let (_server, url) = server();
    for (version, mode) in
        [("1.0", "client"), ("1.1", "client-individual"), ("1.2", "client-individual"), ("1.2", "client")]
    {
        let queue = format!("/queue/work/{mode}-{version}");
        send(&url, &queue, &["--lines", "--quiet"], b"1\n2\n3\n4\n").check(0, "");
        let take = |count: &str| {
            let (version, ack) = (format!("--version={version}"), format!("--ack={mode}"));
            let arguments =
                ["subscribe", &url, &queue, &version, &ack, "--body", "--quiet", &format!("--count={count}")];
            let ended = Tool::start(&arguments).ends();
            ended.check(0, "");
            String::from_utf8(ended.output).unwrap()
        };
        assert_eq!(take("1"), "1\n", "{version} {mode}");
        // Neither what was printed, nor less than what was not.
        assert_eq!(take("3"), "2\n3\n4\n", "{version} {mode}");
        send(&url, &queue, &["--quiet", "5"], b"").check(0, "");
        assert_eq!(take("1"), "5\n", "{version} {mode}");
    }
}

#[test]
fn a_signal_ends_it_in_order() {
    let server = process::serve(CONFIG);
    let url = format!("ws://{}/ws", server.address);
    for (at, signal) in ["INT", "TERM"].into_iter().enumerate() {
        let subscriber = Tool::subscribe(&url, "/topic/a", &[]);
        subscriber.signal(signal);
        subscriber.ends().check(0, "");
        server.until_metric("stampede_sessions_closed_total{reason=\"disconnected\"}", at as u64 + 1);
    }
    assert_eq!(server.metric("stampede_sessions_open"), 0);
}

#[test]
fn who_has_read_enough_may_go() {
    let (_server, url) = server();
    let mut subscriber = Tool::subscribe(&url, "/topic/enough", &["--body"]);
    send(&url, "/topic/enough", &["--quiet", "1"], b"").check(0, "");
    assert_eq!(subscriber.line(), "1");
    // The thread that reads for the test goes when nobody wants its lines, with the line that is next.
    subscriber.output = std::sync::mpsc::channel().1;
    let ended = process::until(
        || {
            send(&url, "/topic/enough", &["--quiet", "2"], b"").check(0, "");
            subscriber.child.try_wait().unwrap()
        },
        || "it does not end".to_owned(),
    );
    assert_eq!(ended.code(), Some(0));
    subscriber.ends().check(0, "");
}

#[test]
fn how_the_server_ended_it_is_said() {
    let node = process::serve(CONFIG);
    let url = format!("ws://{}/ws", node.address);
    let subscriber = Tool::subscribe(&url, "/topic/a", &[]);
    node.signal("TERM");
    subscriber.ends().says(1, "stampede: the server closed the connection with code 1001");
    let (_server, url) = server();
    let refused = Tool::start(&["subscribe", &url, "/nowhere/x"]);
    refused.ends().says(1, "stampede: the server refused: SUBSCRIBE to \"/nowhere/x\"");
    Tool::start(&["subscribe", "ws://127.0.0.1:1/ws", "/topic/a"]).ends().says(2, "127.0.0.1:1");
}

#[test]
fn a_server_without_receipts_is_believed_after_a_while() {
    let (url, playing) = peer(|mut server| {
        let connect = server.connected("version:1.1\n");
        let subscribe = server.frame().unwrap();
        // A RECEIPT that comes too late, and a message.
        let id = header(&subscribe, "id").unwrap().to_owned();
        move || {
            server.say(&format!("RECEIPT\nreceipt-id:{}\n\n", header(&subscribe, "receipt").unwrap()));
            server.say(&format!("MESSAGE\ndestination:/a\nsubscription:{id}\nmessage-id:m\n\nx"));
            let (ack, bye) = (server.frame().unwrap(), server.frame().unwrap());
            server.say(&format!("RECEIPT\nreceipt-id:{}\n\n", header(&bye, "receipt").unwrap()));
            [connect, subscribe.clone(), ack, bye]
        }
    });
    let subscriber = Tool::start(&[
        "subscribe",
        &url,
        "/a",
        "--settle=100ms",
        "--count=1",
        "--ack=client-individual",
        "--header=selector:a > 1",
        "--body",
        "--vhost=v",
        "--login=ann",
        "--passcode=bee",
        "--connect-header=x:y: z",
    ]);
    subscriber.says("no RECEIPT: /a is taken as subscribed to");
    let go_on = playing.join().unwrap();
    let [connect, subscribe, ack, bye] = go_on();
    assert_eq!(
        connect,
        "CONNECT\naccept-version:1.0,1.1,1.2\nhost:v\nheart-beat:10000,10000\nlogin:ann\npasscode:bee\nx:y: z\n\n"
    );
    assert_eq!(subscribe, "SUBSCRIBE\nid:0\ndestination:/a\nack:client-individual\nreceipt:0\nselector:a > 1\n\n");
    assert_eq!(ack, "ACK\nsubscription:0\nmessage-id:m\n\n");
    assert!(bye.starts_with("DISCONNECT\n"), "{bye}");
    let ended = subscriber.ends();
    ended.check(0, "");
    assert_eq!(ended.output, b"x\n");
}

#[test]
fn heart_beats_go_both_ways() {
    let (url, playing) = peer(|mut server| {
        server.connected("version:1.2\nheart-beat:100,100\n");
        let subscribe = server.frame().unwrap();
        server.say(&format!("RECEIPT\nreceipt-id:{}\n\n", header(&subscribe, "receipt").unwrap()));
        for _ in 0..5 {
            server.heart_beat();
            server.beat();
        }
        // From here on the server is silent, but does not end the connection.
        while server.frame().is_some() {}
    });
    let subscriber = Tool::subscribe(&url, "/a", &["--heart-beat=200"]);
    let ended = subscriber.ends();
    ended.says(1, "although the server promised heart-beats");
    playing.join().unwrap();
}

#[test]
fn output_that_is_stuck_stops_the_reading_and_not_the_heart() {
    const MESSAGES: usize = 400;
    let written = Arc::new(AtomicUsize::new(0));
    let so_far = Arc::clone(&written);
    let (url, playing) = peer(move |mut server| {
        server.connected("version:1.2\nheart-beat:0,200\n");
        server.frame().unwrap();
        let mut writer = server.writer();
        let writing = thread::spawn(move || {
            let head = "MESSAGE\ndestination:/a\nsubscription:0\nmessage-id:m\n\n";
            for _ in 0..MESSAGES {
                writer.say(&[head, &"x".repeat(256 * 1024)].concat());
                so_far.fetch_add(1, Ordering::Relaxed);
            }
            writer
        });
        (0..5).for_each(|_| server.heart_beat());
        // Without a bound all would have been read within this second.
        assert!(written.load(Ordering::Relaxed) < MESSAGES / 2 && !writing.is_finished());
        move || {
            let bye = server.frame().unwrap();
            writing.join().unwrap().say(&format!("RECEIPT\nreceipt-id:{}\n\n", header(&bye, "receipt").unwrap()));
            assert_eq!(server.frame(), None);
        }
    });
    let subscriber = Tool::start_unread(&["subscribe", &url, "/a", "--body", "--heart-beat=200", "--quiet"]);
    let go_on = playing.join().unwrap();
    subscriber.signal("INT");
    go_on();
    subscriber.ends().check(0, "");
}

#[test]
fn a_version_that_was_not_offered_is_not_spoken() {
    let (url, playing) = peer(|mut server| server.connected("version:1.1\n"));
    let ended = Tool::start(&["subscribe", &url, "/a", "--version=1.2"]).ends();
    ended.check(1, "stampede: the server speaks STOMP 1.1, it was offered 1.2\n");
    assert!(playing.join().unwrap().contains("\naccept-version:1.2\n"));
}

#[test]
fn a_body_beyond_the_limit_is_not_taken() {
    let (url, playing) = peer(|mut server| {
        server.connected("version:1.2\n");
        server.frame().unwrap();
        server.say("MESSAGE\ndestination:/a\nsubscription:0\nmessage-id:m\ncontent-length:2000000\n\n");
    });
    let ended = Tool::start(&["subscribe", &url, "/a", "--max-body=1"]).ends();
    ended.says(1, "what the server sent cannot be read: ");
    ended.says(1, "1048576");
    playing.join().unwrap();
}
