//! CORS, cookies, caching, and what SockJS's pages may do in a browser.

use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS, CACHE_CONTROL,
    CONTENT_SECURITY_POLICY, COOKIE, EXPIRES, ORIGIN, REFERRER_POLICY, SET_COOKIE, VARY,
};
use http::{HeaderMap, HeaderValue, StatusCode};
use hyper::Response;
use sha2::{Digest as _, Sha256};
use stampede_protocol::sockjs::pages::IframePage;

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

/// Says what an HTML page may do. Who may frame it stands in the policy or is left open: pages of other origins frame these.
pub(super) fn page(headers: &mut HeaderMap, policy: HeaderValue) {
    headers.insert(CONTENT_SECURITY_POLICY, policy);
    // Not `no-referrer`: browsers then send `Origin: null` with some requests to ourselves.
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("same-origin"));
}

/// The policy of the htmlfile transport: an endless page of scripts that differ each time, and nothing else.
pub(super) const HTMLFILE_POLICY: HeaderValue =
    HeaderValue::from_static("default-src 'none'; script-src 'unsafe-inline'; base-uri 'none'; form-action 'none'");

/// The policy of the iframe page: its own script, the client library, and the transports that the library runs in it, which are of
/// the page's own origin. `framed_by_all`: pages of any origin may frame it.
pub(super) fn iframe_policy(page: &IframePage, library: &str, framed_by_all: bool) -> Option<HeaderValue> {
    let own = BASE64.encode(Sha256::digest(page.inline_script()));
    let library = source(library);
    let framed = if framed_by_all { "" } else { "; frame-ancestors 'self'" };
    let policy = format!(
        "default-src 'none'; script-src 'sha256-{own}' {library}; connect-src 'self'; frame-src 'self'; base-uri 'none'; \
         form-action 'none'{framed}"
    );
    HeaderValue::from_str(&policy).ok()
}

/// Where a script is loaded from, as a policy names it: without a path, for a server may send the client on to another one.
fn source(url: &str) -> &str {
    let start = match url.split_once("//") {
        Some(("http:" | "https:" | "", rest)) => url.len() - rest.len(),
        _ => return "'self'",
    };
    let end = url[start..].find(['/', '?', '#']).map_or(url.len(), |at| start + at);
    let host = &url[start..end];
    let is_host = |octet: u8| octet.is_ascii_alphanumeric() || matches!(octet, b'.' | b'-' | b':' | b'[' | b']');
    // Whatever else a browser makes of such an address, the page is to go on working.
    if host.is_empty() || !host.bytes().all(is_host) { "*" } else { url[..end].trim_start_matches('/') }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_names_the_host_of_the_library() {
        for (library, expected) in [
            ("/sockjs.min.js", "'self'"),
            ("/a//b.js", "'self'"),
            ("https://cdn.example.com/sockjs@1/dist/sockjs.min.js?v=1", "https://cdn.example.com"),
            ("https://cdn.example.com:8443/x.js", "https://cdn.example.com:8443"),
            ("http://[::1]:80/x.js", "http://[::1]:80"),
            ("//cdn.example.com/x.js", "cdn.example.com"),
            ("https://cdn.example.com", "https://cdn.example.com"),
            ("https://user@cdn.example.com/x.js", "*"),
            ("https://a; script-src *;/x.js", "*"),
            ("https:///x.js", "*"),
            ("https://", "*"),
        ] {
            assert_eq!(source(library), expected, "{library}");
        }
    }
}
