//! What a client sends: a JSON array of strings, or over a WebSocket also one bare string.
//!
//! The reader is lenient where JavaScript is: lone surrogates (`"\ud800"`), which any browser string may hold, become
//! U+FFFD instead of failing the batch, and so do octets that are not UTF-8. It is strict otherwise, so that
//! "broken JSON" and "not an array of strings" can be told apart, as the protocol suite demands.

use std::borrow::Cow;

/// Strings in one array; more are refused. A body of three octets per empty string would otherwise cost ten times
/// its size in memory. sockjs-client collects what gathers during one round trip, far below this.
pub const MAX_STRINGS: usize = 16_384;

/// How deep values that are not wanted anyway may nest before they count as broken.
const MAX_DEPTH: u32 = 64;

/// Why a payload was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PayloadFault {
    /// Not JSON. The text is the one the protocol suite looks for.
    #[error("Broken JSON encoding.")]
    Broken,
    /// Empty, or JSON that is not an array of strings.
    #[error("Payload expected.")]
    Expected,
    /// More than [`MAX_STRINGS`] strings in one array.
    #[error("Too many messages.")]
    TooMany,
}

/// Reads the body of `xhr_send` or `jsonp_send`.
///
/// # Errors
///
/// The [`PayloadFault`] that the sender is told; the session survives it.
pub fn messages(body: &[u8]) -> Result<Vec<String>, PayloadFault> {
    let text = String::from_utf8_lossy(body);
    let mut reader = Reader::new(&text);
    if reader.at_end() {
        return Err(PayloadFault::Expected);
    }
    if reader.peek() != Some(b'[') {
        reader.skip_value(0)?;
        return Err(if reader.at_end() { PayloadFault::Expected } else { PayloadFault::Broken });
    }
    reader.whole_array()
}

/// Reads a WebSocket message: an array, one bare string, or nothing at all, which clients use as a heart-beat.
///
/// # Errors
///
/// Anything else ends the connection.
pub fn socket_messages(message: &[u8]) -> Result<Vec<String>, PayloadFault> {
    if message.is_empty() {
        return Ok(Vec::new());
    }
    let text = String::from_utf8_lossy(message);
    let mut reader = Reader::new(&text);
    match reader.peek() {
        Some(b'[') => reader.whole_array(),
        Some(b'"') => {
            let string = reader.string()?;
            if reader.at_end() { Ok(vec![string]) } else { Err(PayloadFault::Broken) }
        }
        _ => Err(PayloadFault::Broken),
    }
}

