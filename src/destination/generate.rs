//! Patterns and destinations for property tests: few letters, so that they meet often.

use proptest::prelude::*;

use super::pattern::Pattern;

fn joined(segments: Vec<&'static str>, lead: bool, trail: bool) -> String {
    let (lead, trail) = (if lead { "/" } else { "" }, if trail { "/" } else { "" });
    format!("{lead}{}{trail}", segments.join("/"))
}

/// Any pattern over a few segments.
pub(crate) fn pattern() -> impl Strategy<Value = Pattern> {
    let segment = prop::sample::select(vec!["a", "b", "ab", "*", "*", "**", "**", "?", "{x}", "a*", "*b", "{x}b", ""]);
    (prop::collection::vec(segment, 1..6), prop::bool::weighted(0.9), prop::bool::weighted(0.2))
        .prop_map(|(segments, lead, trail)| Pattern::parse(&joined(segments, lead, trail)).unwrap())
}

/// Any destination over the same letters.
pub(crate) fn destination() -> impl Strategy<Value = String> {
    let segment = prop::sample::select(vec!["a", "b", "ab", "aab", "abb", "c", ""]);
    (prop::collection::vec(segment, 0..6), prop::bool::weighted(0.9), prop::bool::weighted(0.2))
        .prop_map(|(segments, lead, trail)| joined(segments, lead, trail))
}
