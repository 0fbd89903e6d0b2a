//! Transports: everything that carries a session, at the path of one endpoint.
//!
//! ```text
//!   serve_http ── request ──► Endpoint::handle ──┬── upgrade ──► WsLink ─────────────┐
//!                                                ├── upgrade ──► SockJsWs(WsLink) ───┼──► Application::serve
//!                                                └── SockJS over HTTP ──► HttpLink ──┘
//! ```
//!
//! A raw WebSocket answers at the endpoint's own path and at `{path}/websocket`; the rest below the path is SockJS.

mod body;
mod http1;
mod origin;
pub mod sockjs;
mod stream;
mod upgrade;
pub mod websocket;

use std::net::SocketAddr;
use std::sync::Arc;

use http::header::{ALLOW, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, Method, StatusCode};
use hyper::body::Incoming;
use hyper::{Request, Response};
use stampede_protocol::sockjs::Route;
use stampede_protocol::sockjs::pages;

pub use self::body::Body;
pub use self::http1::{HttpSettings, serve_http};
pub use self::origin::Origins;
use self::sockjs::SockJs;
pub use self::stream::Stream;
use self::websocket::WsSettings;
use crate::config::sockjs::SockJsConfig;
use crate::session::link::{Application, Handshake};

/// One path where clients connect.
#[derive(Debug)]
pub struct Endpoint<A: Application> {
    /// Without trailing slash; empty for the root.
    path: String,
    app: Arc<A>,
    socket: WsSettings,
    origins: Origins,
    sockjs: SockJs,
}

impl<A: Application> Endpoint<A> {
    /// An endpoint at `path`; call inside a runtime, for SockJS sessions need a clock.
    #[must_use]
    pub fn new(path: &str, config: SockJsConfig, socket: WsSettings, app: Arc<A>) -> Self {
        let origins = Origins::new(&config.allowed_origins);
        let sockjs = SockJs::new(config, &origins);
        Self { path: path.trim_end_matches('/').to_owned(), app, socket, origins, sockjs }
    }

    /// Whether a request path belongs to this endpoint.
    #[must_use]
    pub fn claims(&self, raw_path: &str) -> bool {
        self.below(raw_path).is_some()
    }

    /// The SockJS side's counters.
    #[must_use]
    pub fn counters(&self) -> &sockjs::SockJsCounters {
        self.sockjs.counters()
    }

    /// Answers one request. Dropping the future, or the answer's body, says that the peer is gone.
    pub async fn handle(self: &Arc<Self>, request: Request<Incoming>, peer: SocketAddr) -> Response<Body> {
        let mut response = self.answer(request, peer).await;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            // What clients sent comes back in these answers: it is what its type says and nothing else.
            response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        }
        response
    }

    async fn answer(self: &Arc<Self>, request: Request<Incoming>, peer: SocketAddr) -> Response<Body> {
        let uri = request.uri().clone();
        let Some(route) = self.below(uri.path()).and_then(Route::parse) else { return not_found() };
        match route {
            Route::Base if !self.sockjs.is_enabled() || upgrade::wants(request.headers()) => {
                self.upgrade(request, peer, false)
            }
            _ if !self.sockjs.is_enabled() => not_found(),
            Route::Base => match *request.method() {
                Method::GET => text(StatusCode::OK, pages::GREETING),
                _ => method_not_allowed("GET"),
            },
            Route::Info => self.sockjs.info(&request, &self.origins),
            Route::Iframe => self.sockjs.iframe(&request, &self.origins),
            Route::RawWebSocket => self.upgrade(request, peer, false),
            Route::Session { id, transport } => match transport {
                stampede_protocol::sockjs::Transport::WebSocket => self.upgrade(request, peer, true),
                transport => self.sockjs.serve(self, id, transport, request, peer).await,
            },
        }
    }

    /// What a connection's application learns from the request that opens it.
    fn handshake(&self, request: &mut Request<Incoming>, peer: SocketAddr) -> Handshake {
        Handshake {
            endpoint: self.path.clone(),
            peer: Some(peer),
            query: request.uri().query().map(str::to_owned),
            headers: std::mem::take(request.headers_mut()),
        }
    }

    /// The part of a path below this endpoint: empty, or beginning with a slash.
    fn below<'a>(&self, raw_path: &'a str) -> Option<&'a str> {
        raw_path.strip_prefix(self.path.as_str()).filter(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

fn text(status: StatusCode, text: impl Into<Body>) -> Response<Body> {
    let mut response = Response::new(text.into());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=UTF-8"));
    response
}

fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::Empty);
    *response.status_mut() = status;
    response
}

fn not_found() -> Response<Body> {
    text(StatusCode::NOT_FOUND, "404 Error: Page not found\n")
}

fn method_not_allowed(allow: &'static str) -> Response<Body> {
    let mut response = empty(StatusCode::METHOD_NOT_ALLOWED);
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
    response
}
