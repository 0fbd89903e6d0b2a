//! What a frame must have, whatever else it has.

use super::form::{Names, Token, tokens};
use super::frames::Seen;

/// A frame as a transcript expects it: `COMMAND\nname:value\n!name\n\nbody\0`.
///
/// Each named header must be there; where it is there more than once the first counts. `!name` must not be there. Others may, in
/// any order. Without an empty line the body does not matter.
#[derive(Debug)]
pub(super) struct Pattern {
    command: Vec<Token>,
    headers: Vec<(Vec<u8>, Vec<Token>)>,
    absent: Vec<Vec<u8>>,
    body: Option<Vec<Token>>,
}

impl Pattern {
    /// Reads a pattern.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let tokens = tokens(text)?;
        let mut rest = tokens.as_slice();
        let mut line = || {
            let end = rest.iter().position(|token| *token == Token::Octet(b'\n'));
            let (line, left) = end.map_or((rest, None), |end| (&rest[..end], Some(&rest[end + 1..])));
            rest = left.unwrap_or_default();
            (line.to_vec(), left.is_some())
        };
        let (command, mut more) = line();
        let mut pattern = Self { command, headers: Vec::new(), absent: Vec::new(), body: None };
        while more {
            let (header, ended) = line();
            more = ended;
            if header.is_empty() && ended {
                let body = rest.strip_suffix(&[Token::Octet(0)]).ok_or("a body ends with \\0")?;
                pattern.body = Some(body.to_vec());
                break;
            }
            let colon = header.iter().position(|token| *token == Token::Octet(b':'));
            match (header.first(), colon) {
                (Some(Token::Octet(b'!')), None) => pattern.absent.push(octets(&header[1..])?),
                (_, Some(colon)) => pattern.headers.push((octets(&header[..colon])?, header[colon + 1..].to_vec())),
                (_, None) => return Err("a header has a colon".to_owned()),
            }
        }
        Ok(pattern)
    }

    /// Whether the frame has all that; binds names where it has. Says what is missing where it has not.
    pub(super) fn check(&self, seen: &Seen, names: &mut Names) -> Result<(), String> {
        let mut bound = names.clone();
        if !bound.fit(&self.command, &seen.command) {
            return Err("another command".to_owned());
        }
        for (name, value) in &self.headers {
            let shown = String::from_utf8_lossy(name);
            let found = seen.header(name).ok_or_else(|| format!("no header {shown}"))?;
            if !bound.fit(value, found) {
                return Err(format!("another value of {shown}"));
            }
        }
        for name in &self.absent {
            if seen.header(name).is_some() {
                return Err(format!("the header {}", String::from_utf8_lossy(name)));
            }
        }
        if let Some(body) = &self.body
            && !bound.fit(body, &seen.body)
        {
            return Err("another body".to_owned());
        }
        *names = bound;
        Ok(())
    }
}

/// A name has no places for others.
fn octets(tokens: &[Token]) -> Result<Vec<u8>, String> {
    let octet = |token: &Token| match token {
        Token::Octet(octet) => Ok(*octet),
        _ => Err("the name of a header is what it is".to_owned()),
    };
    tokens.iter().map(octet).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::frames::Cutter;

    fn check(pattern: &str, frame: &str) -> Result<(), String> {
        let mut cutter = Cutter::default();
        cutter.feed(frame.as_bytes());
        Pattern::parse(pattern).unwrap().check(&cutter.cut().unwrap().unwrap(), &mut Names::default())
    }

    #[test]
    fn frames_have_what_is_asked_for_and_more() {
        let frame = "MESSAGE\na:1\na:2\nb:\\c\n\nbody\0";
        for pattern in
            ["MESSAGE", "MESSAGE\\nb:\\\\c\\na:1", "$x\\n!c", "MESSAGE\\n\\nbody\\0", "MESSAGE\\na:$*\\n\\n$**\\0"]
        {
            assert_eq!(check(pattern, frame), Ok(()), "{pattern}");
        }
    }

    #[test]
    fn what_is_missing_is_said() {
        let frame = "MESSAGE\na:1\na:2\n\nbody\0";
        let cases = [
            ("RECEIPT", "another command"),
            ("MESSAGE\\nc:1", "no header c"),
            ("MESSAGE\\na:2", "another value of a"),
            ("MESSAGE\\n!a", "the header a"),
            ("MESSAGE\\n\\nbod\\0", "another body"),
        ];
        for (pattern, said) in cases {
            assert_eq!(check(pattern, frame), Err(said.to_owned()), "{pattern}");
        }
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for pattern in ["M\\nx", "M\\n\\nbody", "M\\n$x:1", "\\q"] {
            assert!(Pattern::parse(pattern).is_err(), "{pattern}");
        }
    }
}
