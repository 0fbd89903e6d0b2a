//! How a message is printed.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::time::SystemTime;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Map, Value};
use stampede_protocol::stomp::Frame;

use super::indent::indented;

/// What a message looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// For people: time, destination, headers, body.
    Pretty {
        /// Whether JSON is put on several lines.
        indented: bool,
        /// Whether headers and bodies are told apart by colours.
        coloured: bool,
    },
    /// A JSON object on a line.
    Json,
    /// Only the body and a line end.
    Body {
        /// Whether the octets are as they came; otherwise what could drive a terminal is escaped.
        raw: bool,
    },
}

impl Form {
    /// A message that came at this time.
    #[must_use]
    pub fn show(self, message: &Frame, came: SystemTime) -> Vec<u8> {
        match self {
            Self::Pretty { indented, coloured } => pretty(message, came, indented, coloured).into_bytes(),
            Self::Json => json(message).into_bytes(),
            Self::Body { raw: true } => [&message.body, &b"\n"[..]].concat(),
            Self::Body { raw: false } => (text_of(&message.body) + "\n").into_bytes(),
        }
    }
}

/// A text without what could drive a terminal or make a line look like another: control characters, and those that turn
/// the direction of writing. Line ends and tabs are escaped too.
#[must_use]
pub fn plain(text: &str) -> Cow<'_, str> {
    if text.contains(is_unsafe) { Cow::Owned(escaped(text, |_| false)) } else { Cow::Borrowed(text) }
}

/// Everything but the title is indented, so that no body can pass for the next message.
fn pretty(message: &Frame, came: SystemTime, indent_json: bool, coloured: bool) -> String {
    let (strong, faint, normal) = if coloured { ("\x1b[1;36m", "\x1b[2m", "\x1b[0m") } else { ("", "", "") };
    let header = |name| message.header(name).map_or("", |value| &**value);
    let time = humantime::format_rfc3339_millis(came).to_string();
    let time = time.split_once('T').map_or(&*time, |(_, time)| time);
    let (destination, id) = (plain(header("destination")), plain(header("message-id")));
    let mut text = format!("{faint}{time}{normal} {strong}{destination}{normal} {faint}{id}{normal}\n");
    for (name, value) in message.headers.iter().filter(|(name, _)| !matches!(&***name, "destination" | "message-id")) {
        let _ = writeln!(text, "  {faint}{}:{normal} {}", plain(name), plain(value));
    }
    text.push('\n');
    if !message.body.is_empty() {
        let body = std::str::from_utf8(&message.body).ok().filter(|_| indent_json).and_then(indented);
        let body = body.map_or_else(|| text_of(&message.body), |json| escaped(&json, |letter| letter == '\n'));
        for line in body.lines() {
            let _ = writeln!(text, "  {line}");
        }
        text.push('\n');
    }
    text
}

fn json(message: &Frame) -> String {
    let header = |name| message.header(name).map_or(Value::Null, |value| Value::from(&**value));
    let mut headers = Map::new();
    for (name, value) in message.headers.iter() {
        headers.entry(&**name).or_insert_with(|| Value::from(&**value));
    }
    let (body_is, body) = match std::str::from_utf8(&message.body) {
        Ok(text) => ("body", Value::from(text)),
        Err(_) => ("body_base64", Value::from(BASE64_STANDARD.encode(&message.body))),
    };
    let entries = [
        ("destination", header("destination")),
        ("subscription", header("subscription")),
        ("message_id", header("message-id")),
        ("headers", Value::Object(headers)),
        (body_is, body),
    ];
    let object: Map<String, Value> = entries.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let mut line = String::new();
    // Such characters stand in texts alone, where JSON has this form for them. Those of ASCII are escaped already, but one.
    for letter in Value::Object(object).to_string().chars() {
        if is_unsafe(letter) {
            let _ = write!(line, "\\u{:04x}", u32::from(letter));
        } else {
            line.push(letter);
        }
    }
    line.push('\n');
    line
}

/// Octets as text: those that are none, and what could drive a terminal, in escaped form.
fn text_of(octets: &[u8]) -> String {
    let mut text = String::with_capacity(octets.len());
    for chunk in octets.utf8_chunks() {
        text += &escaped(chunk.valid(), |letter| matches!(letter, '\n' | '\t'));
        for octet in chunk.invalid() {
            let _ = write!(text, "\\x{octet:02x}");
        }
    }
    text
}

fn escaped(text: &str, is_kept: impl Fn(char) -> bool) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            _ if !is_unsafe(letter) || is_kept(letter) => out.push(letter),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\0'..='\x7f' => {
                let _ = write!(out, "\\x{:02x}", u32::from(letter));
            }
            _ => {
                let _ = write!(out, "\\u{:04x}", u32::from(letter));
            }
        }
    }
    out
}

