//! Frames of WebSocket, as octets: what a server has wrong must be seen, and what no library would write can be written.

use super::super::form::show;

/// Kinds of frames, as their first octet has them.
pub(super) const CONTINUES: u8 = 0;
pub(super) const TEXT: u8 = 1;
pub(super) const BINARY: u8 = 2;
pub(super) const CLOSE: u8 = 8;
pub(super) const PING: u8 = 9;
pub(super) const PONG: u8 = 10;

/// Set in the last frame of a message.
pub(super) const LAST: u8 = 0x80;

/// A frame as a client writes it: masked, unless it is to be wrong.
pub(super) fn frame(first: u8, payload: &[u8], masked: bool) -> Vec<u8> {
    let mask = if masked { getrandom::u32().unwrap_or(0x1234_5678).to_be_bytes() } else { [0; 4] };
    let mut octets = vec![first];
    let flag = if masked { 0x80 } else { 0 };
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(length @ ..126), _) => octets.push(flag | length),
        (_, Ok(length)) => {
            octets.push(flag | 126);
            octets.extend_from_slice(&length.to_be_bytes());
        }
        _ => {
            octets.push(flag | 127);
            octets.extend_from_slice(&(payload.len() as u64).to_be_bytes());
        }
    }
    if masked {
        octets.extend_from_slice(&mask);
    }
    octets.extend(payload.iter().zip(mask.iter().cycle()).map(|(octet, mask)| octet ^ mask));
    octets
}

/// What a server says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Message {
    Text(Vec<u8>),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    /// Code and reason, if there are any.
    Close(Option<u16>, String),
}

impl Message {
    /// In words.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::Text(octets) => format!("a message {}", show(octets)),
            Self::Binary(octets) => format!("a binary message {}", show(octets)),
            Self::Ping(octets) => format!("a ping {}", show(octets)),
            Self::Pong(octets) => format!("a pong {}", show(octets)),
            Self::Close(None, _) => "a close without a code".to_owned(),
            Self::Close(Some(code), reason) => format!("a close with {code} {reason:?}"),
        }
    }
}

/// Puts messages together.
#[derive(Debug, Default)]
pub(super) struct Reader {
    /// The kind and the start of a message that is not whole.
    begun: Option<(u8, Vec<u8>)>,
}

impl Reader {
    /// Takes the next message if it is there as a whole.
    ///
    /// # Errors
    ///
    /// Where RFC 6455 forbids what came.
    pub(super) fn next(&mut self, came: &mut Vec<u8>) -> Result<Option<Message>, String> {
        while let Some((first, payload)) = take(came)? {
            let (kind, last) = (first & 0x0f, first & LAST != 0);
            let message = match (kind, self.begun.take()) {
                (CLOSE | PING | PONG, begun) => {
                    self.begun = begun;
                    return control(kind, last, payload).map(Some);
                }
                (TEXT | BINARY, None) => (kind, payload),
                (CONTINUES, Some((kind, mut start))) => {
                    start.extend(payload);
                    (kind, start)
                }
                (kind, begun) => return Err(format!("a frame of kind {kind}, inside a message: {}", begun.is_some())),
            };
            match message {
                begun if !last => self.begun = Some(begun),
                (BINARY, octets) => return Ok(Some(Message::Binary(octets))),
                (_, octets) if std::str::from_utf8(&octets).is_ok() => return Ok(Some(Message::Text(octets))),
                (_, octets) => return Err(format!("a text that is no UTF-8: {}", show(&octets))),
            }
        }
        Ok(None)
    }
}

fn control(kind: u8, last: bool, payload: Vec<u8>) -> Result<Message, String> {
    if !last || payload.len() > 125 {
        return Err(format!("a frame of kind {kind} in parts, or of {} octets", payload.len()));
    }
    Ok(match (kind, payload.as_slice()) {
        (PING, _) => Message::Ping(payload),
        (PONG, _) => Message::Pong(payload),
        (_, []) => Message::Close(None, String::new()),
        (_, [high, low, reason @ ..]) => {
            Message::Close(Some(u16::from_be_bytes([*high, *low])), String::from_utf8_lossy(reason).into_owned())
        }
        _ => return Err("a close with half a code".to_owned()),
    })
}

/// Takes the next frame if it is there as a whole: its first octet and what it carries.
fn take(came: &mut Vec<u8>) -> Result<Option<(u8, Vec<u8>)>, String> {
    let [first, second, ..] = came[..] else { return Ok(None) };
    if first & 0x70 != 0 || second & 0x80 != 0 {
        return Err(format!("a frame that begins with {first:02x} {second:02x}"));
    }
    let (start, length) = match second {
        126 => {
            let Some(digits) = came.get(2..4) else { return Ok(None) };
            (4, digits.iter().fold(0, |length, octet| length << 8 | u64::from(*octet)))
        }
        127 => {
            let Some(digits) = came.get(2..10) else { return Ok(None) };
            (10, digits.iter().fold(0, |length, octet| length << 8 | u64::from(*octet)))
        }
        length => (2, u64::from(length)),
    };
    let end = usize::try_from(length).unwrap_or(usize::MAX).saturating_add(start);
    if came.len() < end {
        return Ok(None);
    }
    let frame: Vec<u8> = came.drain(..end).collect();
    Ok(Some((first, frame[start..].to_vec())))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a server's frames say, octet by octet.
    fn said(octets: &[u8]) -> Result<Vec<Message>, String> {
        let (mut reader, mut came, mut found) = (Reader::default(), Vec::new(), Vec::new());
        for octet in octets {
            came.push(*octet);
            found.extend(reader.next(&mut came)?);
        }
        Ok(found)
    }

    #[test]
    fn messages_are_put_together() {
        let mut octets = frame(TEXT, b"a", false);
        octets.extend(frame(LAST | PING, b"?", false));
        octets.extend(frame(LAST | CONTINUES, b"b", false));
        octets.extend(frame(LAST | BINARY, &vec![7; 70_000], false));
        octets.extend(frame(LAST | TEXT, &[b'x'; 300], false));
        octets.extend(frame(LAST | CLOSE, b"\x0b\xb8Go away!", false));
        let expected = vec![
            Message::Ping(b"?".to_vec()),
            Message::Text(b"ab".to_vec()),
            Message::Binary(vec![7; 70_000]),
            Message::Text(vec![b'x'; 300]),
            Message::Close(Some(3000), "Go away!".to_owned()),
        ];
        assert_eq!(said(&octets), Ok(expected));
    }

    #[test]
    fn what_a_server_must_not_write_is_said() {
        let wrong = [
            frame(LAST | TEXT, b"masked", true),
            frame(LAST | CONTINUES, b"of nothing", false),
            frame(LAST | 3, b"", false),
            frame(PING, b"in parts", false),
            frame(LAST | CLOSE, b"\x01", false),
            frame(LAST | TEXT | 0x40, b"compressed", false),
            frame(LAST | TEXT, b"\xff", false),
        ];
        for octets in wrong {
            assert!(said(&octets).is_err(), "{octets:?}");
        }
    }

    #[test]
    fn a_client_masks() {
        let octets = frame(LAST | TEXT, b"hello", true);
        assert_eq!(octets[..2], [0x81, 0x85]);
        let plain: Vec<u8> =
            octets[6..].iter().zip(octets[2..6].iter().cycle()).map(|(octet, mask)| octet ^ mask).collect();
        assert_eq!(plain, b"hello");
    }
}
