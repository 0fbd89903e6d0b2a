//! What two patterns say about each other: does one cover the other, can both match one destination.

use super::meet::meet;
use super::pattern::Pattern;
use super::segment::Segment;

impl Pattern {
    /// Whether every destination that `other` matches is matched by this one. Answers `false` where it cannot tell, so
    /// a permission built on it errs on the safe side.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        if self == other {
            return true;
        }
        if other.is_plain() {
            return self.matches(other.as_str());
        }
        if self.is_plain()
            || self.separator() != other.separator()
            || self.starts_with_separator() != other.starts_with_separator()
        {
            return false;
        }
        let ends_alike = self.ends_deep() || self.ends_with_separator() == other.ends_with_separator();
        if !ends_alike || !covers(&self.segments, &other.segments) {
            return false;
        }
        // `/topic/*` also means `/topic/`, which has one segment less.
        !other.takes_empty_end()
            || self.takes_empty_end()
            || ((self.ends_deep() || self.ends_with_separator())
                && covers(&self.segments, &other.segments[..other.segments.len() - 1]))
    }

    /// Whether some destination may be matched by both; `true` where it cannot tell.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        if self.is_plain() {
            return other.matches(self.as_str());
        }
        if other.is_plain() {
            return self.matches(other.as_str());
        }
        if self.starts_with_separator() != other.starts_with_separator() {
            return false;
        }
        let own = if self.takes_empty_end() { &self.segments[..self.segments.len() - 1] } else { &self.segments };
        let theirs =
            if other.takes_empty_end() { &other.segments[..other.segments.len() - 1] } else { &other.segments };
        let deep = |segment: &Segment| *segment == Segment::Deep;
        meet(&self.segments, &other.segments, deep, Segment::meets)
            || meet(own, &other.segments, deep, Segment::meets)
            || meet(&self.segments, theirs, deep, Segment::meets)
    }
}

/// Whether each run of segments that fits `theirs` fits `own`, as far as comparing one by one can tell.
fn covers(own: &[Segment], theirs: &[Segment]) -> bool {
    // below[j]: whether own[i + 1..] covers theirs[j..]; row[j]: the same for own[i..].
    let mut below = vec![false; theirs.len() + 1];
    for i in (0..=own.len()).rev() {
        let mut row = vec![false; theirs.len() + 1];
        for j in (0..=theirs.len()).rev() {
            row[j] = match (own.get(i), theirs.get(j)) {
                (None, None) => true,
                (Some(Segment::Deep), _) => below[j] || (j < theirs.len() && row[j + 1]),
                (Some(own), Some(other)) => *other != Segment::Deep && own.covers(other) && below[j + 1],
                _ => false,
            };
        }
        below = row;
    }
    below[0]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::destination::generate;

    fn pattern(text: &str) -> Pattern {
        Pattern::parse(text).unwrap()
    }

    #[test]
    fn a_wider_pattern_covers_a_narrower_one() {
        let covers = |wide: &str, narrow: &str| pattern(wide).covers(&pattern(narrow));
        assert!(covers("/topic/**", "/topic/*") && covers("/topic/**", "/topic/a/**/b") && covers("/**", "/topic/**"));
        assert!(covers("/topic/*", "/topic/a*") && covers("/topic/{x}", "/topic/{y}") && covers("/t/*", "/t/a"));
        assert!(!covers("/topic/*", "/topic/**") && !covers("/topic/a*", "/topic/*") && !covers("/t/a", "/t/*"));
        assert!(!covers("/topic/{x}", "/topic/*"), "/topic/ is matched by * only");
        assert!(!covers("/**/*", "/topic/*") && !covers("/topic/**", "/queue/*"));
    }

    #[test]
    fn overlapping_patterns_have_a_destination_in_common() {
        let overlap = |a: &str, b: &str| pattern(a).overlaps(&pattern(b)) && pattern(b).overlaps(&pattern(a));
        assert!(overlap("/app/{a}/x", "/app/y/{b}") && overlap("/app/**/x", "/app/y/**") && overlap("/a/*", "/a/"));
        assert!(!overlap("/app/a/{x}", "/app/b/{x}") && !overlap("/app/{x}", "/app/{x}/{y}"));
    }

    proptest! {
        #[test]
        fn what_is_covered_matches_nothing_else(
            wide in generate::pattern(), narrow in generate::pattern(), destination in generate::destination(),
        ) {
            if wide.covers(&narrow) && narrow.matches(&destination) {
                prop_assert!(wide.matches(&destination), "{} over {}: {destination}", wide.as_str(), narrow.as_str());
            }
        }

        #[test]
        fn patterns_that_match_one_destination_overlap(
            a in generate::pattern(), b in generate::pattern(), destination in generate::destination(),
        ) {
            if a.matches(&destination) && b.matches(&destination) {
                prop_assert!(a.overlaps(&b), "{} and {}: {destination}", a.as_str(), b.as_str());
            }
        }
    }
}