/// Control characters, marks that turn the direction of writing, and separators of lines. None lies beyond U+FFFF.
fn is_unsafe(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use stampede_protocol::stomp::Command;

    use super::*;

    const CAME: Duration = Duration::from_millis(1_700_000_000_123);

    fn message(body: impl AsRef<[u8]>) -> Frame {
        let mut frame = Frame::new(Command::Message)
            .with("destination", "/topic/a")
            .with("subscription", "0")
            .with("message-id", "7-1");
        frame.body = body.as_ref().to_vec().into();
        frame
    }

    #[track_caller]
    fn check(form: Form, message: &Frame, expected: &str) {
        let shown = form.show(message, SystemTime::UNIX_EPOCH + CAME);
        assert_eq!(String::from_utf8(shown).unwrap(), expected);
    }

    const PLAIN: Form = Form::Pretty { indented: false, coloured: false };

    #[test]
    fn people_see_a_title_headers_and_the_body() {
        let message = message("hello\nthere").with("x", "1").with("x", "2");
        let expected = "22:13:20.123Z /topic/a 7-1\n  subscription: 0\n  x: 1\n  x: 2\n\n  hello\n  there\n\n";
        check(PLAIN, &message, expected);
    }

    #[test]
    fn without_a_body_there_is_none() {
        check(PLAIN, &message(""), "22:13:20.123Z /topic/a 7-1\n  subscription: 0\n\n");
        check(PLAIN, &Frame::new(Command::Message), "22:13:20.123Z  \n\n");
    }

    #[test]
    fn colours_are_there_where_they_are_wanted() {
        let coloured = Form::Pretty { indented: false, coloured: true };
        let expected = "\x1b[2m22:13:20.123Z\x1b[0m \x1b[1;36m/topic/a\x1b[0m \x1b[2m7-1\x1b[0m\n  \x1b[2msubscription:\x1b[0m 0\n\n  x\n\n";
        check(coloured, &message("x"), expected);
        let plain = PLAIN.show(&message("x"), SystemTime::now());
        assert!(!plain.contains(&0x1b));
    }

    #[test]
    fn json_is_put_on_lines_where_it_is_wanted() {
        let message = message(r#"{"a":[1]}"#);
        let head = "22:13:20.123Z /topic/a 7-1\n  subscription: 0\n\n";
        check(PLAIN, &message, &format!("{head}  {{\"a\":[1]}}\n\n"));
        let indented = Form::Pretty { indented: true, coloured: false };
        check(indented, &message, &format!("{head}  {{\n    \"a\": [\n      1\n    ]\n  }}\n\n"));
    }

    #[test]
    fn nothing_that_drives_a_terminal_gets_through() {
        for (octets, shown) in [
            (&b"\x1b[2Jx"[..], "\\x1b[2Jx"),
            (b"a\rb\x07\x00\x7f", "a\\rb\\x07\\x00\\x7f"),
            ("\u{9b}31m".as_bytes(), "\\u009b31m"),
            ("a\u{202e}b\u{2028}\u{61c}".as_bytes(), "a\\u202eb\\u2028\\u061c"),
            (b"\xff\x9b[x", "\\xff\\x9b[x"),
            ("tab\there, ä, 😀".as_bytes(), "tab\there, ä, 😀"),
        ] {
            check(PLAIN, &message(octets), &format!("22:13:20.123Z /topic/a 7-1\n  subscription: 0\n\n  {shown}\n\n"));
            check(Form::Body { raw: false }, &message(octets), &format!("{shown}\n"));
            let raw = Form::Body { raw: true }.show(&message(octets), SystemTime::now());
            assert_eq!(raw, [octets, b"\n"].concat());
        }
    }

    #[test]
    fn no_header_passes_for_a_line_or_drives_a_terminal() {
        let mut message =
            Frame::new(Command::Message).with("destination", "/t\x1b]0;x\x07\nfoo: bar").with("k\n", "v\tw");
        message.body = "{\"\u{9b}\":1}".into();
        let indented = Form::Pretty { indented: true, coloured: false };
        let expected = "22:13:20.123Z /t\\x1b]0;x\\x07\\nfoo: bar \n  k\\n: v\\tw\n\n  {\n    \"\\u009b\": 1\n  }\n\n";
        check(indented, &message, expected);
        assert!(matches!(plain("nothing to do"), Cow::Borrowed(_)));
    }

    #[test]
    fn lines_of_json_hold_all() {
        let expected = r#"{"destination":"/topic/a","subscription":"0","message_id":"7-1","headers":{"destination":"/topic/a","subscription":"0","message-id":"7-1","x":"1"},"body":"a\n\"b\u007f\u009b\u001b"}"#;
        let message = message("a\n\"b\x7f\u{9b}\x1b").with("x", "1").with("x", "2");
        check(Form::Json, &message, &format!("{expected}\n"));
        let read: Value = serde_json::from_str(expected).unwrap();
        assert_eq!(read["body"].as_str().unwrap().as_bytes(), &message.body[..]);
    }

    #[test]
    fn bodies_that_are_no_text_are_base64_in_json() {
        let mut message = Frame::new(Command::Message);
        message.body = b"\xff\x00".to_vec().into();
        let expected =
            r#"{"destination":null,"subscription":null,"message_id":null,"headers":{},"body_base64":"/wA="}"#;
        check(Form::Json, &message, &format!("{expected}\n"));
    }
}
