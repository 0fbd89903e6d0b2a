//! The URL space of one endpoint, matched on the undecoded path.

use super::transport::Transport;

/// What a path below an endpoint's base names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route<'a> {
    /// The base itself: greeting, or a raw WebSocket when upgraded.
    Base,
    /// `/info`.
    Info,
    /// `/iframe….html`.
    Iframe,
    /// `/websocket`: WebSocket without SockJS frames.
    RawWebSocket,
    /// `/{server}/{session}/{transport}`. The server segment is for load balancers and names nothing here.
    Session {
        /// The client's secret name for its session, not decoded.
        id: &'a str,
        /// The last segment.
        transport: Transport,
    },
}

/// A session segment longer than this names nothing; sockjs-client takes 8 characters, other clients a UUID.
const MAX_SEGMENT: usize = 128;

impl<'a> Route<'a> {
    /// Reads `path`, the part behind the base: empty, or starting with a slash. The query must be cut off.
    ///
    /// One trailing slash is tolerated everywhere, as the reference does; `//` is never collapsed.
    #[must_use]
    pub fn parse(path: &'a str) -> Option<Self> {
        let path = path.strip_suffix('/').unwrap_or(path);
        if path.is_empty() {
            return Some(Self::Base);
        }
        let mut segments = path.strip_prefix('/')?.split('/');
        let (first, second, third) = (segments.next()?, segments.next(), segments.next());
        match (second, third, segments.next()) {
            (None, None, None) => Self::page(first),
            (Some(id), Some(leaf), None) if named(first) && named(id) => {
                Some(Self::Session { id, transport: Transport::from_name(leaf)? })
            }
            _ => None,
        }
    }

    fn page(name: &str) -> Option<Self> {
        match name {
            "info" => Some(Self::Info),
            "websocket" => Some(Self::RawWebSocket),
            _ => is_iframe(name).then_some(Self::Iframe),
        }
    }
}

/// Whether a server or session segment is acceptable.
fn named(segment: &str) -> bool {
    !segment.is_empty() && segment.len() <= MAX_SEGMENT && !segment.contains('.')
}

/// `iframe[0-9a-z._-]*\.html`; the client puts its version in the middle.
fn is_iframe(name: &str) -> bool {
    name.strip_prefix("iframe").and_then(|rest| rest.strip_suffix(".html")).is_some_and(|version| {
        version.bytes().all(|octet| matches!(octet, b'0'..=b'9' | b'a'..=b'z' | b'.' | b'_' | b'-'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages() {
        for (path, expected) in [
            ("", Some(Route::Base)),
            ("/", Some(Route::Base)),
            ("/info", Some(Route::Info)),
            ("/info/", Some(Route::Info)),
            ("/websocket", Some(Route::RawWebSocket)),
            ("/iframe.html", Some(Route::Iframe)),
            ("/iframe-.html", Some(Route::Iframe)),
            ("/iframe-0.1.2abc-dirty.2144.html", Some(Route::Iframe)),
            ("//", None),
            ("///", None),
            ("/a", None),
            ("/a.html", None),
            ("/a/", None),
            ("/a/a", None),
            ("/a/a/", None),
            ("/iframe", None),
            ("/iframe.htm", None),
            ("/IFRAME.HTML", None),
            ("/iframe.HTML", None),
            ("/iframe.xml", None),
            ("/iframe-/.html", None),
            ("info", None),
        ] {
            assert_eq!(Route::parse(path), expected, "{path:?}");
        }
    }

    #[test]
    fn session_urls() {
        for (path, expected) in [
            ("/_/_1/xhr", Some("_1")),
            ("/1/2/xhr", Some("2")),
            ("/abcdefgh_i-j%20/x%20/xhr", Some("x%20")),
            ("/000/abc/xhr/", Some("abc")),
            ("//xhr", None),
            ("///xhr", None),
            ("/a./a/xhr", None),
            ("/a/a./xhr", None),
            ("/./xhr", None),
            ("/a/b/c/xhr", None),
            ("/a/b/nothing", None),
            ("/a/b/xhr;x=1", None),
            ("/a/b/", None),
        ] {
            let expected = expected.map(|id| Route::Session { id, transport: Transport::Xhr });
            assert_eq!(Route::parse(path), expected, "{path:?}");
        }
        let long = format!("/0/{}/xhr", "x".repeat(MAX_SEGMENT + 1));
        assert_eq!(Route::parse(&long), None);
    }
}
