//! One segment of a pattern, and how it matches one segment of a destination.

use std::ops::Range;

use super::pattern::PatternError;

/// What stands between two separators of a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Segment {
    /// `**`: any number of segments, none included.
    Deep,
    /// `*` alone: any segment, and as the last one also the empty text after a trailing separator.
    Any,
    /// No wildcard: this text.
    Text(Box<str>),
    /// Wildcards and text mixed, or `{x}` alone.
    Glob(Box<[Piece]>),
}

/// A part of a [`Segment::Glob`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    /// This text, never empty.
    Text(Box<str>),
    /// `?`: one character.
    One,
    /// `*`: any characters, also none.
    Many,
    /// `{name}`: as `Many`, and what it covers has a name.
    Name(Box<str>),
}

impl Segment {
    /// Reads one segment of a pattern; `segment` holds no separator and is not empty.
    pub(super) fn parse(segment: &str) -> Result<Self, PatternError> {
        match segment {
            "**" => return Ok(Self::Deep),
            "*" => return Ok(Self::Any),
            _ => {}
        }
        let mut pieces: Vec<Piece> = Vec::new();
        let mut text = String::new();
        let mut rest = segment;
        while let Some(c) = rest.chars().next() {
            let (piece, length) = match c {
                '?' => (Piece::One, 1),
                '*' => (Piece::Many, 1),
                '{' => match variable(rest)? {
                    Some(name) => (Piece::Name(name.into()), name.len() + 2),
                    None => {
                        text.push(c);
                        rest = &rest[1..];
                        continue;
                    }
                },
                _ => {
                    text.push(c);
                    rest = &rest[c.len_utf8()..];
                    continue;
                }
            };
            if !text.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut text).into()));
            }
            if piece != Piece::Many || pieces.last() != Some(&Piece::Many) {
                pieces.push(piece);
            }
            rest = &rest[length..];
        }
        if pieces.is_empty() {
            return Ok(Self::Text(text.into()));
        }
        if !text.is_empty() {
            pieces.push(Piece::Text(text.into()));
        }
        Ok(Self::Glob(pieces.into()))
    }

    /// Whether this segment, which is not [`Segment::Deep`], matches `text`.
    pub(super) fn matches(&self, text: &str) -> bool {
        match self {
            Self::Deep | Self::Any => true,
            Self::Text(own) => **own == *text,
            Self::Glob(pieces) => glob(pieces, text, |_, _| {}),
        }
    }

    /// The names of this segment with what they cover in `text`, which must match.
    pub(super) fn captures<'t>(&self, text: &'t str, mut bind: impl FnMut(&str, &'t str)) {
        let Self::Glob(pieces) = self else { return };
        let mut ranges = vec![0..0; pieces.len()];
        if glob(pieces, text, |piece, range| ranges[piece] = range) {
            for (piece, range) in pieces.iter().zip(ranges) {
                if let Piece::Name(name) = piece {
                    bind(name, &text[range]);
                }
            }
        }
    }

    /// The names in this segment, in order.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        let pieces: &[Piece] = if let Self::Glob(pieces) = self { pieces } else { &[] };
        pieces.iter().filter_map(|piece| if let Piece::Name(name) = piece { Some(&**name) } else { None })
    }

    /// Whether this is `{name}` and nothing else.
    pub(super) fn is_name(&self, name: &str) -> bool {
        matches!(self, Self::Glob(pieces) if matches!(&**pieces, [Piece::Name(own)] if **own == *name))
    }

    /// Whether every text that `other` matches is matched by this one; `false` where that is not easily seen.
    pub(super) fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Deep | Self::Any, _) => true,
            (_, Self::Text(text)) => self.matches(text),
            (Self::Glob(own), _) if matches!(**own, [Piece::Many | Piece::Name(_)]) => true,
            (Self::Glob(own), Self::Glob(other)) => {
                own.len() == other.len() && own.iter().zip(other).all(|(own, other)| own.same_as(other))
            }
            _ => false,
        }
    }

    /// Whether some text is matched by both.
    pub(super) fn meets(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Text(text), segment) | (segment, Self::Text(text)) => segment.matches(text),
            (Self::Glob(own), Self::Glob(other)) => {
                let (own, other) = (units(own), units(other));
                super::meet::meet(&own, &other, |unit| *unit == Unit::Many, |a, b| Unit::meets(*a, *b))
            }
            _ => true,
        }
    }

    /// This segment with the names of its variables taken out: equal shapes match the same texts.
    pub(super) fn shape(&self) -> Self {
        match self {
            Self::Glob(pieces) => Self::Glob(
                pieces
                    .iter()
                    .map(|piece| if let Piece::Name(_) = piece { Piece::Name("".into()) } else { piece.clone() })
                    .collect(),
            ),
            other => other.clone(),
        }
    }
}

