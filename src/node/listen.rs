//! The port of the clients: accepting, and which request goes where.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::header::UPGRADE;
use hyper::body::Incoming;
use hyper::{Request, Response};
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::{Shared, headers, operators, pages};
use crate::addresses::{self, TooFast, TooMany, any_holds, proxy_protocol};
use crate::telemetry::{count, metrics};
use crate::transport::{Body, HttpSettings, Stream, serve_http};

/// Connections that the kernel may hold for us; a node that restarts meets all its clients at once.
const BACKLOG: i32 = 4096;

/// Peers that vanished without a word are found by the kernel's own probes: after a minute of silence, then six times
/// ten seconds. Heart-beats find them earlier where a client agreed to them.
const KEEPALIVE: TcpKeepalive =
    TcpKeepalive::new().with_time(Duration::from_secs(60)).with_interval(Duration::from_secs(10)).with_retries(6);

/// How long to wait when no more files can be opened: accepting at once again would only spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Binds the port.
pub(super) fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Takes clients until the node stops.
pub(super) async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    while let Some((stream, peer)) = next(&listener, &shared.stop).await {
        welcome(stream, peer, &shared);
    }
}

/// The next connection; none when it is time to stop.
pub(super) async fn next(listener: &TcpListener, stop: &CancellationToken) -> Option<(TcpStream, SocketAddr)> {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => return None,
        };
        match accepted {
            Ok(accepted) => return Some(accepted),
            Err(error) => {
                warn!(%error, "cannot accept a connection");
                count(&metrics().connections_refused, "accept-error");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Bounds of HTTP as the configuration has them.
pub(super) fn settings(shared: &Shared) -> HttpSettings {
    HttpSettings {
        header_timeout: shared.config.server.header_timeout,
        header_size_limit: shared.config.server.header_size_limit,
    }
}

/// Tells somebody for whom there is no connection left.
pub(super) fn refuse_full(socket: &TcpStream, key: &str, actual: usize, limit: usize) {
    let text = format!("connections: this node has {actual}, and {limit} is the limit ({key})\n");
    refuse(socket, "503 Service Unavailable", &Refusal { text, retry_after: 5 });
}

fn welcome(mut stream: TcpStream, peer: SocketAddr, shared: &Arc<Shared>) {
    let open = shared.open_connections();
    let limit = shared.config.server.connections;
    if open >= limit {
        count(&metrics().connections_refused, "too-many");
        tracing::debug!(%peer, open, limit, "connection refused: server.connections");
        return refuse_full(&stream, "server.connections", open, limit);
    }
    // Frames are written whole; waiting for more would only delay them. An option that cannot be set costs nothing else.
    let _no_delay = stream.set_nodelay(true);
    let _keepalive = SockRef::from(&stream).set_tcp_keepalive(&KEEPALIVE);
    let settings = settings(shared);
    let stop = shared.stop.clone();
    let router = Arc::clone(shared);
    shared.connections.spawn(async move {
        let Some(peer) = introduced(&mut stream, peer, &router).await else { return };
        if let Err(too_fast) = router.arrivals.begin(peer.ip(), Instant::now()) {
            return refuse(&stream, TOO_MANY_REQUESTS, &Refusal::too_fast(peer, &too_fast));
        }
        // Held for as long as HTTP is spoken; a WebSocket counts as a session.
        let _counted = match router.addresses.enter(peer.ip()) {
            Ok(guard) => guard,
            Err(too_many) => return refuse(&stream, TOO_MANY_REQUESTS, &Refusal::too_many(peer, &too_many)),
        };
        let Some(stream) = secured(stream, peer, &router).await else { return };
        serve_http(stream, settings, stop, |request| answer(Arc::clone(&router), request, peer)).await;
    });
}

/// Who is at the other end, as a trusted proxy says; none where it does not say it in time.
async fn introduced(socket: &mut TcpStream, peer: SocketAddr, shared: &Shared) -> Option<SocketAddr> {
    let addresses = &shared.config.server.addresses;
    if !addresses.proxy_protocol || !any_holds(&addresses.trusted_proxies, peer.ip()) {
        return Some(peer);
    }
    let limit = shared.config.server.header_timeout;
    match tokio::time::timeout(limit, proxy_protocol::read(socket)).await {
        // A proxy that speaks for itself asks whether the node lives.
        Ok(Ok(client)) => return Some(client.unwrap_or(peer)),
        Ok(Err(error)) => tracing::debug!(%peer, %error, "connection refused: no PROXY protocol from a trusted proxy"),
        Err(_) => tracing::debug!(%peer, ?limit, "connection refused: no PROXY protocol within server.header_timeout"),
    }
    count(&metrics().connections_refused, "proxy-protocol");
    None
}

/// Why an address gets no connection now.
struct Refusal {
    text: String,
    /// Seconds after which it may be worth another try.
    retry_after: u64,
}

impl Refusal {
    /// Counted and logged.
    fn too_many(peer: SocketAddr, too_many: &TooMany) -> Self {
        count(&metrics().connections_refused, "address");
        tracing::debug!(%peer, %too_many, "connection refused: server.addresses.connections");
        Self { text: format!("connections: {too_many} (server.addresses.connections)\n"), retry_after: 5 }
    }

    /// Counted and logged.
    fn too_fast(peer: SocketAddr, too_fast: &TooFast) -> Self {
        count(&metrics().connections_refused, "address-rate");
        tracing::debug!(%peer, %too_fast, "connection refused: server.addresses.connections_per_second");
        let keys = "server.addresses.connections_per_second, connections_burst";
        Self { text: format!("connections: {too_fast} ({keys})\n"), retry_after: too_fast.wait.as_secs() + 1 }
    }
}

const TOO_MANY_REQUESTS: &str = "429 Too Many Requests";

/// Tells somebody who gets no connection; as much as the socket takes at once, for nobody here is waited for, and over TLS nothing.
fn refuse(socket: &TcpStream, status: &str, Refusal { text, retry_after }: &Refusal) {
    let length = text.len();
    let answer = format!(
        "HTTP/1.1 {status}\r\nRetry-After: {retry_after}\r\nConnection: close\r\n\
         Content-Type: text/plain; charset=utf-8\r\nX-Content-Type-Options: nosniff\r\nContent-Length: {length}\r\n\r\n{text}"
    );
    let _told = socket.try_write(answer.as_bytes());
}

/// The connection as HTTP is spoken over it; none for a peer that cannot or does not agree on TLS in time.
async fn secured(socket: TcpStream, peer: SocketAddr, shared: &Shared) -> Option<Stream> {
    let Some(tls) = &shared.tls else { return Some(socket.into()) };
    // As long as a request head may take: a peer that says nothing is the same nuisance here.
    let limit = shared.config.server.header_timeout;
    let (why, error) = match tokio::time::timeout(limit, tls.accept(socket)).await {
        Ok(Ok(stream)) => return Some(stream),
        Ok(Err(error)) => ("tls", error.to_string()),
        Err(_) => ("tls-timeout", format!("no handshake within server.header_timeout {limit:?}")),
    };
    count(&metrics().connections_refused, why);
    tracing::debug!(%peer, error, "no TLS");
    None
}

/// Answers one request.
async fn answer(shared: Arc<Shared>, request: Request<Incoming>, peer: SocketAddr) -> Response<Body> {
    let lasts = shared.config.server.tls.as_ref().map_or(Duration::ZERO, |tls| tls.strict_transport_security);
    let mut response = route(shared, request, peer).await;
    headers::strict_transport(response.headers_mut(), lasts);
    response
}

async fn route(shared: Arc<Shared>, mut request: Request<Incoming>, peer: SocketAddr) -> Response<Body> {
    let trusted = &shared.config.server.addresses.trusted_proxies;
    let client = if trusted.is_empty() { peer.ip() } else { addresses::client(peer.ip(), request.headers(), trusted) };
    let is_forwarded = client != peer.ip().to_canonical();
    // A port says nothing behind a proxy.
    let peer = if is_forwarded { SocketAddr::new(client, 0) } else { peer };
    if request.headers().contains_key(UPGRADE) {
        // Connections of a proxy are no client's; a WebSocket through it is a new one of the client.
        if is_forwarded && let Err(too_fast) = shared.arrivals.begin(client, Instant::now()) {
            let refusal = Refusal::too_fast(peer, &too_fast);
            return pages::too_many_requests(refusal.text, refusal.retry_after);
        }
        // Between the handshake and its session a connection is in no other count.
        request.extensions_mut().insert(shared.connections.token());
    }
    let path = request.uri().path();
    match shared.endpoints.iter().find(|endpoint| endpoint.claims(path)) {
        Some(endpoint) => endpoint.handle(request, peer).await,
        None if operators::claims(path) && shared.config.server.admin_listen.is_none() => {
            operators::answer(&shared, request).await
        }
        None => pages::demo(&shared, &request),
    }
}
