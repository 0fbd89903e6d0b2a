//! Texts of transcripts: octets, names that stand for octets, and places where any octets may stand.
//!
//! `\n`, `\r`, `\0`, `\\`, `\$`, `\xFF` are octets; everything else is itself, in UTF-8. `$*` stands for any octets within a line,
//! `$**` for any at all. Another `$name` stands for one or more octets within a line: the first text that a server writes
//! binds it, from then on it is that text; `${name}` is the same where a letter follows. `$#` is the number of octets between the
//! empty line that follows it and the octet 0 at the end: the right `content-length`.

use std::collections::BTreeMap;

/// What `$name` stands for.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Names(pub BTreeMap<String, Vec<u8>>);

/// A part of a written text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    Octet(u8),
    Name(String),
    /// `$*`: any octets within a line.
    Line,
    /// `$**`: any octets.
    All,
    /// `$#`: the length of the body.
    Length,
}

impl Names {
    /// Binds a name.
    pub fn set(&mut self, name: impl Into<String>, octets: impl Into<Vec<u8>>) {
        self.0.insert(name.into(), octets.into());
    }

    /// The octets that a text stands for.
    ///
    /// # Errors
    ///
    /// Where the text is none, names what is not bound, or has places for any octets.
    pub fn fill(&self, text: &str) -> Result<Vec<u8>, String> {
        let mut octets = Vec::new();
        let mut length = None;
        for token in tokens(text)? {
            match token {
                Token::Length => length = Some(octets.len()),
                Token::Octet(octet) => octets.push(octet),
                Token::Name(name) => octets.extend(self.0.get(&name).ok_or_else(|| format!("${name} is not known"))?),
                Token::Line | Token::All => return Err("wildcards stand for nothing here".to_owned()),
            }
        }
        if let Some(at) = length {
            let head = memchr::memmem::find(&octets[at..], b"\n\n").ok_or("$# is for frames with a body")?;
            let body = octets.len().saturating_sub(at + head + 3);
            octets.splice(at..at, body.to_string().into_bytes());
        }
        Ok(octets)
    }

    /// As [`fill`](Self::fill), for what is text.
    ///
    /// # Errors
    ///
    /// As there, and where it is no UTF-8.
    pub fn fill_text(&self, text: &str) -> Result<String, String> {
        String::from_utf8(self.fill(text)?).map_err(|error| error.to_string())
    }

    /// Whether the octets have the form of the text; binds the names that were not bound. Without a fit none is.
    ///
    /// # Errors
    ///
    /// Where the text is none.
    pub fn fits(&mut self, text: &str, octets: &[u8]) -> Result<bool, String> {
        Ok(self.fit(&tokens(text)?, octets))
    }

    pub(super) fn fit(&mut self, tokens: &[Token], octets: &[u8]) -> bool {
        let mut bound = self.0.clone();
        let fits = matches(tokens, octets, &mut bound);
        if fits {
            self.0 = bound;
        }
        fits
    }
}

/// Whether the octets have this form; a name that is not known yet stands for what makes it fit.
fn matches(tokens: &[Token], octets: &[u8], names: &mut BTreeMap<String, Vec<u8>>) -> bool {
    let Some((token, rest)) = tokens.split_first() else { return octets.is_empty() };
    let known = match token {
        Token::Octet(octet) => Some(vec![*octet]),
        Token::Name(name) => names.get(name).cloned(),
        Token::Line | Token::All | Token::Length => None,
    };
    if let Some(known) = known {
        return octets.strip_prefix(&*known).is_some_and(|octets| matches(rest, octets, names));
    }
    let longest = match token {
        Token::All => octets.len(),
        _ => octets.iter().position(|octet| *octet == b'\n').unwrap_or(octets.len()),
    };
    let shortest = usize::from(matches!(token, Token::Name(_)));
    for length in shortest..=longest {
        let (taken, left) = octets.split_at(length);
        if let Token::Name(name) = token {
            names.insert(name.clone(), taken.to_vec());
        }
        if matches(rest, left, names) {
            return true;
        }
        if let Token::Name(name) = token {
            names.remove(name);
        }
    }
    false
}

