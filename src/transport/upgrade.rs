//! The WebSocket handshake of an endpoint, and what becomes of the socket after it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use http::header::{
    CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::sockjs::SockJsWs;
use super::websocket::WsLink;
use super::{Body, Endpoint, Stream, empty, method_not_allowed, not_found, text};
use crate::session::link::Application;

impl<A: Application> Endpoint<A> {
    /// Answers a request to a WebSocket URL; when it is accepted, a task of its own takes the socket over.
    pub(super) fn upgrade(
        self: &Arc<Self>,
        mut request: Request<Incoming>,
        peer: SocketAddr,
        framed: bool,
    ) -> Response<Body> {
        if self.sockjs.is_enabled() && !self.sockjs.has_websocket() {
            return not_found();
        }
        // Before all other checks, as in Spring.
        if !self.origins.allow(request.headers()) {
            self.counters().refused_origin.fetch_add(1, Ordering::Relaxed);
            return empty(StatusCode::FORBIDDEN);
        }
        let accept = match check(&request) {
            Ok(accept) => accept,
            Err(refusal) => return *refusal,
        };
        let mut response = empty(StatusCode::SWITCHING_PROTOCOLS);
        let headers = response.headers_mut();
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
        if let Some(protocol) = (!framed).then(|| choose(request.headers(), self.app.subprotocols())).flatten() {
            headers.insert(SEC_WEBSOCKET_PROTOCOL, protocol);
        }
        let counted = request.extensions_mut().remove::<TaskTrackerToken>();
        let socket = hyper::upgrade::on(&mut request);
        let handshake = self.handshake(&mut request, peer);
        let endpoint = Arc::clone(self);
        tokio::spawn(async move {
            // Held until the session is there, which is counted by itself.
            let _counted = counted;
            let Some((io, early)) = take_over(socket).await else { return };
            // A task of its own, exactly as large as the session: this one also holds what the handshake needed, and
            // would go on holding it for as long as the connection lives.
            if framed {
                let link =
                    SockJsWs::new(WsLink::new(io, &early, endpoint.sockjs.socket(endpoint.socket)), &endpoint.sockjs);
                tokio::spawn(endpoint.app.serve(link, handshake));
            } else {
                tokio::spawn(endpoint.app.serve(WsLink::new(io, &early, endpoint.socket), handshake));
            }
        });
        response
    }
}

/// Whether a request asks for a WebSocket, well or badly.
pub(super) fn wants(headers: &HeaderMap) -> bool {
    has_token(headers, &UPGRADE, "websocket")
}

/// RFC 6455, 4.2.1, with Spring's answers.
fn check(request: &Request<Incoming>) -> Result<HeaderValue, Box<Response<Body>>> {
    let headers = request.headers();
    if request.method() != Method::GET {
        return Err(method_not_allowed("GET").into());
    }
    if !wants(headers) || request.version() < Version::HTTP_11 {
        return Err(text(StatusCode::BAD_REQUEST, "Can \"Upgrade\" only to \"WebSocket\".").into());
    }
    if !has_token(headers, &CONNECTION, "upgrade") {
        return Err(text(StatusCode::BAD_REQUEST, "\"Connection\" must be \"upgrade\".").into());
    }
    if headers.get(SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
        let mut refusal = empty(StatusCode::UPGRADE_REQUIRED);
        refusal.headers_mut().insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        return Err(refusal.into());
    }
    headers
        .get(SEC_WEBSOCKET_KEY)
        .filter(|key| !key.is_empty())
        .and_then(|key| HeaderValue::from_str(&derive_accept_key(key.as_bytes())).ok())
        .ok_or_else(|| empty(StatusCode::BAD_REQUEST).into())
}

/// The first of ours that the client offered, in the client's spelling: browsers compare it with what they sent.
fn choose(headers: &HeaderMap, ours: &[&str]) -> Option<HeaderValue> {
    let offered: Vec<&str> = tokens(headers, &SEC_WEBSOCKET_PROTOCOL).collect();
    let chosen = ours.iter().find_map(|name| offered.iter().find(|offer| offer.eq_ignore_ascii_case(name)))?;
    HeaderValue::from_str(chosen).ok()
}

fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    tokens(headers, name).any(|found| found.eq_ignore_ascii_case(token))
}

fn tokens<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
}

/// The bare socket, and what was read from it past the request head.
async fn take_over(socket: OnUpgrade) -> Option<(Stream, Bytes)> {
    let upgraded = socket.await.inspect_err(|error| tracing::debug!(%error, "upgrade was not completed")).ok()?;
    let Ok(parts) = upgraded.downcast::<TokioIo<Stream>>() else {
        tracing::error!("upgraded connection is no TCP socket");
        return None;
    };
    Some((parts.io.into_inner(), parts.read_buf))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_offered_subprotocol_is_echoed_as_written() {
        for (offers, expected) in [
            (&["v10.stomp, V12.STOMP, v11.stomp"][..], Some("V12.STOMP")),
            (&["v10.stomp", "v11.stomp"], Some("v11.stomp")),
            (&["mqtt"], None),
            (&[], None),
        ] {
            let mut headers = HeaderMap::new();
            for offer in offers {
                headers.append(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(offer));
            }
            let chosen = choose(&headers, &["v12.stomp", "v11.stomp", "v10.stomp"]);
            assert_eq!(chosen.as_ref().and_then(|value| value.to_str().ok()), expected, "{offers:?}");
        }
    }
}
