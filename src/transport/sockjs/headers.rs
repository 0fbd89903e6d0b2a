//! CORS, cookies and caching.

use std::time::{Duration, SystemTime};

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS, CACHE_CONTROL, COOKIE,
    EXPIRES, ORIGIN, SET_COOKIE, VARY,
};
use http::{HeaderMap, HeaderValue, StatusCode};
use hyper::Response;

use crate::transport::{Body, empty};

/// Exactly this, says the protocol suite. `no-transform` keeps proxies from compressing streams.
pub(super) const NO_CACHE: &str = "no-store, no-cache, no-transform, must-revalidate, max-age=0";

/// A year.
const LONG: Duration = Duration::from_secs(31_536_000);

/// Says that a page is good for a year.
pub(super) fn cacheable(headers: &mut HeaderMap) {
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=31536000"));
    if let Ok(expires) = HeaderValue::from_str(&httpdate::fmt_http_date(SystemTime::now() + LONG)) {
        headers.insert(EXPIRES, expires);
    }
}

/// Answers OPTIONS.
pub(super) fn preflight(asked: &HeaderMap, methods: &'static str) -> Response<Body> {
    let mut response = empty(StatusCode::NO_CONTENT);
    let headers = response.headers_mut();
    cacheable(headers);
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(methods));
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("31536000"));
    if let Some(wanted) = asked.get(ACCESS_CONTROL_REQUEST_HEADERS).filter(|wanted| !wanted.is_empty()) {
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, wanted.clone());
    }
    response
}

/// Lets the page that asked read the answer. `*` would not do: sockjs-client sends credentials, and browsers then
/// insist on the page's own origin, `null` included. Whether it may connect was decided before.
pub(super) fn cors(asked: &HeaderMap, headers: &mut HeaderMap) {
    headers.append(VARY, HeaderValue::from_static("Origin"));
    let Some(origin) = asked.get(ORIGIN) else {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        return;
    };
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
}

/// Server-sent events are asked without credentials, where `*` serves a page without origin better.
pub(super) fn forget_null_origin(asked: &mut HeaderMap) {
    if asked.get(ORIGIN).is_some_and(|origin| origin == "null") {
        asked.remove(ORIGIN);
    }
}

/// The cookie on which load balancers hang theirs: the request's own value, or `dummy`.
pub(super) fn cookie(asked: &HeaderMap, attributes: &str, headers: &mut HeaderMap) {
    let cookies = asked.get_all(COOKIE);
    let value = cookies
        .iter()
        .filter_map(|cookies| cookies.to_str().ok())
        .flat_map(|cookies| cookies.split(';'))
        .find_map(|cookie| cookie.trim().strip_prefix("JSESSIONID="))
        .unwrap_or("dummy");
    if let Ok(cookie) = HeaderValue::from_str(&format!("JSESSIONID={value}; path=/{attributes}")) {
        headers.insert(SET_COOKIE, cookie);
    }
}
