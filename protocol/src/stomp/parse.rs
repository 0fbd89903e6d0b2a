//! The grammar of a frame's head.
//!
//! ```text
//! frame   = command EOL *( header EOL ) EOL *OCTET NUL *EOL
//! command = one of the 15 commands
//! header  = name ":" value
//! name    = 1*<any octet except NUL, LF, ":">      (and CR, where a lone CR is refused)
//! value   = *<any octet except NUL, LF>            (and CR, where a lone CR is refused)
//! EOL     = [CR] LF
//! ```
//!
//! Where this differs from the published grammars:
//!
//! - CR LF ends a line in every version, not in 1.2 alone: clients write it, both common brokers take it.
//! - A value may hold bare colons in 1.1 and 1.2 too; old clients never escape them.
//! - Octet 0 is refused in a head. The grammar of 1.2 lets it stand in a value, but clients look for it to find the end
//!   of a frame, so passing it on would cut the stream of every subscriber.
//! - `\r` is an escape in 1.1 as well, unless the endpoint is strict.
//! - In 1.0 there are no escapes, and spaces in front of a value are dropped, since the examples of 1.0 write one.
//! - A `content-length` that is not a number is ignored as Spring does, unless the endpoint is strict.

use std::borrow::Cow;

use bytes::Bytes;
use bytestring::ByteString;
use nom::character::complete::char;
use nom::combinator::rest;
use nom::error::{ErrorKind, ParseError};
use nom::sequence::separated_pair;
use nom::{IResult, Parser};

use super::escape::unescape;
use super::{Command, Fault, FaultKind, Headers, Version};

/// Which side's commands are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// A server: reads what clients send.
    Server,
    /// A client: reads what servers send.
    Client,
}

/// What decides how octets are read, beside the octets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Dialect {
    pub(super) role: Role,
    /// `None` until CONNECT is answered; read as 1.2.
    pub(super) version: Option<Version>,
    pub(super) strict: bool,
}

impl Dialect {
    /// 1.0 and 1.1 know CR as an ordinary octet.
    fn lone_cr_is_refused(self) -> bool {
        matches!(self.version, None | Some(Version::V1_2))
    }

    fn cr_has_an_escape(self) -> bool {
        self.version != Some(Version::V1_1) || !self.strict
    }

    fn unescapes(self, command: Command) -> bool {
        self.version != Some(Version::V1_0) && !command.is_unescaped()
    }

    /// What has to be done for this head; most hold neither CR nor backslash, so this is asked once.
    fn rules(self, command: Command, head: &[u8]) -> Rules {
        Rules {
            refuse_lone_cr: self.lone_cr_is_refused() && memchr::memchr(b'\r', head).is_some(),
            unescape: self.unescapes(command) && memchr::memchr(b'\\', head).is_some(),
            cr_has_an_escape: self.cr_has_an_escape(),
        }
    }
}

/// A [`Dialect`] applied to one head.
#[derive(Debug, Clone, Copy)]
struct Rules {
    refuse_lone_cr: bool,
    unescape: bool,
    cr_has_an_escape: bool,
}

/// The command of a line without its line end.
pub(super) fn command(line: &[u8], role: Role) -> Result<Command, Fault> {
    let Some(command) = Command::parse(line) else {
        let text = format!("unknown command '{}'", excerpt(&String::from_utf8_lossy(line)));
        return Err(Fault::new(FaultKind::UnknownCommand, text));
    };
    if command.is_from_client() != (role == Role::Server) {
        let text = format!("{command} is not a {} command", if role == Role::Server { "client" } else { "server" });
        return Err(Fault::new(FaultKind::UnknownCommand, text));
    }
    Ok(command)
}

/// The headers of a whole head behind its command line, `lines` header lines and the empty one. Names and values are
/// slices of `head` unless they had to be decoded.
pub(super) fn headers(head: Bytes, lines: usize, command: Command, dialect: Dialect) -> Result<Headers, Fault> {
    let head = ByteString::try_from(head)
        .map_err(|_| Fault::new(FaultKind::Malformed, format!("a header of {command} is not valid UTF-8")))?;
    let rules = dialect.rules(command, head.as_bytes());
    let mut headers = Headers::with_capacity(lines);
    let mut input: &str = &head;
    for _ in 0..lines {
        let (after, name, value) =
            one_header(&head, input, rules).map_err(|fault| fault.with_receipt(receipt(&head, dialect)))?;
        headers.push(name, value);
        input = after;
    }
    if is_1_0(command, &headers, dialect) {
        headers.trim_values_start();
    }
    Ok(headers)
}

