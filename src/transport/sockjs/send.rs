//! Sending requests: `xhr_send` and `jsonp_send`.

use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body as _, Incoming};
use hyper::{Request, Response};
use stampede_protocol::sockjs::Transport;
use stampede_protocol::sockjs::payload::{self, PayloadFault};

use super::sessions::{Live, Wake};
use super::{Body, SockJs, empty, not_found, text};

/// How long a body may take to arrive.
const BODY_TIME: Duration = Duration::from_secs(30);

/// What a message costs besides its octets, so that empty ones are not free.
const MESSAGE_COST: usize = 64;

impl SockJs {
    /// A sending request. Problems with the body are judged before the session, as the reference does.
    pub(super) async fn send(&self, id: &str, transport: Transport, request: Request<Incoming>) -> Response<Body> {
        let form = transport == Transport::JsonpSend && is_form(&request);
        let body = match read_body(request.into_body(), self.config.request_size_limit).await {
            Ok(body) => body,
            Err(refusal) => return refusal,
        };
        let read = if form { payload::messages(field(&body).as_bytes()) } else { payload::messages(&body) };
        let messages = match read {
            Ok(messages) => messages,
            Err(fault) => {
                self.counters().bad_payload.fetch_add(1, Ordering::Relaxed);
                return refuse(fault);
            }
        };
        let Some(live) = self.sessions.find(id) else {
            self.counters().unknown_session.fetch_add(1, Ordering::Relaxed);
            tracing::debug!("send to an unknown session: late, or balanced to the wrong node");
            return not_found();
        };
        if !live.hand_in(messages, self.config.request_size_limit, self.config.send_time_limit).await {
            return text(StatusCode::SERVICE_UNAVAILABLE, "Session is busy\n");
        }
        if transport == Transport::JsonpSend {
            // The sender is a form in an iframe: it needs a page to be loaded.
            return text(StatusCode::OK, "ok");
        }
        let mut response = empty(StatusCode::NO_CONTENT);
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(transport.content_type()));
        response
    }
}

impl Live {
    /// Hands messages to the application; waits while it is behind, which makes the client wait. False when it stays
    /// behind for too long.
    ///
    /// # Cancel safety
    ///
    /// Dropped early, none of the messages was handed in.
    async fn hand_in(&self, messages: Vec<String>, limit: usize, patience: Duration) -> bool {
        let mut messages: Vec<Bytes> = messages.into_iter().map(Bytes::from).collect();
        let handing = async {
            while !self.try_hand_in(&mut messages, limit) {
                self.room.notified().await;
            }
        };
        tokio::time::timeout(patience, handing).await.is_ok()
    }

    /// After a close by the application messages are accepted and dropped.
    fn try_hand_in(&self, messages: &mut Vec<Bytes>, limit: usize) -> bool {
        self.step(|inner, _| {
            if !inner.machine.is_open() {
                return (true, Wake::Nobody);
            }
            let bytes: usize = messages.iter().map(cost).sum();
            if inner.input_bytes > 0 && inner.input_bytes + bytes > limit {
                return (false, Wake::Nobody);
            }
            inner.input_bytes += bytes;
            inner.input.extend(messages.drain(..));
            (true, Wake::Link)
        })
    }
}

/// What a message counts for while it waits.
pub(super) const fn cost(message: &Bytes) -> usize {
    message.len() + MESSAGE_COST
}

/// Reads a whole body within `limit`.
///
/// # Errors
///
/// The answer that refuses it.
pub(super) async fn read_body(body: Incoming, limit: usize) -> Result<Bytes, Response<Body>> {
    let too_large = || text(StatusCode::PAYLOAD_TOO_LARGE, "Request is too large\n");
    if body.size_hint().lower() > limit as u64 {
        return Err(too_large());
    }
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    match tokio::time::timeout(BODY_TIME, Limited::new(body, limit).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(_)) => Err(empty(StatusCode::BAD_REQUEST)),
        Err(_) => Err(empty(StatusCode::REQUEST_TIMEOUT)),
    }
}

fn is_form(request: &Request<Incoming>) -> bool {
    let kind = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    kind.eq_ignore_ascii_case("application/x-www-form-urlencoded")
}

/// The value of a form's `d` field; empty when there is none.
fn field(form: &[u8]) -> String {
    form_urlencoded::parse(form).find(|(name, _)| name == "d").map_or_else(String::new, |(_, value)| value.into_owned())
}

fn refuse(fault: PayloadFault) -> Response<Body> {
    let status = match fault {
        PayloadFault::Broken | PayloadFault::Expected => StatusCode::INTERNAL_SERVER_ERROR,
        PayloadFault::TooMany => StatusCode::PAYLOAD_TOO_LARGE,
    };
    text(status, fault.to_string().into_bytes())
}
