//! `stampede send`.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::peer::{header, peer};
use super::{SERVER, Tool, send, server};
use crate::support::process::{self, Launch};

#[test]
fn a_message_goes_over_every_carrier() {
    let server = SERVER.get();
    for (scheme, carrier) in [
        ("ws", "websocket"),
        ("http", "sockjs"),
        ("http", "xhr-streaming"),
        ("http", "xhr-polling"),
        ("http", "eventsource"),
        ("http", "htmlfile"),
        ("http", "jsonp-polling"),
    ] {
        let url = format!("{scheme}://{}/ws", server.address);
        let (over, destination) = (format!("--over={carrier}"), format!("/topic/over-{carrier}"));
        let subscriber = Tool::subscribe(&url, &destination, &[&over, "--json", "--count=2"]);
        send(&url, &destination, &[&over, "ä\u{1f600}\\\""], b"").check(0, "stampede: 1 message confirmed\n");
        send(&url, &destination, &[&over], b"from\0standard input\n").check(0, "stampede: 1 message confirmed\n");
        let message = subscriber.json();
        assert_eq!((&message["destination"], &message["body"]), (&destination.into(), &"ä\u{1f600}\\\"".into()));
        assert_eq!(subscriber.json()["body"], "from\0standard input\n");
        subscriber.ends().check(0, "");
    }
}

#[test]
fn headers_arrive_as_they_were_given() {
    let (_server, url) = server();
    let subscriber = Tool::subscribe(&url, "/topic/headers", &["--json", "--count=1"]);
    let headers =
        ["--header=time:12:30:00", "--header=note:a\nb\\c\r: d", "--header", "empty:", "--content-type", "text/x"];
    send(&url, "/topic/headers", &[&headers[..], &["--quiet", "x"]].concat(), b"").check(0, "");
    let message = subscriber.json();
    for (name, value) in [("time", "12:30:00"), ("note", "a\nb\\c\r: d"), ("empty", ""), ("content-type", "text/x")] {
        assert_eq!(message["headers"][name], value, "{message}");
    }
    subscriber.ends().check(0, "");
}

#[test]
fn what_a_version_cannot_say_is_refused() {
    let (_server, url) = server();
    let refused = |version: &str, header: &str| {
        let ended = send(&url, "/topic/said", &["--version", version, "--header", header, "x"], b"");
        ended.check(2, &format!("stampede: the header \"a\" has a line end for which STOMP {version} has no form\n"));
    };
    refused("1.0", "a:x\ny");
    refused("1.1", "a:x\ry");
    for (version, header) in [("1.0", "a:x:y"), ("1.1", "a:x\ny"), ("1.2", "a:x\r\ny")] {
        let sent = send(&url, "/topic/said", &["--version", version, "--header", header, "x"], b"");
        sent.check(0, "stampede: 1 message confirmed\n");
    }
}

#[test]
fn octets_that_are_no_text_arrive_unchanged() {
    let (_server, url) = server();
    let octets: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(&octets).unwrap();
    let name = file.path().to_str().unwrap();
    let json = Tool::subscribe(&url, "/topic/octets", &["--json", "--count=1"]);
    let body = Tool::subscribe(&url, "/topic/octets", &["--body", "--count=1"]);
    send(&url, "/topic/octets", &["--file", name], b"").check(0, "stampede: 1 message confirmed\n");
    let message = json.json();
    let read = BASE64_STANDARD.decode(message["body_base64"].as_str().unwrap()).unwrap();
    assert!(read == octets && message["body"].is_null());
    assert!(body.ends().output == [&octets[..], b"\n"].concat());
    // SockJS has no form for them.
    let refused = send(&url, "/topic/octets", &["--file", name, "--over=sockjs"], b"");
    refused.says(2, "the body is no UTF-8, and SockJS carries nothing else");
}

#[test]
fn lines_are_messages_in_order() {
    const LINES: usize = 10_000;
    let server = process::serve("outbox.send_buffer_size_limit = \"64MiB\"");
    let url = format!("ws://{}/ws", server.address);
    let subscriber = Tool::subscribe(&url, "/topic/lines", &["--body", "--count=10000"]);
    let lines: String = (0..LINES).map(|line| format!("line {line}\n")).collect();
    let sent = send(&url, "/topic/lines", &["--lines", "--in-flight=100"], lines.as_bytes());
    sent.check(0, "stampede: 10000 messages confirmed\n");
    let ended = subscriber.ends();
    ended.check(0, "");
    assert!(ended.output == lines.as_bytes());
}

