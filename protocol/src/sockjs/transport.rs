//! One row per transport: URL name, method, what goes before the first frame, how a frame is wrapped.

use bytes::Bytes;

use super::{frame, quote};

/// The last segment of a session URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Transport {
    /// SockJS frames over a WebSocket.
    WebSocket,
    /// Long polling.
    Xhr,
    /// Streaming over one long answer.
    XhrStreaming,
    /// What the client says, for all HTTP transports but JSONP.
    XhrSend,
    /// Server-sent events.
    EventSource,
    /// Script elements in an endless page.
    HtmlFile,
    /// Long polling by script elements.
    Jsonp,
    /// What a JSONP client says.
    JsonpSend,
}

/// The method a URL answers to, besides OPTIONS where cross-origin requests are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// GET.
    Get,
    /// POST.
    Post,
}

/// What a transport is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Both directions.
    Socket,
    /// Client to server.
    Send,
    /// Server to client, one frame per answer.
    Poll,
    /// Server to client, many frames per answer.
    Stream,
}

struct Row {
    transport: Transport,
    name: &'static str,
    method: Method,
    kind: Kind,
    /// Of an accepted request.
    content_type: &'static str,
}

const JAVASCRIPT: &str = "application/javascript; charset=UTF-8";
const TEXT: &str = "text/plain; charset=UTF-8";

/// In the order of [`Transport`].
#[rustfmt::skip]
const ROWS: [Row; 8] = [
    Row { transport: Transport::WebSocket,    name: "websocket",     method: Method::Get,  kind: Kind::Socket, content_type: "" },
    Row { transport: Transport::Xhr,          name: "xhr",           method: Method::Post, kind: Kind::Poll,   content_type: JAVASCRIPT },
    Row { transport: Transport::XhrStreaming, name: "xhr_streaming", method: Method::Post, kind: Kind::Stream, content_type: JAVASCRIPT },
    Row { transport: Transport::XhrSend,      name: "xhr_send",      method: Method::Post, kind: Kind::Send,   content_type: TEXT },
    // Without charset: the protocol suite compares the whole value.
    Row { transport: Transport::EventSource,  name: "eventsource",   method: Method::Get,  kind: Kind::Stream, content_type: "text/event-stream" },
    Row { transport: Transport::HtmlFile,     name: "htmlfile",      method: Method::Get,  kind: Kind::Stream, content_type: "text/html; charset=UTF-8" },
    Row { transport: Transport::Jsonp,        name: "jsonp",         method: Method::Get,  kind: Kind::Poll,   content_type: JAVASCRIPT },
    Row { transport: Transport::JsonpSend,    name: "jsonp_send",    method: Method::Post, kind: Kind::Send,   content_type: TEXT },
];

impl Transport {
    /// The transport of a URL's last segment.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        ROWS.iter().find(|row| row.name == name).map(|row| row.transport)
    }

    /// Its name in URLs and configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.row().name
    }

    /// The method it is asked with.
    #[must_use]
    pub const fn method(self) -> Method {
        self.row().method
    }

    /// What it is for.
    #[must_use]
    pub const fn kind(self) -> Kind {
        self.row().kind
    }

    /// Content type of its answers.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        self.row().content_type
    }

    /// Whether browsers ask it across origins by XMLHttpRequest, so that it answers OPTIONS.
    #[must_use]
    pub const fn is_xhr(self) -> bool {
        matches!(self, Self::Xhr | Self::XhrStreaming | Self::XhrSend)
    }

    /// Whether it calls a function whose name the request gives.
    #[must_use]
    pub const fn needs_callback(self) -> bool {
        matches!(self, Self::HtmlFile | Self::Jsonp)
    }

    const fn row(self) -> &'static Row {
        &ROWS[self as usize]
    }
}

/// The name of a function in the page, safe to be written into a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Callback(Box<str>);