/// The parts of a text.
pub(super) fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        rest = tail;
        match first {
            b'\\' => {
                let (&escape, tail) = rest.split_first().ok_or("a backslash at the end")?;
                rest = tail;
                tokens.push(Token::Octet(match escape {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b'0' => 0,
                    b'\\' | b'$' => escape,
                    b'x' => {
                        let digits = rest.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
                        rest = rest.get(2..).unwrap_or_default();
                        digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()).ok_or("\\x needs two digits")?
                    }
                    other => return Err(format!("\\{} is no escape of transcripts", char::from(other))),
                }));
            }
            b'$' if rest.starts_with(b"**") => {
                rest = &rest[2..];
                tokens.push(Token::All);
            }
            b'$' if rest.starts_with(b"*") => {
                rest = &rest[1..];
                tokens.push(Token::Line);
            }
            b'$' if rest.starts_with(b"#") => {
                rest = &rest[1..];
                tokens.push(Token::Length);
            }
            b'$' if rest.starts_with(b"{") => {
                let end = memchr::memchr(b'}', rest).ok_or("${ has no }")?;
                tokens.push(Token::Name(String::from_utf8_lossy(&rest[1..end]).into_owned()));
                rest = &rest[end + 1..];
            }
            b'$' => {
                let end = rest.iter().position(|c| !c.is_ascii_alphanumeric()).unwrap_or(rest.len());
                tokens.push(Token::Name(String::from_utf8_lossy(&rest[..end]).into_owned()));
                rest = &rest[end..];
            }
            octet => tokens.push(Token::Octet(octet)),
        }
    }
    Ok(tokens)
}

/// Octets as a transcript would write them.
#[must_use]
pub fn show(octets: &[u8]) -> String {
    let mut shown = String::with_capacity(octets.len() + octets.len() / 8);
    for chunk in octets.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '\\' => shown.push_str("\\\\"),
                '\n' => shown.push_str("\\n"),
                '\r' => shown.push_str("\\r"),
                '\0' => shown.push_str("\\0"),
                '$' => shown.push_str("\\$"),
                control if control.is_ascii_control() => shown.push_str(&format!("\\x{:02x}", u32::from(control))),
                other => shown.push(other),
            }
        }
        for octet in chunk.invalid() {
            shown.push_str(&format!("\\x{octet:02x}"));
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(text: &str, octets: &str, fits: bool) {
        assert_eq!(Names::default().fits(text, octets.as_bytes()), Ok(fits), "{text} {octets:?}");
    }

    #[test]
    fn texts_fit_octets() {
        check("a\\nb\\0", "a\nb\0", true);
        check("a$*b", "axxb", true);
        check("a$*b", "ax\nb", false);
        check("a$**b", "ax\nb", true);
        check("$m-$m", "x-x", true);
        check("$m-$m", "x-y", false);
        check("$m", "", false);
    }

    #[test]
    fn names_stay_bound_only_where_the_whole_fits() {
        let mut names = Names::default();
        assert_eq!(names.fits("$m!", b"x?"), Ok(false));
        assert_eq!(names.fits("$m!", b"y!"), Ok(true));
        assert_eq!(names.fill("[$m]"), Ok(b"[y]".to_vec()));
    }

    #[test]
    fn names_may_stand_before_letters_and_lengths_are_counted() {
        let mut names = Names::default();
        names.set("x", "12");
        assert_eq!(names.fill("${x}y"), Ok(b"12y".to_vec()));
        assert_eq!(names.fill("A\\nl:$#\\n\\n$x\\03\\0"), Ok(b"A\nl:4\n\n12\x003\0".to_vec()));
    }

    #[test]
    fn what_is_no_text_is_said() {
        for text in ["\\", "\\q", "\\xg0", "${x"] {
            assert!(tokens(text).is_err(), "{text}");
        }
        assert!(Names::default().fill("$nobody").is_err());
        assert!(Names::default().fill("$*").is_err());
    }

    proptest! {
        #[test]
        fn what_is_shown_is_the_text_of_it(octets: Vec<u8>) {
            prop_assert_eq!(Names::default().fill(&show(&octets)), Ok(octets));
        }
    }
}
