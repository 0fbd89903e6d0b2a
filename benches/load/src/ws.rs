//! WebSocket frames (RFC 6455 section 5), as much of them as both ends of a measurement need.
//!
//! Nothing is allocated or copied to read a frame: [`head`] says where it ends, the payload stays in the read buffer.

/// Frame type: continuation of a fragmented message.
pub const CONTINUATION: u8 = 0x0;
/// Frame type: text.
pub const TEXT: u8 = 0x1;
/// Frame type: binary.
pub const BINARY: u8 = 0x2;
/// Frame type: close.
pub const CLOSE: u8 = 0x8;
/// Frame type: ping.
pub const PING: u8 = 0x9;
/// Frame type: pong.
pub const PONG: u8 = 0xa;

/// The mask of every client frame. A browser must choose it at random against confused proxies (RFC 6455 section
/// 10.3); a load generator on its own network may keep one, and the server has to unmask all the same.
pub const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// The head of one frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Last frame of its message.
    pub fin: bool,
    /// One of the frame types above.
    pub opcode: u8,
    /// The mask, in frames from a client.
    pub mask: Option<[u8; 4]>,
    /// Bytes of the head itself.
    pub len: usize,
    /// Bytes of payload behind it.
    pub payload_len: usize,
}

impl Head {
    /// Head and payload together.
    #[must_use]
    pub fn frame_len(&self) -> usize {
        self.len + self.payload_len
    }
}

/// Bytes that are no frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// A reserved bit is set though no extension was agreed on.
    #[error("reserved bits in a WebSocket frame")]
    Reserved,
    /// The length is not written in its shortest form.
    #[error("a WebSocket frame length not in its shortest form")]
    LongForm,
    /// Longer than [`MAX_PAYLOAD`].
    #[error("a WebSocket frame of {0} bytes")]
    TooLong(u64),
}

/// No scenario sends more in one frame; what claims to be longer is out of step.
pub const MAX_PAYLOAD: u64 = 16 << 20;

/// Reads the head at the front of `bytes`; `None` while it is not all there.
///
/// # Errors
///
/// Where the bytes cannot be a frame.
#[inline]
pub fn head(bytes: &[u8]) -> Result<Option<Head>, Malformed> {
    let &[first, second, ref rest @ ..] = bytes else { return Ok(None) };
    if first & 0x70 != 0 {
        return Err(Malformed::Reserved);
    }
    let (payload_len, len_bytes) = match second & 0x7f {
        126 => match rest.first_chunk() {
            Some(&chunk) => (u64::from(u16::from_be_bytes(chunk)), 2),
            None => return Ok(None),
        },
        127 => match rest.first_chunk() {
            Some(&chunk) => (u64::from_be_bytes(chunk), 8),
            None => return Ok(None),
        },
        short => (u64::from(short), 0),
    };
    if (len_bytes == 2 && payload_len < 126) || (len_bytes == 8 && payload_len <= 0xffff) {
        return Err(Malformed::LongForm);
    }
    if payload_len > MAX_PAYLOAD {
        return Err(Malformed::TooLong(payload_len));
    }
    let mut len = 2 + len_bytes;
    let mut mask = None;
    if second & 0x80 != 0 {
        let Some(&chunk) = rest[len_bytes..].first_chunk() else { return Ok(None) };
        mask = Some(chunk);
        len += 4;
    }
    Ok(Some(Head { fin: first & 0x80 != 0, opcode: first & 0x0f, mask, len, payload_len: payload_len as usize }))
}

/// Appends a whole unmasked frame, as a server sends it.
pub fn put_server(out: &mut Vec<u8>, opcode: u8, payload: &[u8]) {
    put_head(out, opcode, payload.len(), 0);
    out.extend_from_slice(payload);
}

/// Appends the head of an unmasked frame; the payload is the caller's to append.
pub fn put_server_head(out: &mut Vec<u8>, opcode: u8, payload_len: usize) {
    put_head(out, opcode, payload_len, 0);
}

/// Appends a whole frame masked with [`MASK`], as a client sends it.
pub fn put_client(out: &mut Vec<u8>, opcode: u8, payload: &[u8]) {
    put_head(out, opcode, payload.len(), 0x80);
    out.extend_from_slice(&MASK);
    let start = out.len();
    out.extend_from_slice(payload);
    mask(&mut out[start..], MASK);
}

/// Masks or unmasks in place; the first byte is the first of the payload.
pub fn mask(payload: &mut [u8], mask: [u8; 4]) {
    for (byte, key) in payload.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= key;
    }
}

fn put_head(out: &mut Vec<u8>, opcode: u8, payload_len: usize, mask_bit: u8) {
    out.push(0x80 | opcode);
    match payload_len {
        0..=125 => out.push(mask_bit | payload_len as u8),
        126..=0xffff => {
            out.push(mask_bit | 126);
            out.extend_from_slice(&(payload_len as u16).to_be_bytes());
        }
        _ => {
            out.push(mask_bit | 127);
            out.extend_from_slice(&(payload_len as u64).to_be_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes a frame with `put`, reads it back, and checks that no prefix of it passes for a whole head.
    #[track_caller]
    fn check_round_trip(payload_len: usize, put: fn(&mut Vec<u8>, u8, &[u8]), masked: bool) {
        let payload: Vec<u8> = (0..payload_len).map(|i| i as u8).collect();
        let mut wire = Vec::new();
        put(&mut wire, BINARY, &payload);
        let read = head(&wire).unwrap().unwrap();
        assert_eq!((read.fin, read.opcode, read.payload_len), (true, BINARY, payload_len));
        assert_eq!(read.frame_len(), wire.len());
        for cut in 0..read.len {
            assert_eq!(head(&wire[..cut]), Ok(None), "cut at byte {cut}");
        }
        assert_eq!(read.mask, masked.then_some(MASK));
        let body = &mut wire[read.len..];
        if let Some(key) = read.mask {
            assert!(payload_len == 0 || *body != *payload, "a masked payload differs from the plain one");
            mask(body, key);
        }
        assert_eq!(*body, *payload);
    }

    #[test]
    fn frames_of_every_length_form_read_back() {
        for payload_len in [0, 1, 125, 126, 127, 0xffff, 0x1_0000, 70_001] {
            check_round_trip(payload_len, put_server, false);
            check_round_trip(payload_len, put_client, true);
        }
    }

    #[test]
    fn the_masked_hello_of_rfc_6455_section_5_7() {
        let wire = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
        let mut out = Vec::new();
        put_client(&mut out, TEXT, b"Hello");
        assert_eq!(out, wire);
    }

    #[test]
    fn a_continued_message_is_told_from_a_whole_one() {
        assert!(!head(&[0x01, 0x03]).unwrap().unwrap().fin);
        let last = head(&[0x80, 0x02]).unwrap().unwrap();
        assert_eq!((last.fin, last.opcode), (true, CONTINUATION));
    }

    #[test]
    fn bytes_that_are_no_frame_are_refused() {
        assert_eq!(head(&[0xc1, 0x00]), Err(Malformed::Reserved));
        assert_eq!(head(&[0x81, 126, 0, 125]), Err(Malformed::LongForm));
        assert_eq!(head(&[0x81, 127, 0, 0, 0, 0, 0, 0, 0xff, 0xff]), Err(Malformed::LongForm));
        assert_eq!(head(&[0x81, 127, 0, 0, 0, 0, 0xff, 0, 0, 0]), Err(Malformed::TooLong(0xff00_0000)));
    }
}