/// Why a callback was refused; the texts are those the protocol suite looks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CallbackFault {
    /// There was none.
    #[error("\"callback\" parameter required")]
    Missing,
    /// It holds something that does not belong into a name, or is too long, or came twice.
    #[error("invalid \"callback\" parameter")]
    Invalid,
}

impl Callback {
    /// Longest name accepted; the reference's limit for JSONP. sockjs-client's names have 12 characters.
    const MAX: usize = 32;

    /// Checks the (decoded) values of a request's `c` or `callback` parameters.
    ///
    /// # Errors
    ///
    /// Everything outside `[a-zA-Z0-9-_.]` could leave the script it is written into.
    pub fn parse(mut values: impl Iterator<Item = impl AsRef<str>>) -> Result<Self, CallbackFault> {
        let value = values.next().ok_or(CallbackFault::Missing)?;
        let name = value.as_ref();
        let fine = |octet: u8| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_' | b'.');
        if name.is_empty() || name.len() > Self::MAX || !name.bytes().all(fine) || values.next().is_some() {
            return Err(CallbackFault::Invalid);
        }
        Ok(Self(name.into()))
    }
}

/// How the frames of one receiving request are dressed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wrapping {
    /// `FRAME\n`; one per answer.
    Xhr,
    /// `FRAME\n` after 2 KiB of `h`.
    XhrStreaming,
    /// `data: FRAME\r\n\r\n`.
    EventSource,
    /// A script element calling into the parent page.
    HtmlFile(Callback),
    /// A script calling a function; one per answer.
    Jsonp(Callback),
}

impl Wrapping {
    /// Whether an answer ends after its first frame.
    #[must_use]
    pub const fn is_polling(&self) -> bool {
        matches!(self, Self::Xhr | Self::Jsonp(_))
    }

    /// What goes before the first frame, as a chunk of its own: enough for browsers and proxies to let it through.
    #[must_use]
    pub fn prelude(&self) -> Option<Bytes> {
        match self {
            Self::Xhr | Self::Jsonp(_) => None,
            Self::XhrStreaming => Some(Bytes::from_static(&STREAMING_PRELUDE)),
            Self::EventSource => Some(Bytes::from_static(b"\r\n")),
            Self::HtmlFile(callback) => Some(html_prelude(callback)),
        }
    }

    /// Dresses one frame.
    #[must_use]
    pub fn wrap(&self, mut frame: Vec<u8>) -> Bytes {
        match self {
            Self::Xhr | Self::XhrStreaming => {
                frame.push(b'\n');
                frame.into()
            }
            Self::EventSource => event(&frame).into(),
            Self::HtmlFile(_) => call(b"<script>\np(", &frame, b");\n</script>\r\n").into(),
            Self::Jsonp(callback) => {
                // The comment keeps the answer from being taken for another kind of file (sockjs-node#163).
                let head = format!("/**/{}(", callback.0);
                call(head.as_bytes(), &frame, b");\r\n").into()
            }
        }
    }

    /// A whole answer that holds the prelude and one close frame.
    #[must_use]
    pub fn refusal(&self, (code, reason): (u16, &str)) -> Vec<Bytes> {
        self.prelude().into_iter().chain([self.wrap(frame::close(code, reason))]).collect()
    }
}

fn call(head: &[u8], frame: &[u8], tail: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(head.len() + frame.len() + frame.len() / 4 + tail.len());
    out.extend_from_slice(head);
    quote::quote_for_script(&mut out, &String::from_utf8_lossy(frame));
    out.extend_from_slice(tail);
    out
}

/// sockjs-client runs `decodeURI` over the data of an event: a lone `%` would lose the message. The other three never
/// come out of JSON but would break the event.
fn event(frame: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(frame.len() + 16);
    out.extend_from_slice(b"data: ");
    for octet in frame {
        match octet {
            b'%' => out.extend_from_slice(b"%25"),
            b'\r' => out.extend_from_slice(b"%0D"),
            b'\n' => out.extend_from_slice(b"%0A"),
            0 => out.extend_from_slice(b"%00"),
            other => out.push(*other),
        }
    }
    out.extend_from_slice(b"\r\n\r\n");
    out
}

