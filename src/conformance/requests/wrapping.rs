//! The frames of SockJS in the answers of its transports. What wraps them has to be as the protocol says.

use percent_encoding::percent_decode;

use super::super::form::show;

/// What is around frames.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Wrapping {
    /// Nothing that is known: no frames can be read.
    #[default]
    None,
    /// A line, and the end of the answer.
    Poll,
    /// Lines, behind one that is there to fill buffers.
    Lines,
    /// Server-sent events.
    Events,
    /// Scripts in a page.
    Page,
    /// A script, and the end of the answer.
    Call,
    /// Messages of a WebSocket.
    WebSocket,
    /// Messages of a WebSocket without frames of SockJS.
    Raw,
}

impl Wrapping {
    /// How the answer to a request of this path wraps frames.
    pub(super) fn of(path: &str) -> Self {
        let mut segments = path.split('?').next().unwrap_or_default().trim_end_matches('/').rsplit('/');
        match (segments.next().unwrap_or_default(), segments.next()) {
            ("xhr", _) => Self::Poll,
            ("xhr_streaming", _) => Self::Lines,
            ("eventsource", _) => Self::Events,
            ("htmlfile", _) => Self::Page,
            ("jsonp", _) => Self::Call,
            ("websocket", _) => Self::WebSocket,
            _ => Self::None,
        }
    }

    /// The method that asks for frames.
    pub(super) fn method(self) -> &'static str {
        if matches!(self, Self::Poll | Self::Lines) { "POST" } else { "GET" }
    }

    /// Whether each answer carries one frame.
    pub(super) fn ends_with_each_frame(self) -> bool {
        matches!(self, Self::Poll | Self::Call)
    }

    /// Takes the next frame if it is there as a whole, and what stands before it.
    ///
    /// # Errors
    ///
    /// Where what came is not wrapped as the protocol says.
    pub(super) fn take(self, body: &mut Vec<u8>) -> Result<Option<String>, String> {
        match self {
            Self::Poll => line(body),
            Self::Lines => match line(body)? {
                Some(filling) if filling.len() > 1 && filling.bytes().all(|octet| octet == b'h') => line(body),
                frame => Ok(frame),
            },
            Self::Events => event(body),
            Self::Page => call(body, b"<script>\np", b");\n</script>\r\n", true),
            Self::Call => call(body, b"/**/", b");\r\n", false),
            Self::WebSocket | Self::Raw | Self::None => Err("no answer that has frames".to_owned()),
        }
    }
}

fn line(body: &mut Vec<u8>) -> Result<Option<String>, String> {
    let Some(end) = memchr::memchr(b'\n', body) else { return Ok(None) };
    let line: Vec<u8> = body.drain(..=end).collect();
    text(&line[..end]).map(Some)
}

fn event(body: &mut Vec<u8>) -> Result<Option<String>, String> {
    if body.starts_with(b"\r\n") {
        body.drain(..2);
    }
    let Some(end) = memchr::memmem::find(body, b"\r\n\r\n") else { return Ok(None) };
    let event: Vec<u8> = body.drain(..end + 4).collect();
    let data = event[..end].strip_prefix(b"data: ").ok_or_else(|| format!("no event: {}", show(&event)))?;
    text(&percent_decode(data).collect::<Vec<u8>>()).map(Some)
}

/// A call of a function with the frame as its text. In a page anything may stand before the first.
fn call(body: &mut Vec<u8>, before: &[u8], behind: &[u8], page: bool) -> Result<Option<String>, String> {
    let start = match memchr::memmem::find(body, before) {
        Some(at) if at == 0 || page => at + before.len(),
        None if page || before.starts_with(body) => return Ok(None),
        _ => return Err(format!("{} does not begin with {}", show(body), show(before))),
    };
    let Some(bracket) = memchr::memchr(b'(', &body[start..]).map(|at| start + at) else { return Ok(None) };
    let mut literal = serde_json::Deserializer::from_slice(&body[bracket + 1..]).into_iter::<String>();
    let frame = match literal.next() {
        Some(Ok(frame)) => frame,
        Some(Err(error)) if !error.is_eof() => {
            return Err(format!("no text in a call: {}", show(&body[bracket + 1..])));
        }
        _ => return Ok(None),
    };
    let end = bracket + 1 + literal.byte_offset();
    let rest = &body[end..];
    if rest.len() < behind.len() && behind.starts_with(rest) {
        return Ok(None);
    }
    if !rest.starts_with(behind) {
        return Err(format!("{} stands behind a frame, not {}", show(rest), show(behind)));
    }
    body.drain(..end + behind.len());
    Ok(Some(frame))
}

fn text(octets: &[u8]) -> Result<String, String> {
    String::from_utf8(octets.to_vec()).map_err(|_| format!("no UTF-8: {}", show(octets)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is in a body that comes octet by octet.
    fn unwrapped(path: &str, octets: &[u8]) -> Result<Vec<String>, String> {
        let (mut body, mut found) = (Vec::new(), Vec::new());
        for octet in octets {
            body.push(*octet);
            while let Some(frame) = Wrapping::of(path).take(&mut body)? {
                found.push(frame);
            }
        }
        assert!(body.is_empty(), "{body:?} is left");
        Ok(found)
    }

    #[track_caller]
    fn check(path: &str, octets: &[u8], frames: &[&str]) {
        assert_eq!(unwrapped(path, octets), Ok(frames.iter().map(|frame| (*frame).to_owned()).collect()), "{path}");
    }

    #[test]
    fn frames_come_out_of_what_wraps_them() {
        check("/ws/0/1/xhr", b"o\n", &["o"]);
        check("/ws/0/1/xhr_streaming?t=1", b"hhhh\no\nh\na[\"x\"]\n", &["o", "h", "a[\"x\"]"]);
        check("/ws/0/1/eventsource", b"\r\ndata: o\r\n\r\ndata: a[\"100%25\"]\r\n\r\n", &["o", "a[\"100%\"]"]);
        let page = b"<html><script>\nfunction p(d) {};</script>\r\n<script>\np(\"o\");\n</script>\r\n";
        check("/ws/0/1/htmlfile?c=x", page, &["o"]);
        check("/ws/0/1/jsonp?c=x", b"/**/x(\"a[\\\"y);\\\"]\");\r\n", &["a[\"y);\"]"]);
    }

    #[test]
    fn what_is_wrapped_otherwise_is_said() {
        let wrong: [(&str, &[u8]); 7] = [
            ("/ws/0/1/xhr", b"\xff\n"),
            ("/ws/0/1/eventsource", b"data:o\r\n\r\n"),
            ("/ws/0/1/htmlfile", b"<script>\np(o);\n</script>\r\n"),
            ("/ws/0/1/htmlfile", b"<script>\np(\"o\");</script>\r\n"),
            ("/ws/0/1/jsonp", b"x(\"o\");\r\n"),
            ("/ws/0/1/jsonp", b"/**/x(\"o\")\r\n"),
            ("/ws/0/1/info", b"o\n"),
        ];
        for (path, octets) in wrong {
            assert!(unwrapped(path, octets).is_err(), "{path} {octets:?}");
        }
    }
}
