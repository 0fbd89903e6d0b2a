//! The four frames a server sends: `o`, `h`, `a[…]`, `c[…]`.

use super::quote;

/// Opens every new session.
pub const OPEN: &str = "o";

/// Keeps a connection alive.
pub const HEART_BEAT: &str = "h";

/// Close codes and reasons with a fixed meaning.
pub mod close {
    /// What Spring and the reference's test application say for a plain close.
    pub const GO_AWAY: (u16, &str) = (3000, "Go away!");
    /// Answer to a second receiver while the first is attached.
    pub const STILL_OPEN: (u16, &str) = (2010, "Another connection still open");
    /// Answer to a receiver whose session was lost: frames may be missing.
    pub const INTERRUPTED: (u16, &str) = (1002, "Connection interrupted");
    /// The peer did not answer a ping.
    pub const SILENT: (u16, &str) = (3000, "No response from heartbeat");
    /// More output waits than the session may hold. 1008 is the WebSocket code for a broken policy (RFC 6455, 7.4.1).
    pub const OVERFLOW: (u16, &str) = (1008, "Too much output waits");
    /// A WebSocket message that is not JSON; said in the WebSocket's own close frame.
    pub const BROKEN_FRAMING: (u16, &str) = (3000, "Broken framing.");
}

/// A close frame: `c[code,"reason"]`.
#[must_use]
pub fn close(code: u16, reason: &str) -> Vec<u8> {
    let mut frame = format!("c[{code},").into_bytes();
    quote::quote(&mut frame, reason);
    frame.push(b']');
    frame
}

/// Octets that were to travel as text are not UTF-8.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not UTF-8 text")]
pub struct NotText;

/// An array frame under construction; holds what waits until it may go.
#[derive(Debug, Default)]
pub struct Array {
    /// `a["m1","m2"`, without the closing bracket; empty while no message is in it.
    open: Vec<u8>,
    messages: usize,
}

impl Array {
    /// Adds one message given in pieces; each piece must be UTF-8 by itself.
    ///
    /// # Errors
    ///
    /// [`NotText`]; the array is as before.
    pub fn push(&mut self, pieces: &[&[u8]]) -> Result<(), NotText> {
        let before = self.open.len();
        self.open.extend_from_slice(if self.messages == 0 { b"a[\"" } else { b",\"" });
        for piece in pieces {
            let Ok(text) = str::from_utf8(piece) else {
                self.open.truncate(before);
                return Err(NotText);
            };
            quote::escape(&mut self.open, text);
        }
        self.open.push(b'"');
        self.messages += 1;
        Ok(())
    }

    /// The whole frame, leaving nothing behind; `None` when no message waits.
    pub fn take(&mut self) -> Option<Vec<u8>> {
        if self.messages == 0 {
            return None;
        }
        self.messages = 0;
        let mut frame = std::mem::take(&mut self.open);
        frame.push(b']');
        Some(frame)
    }

    /// Forgets what waits.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// How many messages wait.
    #[must_use]
    pub const fn messages(&self) -> usize {
        self.messages
    }

    /// How many octets they take, quoted.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.open.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays_grow_and_are_taken_whole() {
        let mut array = Array::default();
        assert_eq!(array.take(), None);
        array.push(&[b"m1"]).unwrap();
        array.push(&[b"head\n", b"", b"\0"]).unwrap();
        assert_eq!(array.messages(), 2);
        assert_eq!(array.take().unwrap(), br#"a["m1","head\n\u0000"]"#);
        assert_eq!((array.take(), array.messages(), array.bytes()), (None, 0, 0));
    }

    #[test]
    fn a_message_that_is_not_text_leaves_no_trace() {
        let mut array = Array::default();
        assert_eq!(array.push(&[b"a", b"\xff"]), Err(NotText));
        assert_eq!(array.take(), None);
        array.push(&[b"a"]).unwrap();
        assert_eq!(array.push(&[b"\xff"]), Err(NotText));
        assert_eq!(array.take().unwrap(), br#"a["a"]"#);
    }

    #[test]
    fn close_quotes_its_reason() {
        assert_eq!(close(3000, "Go away!"), br#"c[3000,"Go away!"]"#);
        assert_eq!(close(1002, "\""), br#"c[1002,"\""]"#);
    }
}
