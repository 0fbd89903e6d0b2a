//! SockJS: the pages and HTTP transports of one endpoint, and its frames over a WebSocket.
//!
//! ```text
//!   receiving request ── receive ──► Live ◄── send ── sending request
//!                                     │ ▲
//!             body::Stream ◄── chunks ┘ └── HttpLink ◄── Application
//! ```
//!
//! A session lives in `sessions` between the requests that carry it; its rules are the state machine of
//! `stampede_protocol::sockjs`. What is here: HTTP around it, wake-ups, and one timer wheel for all of an endpoint.

mod counters;
mod headers;
mod link;
mod receive;
mod send;
mod sessions;
mod websocket;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH, X_FRAME_OPTIONS};
use http::{HeaderValue, Method, StatusCode};
use hyper::body::Incoming;
use hyper::{Request, Response};
use stampede_protocol::sockjs::pages::{IframePage, Info};
use stampede_protocol::sockjs::transport::Kind;
use stampede_protocol::sockjs::{self as protocol, Transport};

pub use self::counters::SockJsCounters;
pub use self::receive::Receiver;
use self::sessions::Sessions;
pub(super) use self::websocket::SockJsWs;
use super::websocket::WsSettings;
use super::{Body, Endpoint, Origins, empty, method_not_allowed, not_found, text};
use crate::config::sockjs::{HttpTransport, SockJsConfig};
use crate::session::link::Application;

/// The SockJS side of an endpoint.
#[derive(Debug)]
pub(super) struct SockJs {
    config: SockJsConfig,
    /// Pages of any site may connect.
    open: bool,
    page: IframePage,
    page_policy: Option<HeaderValue>,
    sessions: Arc<Sessions>,
}

impl SockJs {
    pub(super) fn new(config: SockJsConfig, origins: &Origins) -> Self {
        let page = IframePage::new(&config.client_library_url);
        let sessions = Sessions::start(&config);
        let open = origins.allow_all();
        let page_policy = headers::iframe_policy(&page, &config.client_library_url, open);
        Self { open, page, page_policy, sessions, config }
    }

    pub(super) const fn is_enabled(&self) -> bool {
        self.config.enabled
    }

    pub(super) const fn has_websocket(&self) -> bool {
        self.config.web_socket_enabled
    }

    pub(super) fn counters(&self) -> &SockJsCounters {
        &self.sessions.counters
    }

    /// Settings for a WebSocket that carries SockJS frames: a message may be three times as long, since JSON escapes
    /// can treble what they carry.
    pub(super) const fn socket(&self, raw: WsSettings) -> WsSettings {
        WsSettings {
            message_bytes: websocket::escaped(raw.message_bytes),
            close_timeout: raw.close_timeout,
            transport: "sockjs-websocket",
        }
    }

    /// `/info`.
    pub(super) fn info(&self, request: &Request<Incoming>, origins: &Origins) -> Response<Body> {
        if let Some(refusal) = self.refuse_origin(request, origins) {
            return refusal;
        }
        let mut response = match *request.method() {
            Method::OPTIONS => headers::preflight(request.headers(), "OPTIONS, GET"),
            Method::GET => self.capabilities(),
            _ => return method_not_allowed("OPTIONS, GET"),
        };
        if !self.config.suppress_cors {
            headers::cors(request.headers(), response.headers_mut());
        }
        response
    }

    /// `/iframe….html`. Nobody but the listed origins may frame it, and an iframe cannot tell by whom it is framed, so
    /// a list switches it off, as in Spring.
    pub(super) fn iframe(&self, request: &Request<Incoming>, origins: &Origins) -> Response<Body> {
        if !self.open && !origins.same_origin_only() {
            return not_found();
        }
        if request.method() != Method::GET {
            return method_not_allowed("GET");
        }
        let known = request.headers().get_all(IF_NONE_MATCH);
        let known = known.iter().filter_map(|tags| tags.to_str().ok()).any(|tags| self.page.matches(tags));
        let mut response = if known {
            empty(StatusCode::NOT_MODIFIED)
        } else {
            let mut page = Response::new(self.page.html.clone().into_bytes().into());
            page.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=UTF-8"));
            page
        };
        headers::cacheable(response.headers_mut());
        if let Ok(etag) = HeaderValue::from_str(&self.page.etag) {
            response.headers_mut().insert(ETAG, etag);
        }
        if let Some(policy) = &self.page_policy {
            headers::page(response.headers_mut(), policy.clone());
        }
        if !self.open {
            response.headers_mut().insert(X_FRAME_OPTIONS, HeaderValue::from_static("SAMEORIGIN"));
        }
        response
    }