impl Piece {
    fn same_as(&self, other: &Self) -> bool {
        let many = |piece: &Self| matches!(piece, Self::Many | Self::Name(_));
        self == other || (many(self) && many(other))
    }
}

/// A glob one character at a time, for [`Segment::meets`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    Char(char),
    One,
    Many,
}

impl Unit {
    fn meets(self, other: Self) -> bool {
        self == other || self == Self::One || other == Self::One
    }
}

fn units(pieces: &[Piece]) -> Vec<Unit> {
    let mut units = Vec::new();
    for piece in pieces {
        match piece {
            Piece::Text(text) => units.extend(text.chars().map(Unit::Char)),
            Piece::One => units.push(Unit::One),
            Piece::Many | Piece::Name(_) => units.push(Unit::Many),
        }
    }
    units
}

/// The name in `{name}` at the start of `text`, or `None` if this brace is an ordinary character, as in Spring.
fn variable(text: &str) -> Result<Option<&str>, PatternError> {
    let Some(end) = text.find('}') else { return Ok(None) };
    let name = &text[1..end];
    if name.is_empty() || name.contains('{') {
        return Ok(None);
    }
    if name.contains(':') {
        return Err(PatternError::RegularExpression);
    }
    Ok(Some(name))
}

/// Whether `pieces` match `text` whole. `bind(piece, range)` is told what a wildcard covers, the last word counts.
///
/// From right to left, each wildcard as short as it can be: so the first variable takes the most, as the greedy
/// regular expressions do into which Spring turns a segment. Going back never passes the wildcard met last, so the
/// cost is at most `pieces` times `text`.
fn glob(pieces: &[Piece], text: &str, mut bind: impl FnMut(usize, Range<usize>)) -> bool {
    let mut left = pieces.len();
    let mut end = text.len();
    let mut wildcard: Option<(usize, usize, usize)> = None;
    loop {
        if left == 0 && end == 0 {
            return true;
        }
        let fits = match left.checked_sub(1).map(|last| &pieces[last]) {
            Some(Piece::Text(own)) => text[..end].ends_with(&**own).then_some(own.len()),
            Some(Piece::One) => text[..end].chars().next_back().map(char::len_utf8),
            Some(Piece::Many | Piece::Name(_)) => {
                wildcard = Some((left - 1, end, end));
                bind(left - 1, end..end);
                Some(0)
            }
            None => None,
        };
        if let Some(length) = fits {
            left -= 1;
            end -= length;
            continue;
        }
        let Some((piece, start, stop)) = wildcard else { return false };
        let Some(c) = text[..start].chars().next_back() else { return false };
        let start = start - c.len_utf8();
        wildcard = Some((piece, start, stop));
        bind(piece, start..stop);
        (left, end) = (piece, start);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_captures(segment: &str, text: &str, expected: &[(&str, &str)]) {
        let segment = Segment::parse(segment).unwrap();
        assert!(segment.matches(text));
        let mut found = Vec::new();
        segment.captures(text, |name, value| found.push((name.to_owned(), value)));
        let found: Vec<_> = found.iter().map(|(name, value)| (&**name, *value)).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn the_first_variable_takes_the_most() {
        check_captures("{a}-{b}", "1-2-3", &[("a", "1-2"), ("b", "3")]);
        check_captures("{a}x{b}y{c}", "1x2y3x4y5", &[("a", "1x2y3"), ("b", "4"), ("c", "5")]);
        check_captures("{a}{b}", "hé", &[("a", "hé"), ("b", "")]);
        check_captures("v{major}.?", "v10.é", &[("major", "10")]);
    }

    #[test]
    fn a_brace_without_a_name_is_an_ordinary_character() {
        for text in ["{", "a{b", "{}", "}x{"] {
            assert_eq!(Segment::parse(text), Ok(Segment::Text(text.into())));
        }
        check_captures("{{a}", "{1", &[("a", "1")]);
    }

    #[test]
    fn globs_meet_when_one_text_fits_both() {
        let meets = |a: &str, b: &str| Segment::parse(a).unwrap().meets(&Segment::parse(b).unwrap());
        assert!(meets("a*", "*b") && meets("a?c", "?b?") && meets("{x}-1", "2-{y}") && meets("*", "a"));
        assert!(!meets("a*", "b*") && !meets("??", "?") && !meets("a*c", "a*d") && !meets("x", "y"));
    }

    #[test]
    fn a_long_run_of_wildcards_costs_no_more_than_a_product() {
        let segment = Segment::parse(&"*a".repeat(200)).unwrap();
        assert!(!segment.matches(&format!("{}b", "a".repeat(20_000))));
    }
}