#[test]
fn a_line_is_sent_when_it_is_read_and_not_at_the_end() {
    let (_server, url) = server();
    let subscriber = Tool::subscribe(&url, "/topic/typed", &["--body"]);
    let mut sender = Tool::start(&["send", &url, "/topic/typed", "--lines"]);
    for line in ["one", "", "three"] {
        sender.write(format!("{line}\n").as_bytes());
        assert_eq!(subscriber.line(), line);
    }
    sender.write(b"without an end");
    sender.ends().check(0, "stampede: 4 messages confirmed\n");
    assert_eq!(subscriber.line(), "without an end");
}

#[test]
fn what_the_server_refuses_is_said() {
    let (_server, url) = server();
    let refused = send(&url, "/nowhere/x", &["x"], b"");
    refused.check(1, "stampede: the server refused: SEND to \"/nowhere/x\": no such destination is configured\n");
    let refused = send(&url, "/nowhere/x", &["--lines"], b"1\n2\n3\n");
    refused.says(1, "the server refused: SEND to \"/nowhere/x\"");
    refused.says(1, "\n0 messages confirmed, 3 not");
}

#[test]
fn an_error_is_told_with_its_body_and_drives_no_terminal() {
    let (url, playing) = peer(|mut server| {
        server.connected("version:1.2\n");
        server.frame().unwrap();
        server.say("ERROR\nmessage:no\\n\x1b[31m\n\nbecause\n\x07of that\n");
    });
    let refused = send(&url, "/a", &["x"], b"");
    refused.check(1, "stampede: the server refused: no\\n\\x1b[31m\n  because\n  \\x07of that\n");
    playing.join().unwrap();
}

#[test]
fn a_login_that_is_refused_is_no_missing_server() {
    let hash = Launch::new(&["hash-password"]).input("bee\n").run().output;
    let server = process::serve(&format!(
        "[permissions]\nprofile = \"spring\"\n[identity]\nanonymous = \"never\"\n[[identity.user]]\nname = \"ann\"\npassword_hash = \"{}\"\n",
        hash.trim()
    ));
    let url = format!("ws://{}/ws", server.address);
    let good = ["--login=ann", "--passcode=bee", "x"];
    send(&url, "/topic/a", &good, b"").check(0, "stampede: 1 message confirmed\n");
    for wrong in [&["--login=ann", "--passcode=wasp", "x"][..], &["x"]] {
        send(&url, "/topic/a", wrong, b"").says(1, "stampede: the server refused: ");
    }
    let subscriber = Tool::start(&["subscribe", &url, "/topic/a", "--login=ann", "--passcode=wasp"]);
    subscriber.ends().says(1, "stampede: the server refused: ");
}

#[test]
fn what_cannot_be_asked_has_a_status_of_its_own() {
    send("ws://127.0.0.1:1/ws", "/a", &["x"], b"").says(2, "127.0.0.1:1");
    send("gopher://x", "/a", &["x"], b"").says(2, "stomp+ssl://");
    send("ws://127.0.0.1:1/ws", "/a", &["--over=tcp", "x"], b"").says(2, "name one with tcp://");
    send("ws://127.0.0.1:1/ws", "/a", &["--file=no/such/file"], b"").says(2, "no/such/file");
    // Servers take the first of equal names, so these would mean nothing.
    for header in ["receipt:1", "destination:/b", "content-length:3"] {
        send("ws://127.0.0.1:1/ws", "/a", &["--header", header, "x"], b"").says(2, "is set by the command itself");
    }
    let (_server, url) = server();
    send(&url.replace("/ws", "/not-there"), "/a", &["x"], b"").says(2, "404");
}

