//! Header escapes: which version has which, both ways.
//!
//! | text | 1.0 | 1.1 | 1.2 |
//! |---|---|---|---|
//! | backslash | itself | `\\` | `\\` |
//! | LF | a space | `\n` | `\n` |
//! | colon in a value | itself | `\c` | `\c` |
//! | colon in a name | a space | `\c` | `\c` |
//! | CR | a space | itself | `\r` |
//! | octet 0 | a space | a space | a space |
//!
//! The spaces keep a header from growing into two, or a frame from ending early, where the version has no form for the
//! character. The same column as 1.0 holds for `CONNECT`, `STOMP` and `CONNECTED`, which are never escaped.

use std::borrow::Cow;

use bytes::BufMut;

use super::{Command, Version};

/// Appends a header value as it stands on the wire in this version.
///
/// ```
/// use stampede_protocol::stomp::{Version, escape::escape_into};
///
/// let mut line = Vec::new();
/// escape_into(Version::V1_2, "a:b\\c\r\n", &mut line);
/// assert_eq!(line, br"a\cb\\c\r\n");
/// ```
pub fn escape_into<B: BufMut>(version: Version, text: &str, out: &mut B) {
    Form::of(version).write(text, Part::Value, out);
}

/// Whether a name or value is written differently in different versions.
#[must_use]
pub fn differs_between_versions(text: &str) -> bool {
    any_octet(text, |octet| matches!(octet, b'\\' | b':' | b'\r' | b'\n'))
}

/// Looks at every octet without stopping at the first hit, which compiles to vector instructions: most texts hold none.
fn any_octet(text: &str, is_hit: impl Fn(u8) -> bool) -> bool {
    text.bytes().fold(false, |found, octet| found | is_hit(octet))
}

/// How the headers of one frame are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// 1.0, and the commands that are never escaped.
    Bare,
    /// 1.1: no form for CR but itself.
    WithoutCr,
    /// 1.2.
    Full,
}

/// Which side of the colon a text stands on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Name,
    Value,
}

impl Form {
    /// The form of a version's ordinary frames.
    pub(super) const fn of(version: Version) -> Self {
        match version {
            Version::V1_0 => Self::Bare,
            Version::V1_1 => Self::WithoutCr,
            Version::V1_2 => Self::Full,
        }
    }

    /// The form of one command's frame in a version.
    pub(super) const fn of_command(command: Command, version: Version) -> Self {
        if command.is_unescaped() { Self::Bare } else { Self::of(version) }
    }

    /// Appends one name or value.
    pub(super) fn write<B: BufMut>(self, text: &str, part: Part, out: &mut B) {
        if !any_octet(text, |octet| matches!(octet, 0 | b'\\' | b':' | b'\r' | b'\n')) {
            return out.put_slice(text.as_bytes());
        }
        let mut plain_from = 0;
        for (at, octet) in text.bytes().enumerate() {
            let Some(written) = self.replacement(octet, part) else { continue };
            out.put_slice(&text.as_bytes()[plain_from..at]);
            out.put_slice(written);
            plain_from = at + 1;
        }
        out.put_slice(&text.as_bytes()[plain_from..]);
    }

    /// What stands on the wire for this octet, unless it is the octet itself.
    const fn replacement(self, octet: u8, part: Part) -> Option<&'static [u8]> {
        match (octet, self) {
            (0, _) | (b'\r' | b'\n', Self::Bare) => Some(b" "),
            (b':', Self::Bare) => match part {
                Part::Name => Some(b" "),
                Part::Value => None,
            },
            (b'\\', Self::WithoutCr | Self::Full) => Some(br"\\"),
            (b'\n', Self::WithoutCr | Self::Full) => Some(br"\n"),
            (b':', Self::WithoutCr | Self::Full) => Some(br"\c"),
            (b'\r', Self::Full) => Some(br"\r"),
            _ => None,
        }
    }
}

/// An undefined or incomplete escape; both are fatal (STOMP 1.2, "Value Encoding").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BadEscape {
    /// Where its backslash stands.
    pub(super) at: usize,
}

/// Decodes a name or value; allocates only when it holds a backslash.
pub(super) fn unescape(text: &str, with_cr: bool) -> Result<Cow<'_, str>, BadEscape> {
    let Some(first) = memchr::memchr(b'\\', text.as_bytes()) else { return Ok(Cow::Borrowed(text)) };
    let (plain, mut rest) = text.split_at(first);
    let mut decoded = String::with_capacity(text.len());
    decoded.push_str(plain);
    while let Some(at) = memchr::memchr(b'\\', rest.as_bytes()) {
        decoded.push_str(&rest[..at]);
        decoded.push(match rest.as_bytes().get(at + 1) {
            Some(b'n') => '\n',
            Some(b'c') => ':',
            Some(b'\\') => '\\',
            Some(b'r') if with_cr => '\r',
            _ => return Err(BadEscape { at: text.len() - rest.len() + at }),
        });
        rest = &rest[at + 2..];
    }
    decoded.push_str(rest);
    Ok(Cow::Owned(decoded))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_version_writes_its_own_form() {
        for (version, expected) in [
            (Version::V1_0, r"a\b:c d e f"),
            (Version::V1_1, "a\\\\b\\cc\rd\\ne f"),
            (Version::V1_2, r"a\\b\cc\rd\ne f"),
        ] {
            let mut out = Vec::new();
            escape_into(version, "a\\b:c\rd\ne\0f", &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), expected, "{version}");
        }
    }

    #[test]
    fn a_colon_in_a_bare_name_does_not_move_the_border_to_the_value() {
        let mut out = Vec::new();
        Form::Bare.write("subscription:x", Part::Name, &mut out);
        assert_eq!(out, b"subscription x");
    }

    #[test]
    fn defined_escapes_decode() {
        for (wire, text) in [
            (r"a\nb", "a\nb"),
            (r"a\cb", "a:b"),
            (r"a\\b", r"a\b"),
            (r"a\\n", r"a\n"),
            (r"\r", "\r"),
            (r"é\c😀", "é:😀"),
        ] {
            assert_eq!(unescape(wire, true).as_deref(), Ok(text), "{wire}");
        }
        assert!(matches!(unescape("%41 é", true), Ok(Cow::Borrowed(_))));
    }

    #[test]
    fn undefined_and_cut_escapes_are_refused() {
        for (wire, with_cr, at) in
            [(r"a\tb", true, 1), (r"ab\", true, 2), (r"a\\\", true, 3), (r"a\rb", false, 1), (r"\é", true, 0)]
        {
            assert_eq!(unescape(wire, with_cr), Err(BadEscape { at }), "{wire}");
        }
    }
}
