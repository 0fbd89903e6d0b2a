//! Frames out: LF line ends, escapes of the version, `content-length` last.
//!
//! Clients in use set the form: none of the old ones takes CR LF, and a wrong `content-length` loses the rest of the
//! stream, so it is always computed here and a header of that name in the frame is left out.

use bytes::BufMut;

use super::escape::{Form, Part};
use super::{Command, Frame, Headers, Version};

/// Appends one whole frame, NUL included.
///
/// `content-length` stands on every frame that may have a body, 0 included, as Spring writes it, and on no other. A body
/// on a frame that may have none is left out.
///
/// ```
/// use bytes::BytesMut;
/// use stampede_protocol::stomp::{Command, Frame, Version, encode};
///
/// let mut out = BytesMut::new();
/// encode(&Frame::new(Command::Error).with("message", "no such id: 7"), Version::V1_2, &mut out);
/// assert_eq!(&out[..], b"ERROR\nmessage:no such id\\c 7\ncontent-length:0\n\n\0");
/// ```
pub fn encode<B: BufMut>(frame: &Frame, version: Version, out: &mut B) {
    encode_head(frame, version, out);
    if frame.command.may_have_body() {
        out.put_slice(&frame.body);
    }
    out.put_u8(0);
}

/// Appends everything in front of the body: for writers that pass the body on without copying it.
pub fn encode_head<B: BufMut>(frame: &Frame, version: Version, out: &mut B) {
    put_command(frame.command, out);
    put_headers(&frame.headers, &["content-length"], Form::of_command(frame.command, version), out);
    if frame.command.may_have_body() {
        put_content_length(frame.body.len(), out);
    }
    out.put_u8(b'\n');
}

pub(super) fn put_command<B: BufMut>(command: Command, out: &mut B) {
    out.put_slice(command.as_str().as_bytes());
    out.put_u8(b'\n');
}

/// Appends one line for each header but those named in `except`.
pub(super) fn put_headers<B: BufMut>(headers: &Headers, except: &[&str], form: Form, out: &mut B) {
    for (name, value) in headers.iter().filter(|(name, _)| !except.contains(&&***name)) {
        form.write(name, Part::Name, out);
        out.put_u8(b':');
        form.write(value, Part::Value, out);
        out.put_u8(b'\n');
    }
}

/// Appends the line `content-length`.
pub(super) fn put_content_length<B: BufMut>(length: usize, out: &mut B) {
    out.put_slice(b"content-length:");
    put_number(length, out);
    out.put_u8(b'\n');
}

/// Appends a number in decimal digits, without the detour through `fmt`.
pub(super) fn put_number<B: BufMut>(mut number: usize, out: &mut B) {
    // 20 digits hold the largest 64-bit number.
    let mut digits = [0; 20];
    let mut from = digits.len();
    loop {
        from -= 1;
        digits[from] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.put_slice(&digits[from..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(frame: &Frame, version: Version, expected: &str) {
        let mut out = Vec::new();
        encode(frame, version, &mut out);
        assert_eq!(String::from_utf8_lossy(&out), expected, "{version}");
    }

    #[test]
    fn each_version_has_its_escapes() {
        let frame = Frame::new(Command::Receipt).with("receipt-id", "a:b\\c\r\n");
        check(&frame, Version::V1_0, "RECEIPT\nreceipt-id:a:b\\c  \n\n\0");
        check(&frame, Version::V1_1, "RECEIPT\nreceipt-id:a\\cb\\\\c\r\\n\n\n\0");
        check(&frame, Version::V1_2, "RECEIPT\nreceipt-id:a\\cb\\\\c\\r\\n\n\n\0");
    }

    #[test]
    fn connected_is_not_escaped_and_cannot_be_split_by_a_value() {
        let frame = Frame::new(Command::Connected).with("version", "1.2").with("user-name", "bo:b\\\nversion:9");
        check(&frame, Version::V1_2, "CONNECTED\nversion:1.2\nuser-name:bo:b\\ version:9\n\n\0");
    }

    #[test]
    fn content_length_is_computed_and_stands_last() {
        let mut frame = Frame::new(Command::Send).with("content-length", "7").with("destination", "/t");
        frame.body = "Älä😀".into();
        check(&frame, Version::V1_2, "SEND\ndestination:/t\ncontent-length:9\n\nÄlä😀\0");
    }

    #[test]
    fn a_frame_that_may_have_no_body_gets_none() {
        let mut frame = Frame::new(Command::Receipt).with("receipt-id", "1");
        frame.body = "x".into();
        check(&frame, Version::V1_2, "RECEIPT\nreceipt-id:1\n\n\0");
    }

    #[test]
    fn numbers_of_any_size() {
        for number in [0, 9, 10, 65_536, usize::MAX] {
            let mut out = Vec::new();
            put_number(number, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), number.to_string());
        }
    }
}