#[test]
fn so_many_may_be_unconfirmed_and_no_more() {
    let (url, playing) = peer(|mut server| {
        server.connected("version:1.2\n");
        let receipt = |frame: Option<String>| header(&frame.unwrap(), "receipt").unwrap().to_owned();
        let mut waiting: Vec<String> = (0..3).map(|_| receipt(server.frame())).collect();
        let mut confirmed = 0;
        // Newest first: the order of receipts means nothing. Each makes room for one.
        while let Some(newest) = waiting.pop() {
            server.say(&format!("RECEIPT\nreceipt-id:{newest}\n\n"));
            confirmed += 1;
            if confirmed + waiting.len() < 10 {
                waiting.push(receipt(server.frame()));
            }
        }
        let bye = server.frame().unwrap();
        assert!(bye.starts_with("DISCONNECT\n"), "{bye}");
        server.say(&format!("RECEIPT\nreceipt-id:{}\n\n", header(&bye, "receipt").unwrap()));
        confirmed
    });
    let lines: String = (0..10).map(|line| format!("{line}\n")).collect();
    send(&url, "/a", &["--lines", "--in-flight=3"], lines.as_bytes()).check(0, "stampede: 10 messages confirmed\n");
    assert_eq!(playing.join().unwrap(), 10);
    // One that confirms nothing gets no more than these.
    let (url, playing) = peer(|mut server| {
        server.connected("version:1.2\n");
        std::iter::from_fn(|| server.frame()).count()
    });
    let waited = send(&url, "/a", &["--lines", "--in-flight=3", "--patience=300ms"], lines.as_bytes());
    waited.says(1, "no RECEIPT within 300ms: --no-receipt is for servers that give none");
    waited.says(1, "0 messages confirmed, 3 not");
    assert_eq!(playing.join().unwrap(), 3);
}

#[test]
fn servers_without_receipts_can_be_sent_to() {
    let (_server, url) = server();
    let subscriber = Tool::subscribe(&url, "/topic/unconfirmed", &["--body", "--count=3"]);
    let sent = send(&url, "/topic/unconfirmed", &["--lines", "--no-receipt"], b"1\n2\n3\n");
    sent.check(0, "stampede: 3 messages sent; DISCONNECT behind them was confirmed\n");
    assert_eq!(subscriber.ends().output, b"1\n2\n3\n");
    // One that ends the connection instead.
    let (url, playing) = peer(|mut server| {
        server.connected("");
        let frames: Vec<String> = std::iter::from_fn(|| server.frame()).take(2).collect();
        frames
    });
    let sent = send(&url, "/a", &["--no-receipt", "--header=b:c", "x"], b"");
    sent.check(0, "stampede: 1 message sent; nothing was confirmed\n");
    let frames = playing.join().unwrap();
    assert_eq!(frames[0], "SEND\ndestination:/a\nb:c\ncontent-length:1\n\nx");
    assert!(frames[1].starts_with("DISCONNECT\n"), "{frames:?}");
}

#[test]
fn who_does_not_read_makes_the_sender_wait() {
    const LINES: usize = 400;
    // The buffers of the operating system hold some dozens of these.
    let line = [&[b'x'; 256 * 1024][..], b"\n"].concat();
    let (url, playing) = peer(|mut server| {
        server.connected("version:1.2\n");
        move || std::iter::from_fn(|| server.frame()).take_while(|frame| frame.starts_with("SEND")).count()
    });
    let mut sender = Tool::start(&["send", &url, "/a", "--lines", "--no-receipt"]);
    let read_on = playing.join().unwrap();
    let written = Arc::new(AtomicUsize::new(0));
    let so_far = Arc::clone(&written);
    let writing = thread::spawn(move || {
        for _ in 0..LINES {
            sender.write(&line);
            so_far.fetch_add(1, Ordering::Relaxed);
        }
        sender
    });
    let written = || written.load(Ordering::Relaxed);
    process::until(|| (written() >= 64).then_some(()), || format!("it takes no more than {}", written()));
    // It holds some, and then no more: without a bound it would take all of them at once.
    let until = Instant::now() + Duration::from_millis(500);
    while Instant::now() < until {
        assert!(written() < LINES / 2, "nobody reads them, and it takes {}", written());
        thread::yield_now();
    }
    let reading = thread::spawn(read_on);
    writing.join().unwrap().ends().says(0, "400 messages sent");
    assert_eq!(reading.join().unwrap(), LINES);
}
