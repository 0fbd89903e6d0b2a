//! SockJS 0.3.3 on the wire. Each test says with its number which of the checks it makes; the suite's own tests are
//! among them (all but `test_haproxy`, the obsolete hixie-76 handshake).

#[path = "../../../examples/sockjs_echo/apps.rs"]
mod apps;
mod event_streams;
mod http;
mod jsonp;
mod limits;
mod origins;
mod pages;
mod polling;
mod raw_websocket;
mod streaming;
mod websocket;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use stampede::config::sockjs::SockJsConfig;
use stampede::transport::websocket::WsSettings;
use stampede::transport::{Body, Endpoint, HttpSettings, serve_http};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use self::apps::App;
use crate::support::http::{Answer, Client};
use crate::support::soon;

/// Servers of the check list: echo, echo without WebSocket, echo with cookies, close at once.
const E: &str = "/echo";
const N: &str = "/disabled_websocket_echo";
const K: &str = "/cookie_needed_echo";
const X: &str = "/close";

const NO_CACHE: &str = "no-store, no-cache, no-transform, must-revalidate, max-age=0";
const GO_AWAY: &str = "c[3000,\"Go away!\"]\n";
const INTERRUPTED: &str = "c[1002,\"Connection interrupted\"]\n";

/// The endpoints of the suite in this process, on a free port.
struct Server {
    address: SocketAddr,
    endpoints: Arc<[Arc<Endpoint<App>>]>,
}

impl Server {
    async fn start() -> Self {
        Self::with(|_| {}).await
    }

    /// With other settings for all endpoints.
    async fn with(change: impl FnOnce(&mut SockJsConfig)) -> Self {
        let mut echo =
            SockJsConfig { stream_bytes_limit: 4096, allowed_origins: vec!["*".into()], ..SockJsConfig::default() };
        change(&mut echo);
        let without_websocket = SockJsConfig { web_socket_enabled: false, ..echo.clone() };
        let with_cookie = SockJsConfig { session_cookie_needed: true, ..echo.clone() };
        let endpoints: Vec<Arc<Endpoint<App>>> = [
            (E, echo.clone(), App::Echo),
            (N, without_websocket, App::Echo),
            (K, with_cookie, App::Echo),
            (X, echo, App::Close),
        ]
        .map(|(path, config, app)| Arc::new(Endpoint::new(path, config, WsSettings::default(), Arc::new(app))))
        .into();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self { address: listener.local_addr().unwrap(), endpoints: endpoints.into() };
        tokio::spawn(accept(listener, Arc::clone(&server.endpoints)));
        server
    }

    async fn client(&self) -> Client {
        Client::connect(self.address).await
    }

    /// One request on a connection of its own.
    async fn ask(&self, line: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        self.client().await.ask(line, headers, body).await
    }

    async fn get(&self, path: &str) -> Answer {
        self.ask(&format!("GET {path}"), &[], b"").await
    }

    /// A POST; `path` is that of a session below an endpoint.
    async fn post(&self, path: &str, body: &str) -> Answer {
        self.ask(&format!("POST {path}"), &[], body.as_bytes()).await
    }

    /// Sends messages, which must be accepted.
    async fn say(&self, session: &str, messages: &str) {
        let answer = self.post(&format!("{session}/xhr_send"), messages).await;
        assert_eq!(answer.seen(), (204, ""));
    }

    /// One poll.
    async fn poll(&self, session: &str) -> String {
        let answer = self.post(&format!("{session}/xhr"), "").await;
        assert_eq!(answer.head.status, 200);
        answer.body
    }

    /// Begins a session by polling.
    async fn open(&self, endpoint: &str) -> String {
        let session = fresh(endpoint);
        assert_eq!(self.poll(&session).await, "o\n");
        session
    }

    /// Begins a poll that stays.
    async fn park(&self, session: &str) -> Client {
        let attached = || self.echo_counters().receivers_attached.load(Ordering::Relaxed);
        let before = attached();
        let mut client = self.client().await;
        client.send(&format!("POST {session}/xhr"), &[], b"").await;
        until(|| attached() > before).await;
        client
    }

    /// A streaming receiver, its prelude read.
    async fn stream(&self, session: &str) -> Client {
        let mut client = self.client().await;
        client.send(&format!("POST {session}/xhr_streaming"), &[], b"").await;
        assert_eq!(client.head().await.status, 200);
        assert_eq!(client.chunk().await.unwrap(), "h".repeat(2048) + "\n");
        client
    }

    fn echo_counters(&self) -> &stampede::transport::sockjs::SockJsCounters {
        self.endpoints[0].counters()
    }
}

async fn accept(listener: TcpListener, endpoints: Arc<[Arc<Endpoint<App>>]>) {
    while let Ok((stream, peer)) = listener.accept().await {
        stream.set_nodelay(true).unwrap();
        let endpoints = Arc::clone(&endpoints);
        let handle = move |request: hyper::Request<hyper::body::Incoming>| {
            let endpoint = endpoints.iter().find(|endpoint| endpoint.claims(request.uri().path())).cloned();
            async move {
                match endpoint {
                    Some(endpoint) => endpoint.handle(request, peer).await,
                    None => hyper::Response::new(Body::from("no endpoint")),
                }
            }
        };
        tokio::spawn(serve_http(stream, HttpSettings::default(), CancellationToken::new(), handle));
    }
}

/// The path of a session nobody has used.
fn fresh(endpoint: &str) -> String {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    format!("{endpoint}/000/fresh{}", NUMBER.fetch_add(1, Ordering::Relaxed))
}

/// Waits until something holds.
async fn until(holds: impl Fn() -> bool) {
    soon(async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
}

/// Settings for tests that wait for time to pass.
fn hasty(config: &mut SockJsConfig) {
    config.heartbeat_time = Duration::from_millis(300);
    config.pong_time_limit = Duration::from_millis(300);
    config.disconnect_delay = Duration::from_millis(400);
    config.remember_lost_sessions = Duration::from_millis(400);
}

/// Checks the headers of an answer that a page of another origin may read.
#[track_caller]
fn check_cors(answer: &Answer, origin: &str) {
    assert_eq!(answer.get("access-control-allow-origin"), Some(origin));
    assert_eq!(answer.get("access-control-allow-credentials"), Some("true"));
    assert_eq!(answer.get("vary"), Some("Origin"));
}

/// Checks that an answer is not to be cached.
#[track_caller]
fn check_no_cache(answer: &Answer) {
    assert_eq!(answer.get("cache-control"), Some(NO_CACHE));
    assert_eq!(answer.get("expires"), None);
    assert_eq!(answer.get("last-modified"), None);
}