/// The length of the body if the head announces one that can be read.
pub(super) fn content_length(headers: &Headers, strict: bool) -> Result<Option<u64>, Fault> {
    let Some(text) = headers.get("content-length") else { return Ok(None) };
    if !text.is_empty() && text.bytes().all(|octet| octet.is_ascii_digit()) {
        // All digits: the only failure left is a number too large to hold.
        return Ok(Some(text.parse().unwrap_or(u64::MAX)));
    }
    if strict {
        return Err(Fault::new(FaultKind::BadHeader, format!("content-length '{}' is not a number", excerpt(text))));
    }
    Ok(None)
}

/// A CR that no LF follows, where one must.
pub(super) fn lone_cr() -> Fault {
    Flaw::LoneCr.into()
}

/// The start of a text of the peer, fit for one line of our own.
pub(super) fn excerpt(text: &str) -> String {
    const LONGEST: usize = 80;
    let mut short: String = text.chars().take(LONGEST).map(|c| if c.is_control() { '?' } else { c }).collect();
    if text.chars().nth(LONGEST).is_some() {
        short.push('…');
    }
    short
}

/// Parses and decodes the header that `input` begins with, a part of `head`; what follows it comes first.
fn one_header<'a>(head: &ByteString, input: &'a str, rules: Rules) -> Result<(&'a str, ByteString, ByteString), Fault> {
    let (after, (name, value)) = header_line(input, rules.refuse_lone_cr).map_err(|error| match error {
        nom::Err::Error(flaw) | nom::Err::Failure(flaw) => Fault::from(flaw),
        nom::Err::Incomplete(_) => Flaw::NotAHeader(input).into(),
    })?;
    Ok((after, decoded(head, name, rules)?, decoded(head, value, rules)?))
}

type Parsed<'a, T> = IResult<&'a str, T, Flaw<'a>>;

/// What is wrong with a header line.
#[derive(Debug, PartialEq, Eq)]
enum Flaw<'a> {
    /// No colon, or nothing in front of it.
    NotAHeader(&'a str),
    /// A CR that no LF follows.
    LoneCr,
}

impl<'a> ParseError<&'a str> for Flaw<'a> {
    fn from_error_kind(input: &'a str, _: ErrorKind) -> Self {
        Self::NotAHeader(input)
    }

    fn append(_: &'a str, _: ErrorKind, other: Self) -> Self {
        other
    }
}

// The texts of both faults are Spring's, which front ends show and log.
impl From<Flaw<'_>> for Fault {
    fn from(flaw: Flaw<'_>) -> Self {
        let text = match flaw {
            Flaw::NotAHeader(line) => {
                let line = line.split('\n').next().unwrap_or(line);
                format!("Illegal header: '{}'. A header must be of the form <name>:[<value>].", excerpt(line))
            }
            Flaw::LoneCr => r"'\r' must be followed by '\n'".to_owned(),
        };
        Self::new(FaultKind::Malformed, text)
    }
}

/// `header EOL`, name and value still as they stand on the wire.
fn header_line(input: &str, refuse_lone_cr: bool) -> Parsed<'_, (&str, &str)> {
    let (after, line) = line(input)?;
    if refuse_lone_cr && memchr::memchr(b'\r', line.as_bytes()).is_some() {
        return Err(nom::Err::Failure(Flaw::LoneCr));
    }
    match header(line) {
        Ok((_, pair)) => Ok((after, pair)),
        // A combinator reports where it stopped; the fault shows the whole line.
        Err(_) => Err(nom::Err::Failure(Flaw::NotAHeader(line))),
    }
}

/// `*<any octet except LF> EOL`
fn line(input: &str) -> Parsed<'_, &str> {
    let Some(end) = memchr::memchr(b'\n', input.as_bytes()) else {
        return Err(nom::Err::Error(Flaw::NotAHeader(input)));
    };
    let line = &input[..end];
    Ok((&input[end + 1..], line.strip_suffix('\r').unwrap_or(line)))
}

