//! Headers that let browsers do with an answer only what it is for. Those of SockJS stand beside its pages: other origins may
//! use them.

use std::time::Duration;

use http::header::{
    CONTENT_SECURITY_POLICY, HeaderName, REFERRER_POLICY, STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderValue};

/// The policy of what is no page: text and JSON load nothing, and nothing shows them in a frame.
pub(super) const NO_PAGE: &str = "default-src 'none'; frame-ancestors 'none'";

const CROSS_ORIGIN_OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");
const CROSS_ORIGIN_RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// For an answer that only pages of its own origin have a use for.
pub(super) fn protect(headers: &mut HeaderMap, policy: &'static str) {
    for (name, value) in [
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (CONTENT_SECURITY_POLICY, policy),
        // Not `no-referrer`: browsers then send `Origin: null` with some requests to ourselves.
        (REFERRER_POLICY, "same-origin"),
        (CROSS_ORIGIN_OPENER_POLICY, "same-origin"),
        (CROSS_ORIGIN_RESOURCE_POLICY, "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

/// Says that the host is to be asked by TLS alone for so long; nothing where that is no time.
pub(super) fn strict_transport(headers: &mut HeaderMap, lasts: Duration) {
    if !lasts.is_zero()
        && let Ok(value) = HeaderValue::from_str(&format!("max-age={}", lasts.as_secs()))
    {
        headers.insert(STRICT_TRANSPORT_SECURITY, value);
    }
}
