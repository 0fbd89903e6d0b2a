//! Checks 98 and 99, and what an application learns: sessions that end badly leave nothing behind.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use stampede::config::sockjs::SockJsConfig;
use stampede::session::link::{Application, Gone, Handshake, Input, Link, OutFrame};
use stampede::transport::websocket::WsSettings;
use stampede::transport::{Endpoint, HttpSettings, serve_http};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{E, Server, fresh, hasty, until};
use crate::support::http::Client;
use crate::support::soon;

#[tokio::test(flavor = "multi_thread")]
async fn check_98_ten_thousand_aborted_sessions_leave_nothing() {
    let server = Server::with(|config| config.remember_lost_sessions = Duration::from_millis(500)).await;
    for _ in 0..50 {
        let mut clients = Vec::new();
        for _ in 0..200 {
            let mut client = server.client().await;
            client.send(&format!("POST {}/xhr_streaming", fresh(E)), &[], b"").await;
            clients.push(client);
        }
        for client in &mut clients {
            assert_eq!(client.head().await.status, 200);
        }
    }
    let counters = server.echo_counters();
    until(|| counters.sessions_open.load(Ordering::Acquire) == 0).await;
    assert_eq!(counters.aborted.load(Ordering::Relaxed), 10_000);
    assert_eq!(counters.receivers_attached.load(Ordering::Relaxed), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn check_99_a_receiver_that_never_reads_ends_its_session_only() {
    let server = Server::with(|config| {
        config.send_time_limit = Duration::from_millis(500);
        config.stream_bytes_limit = usize::MAX;
    })
    .await;
    let (deaf, other) = (fresh(E), fresh(E));
    let mut client = server.deaf_stream(&deaf).await;
    assert_eq!(server.poll(&other).await, "o\n");
    let message = format!("[\"{}\"]", "x".repeat(100_000));
    let mut accepted = 0;
    soon(async {
        while server.post(&format!("{deaf}/xhr_send"), &message).await.head.status == 204 {
            accepted += 1;
        }
    })
    .await;
    server.say(&other, "[\"a\"]").await;
    assert_eq!(server.poll(&other).await, "a[\"a\"]\n");
    let counters = server.echo_counters();
    until(|| counters.stalled.load(Ordering::Relaxed) == 1).await;
    assert!(accepted > 0);
    // Its connection is broken off, not only forgotten.
    client.rest().await;
}

impl Server {
    /// A streaming receiver that reads nothing.
    async fn deaf_stream(&self, session: &str) -> Client {
        let mut client = self.client().await;
        client.send(&format!("POST {session}/xhr_streaming"), &[], b"").await;
        let counters = self.echo_counters();
        until(|| counters.receivers_attached.load(Ordering::Relaxed) == 1).await;
        client
    }
}

/// Does what the test says, and tells how its connections end.
struct Probe {
    work: Work,
    ends: mpsc::UnboundedSender<Told>,
}

#[derive(Clone, Copy)]
enum Work {
    /// Writes ten messages without asking whether there is room.
    Flood,
    /// Writes a message that is not text, and one that is.
    Binary,
    /// Writes one message and asks for a proof of it.
    Fence,
    /// Only waits.
    Wait,
}

#[derive(Debug, PartialEq, Eq)]
enum Told {
    Proved(u64),
    Gone(Gone),
}

impl Application for Probe {
    fn serve<L: Link>(&self, mut link: L, _: Handshake) -> impl Future<Output = ()> + Send + 'static {
        let (work, ends) = (self.work, self.ends.clone());
        async move {
            match work {
                Work::Flood => (0..10).for_each(|_| write(&mut link, b"x")),
                Work::Binary => [&b"\xff"[..], b"text"].iter().for_each(|octets| write(&mut link, octets)),
                Work::Fence => {
                    write(&mut link, b"x");
                    link.fence(7);
                }
                Work::Wait => {}
            }
            poll_fn(|cx| {
                let _ = link.poll_flush(cx);
                while let std::task::Poll::Ready(input) = link.poll_input(cx) {
                    match input {
                        Input::Proved(mark) => drop(ends.send(Told::Proved(mark))),
                        Input::Gone(gone) => {
                            drop(ends.send(Told::Gone(gone)));
                            return std::task::Poll::Ready(());
                        }
                        Input::Data(_) => {}
                    }
                }
                std::task::Poll::Pending
            })
            .await;
        }
    }
}

fn write(link: &mut impl Link, octets: &[u8]) {
    link.write(OutFrame { head: octets, body: &Bytes::new(), tail: &[], binary: false });
}

/// One endpoint at `/p`, and what its application tells.
async fn probe(work: Work) -> (Arc<Endpoint<Probe>>, std::net::SocketAddr, mpsc::UnboundedReceiver<Told>) {
    let (ends, told) = mpsc::unbounded_channel();
    let mut config = SockJsConfig { http_message_cache_size: 5, ..SockJsConfig::default() };
    hasty(&mut config);
    config.proof_quiet_time = Duration::from_millis(100);
    let endpoint = Arc::new(Endpoint::new("/p", config, WsSettings::default(), Arc::new(Probe { work, ends })));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let served = Arc::clone(&endpoint);
    tokio::spawn(async move {
        while let Ok((stream, peer)) = listener.accept().await {
            let endpoint = Arc::clone(&served);
            let handle = move |request| {
                let endpoint = Arc::clone(&endpoint);
                async move { endpoint.handle(request, peer).await }
            };
            tokio::spawn(serve_http(stream, HttpSettings::default(), CancellationToken::new(), handle));
        }
    });
    (endpoint, address, told)
}

async fn poll(address: std::net::SocketAddr) -> String {
    Client::connect(address).await.ask("POST /p/0/s/xhr", &[], b"").await.body
}

#[tokio::test]
async fn output_beyond_the_bound_ends_the_session() {
    let (endpoint, address, mut told) = probe(Work::Flood).await;
    assert_eq!(poll(address).await, "o\n");
    assert_eq!(poll(address).await, "c[1008,\"Too much output waits\"]\n");
    assert_eq!(soon(told.recv()).await, Some(Told::Gone(Gone::Lost)));
    assert_eq!(endpoint.counters().queue_overflow.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn what_is_not_text_is_dropped_and_counted() {
    let (endpoint, address, _told) = probe(Work::Binary).await;
    assert_eq!(poll(address).await, "o\n");
    assert_eq!(poll(address).await, "a[\"text\"]\n");
    assert_eq!(endpoint.counters().binary_dropped.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn the_poll_after_the_next_proves_what_was_written() {
    let (_endpoint, address, mut told) = probe(Work::Fence).await;
    assert_eq!(poll(address).await, "o\n");
    assert_eq!(poll(address).await, "a[\"x\"]\n");
    assert!(told.try_recv().is_err());
    assert_eq!(poll(address).await, "h\n");
    assert_eq!(soon(told.recv()).await, Some(Told::Proved(7)));
}

#[tokio::test]
async fn a_quiet_stream_proves_what_was_written() {
    let (_endpoint, address, mut told) = probe(Work::Fence).await;
    let mut client = Client::connect(address).await;
    client.send("POST /p/0/s/xhr_streaming", &[], b"").await;
    assert_eq!(soon(told.recv()).await, Some(Told::Proved(7)));
    drop(client);
    assert_eq!(soon(told.recv()).await, Some(Told::Gone(Gone::Lost)));
}

#[tokio::test(flavor = "multi_thread")]
async fn check_37_82_an_application_is_told_once_how_its_connection_ended() {
    let (endpoint, address, mut told) = probe(Work::Wait).await;
    assert_eq!(poll(address).await, "o\n");
    // Nobody comes back.
    assert_eq!(soon(told.recv()).await, Some(Told::Gone(Gone::Lost)));
    // A parked poll is aborted.
    let mut client = Client::connect(address).await;
    client.send("POST /p/0/t/xhr_streaming", &[], b"").await;
    client.head().await;
    drop(client);
    assert_eq!(soon(told.recv()).await, Some(Told::Gone(Gone::Lost)));
    // A WebSocket stays silent.
    let mut client = Client::connect(address).await;
    let upgrade = [
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "x3JJHMbDL1EzLkh9GBhXDw=="),
    ];
    client.send("GET /p/0/u/websocket", &upgrade, b"").await;
    client.head().await;
    assert_eq!(soon(told.recv()).await, Some(Told::Gone(Gone::Silent)));
    let counters = endpoint.counters();
    assert_eq!(counters.expired.load(Ordering::Relaxed), 1);
    assert_eq!(counters.aborted.load(Ordering::Relaxed), 1);
    assert_eq!(counters.sessions_open.load(Ordering::Relaxed), 0);
    assert!(told.try_recv().is_err());
}
