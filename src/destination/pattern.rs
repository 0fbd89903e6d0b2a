//! Destination patterns, with the meaning Spring's `AntPathMatcher` gives them.
//!
//! | pattern | matches | does not match |
//! | --- | --- | --- |
//! | `/topic/*` | `/topic/a`, `/topic/`, `/topic//a` | `/topic`, `/topic/a/`, `/topic/a/b` |
//! | `/topic/**` | `/topic`, `/topic/`, `/topic/a`, `/topic/a/b/` | `/topical` |
//! | `/topic/?` | `/topic/a` | `/topic/12` |
//! | `/topic/{x}` | `/topic/a` | `/topic/` |
//! | `/topic/**/b` | `/topic/b`, `/topic/a/c/b` | `/topic/b/` |
//!
//! A text without `*`, `?` or a pair of braces is no pattern: it matches itself, character by character.
//!
//! Anyone may send a pattern, so its cost is bounded: at most [`MAX_SEGMENTS`] segments and [`MAX_WILDCARDS`] wildcards,
//! and matching takes at most the product of both lengths, whatever they hold. Regular expressions (`{x:[0-9]+}`, which
//! Spring takes from anyone) are refused, from clients and from configuration alike: in Spring one broken expression
//! stops delivery for everybody.

use std::cmp::Reverse;

use smallvec::SmallVec;

use super::segment::{Piece, Segment};

/// Most segments in a pattern; what applications use has fewer than ten.
pub const MAX_SEGMENTS: usize = 32;
/// Most wildcards (`*`, `**`, `?`, `{x}`) in a pattern.
pub const MAX_WILDCARDS: usize = 64;

/// The separator unless configured otherwise.
pub(super) const SLASH: char = '/';

/// A checked pattern, or a plain destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    text: Box<str>,
    separator: char,
    /// Empty for a plain destination.
    pub(super) segments: Box<[Segment]>,
}

/// Why a text is no pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// `{x:[0-9]+}`.
    #[error("regular expressions in patterns are not supported; write {{name}} or *")]
    RegularExpression,
    /// More than [`MAX_SEGMENTS`].
    #[error("the pattern has more than {MAX_SEGMENTS} segments")]
    TooManySegments,
    /// More than [`MAX_WILDCARDS`].
    #[error("the pattern has more than {MAX_WILDCARDS} wildcards")]
    TooManyWildcards,
}

/// What the variables of a pattern stand for in one destination.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Captures<'a> {
    values: Vec<(Box<str>, &'a str)>,
}

impl<'a> Captures<'a> {
    /// What `{name}` stands for.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&'a str> {
        self.values.iter().find(|(own, _)| **own == *name).map(|(_, value)| *value)
    }

    /// All variables in the order of the pattern.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &'a str)> {
        self.values.iter().map(|(name, value)| (&**name, *value))
    }
}

/// How narrow a pattern is: of two that match one destination the smaller one is meant.
///
/// The order of `AntPathMatcher`'s comparator, made total: patterns that end in `/**` always come last (Spring's own
/// order has a circle where those meet patterns with `**` elsewhere).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Specificity {
    plain: Reverse<bool>,
    catch_all: bool,
    prefix: bool,
    total: usize,
    length: Reverse<usize>,
    single: usize,
    named: usize,
}