/// A recursive descent over one JSON text.
struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    const fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// The next octet that is not white space.
    fn peek(&mut self) -> Option<u8> {
        let rest = &self.text.as_bytes()[self.at..];
        let blanks = rest.iter().take_while(|octet| matches!(octet, b' ' | b'\t' | b'\n' | b'\r')).count();
        self.at += blanks;
        rest.get(blanks).copied()
    }

    fn at_end(&mut self) -> bool {
        self.peek().is_none()
    }

    fn take(&mut self, octet: u8) -> bool {
        let found = self.peek() == Some(octet);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, octet: u8) -> Result<(), PayloadFault> {
        if self.take(octet) { Ok(()) } else { Err(PayloadFault::Broken) }
    }

    /// An array of strings and nothing behind it. The whole text is read even after a wrong element: only then is it
    /// known whether it was JSON.
    fn whole_array(&mut self) -> Result<Vec<String>, PayloadFault> {
        self.expect(b'[')?;
        let mut strings = Vec::new();
        let mut fault = None;
        let mut more = !self.take(b']');
        while more {
            if self.peek() != Some(b'"') {
                self.skip_value(1)?;
                fault = fault.or(Some(PayloadFault::Expected));
            } else if strings.len() == MAX_STRINGS {
                return Err(PayloadFault::TooMany);
            } else {
                strings.push(self.string()?);
            }
            more = self.take(b',');
            if !more {
                self.expect(b']')?;
            }
        }
        if !self.at_end() {
            return Err(PayloadFault::Broken);
        }
        fault.map_or(Ok(strings), Err)
    }

    fn skip_value(&mut self, depth: u32) -> Result<(), PayloadFault> {
        if depth > MAX_DEPTH {
            return Err(PayloadFault::Broken);
        }
        match self.peek() {
            Some(b'"') => self.string().map(drop),
            Some(b'[') => self.skip_members(b']', |reader| reader.skip_value(depth + 1)),
            Some(b'{') => self.skip_members(b'}', |reader| {
                reader.peek();
                reader.string()?;
                reader.expect(b':')?;
                reader.skip_value(depth + 1)
            }),
            Some(b't') => self.word("true"),
            Some(b'f') => self.word("false"),
            Some(b'n') => self.word("null"),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => Err(PayloadFault::Broken),
        }
    }

    fn skip_members(
        &mut self,
        end: u8,
        mut member: impl FnMut(&mut Self) -> Result<(), PayloadFault>,
    ) -> Result<(), PayloadFault> {
        self.at += 1;
        if self.take(end) {
            return Ok(());
        }
        loop {
            member(self)?;
            if !self.take(b',') {
                return self.expect(end);
            }
        }
    }

    fn word(&mut self, word: &str) -> Result<(), PayloadFault> {
        if !self.text[self.at..].starts_with(word) {
            return Err(PayloadFault::Broken);
        }
        self.at += word.len();
        Ok(())
    }

    /// RFC 8259, section 6.
    fn number(&mut self) -> Result<(), PayloadFault> {
        self.at += usize::from(self.text.as_bytes()[self.at] == b'-');
        let start = self.at;
        let whole = self.digits()?;
        if whole > 1 && self.text.as_bytes()[start] == b'0' {
            return Err(PayloadFault::Broken);
        }
        if self.text.as_bytes().get(self.at) == Some(&b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.text.as_bytes().get(self.at), Some(b'e' | b'E')) {
            self.at += 1;
            self.at += usize::from(matches!(self.text.as_bytes().get(self.at), Some(b'+' | b'-')));
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<usize, PayloadFault> {
        let count = self.text.as_bytes()[self.at..].iter().take_while(|octet| octet.is_ascii_digit()).count();
        self.at += count;
        if count == 0 { Err(PayloadFault::Broken) } else { Ok(count) }
    }

    /// A string whose quotation mark stands at the current place.
    fn string(&mut self) -> Result<String, PayloadFault> {
        let rest = self.text[self.at..].strip_prefix('"').ok_or(PayloadFault::Broken)?;
        let mut out = Cow::Borrowed("");
        let mut plain = 0;
        let mut at = 0;
        loop {
            match rest.as_bytes().get(at) {
                Some(b'"') => break,
                Some(b'\\') => {
                    let out = out.to_mut();
                    out.push_str(&rest[plain..at]);
                    let (character, length) = unescape(&rest.as_bytes()[at..])?;
                    out.push(character);
                    at += length;
                    plain = at;
                }
                Some(0x20..) => at += 1,
                Some(_) | None => return Err(PayloadFault::Broken),
            }
        }
        self.at += at + 2;
        let mut out = out.into_owned();
        out.push_str(&rest[plain..at]);
        Ok(out)
    }
}

/// The character an escape sequence stands for, and how many octets it took.
fn unescape(sequence: &[u8]) -> Result<(char, usize), PayloadFault> {
    let simple = match sequence.get(1) {
        Some(b'"') => '"',
        Some(b'\\') => '\\',
        Some(b'/') => '/',
        Some(b'b') => '\u{8}',
        Some(b'f') => '\u{c}',
        Some(b'n') => '\n',
        Some(b'r') => '\r',
        Some(b't') => '\t',
        Some(b'u') => return unescape_unit(sequence),
        _ => return Err(PayloadFault::Broken),
    };
    Ok((simple, 2))
}

fn unescape_unit(sequence: &[u8]) -> Result<(char, usize), PayloadFault> {
    let unit = hex(sequence).ok_or(PayloadFault::Broken)?;
    if !(0xd800..0xdc00).contains(&unit) {
        return Ok((char::from_u32(unit).unwrap_or(char::REPLACEMENT_CHARACTER), 6));
    }
    match sequence.get(6..).and_then(hex) {
        Some(low @ 0xdc00..0xe000) => {
            let point = 0x1_0000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
            Ok((char::from_u32(point).unwrap_or(char::REPLACEMENT_CHARACTER), 12))
        }
        _ => Ok((char::REPLACEMENT_CHARACTER, 6)),
    }
}

/// The number in `\uXXXX`.
fn hex(sequence: &[u8]) -> Option<u32> {
    let digits = sequence.strip_prefix(b"\\u")?.get(..4)?;
    digits.iter().try_fold(0, |unit, digit| Some(unit << 4 | char::from(*digit).to_digit(16)?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn arrays_of_strings_are_read() {
        for (body, expected) in [
            ("[]", &[][..]),
            (" [ \"a\" ,\n\"b\" ] ", &["a", "b"]),
            (r#"["","\"\\\/\b\f\n\r\t","\u00e9é"]"#, &["", "\"\\/\u{8}\u{c}\n\r\t", "éé"]),
            (
                r#"["\ud83d\ude00","\ud800","\ud800x","\udc00\ud83d\u0041"]"#,
                &["😀", "\u{fffd}", "\u{fffd}x", "\u{fffd}\u{fffd}A"],
            ),
        ] {
            assert_eq!(messages(body.as_bytes()).unwrap(), expected, "{body}");
        }
        assert_eq!(messages(b"[\"\xff\"]").unwrap(), ["\u{fffd}"]);
    }

    #[test]
    fn faults_tell_broken_json_from_a_missing_payload() {
        for body in
            ["", " ", "\"a\"", "{}", "null", "1", "-0.5e+3", "[1,null,{\"x\":[2,{}]}]", "[[\"a\"]]", "{\"a\":true}"]
        {
            assert_eq!(messages(body.as_bytes()), Err(PayloadFault::Expected), "{body}");
        }
        for body in [
            "[\"x",
            "[",
            "[\"a\",]",
            "[\"a\"]x",
            "[\"\\x\"]",
            "[\"\\u12g4\"]",
            "[\"a\n\"]",
            "nul",
            "01",
            "1.",
            "{\"a\"}",
            "[1",
            "x",
            "]",
        ] {
            assert_eq!(messages(body.as_bytes()), Err(PayloadFault::Broken), "{body}");
        }
        assert_eq!(messages("[".repeat(100_000).as_bytes()), Err(PayloadFault::Broken));
        let many = format!("[{}\"\"]", "\"\",".repeat(MAX_STRINGS));
        assert_eq!(messages(many.as_bytes()), Err(PayloadFault::TooMany));
    }

    #[test]
    fn a_socket_may_send_a_bare_string_or_nothing() {
        assert_eq!(socket_messages(b"").unwrap(), Vec::<String>::new());
        assert_eq!(socket_messages(b"[]").unwrap(), Vec::<String>::new());
        assert_eq!(socket_messages(b"\"b\"").unwrap(), ["b"]);
        assert_eq!(socket_messages(b"[\"a\",\"b\"]").unwrap(), ["a", "b"]);
        for broken in ["[\"a", "\"a\"x", "1", "{}", "x"] {
            assert!(socket_messages(broken.as_bytes()).is_err(), "{broken}");
        }
    }

    proptest! {
        #[test]
        fn agrees_with_a_json_parser(strings in proptest::collection::vec(any::<String>(), 0..4)) {
            let body = serde_json::to_vec(&strings).unwrap();
            prop_assert_eq!(messages(&body).unwrap(), strings);
        }

        #[test]
        fn accepts_only_json(body in r#"[\[\]{},:"\\a0u1n.\- ]{0,12}"#) {
            let known: Result<Vec<String>, _> = serde_json::from_str(&body);
            let (ours, valid) = (messages(body.as_bytes()), serde_json::from_str::<serde_json::Value>(&body).is_ok());
            // serde_json refuses lone surrogates, which are read here; nothing else may differ.
            if !body.contains("\\u") {
                prop_assert_eq!(ours.clone().ok(), known.ok());
                prop_assert_eq!(ours == Err(PayloadFault::Broken), !valid && !body.trim().is_empty());
            }
        }

        #[test]
        fn any_octets_never_panic(body in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = messages(&body);
            let _ = socket_messages(&body);
        }
    }
}
