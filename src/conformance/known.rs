//! What a server is known to do otherwise, and why.

use super::plan::Case;

/// A list of deviations: a line for each, `ID … two blanks … reason`. Behind the ids may stand versions and carriers, which bound it.
///
/// ```text
/// H05 1.1  RabbitMQ and Spring take it, and clients send it
/// ```
#[derive(Debug, Default)]
pub struct Known(Vec<Entry>);

#[derive(Debug)]
struct Entry {
    line: usize,
    words: Vec<String>,
    reason: String,
}

impl Known {
    /// Reads a list.
    ///
    /// # Errors
    ///
    /// Names the first line that is none.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut entries = Vec::new();
        for (line, text) in text.lines().enumerate().map(|(at, text)| (at + 1, text.trim_end())) {
            if text.is_empty() || text.starts_with('#') {
                continue;
            }
            let (words, reason) = text
                .split_once("  ")
                .ok_or_else(|| format!("line {line}: an id, two blanks and a reason, instead of {text:?}"))?;
            let words = words.split_ascii_whitespace().map(str::to_owned).collect();
            entries.push(Entry { line, words, reason: reason.trim().to_owned() });
        }
        Ok(Self(entries))
    }

    /// The reason, where a case is known to fail.
    #[must_use]
    pub fn reason(&self, case: &Case<'_>) -> Option<&str> {
        self.0.iter().find(|entry| entry.is_about(case)).map(|entry| entry.reason.as_str())
    }

    /// Entries that are about none of these cases, each with its line: they are out of date.
    #[must_use]
    pub fn idle(&self, failed: &[&Case<'_>], played: &[&Case<'_>]) -> Vec<String> {
        let about = |entry: &Entry, cases: &[&Case<'_>]| cases.iter().any(|case| entry.is_about(case));
        let idle = self.0.iter().filter(|entry| about(entry, played) && !about(entry, failed));
        idle.map(|entry| format!("line {}: {}", entry.line, entry.words.join(" "))).collect()
    }
}

impl Entry {
    fn is_about(&self, case: &Case<'_>) -> bool {
        let (bounds, ids): (Vec<&str>, Vec<&str>) =
            self.words.iter().map(String::as_str).partition(|word| is_version(word) || is_carrier(word));
        let bound = |is: fn(&str) -> bool, value: Option<&str>| {
            let mut bounds = bounds.iter().filter(|word| is(word)).peekable();
            bounds.peek().is_none() || bounds.any(|word| Some(*word) == value)
        };
        ids.contains(&case.id())
            && bound(is_version, case.stomp.map(|(version, _)| version))
            && bound(is_carrier, case.stomp.map(|(_, carrier)| carrier.name()))
    }
}

fn is_version(word: &str) -> bool {
    super::plan::VERSIONS.contains(&word)
}

fn is_carrier(word: &str) -> bool {
    word.parse::<crate::client::carrier::Carrier>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::super::plan::{Library, VERSIONS, Wanted};
    use super::*;
    use crate::client::carrier::Carrier;

    #[test]
    fn deviations_are_bounded_by_version_and_carrier() {
        let library = Library::default();
        let wanted = Wanted {
            versions: VERSIONS.map(str::to_owned).to_vec(),
            carriers: vec![Carrier::WebSocket, Carrier::SockJs],
            sockjs: false,
            only: vec!["F01".into()],
            must: false,
        };
        let plan = library.plan(&wanted);
        let known = |text: &str| {
            let known = Known::parse(text).unwrap();
            plan.iter().filter(|case| known.reason(case).is_some()).count()
        };
        assert_eq!(plan.len(), 6);
        assert_eq!(known("F01  all"), 6);
        assert_eq!(known("F01 1.1  one version"), 2);
        assert_eq!(known("F02 F01 1.1 1.2 sockjs  two"), 2);
        assert_eq!(known("# F01  a comment\n\n"), 0);
        let list = Known::parse("F01 1.0  why").unwrap();
        let all: Vec<&Case<'_>> = plan.iter().collect();
        assert_eq!(list.idle(&[], &all), ["line 1: F01 1.0"]);
        assert!(list.idle(&all, &all).is_empty());
        assert!(Known::parse("F01 why").unwrap_err().contains("line 1"));
    }
}