impl Pattern {
    /// Reads a pattern with `/` between segments.
    ///
    /// # Errors
    ///
    /// If it holds a regular expression or exceeds the bounds above.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        Self::with_separator(text, SLASH)
    }

    /// Reads a pattern with another separator, as Spring's `new AntPathMatcher(".")`.
    ///
    /// # Errors
    ///
    /// As [`Pattern::parse`].
    pub fn with_separator(text: &str, separator: char) -> Result<Self, PatternError> {
        let mut segments: Vec<Segment> = Vec::new();
        if is_pattern(text) {
            let mut wildcards = 0;
            for segment in split(text, separator) {
                let segment = Segment::parse(segment)?;
                wildcards += match &segment {
                    Segment::Text(_) => 0,
                    Segment::Deep | Segment::Any => 1,
                    Segment::Glob(pieces) => pieces.iter().filter(|piece| !matches!(piece, Piece::Text(_))).count(),
                };
                if wildcards > MAX_WILDCARDS {
                    return Err(PatternError::TooManyWildcards);
                }
                // `**/**` says what `**` says.
                if segment != Segment::Deep || segments.last() != Some(&Segment::Deep) {
                    segments.push(segment);
                }
                if segments.len() > MAX_SEGMENTS {
                    return Err(PatternError::TooManySegments);
                }
            }
        }
        Ok(Self { text: text.into(), separator, segments: segments.into() })
    }

    /// The text it was read from.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The character between segments.
    #[must_use]
    pub const fn separator(&self) -> char {
        self.separator
    }

    /// Whether it matches no other text than its own.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.segments.is_empty()
    }

    /// The names of its variables, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.segments.iter().flat_map(Segment::names)
    }

    /// Whether `destination` is one of those meant.
    #[must_use]
    pub fn matches(&self, destination: &str) -> bool {
        if self.is_plain() {
            return *self.text == *destination;
        }
        let found: SmallVec<[&str; 16]> = split(destination, self.separator).collect();
        self.walk(destination, &found, |_, _| {})
    }

    /// What the variables stand for in `destination`, or `None` if it does not match.
    #[must_use]
    pub fn captures<'d>(&self, destination: &'d str) -> Option<Captures<'d>> {
        let mut captures = Captures::default();
        if self.is_plain() {
            return (*self.text == *destination).then_some(captures);
        }
        let found: SmallVec<[&'d str; 16]> = split(destination, self.separator).collect();
        let mut partner: SmallVec<[usize; 16]> = SmallVec::from_elem(0, self.segments.len());
        if !self.walk(destination, &found, |segment, with| partner[segment] = with) {
            return None;
        }
        for (segment, with) in self.segments.iter().zip(partner) {
            if let Some(text) = found.get(with).filter(|_| !matches!(segment, Segment::Deep)) {
                segment.captures(text, |name, value| captures.values.push((name.into(), value)));
            }
        }
        Some(captures)
    }

    /// This pattern with the segment `{name}` standing for `value`, which is one segment and no pattern, whatever
    /// characters it holds. Its text stays as it was written.
    #[must_use]
    pub fn bind(&self, name: &str, value: &str) -> Self {
        let bound =
            |segment: &Segment| if segment.is_name(name) { Segment::Text(value.into()) } else { segment.clone() };
        Self { segments: self.segments.iter().map(bound).collect(), ..self.clone() }
    }

    /// Whether `{name}` is a segment of its own wherever it stands.
    #[must_use]
    pub fn names_segments(&self, name: &str) -> bool {
        self.segments.iter().all(|segment| segment.is_name(name) || segment.names().all(|other| other != name))
    }

    /// This destination or pattern, to be compared segment by segment: repeated separators count as one even where it is
    /// plain.
    #[must_use]
    pub fn by_segment(&self) -> Self {
        if !self.is_plain() {
            return self.clone();
        }
        let segments = split(&self.text, self.separator).map(|segment| Segment::Text(segment.into()));
        Self { segments: segments.collect(), ..self.clone() }
    }

    /// What the variables of this pattern stand for in everything that `other` matches as well; those that may stand for
    /// several things are left out.
    #[must_use]
    pub fn fixed_captures<'p>(&self, other: &'p Self) -> Captures<'p> {
        let mut captures = Captures::default();
        for (own, theirs) in self.segments.iter().zip(&other.segments) {
            match (own, theirs) {
                // Behind it nobody knows which segment is which.
                (Segment::Deep, _) | (_, Segment::Deep) => break,
                (own, Segment::Text(text)) if own.matches(text) => {
                    own.captures(text, |name, value| captures.values.push((name.into(), value)));
                }
                _ => {}
            }
        }
        captures
    }

    /// Its place among patterns that match the same destination.
    #[must_use]
    pub fn specificity(&self) -> Specificity {
        let mut order = Specificity {
            plain: Reverse(self.is_plain()),
            catch_all: false,
            prefix: false,
            total: 0,
            length: Reverse(self.text.chars().count()),
            single: 0,
            named: 0,
        };
        let mut named_chars = 0;
        for segment in &self.segments {
            match segment {
                Segment::Deep => order.total += 2,
                Segment::Any => order.single += 1,
                Segment::Text(_) => {}
                Segment::Glob(pieces) => {
                    order.single += pieces.iter().filter(|piece| **piece == Piece::Many).count();
                }
            }
            for name in segment.names() {
                order.named += 1;
                // Each variable counts as one character, braces included.
                named_chars += name.chars().count() + 1;
            }
        }
        order.total += order.single + order.named;
        order.length.0 -= named_chars;
        let ends_deep = self.segments.last() == Some(&Segment::Deep);
        order.catch_all = ends_deep && self.segments.len() == 1;
        order.prefix = ends_deep && self.segments.len() > 1;
        order
    }

    pub(super) fn starts_with_separator(&self) -> bool {
        self.text.starts_with(self.separator)
    }

    pub(super) fn ends_with_separator(&self) -> bool {
        self.text.ends_with(self.separator)
    }

    pub(super) fn ends_deep(&self) -> bool {
        self.segments.last() == Some(&Segment::Deep)
    }

    /// Whether it holds `**`.
    #[must_use]
    pub fn has_deep(&self) -> bool {
        self.segments.contains(&Segment::Deep)
    }

    /// Whether a last `*` also takes the empty text after a trailing separator: `/topic/*` matches `/topic/`. Spring
    /// asks this only before the first `**`.
    pub(super) fn takes_empty_end(&self) -> bool {
        self.segments.last() == Some(&Segment::Any) && !self.has_deep()
    }

    /// Lays the segments side by side; `pair(own, found)` is told who met whom, the last word counts. Going back never
    /// passes the `**` met last, so no more pairs are compared than the product of the lengths.
    fn walk(&self, destination: &str, found: &[&str], mut pair: impl FnMut(usize, usize)) -> bool {
        if destination.starts_with(self.separator) != self.starts_with_separator() {
            return false;
        }
        let trailing = destination.ends_with(self.separator);
        if !self.has_deep() && found.len() + 1 == self.segments.len() {
            let ends = self.takes_empty_end() && trailing;
            return ends && self.segments.iter().zip(found).all(|(own, text)| own.matches(text));
        }
        if !self.ends_deep() && trailing != self.ends_with_separator() {
            return false;
        }
        let (mut own, mut with) = (0, 0);
        let mut deep: Option<(usize, usize)> = None;
        loop {
            match self.segments.get(own) {
                Some(Segment::Deep) => {
                    own += 1;
                    deep = Some((own, with));
                    continue;
                }
                Some(segment) if found.get(with).is_some_and(|text| segment.matches(text)) => {
                    pair(own, with);
                    (own, with) = (own + 1, with + 1);
                    continue;
                }
                None if with == found.len() => return true,
                _ => {}
            }
            let Some((after, start)) = deep else { return false };
            if start == found.len() {
                return false;
            }
            deep = Some((after, start + 1));
            (own, with) = (after, start + 1);
        }
    }
}

/// Whether a subscription to `text` means more than one destination: it holds `*`, `?` or a pair of braces.
#[must_use]
pub fn is_pattern(text: &str) -> bool {
    let brace = text.find('{');
    text.contains(['*', '?']) || brace.is_some_and(|at| text[at..].contains('}'))
}

/// The segments of a text; repeated separators count as one.
pub(super) fn split(text: &str, separator: char) -> impl Iterator<Item = &str> {
    text.split(separator).filter(|segment| !segment.is_empty())
}

#[cfg(test)]
mod tests;