/// `name ":" value`
fn header(line: &str) -> Parsed<'_, (&str, &str)> {
    separated_pair(name, char(':'), rest).parse(line)
}

/// `1*<any octet except ":">`
fn name(line: &str) -> Parsed<'_, &str> {
    match memchr::memchr(b':', line.as_bytes()) {
        None | Some(0) => Err(nom::Err::Error(Flaw::NotAHeader(line))),
        Some(end) => Ok((&line[end..], &line[..end])),
    }
}

/// A name or value of `head`, decoded.
fn decoded(head: &ByteString, text: &str, rules: Rules) -> Result<ByteString, Fault> {
    if !rules.unescape {
        return Ok(head.slice_ref(text));
    }
    match unescape(text, rules.cr_has_an_escape) {
        Ok(Cow::Borrowed(plain)) => Ok(head.slice_ref(plain)),
        Ok(Cow::Owned(decoded)) => Ok(decoded.into()),
        Err(bad) => {
            // Spring's text.
            let text = format!("Illegal escape sequence at index {}: {}", bad.at, excerpt(text));
            Err(Fault::new(FaultKind::Malformed, text))
        }
    }
}

/// Whether this frame is read by the habits of 1.0: a CONNECT that asks for no version is one of 1.0.
fn is_1_0(command: Command, headers: &Headers, dialect: Dialect) -> bool {
    match dialect.version {
        Some(version) => version == Version::V1_0,
        None => command == Command::Connect && headers.get("accept-version").is_none(),
    }
}

/// The `receipt` of a head in which another line is wrong, so that the ERROR can name it.
fn receipt(head: &str, dialect: Dialect) -> Option<ByteString> {
    let value = head.lines().find_map(|line| line.strip_prefix("receipt:"))?;
    if dialect.version == Some(Version::V1_0) {
        return Some(value.trim_start_matches(' ').into());
    }
    unescape(value, dialect.cr_has_an_escape()).ok().map(|value| (&*value).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const READING: Dialect = Dialect { role: Role::Server, version: None, strict: false };

    fn read(head: &'static str, dialect: Dialect) -> Result<Headers, Fault> {
        headers(Bytes::from_static(head.as_bytes()), head.lines().count() - 1, Command::Send, dialect)
    }

    fn at(version: Version) -> Dialect {
        Dialect { version: Some(version), ..READING }
    }

    #[test]
    fn spaces_are_part_of_names_and_values_except_in_front_of_values_of_1_0() {
        let pairs = |version| {
            let headers = read(" kk:  v  \n\n", at(version)).unwrap();
            headers.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect::<Vec<_>>()
        };
        assert_eq!(pairs(Version::V1_2), [(" kk".into(), "  v  ".into())]);
        assert_eq!(pairs(Version::V1_0), [(" kk".into(), "v  ".into())]);
    }

    #[test]
    fn a_flaw_in_one_line_does_not_hide_the_receipt_of_another() {
        for head in ["k:a\\tb\nreceipt:r\\c1\n\n", "receipt:r\\c1\nbroken\n\n", "receipt:r\\c1\nk:a\rb\n\n"] {
            let fault = read(head, READING).unwrap_err();
            assert_eq!(fault.receipt.as_deref(), Some("r:1"), "{head:?}");
        }
    }

    #[test]
    fn the_fault_shows_one_short_clean_line() {
        let long = "x\u{7f}".repeat(500);
        let shown = excerpt(&long);
        assert_eq!(shown.chars().count(), 81);
        assert!(shown.starts_with("x?x?") && shown.ends_with('…'));
        assert_eq!(excerpt("short"), "short");
    }

    #[test]
    fn content_length_is_digits_only() {
        for (text, lenient, strict_is_fault) in [
            ("5", Some(5), false),
            ("0005", Some(5), false),
            ("99999999999999999999999", Some(u64::MAX), false),
            ("-1", None, true),
            ("+1", None, true),
            ("", None, true),
            ("abc", None, true),
            (" 5", None, true),
        ] {
            let headers: Headers = [("content-length", text)].into_iter().collect();
            assert_eq!(content_length(&headers, false).unwrap(), lenient, "{text:?}");
            assert_eq!(content_length(&headers, true).is_err(), strict_is_fault, "{text:?}");
        }
    }
}