    /// A session URL, WebSocket excepted.
    pub(super) async fn serve<A: Application>(
        &self,
        endpoint: &Endpoint<A>,
        id: &str,
        transport: Transport,
        mut request: Request<Incoming>,
        peer: SocketAddr,
    ) -> Response<Body> {
        if !self.offers(transport) {
            return not_found();
        }
        if let Some(refusal) = self.refuse_origin(&request, &endpoint.origins) {
            return refusal;
        }
        let mut asked = request.headers().clone();
        let mut response = match (request.method(), transport.method()) {
            (&Method::OPTIONS, _) if transport.is_xhr() => headers::preflight(&asked, "OPTIONS, POST"),
            (&Method::GET, protocol::Method::Get) | (&Method::POST, protocol::Method::Post) => {
                let mut response = match transport.kind() {
                    Kind::Send => self.send(id, transport, request).await,
                    _ => {
                        let handshake = endpoint.handshake(&mut request, peer);
                        self.receive(&endpoint.app, id, transport, request, handshake).await
                    }
                };
                response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static(headers::NO_CACHE));
                response
            }
            _ if transport.is_xhr() => method_not_allowed("POST, OPTIONS"),
            (_, protocol::Method::Get) => method_not_allowed("GET"),
            (_, protocol::Method::Post) => method_not_allowed("POST"),
        };
        if !self.config.suppress_cors && (transport.is_xhr() || transport == Transport::EventSource) {
            if transport == Transport::EventSource {
                headers::forget_null_origin(&mut asked);
            }
            headers::cors(&asked, response.headers_mut());
        }
        if self.config.session_cookie_needed {
            headers::cookie(&asked, &self.config.session_cookie_attributes, response.headers_mut());
        }
        response
    }

    fn capabilities(&self) -> Response<Body> {
        // Entropy that cannot be had is entropy nobody depends on: sockjs-client does not read it.
        let entropy = getrandom::u32().unwrap_or_default();
        let info = Info {
            websocket: self.config.web_socket_enabled,
            cookie_needed: self.config.session_cookie_needed,
            base_url: self.config.base_url.as_deref(),
            entropy,
        };
        let mut response = Response::new(info.json().into());
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=UTF-8"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static(headers::NO_CACHE));
        response
    }

    fn refuse_origin(&self, request: &Request<Incoming>, origins: &Origins) -> Option<Response<Body>> {
        if origins.allow(request.headers()) {
            return None;
        }
        self.counters().refused_origin.fetch_add(1, Ordering::Relaxed);
        Some(text(StatusCode::FORBIDDEN, "Origin not allowed\n"))
    }

    /// JSONP is a script that any page can include and read, and its requests carry no origin: it is offered only where
    /// every origin is allowed.
    fn offers(&self, transport: Transport) -> bool {
        let has = |wanted| self.config.transports.contains(&wanted);
        match transport {
            Transport::WebSocket => self.config.web_socket_enabled,
            Transport::Xhr => has(HttpTransport::Xhr),
            Transport::XhrStreaming => has(HttpTransport::XhrStreaming),
            Transport::XhrSend => self.config.transports.iter().any(|offered| *offered != HttpTransport::Jsonp),
            Transport::EventSource => has(HttpTransport::EventSource),
            Transport::HtmlFile => has(HttpTransport::HtmlFile),
            Transport::Jsonp | Transport::JsonpSend => self.open && has(HttpTransport::Jsonp),
        }
    }
}