/// 2048 × `h` and a line end: the client reads it as a heart-beat.
const STREAMING_PRELUDE: [u8; 2049] = {
    let mut prelude = [b'h'; 2049];
    prelude[2048] = b'\n';
    prelude
};

/// Old browsers start to run scripts after 1 KiB.
const HTML_PRELUDE_BYTES: usize = 1024;

fn html_prelude(callback: &Callback) -> Bytes {
    let mut page = HTML_HEAD.replace("CALLBACK", &callback.0);
    let padding = HTML_PRELUDE_BYTES.saturating_sub(page.len());
    page.extend(std::iter::repeat_n(' ', padding));
    page.push_str("\r\n\r\n");
    page.into()
}

/// Compared whole by the protocol suite.
const HTML_HEAD: &str = r#"<!doctype html>
<html><head>
  <meta http-equiv="X-UA-Compatible" content="IE=edge" />
  <meta http-equiv="Content-Type" content="text/html; charset=UTF-8" />
</head><body><h2>Don't panic!</h2>
  <script>
    document.domain = document.domain;
    var c = parent.CALLBACK;
    c.start();
    function p(d) {c.message(d);};
    window.onload = function() {c.stop();};
  </script>
"#;

#[cfg(test)]
mod tests {
    use super::*;

    fn callback(name: &str) -> Callback {
        Callback::parse([name].iter()).unwrap()
    }

    #[test]
    fn each_row_stands_at_its_transport() {
        for (place, row) in ROWS.iter().enumerate() {
            assert_eq!(row.transport as usize, place);
            assert_eq!(Transport::from_name(row.name), Some(row.transport));
        }
        assert_eq!(Transport::from_name("iframe"), None);
    }

    #[test]
    fn frames_are_dressed_for_their_transport() {
        let frame = || br#"a["</x>100%"]"#.to_vec();
        for (wrapping, expected) in [
            (Wrapping::Xhr, "a[\"</x>100%\"]\n"),
            (Wrapping::XhrStreaming, "a[\"</x>100%\"]\n"),
            (Wrapping::EventSource, "data: a[\"</x>100%25\"]\r\n\r\n"),
            (Wrapping::HtmlFile(callback("cb")), "<script>\np(\"a[\\\"\\u003c/x\\u003e100%\\\"]\");\n</script>\r\n"),
            (Wrapping::Jsonp(callback("_j.a-1")), "/**/_j.a-1(\"a[\\\"\\u003c/x\\u003e100%\\\"]\");\r\n"),
        ] {
            assert_eq!(wrapping.wrap(frame()), expected, "{wrapping:?}");
        }
    }

    #[test]
    fn preludes_are_long_enough() {
        assert_eq!(Wrapping::Xhr.prelude(), None);
        assert_eq!(Wrapping::XhrStreaming.prelude().unwrap().len(), 2049);
        let page = Wrapping::HtmlFile(callback("callback")).prelude().unwrap();
        assert!(page.len() > 1024);
        assert!(page.ends_with(b"\r\n\r\n"));
        assert!(page.windows(20).any(|part| part == b"c = parent.callback;"));
    }

    #[test]
    fn callbacks_that_could_leave_the_script_are_refused() {
        for (values, fault) in [
            (&[][..], CallbackFault::Missing),
            (&[""], CallbackFault::Invalid),
            (&[" "], CallbackFault::Invalid),
            (&["abc("], CallbackFault::Invalid),
            (&["a[0]"], CallbackFault::Invalid),
            (&["\n"], CallbackFault::Invalid),
            (&["a", "a"], CallbackFault::Invalid),
            (&["abcdefghijklmnopqrstuvwxyz0123456"], CallbackFault::Invalid),
        ] {
            assert_eq!(Callback::parse(values.iter()), Err(fault), "{values:?}");
        }
    }
}
