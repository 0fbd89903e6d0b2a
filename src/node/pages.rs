//! What a node serves beside its endpoints: health, readiness, metrics, the demo page.

use std::sync::atomic::Ordering;

use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Method, StatusCode};
use hyper::body::Incoming;
use hyper::{Request, Response};

use super::{Shared, headers};
use crate::transport::Body;
use crate::web;

const TEXT: &str = "text/plain; charset=utf-8";

/// Whether a path is one of health, readiness and metrics.
pub(super) fn is_for_operators(path: &str) -> bool {
    matches!(path, "/health" | "/ready" | "/metrics")
}

/// Health, readiness, metrics.
pub(super) fn operators(shared: &Shared, request: &Request<Incoming>) -> Response<Body> {
    read_only(request, || match request.uri().path() {
        "/health" => plain(StatusCode::OK, "healthy\n"),
        "/ready" if shared.ready.load(Ordering::Acquire) => ready(shared),
        "/ready" => plain(StatusCode::SERVICE_UNAVAILABLE, "draining\n"),
        "/metrics" => export(shared),
        _ => not_found(),
    })
}

/// The demo page's files, where there is one.
pub(super) fn demo(shared: &Shared, request: &Request<Incoming>) -> Response<Body> {
    let asset = web::asset(request.uri().path()).filter(|_| shared.config.demo.enabled);
    let Some((content_type, content)) = asset else { return not_found() };
    read_only(request, || {
        let mut response = answer(StatusCode::OK, content_type, Body::Full(bytes::Bytes::from_static(content)));
        headers::protect(response.headers_mut(), web::CONTENT_SECURITY_POLICY);
        response
    })
}

fn read_only(request: &Request<Incoming>, answer: impl FnOnce() -> Response<Body>) -> Response<Body> {
    if matches!(*request.method(), Method::GET | Method::HEAD) {
        return answer();
    }
    let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "");
    response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    response
}

pub(super) fn not_found() -> Response<Body> {
    plain(StatusCode::NOT_FOUND, "Nothing is here.\n")
}

/// For whoever came too often.
pub(super) fn too_many_requests(text: String, retry_after: u64) -> Response<Body> {
    let mut response = answer(StatusCode::TOO_MANY_REQUESTS, TEXT, Body::from(text.into_bytes()));
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(retry_after));
    response
}

/// Ready also where other nodes cannot be reached: this one serves its own sessions, and a balancer that took it out would
/// take out all of them together.
fn ready(shared: &Shared) -> Response<Body> {
    let mut text = String::from("ready\n");
    for complaint in shared.broker.cluster().map(|cluster| cluster.complaints()).unwrap_or_default() {
        text.push_str("degraded: ");
        text.push_str(complaint);
        text.push('\n');
    }
    answer(StatusCode::OK, TEXT, Body::from(text.into_bytes()))
}

fn export(shared: &Shared) -> Response<Body> {
    match super::export::text(shared) {
        Some(text) => answer(
            StatusCode::OK,
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Body::from(text.into_bytes()),
        ),
        None => plain(StatusCode::INTERNAL_SERVER_ERROR, "the metrics cannot be written\n"),
    }
}

fn plain(status: StatusCode, text: &'static str) -> Response<Body> {
    answer(status, TEXT, Body::from(text))
}

fn answer(status: StatusCode, content_type: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    headers::protect(response.headers_mut(), headers::NO_PAGE);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}
