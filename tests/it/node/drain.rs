//! The end of a node: everybody is told, nothing is lost, and it ends in time.

use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::support::client::{Client, body, header};
use crate::support::process::{Launch, Process, ask, serve, until};
use crate::support::tcp::Watcher;
use crate::support::ws::{Event, Socket};

/// Until the node has noticed the signal.
fn drains(server: &Process) {
    until(|| server.errors().contains("draining").then_some(()), || "it does not drain".to_owned());
}

fn serve_with_log(config: &str) -> Process {
    Launch::new(&[]).config(config).env("STAMPEDE__LOG__FILTER", "info").serve()
}

#[test]
fn either_signal_ends_it_in_order() {
    for signal in ["TERM", "INT"] {
        let server = serve("");
        let mut clients: Vec<Client> =
            (0..15).map(|_| Client::connect(server.address, "/ws", "1.2", &["heart-beat:0,0"])).collect();
        let mut not_yet = Client::open(server.address, "/ws");
        let mut sockjs = Socket::open(server.address, "/ws/000/drained/websocket", "");
        assert_eq!(sockjs.next(), Event::Text(b"o".to_vec()));
        server.signal(signal);
        for client in &mut clients {
            client.closed(1001);
        }
        let Event::Text(told) = sockjs.next() else { panic!("no SockJS close frame") };
        assert!(told.starts_with(b"c[1001,"), "{}", String::from_utf8_lossy(&told));
        let last = not_yet.socket.next();
        assert!(matches!(last, Event::Closed(1001, _) | Event::Lost), "{last:?}");
        let (status, errors) = server.ended();
        assert_eq!(status.code(), Some(0), "SIG{signal}: {errors}");
    }
}

#[test]
fn readiness_goes_first_and_whoever_stays_is_left_behind_in_time() {
    let server = serve_with_log("[server]\nshutdown_grace = '4s'\n");
    let mut stubborn: Vec<Client> =
        (0..15).map(|_| Client::connect(server.address, "/ws", "1.2", &["heart-beat:0,0"])).collect();
    stubborn.iter_mut().for_each(|client| client.socket.mute = true);
    // A connection that is kept open asks before and after.
    let mut watcher = Watcher::new(server.address);
    assert_eq!(watcher.ready(), Some(200));
    let since = Instant::now();
    server.signal("TERM");
    drains(&server);
    // The connection may be closed behind the next answer, or before it; but nothing says that it is ready.
    assert!(matches!(watcher.ready(), Some(503) | None));
    assert_eq!(ask_again(&server), None, "nobody new is let in");
    let (status, errors) = server.ended();
    assert_eq!(status.code(), Some(0), "{errors}");
    assert!(since.elapsed() < Duration::from_secs(8), "{errors}");
    drop(stubborn);
}

/// What a new connection learns; `None` when there is none.
fn ask_again(server: &Process) -> Option<u16> {
    let stream = std::net::TcpStream::connect(server.address).ok()?;
    drop(stream);
    Some(ask(server.address, "GET /ready HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").0)
        .filter(|status| *status != 0)
}

#[test]
fn what_was_sent_before_the_end_is_delivered_or_kept() {
    let data = TempDir::new().unwrap();
    let config = format!(
        "[server]\ndata_dir = '{}'\n[[destination]]\nmatch = '/queue/kept/**'\nkeep = {{}}\n",
        data.path().display()
    );
    let server = serve_with_log(&config);
    let mut sender = Client::connect(server.address, "/ws", "1.2", &["heart-beat:0,0"]);
    let frames: String = (0..50).map(|n| format!("SEND\ndestination:/queue/kept/a\nreceipt:{n}\n\n{n}\0")).collect();
    sender.send(&frames);
    // The first receipt says that it reads; the rest is on its way.
    sender.expect("RECEIPT");
    server.signal("TERM");
    let mut confirmed = 1;
    loop {
        match sender.socket.next() {
            Event::Text(frame) if frame.starts_with(b"RECEIPT") => confirmed += 1,
            Event::Closed(1001, _) => break,
            other => panic!("{other:?}"),
        }
    }
    let (status, errors) = server.ended();
    assert_eq!(status.code(), Some(0), "{errors}");
    assert!(errors.contains("stopped") && !errors.contains("did not close in order"), "{errors}");

    let server = serve(&config);
    let mut receiver = Client::connect(server.address, "/ws", "1.2", &["heart-beat:0,0"]);
    receiver.send("SUBSCRIBE\nid:0\ndestination:/queue/kept/a\n\n\0");
    for n in 0..confirmed {
        let message = receiver.expect("MESSAGE");
        assert_eq!(body(&message), n.to_string());
        assert_eq!(header(&message, "redelivered"), None, "{message}");
    }
}
