//! How all went: as a table for people, as JSON, as JUnit's XML.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;
use serde_json::json;

use super::known::Known;
use super::plan::{Case, VERSIONS};
use super::verdict::{Failure, Level, Outcome};

/// A run, to be told.
#[derive(Debug)]
pub struct Report<'a> {
    /// The URL that was asked.
    pub url: &'a str,
    /// What the server calls itself, or nothing.
    pub server: &'a str,
    /// What the run had to do without.
    pub notes: Vec<String>,
    /// What was played and how it went.
    pub results: Vec<(Case<'a>, Outcome)>,
}

/// How many passed, out of how many that could be played.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Tally {
    passed: usize,
    known: usize,
    failed: usize,
    not_applicable: usize,
}

impl Tally {
    fn add(&mut self, outcome: &Outcome) {
        match outcome {
            Outcome::Passed => self.passed += 1,
            Outcome::Known(..) => self.known += 1,
            Outcome::Failed(_) => self.failed += 1,
            Outcome::NotApplicable(_) => self.not_applicable += 1,
        }
    }

    fn merge(&mut self, other: Self) {
        self.passed += other.passed;
        self.known += other.known;
        self.failed += other.failed;
        self.not_applicable += other.not_applicable;
    }

    fn played(self) -> usize {
        self.passed + self.known + self.failed
    }

    fn shown(self) -> String {
        if self.played() == 0 { "-".to_owned() } else { format!("{}/{}", self.passed, self.played()) }
    }
}

/// A column of the table.
fn column(case: &Case<'_>) -> usize {
    case.stomp.map_or(VERSIONS.len(), |(version, _)| VERSIONS.iter().position(|known| *known == version).unwrap_or(0))
}

/// A row's name, and the part of the table it is in.
fn row<'a>(case: &Case<'a>) -> (String, &'a str) {
    let part = case.stomp.map_or_else(|| "SockJS".to_owned(), |(_, carrier)| format!("STOMP over {carrier}"));
    (part, &case.file.section.title)
}

impl Report<'_> {
    /// Whether nothing failed but what is known to.
    #[must_use]
    pub fn is_good(&self) -> bool {
        !self.results.iter().any(|(_, outcome)| matches!(outcome, Outcome::Failed(_)))
    }

    /// Entries of a list of known deviations that were played and passed.
    #[must_use]
    pub fn stale(&self, known: &Known) -> Vec<String> {
        let of = |fits: fn(&Outcome) -> bool| -> Vec<&Case<'_>> {
            self.results.iter().filter(|(_, outcome)| fits(outcome)).map(|(case, _)| case).collect()
        };
        let played = of(|outcome| !matches!(outcome, Outcome::NotApplicable(_)));
        known.idle(&of(|outcome| matches!(outcome, Outcome::Known(..))), &played)
    }

    /// For people: a table by section and version, then each deviation with what was expected and seen.
    #[must_use]
    pub fn table(&self) -> String {
        let mut text = String::new();
        let server = if self.server.is_empty() { String::new() } else { format!(" ({})", self.server) };
        let _ = writeln!(text, "{}{server}", self.url);
        for note in &self.notes {
            let _ = writeln!(text, "  {note}");
        }
        self.write_sections(&mut text);
        self.write_deviations(&mut text);
        self.write_not_applicable(&mut text);
        let total = self.total();
        let _ = writeln!(
            text,
            "\n{} passed, {} failed, {} known to differ, {} not applicable",
            total.passed, total.failed, total.known, total.not_applicable
        );
        text
    }

    fn total(&self) -> Tally {
        let mut total = Tally::default();
        self.results.iter().for_each(|(_, outcome)| total.add(outcome));
        total
    }

    /// Sections in full for the first carrier and for SockJS; of the others the sum, and the sections in which something failed.
    fn write_sections(&self, text: &mut String) {
        let mut rows: Vec<((String, &str), [Tally; 4])> = Vec::new();
        for (case, outcome) in &self.results {
            let name = row(case);
            let at = rows.iter().position(|(found, _)| *found == name).unwrap_or_else(|| {
                rows.push((name, [Tally::default(); 4]));
                rows.len() - 1
            });
            rows[at].1[column(case)].add(outcome);
        }
        for (at, part) in rows.chunk_by(|((one, _), _), ((other, _), _)| one == other).enumerate() {
            let name = &part[0].0.0;
            let sockjs = name == "SockJS";
            let whole = sockjs || at == 0;
            if whole {
                let heads = if sockjs { [" "; 3] } else { VERSIONS };
                let _ = writeln!(text, "\n{name:<34} {:>9} {:>9} {:>9}", heads[0], heads[1], heads[2]);
            }
            let mut sum = [Tally::default(); 4];
            for ((_, section), tallies) in part {
                sum.iter_mut().zip(tallies).for_each(|(sum, tally)| sum.merge(*tally));
                if whole || tallies.iter().any(|tally| tally.failed > 0) {
                    let _ = writeln!(text, "  {section:<32} {}", cells(tallies, sockjs));
                }
            }
            let name = if whole { "  all" } else { name };
            let _ = writeln!(text, "{name:<34} {}", cells(&sum, sockjs));
        }
    }

    /// Each deviation once, with all versions and carriers at which it shows in the same way.
    fn write_deviations(&self, text: &mut String) {
        let mut failed: BTreeMap<usize, Told<'_>> = BTreeMap::new();
        let mut known: BTreeMap<usize, Told<'_>> = BTreeMap::new();
        for (at, (case, outcome)) in self.results.iter().enumerate() {
            let (failure, reason, list) = match outcome {
                Outcome::Failed(failure) => (failure, None, &mut failed),
                Outcome::Known(failure, reason) => (failure, Some(reason.as_str()), &mut known),
                _ => continue,
            };
            let same = list.values_mut().find(|told| told.case.id() == case.id() && told.failure.line == failure.line);
            match same {
                Some(told) => told.places.push(place(case)),
                None => {
                    list.insert(at, Told { case, failure, reason, places: vec![place(case)] });
                }
            }
        }
        if !failed.is_empty() {
            let _ = writeln!(text, "\nFailed:");
            failed.values().for_each(|told| told.write(text));
        }
        if !known.is_empty() {
            let _ = writeln!(text, "\nKnown to differ:");
            for told in known.values() {
                let (id, title) = (told.case.id(), &told.case.transcript.title);
                let _ = writeln!(text, "  {id:<5} {title}: {}", told.reason.unwrap_or_default());
            }
        }
    }

    fn write_not_applicable(&self, text: &mut String) {
        let mut reasons: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (case, outcome) in &self.results {
            if let Outcome::NotApplicable(why) = outcome {
                let ids = reasons.entry(why).or_default();
                if !ids.contains(&case.id()) {
                    ids.push(case.id());
                }
            }
        }
        if !reasons.is_empty() {
            let _ = writeln!(text, "\nNot applicable:");
        }
        for (why, ids) in reasons {
            let _ = writeln!(text, "  {}: {why}", ids.join(", "));
        }
    }

    /// For programs.
    #[must_use]
    pub fn json(&self) -> String {
        let total = self.total();
        let results: Vec<_> = self.results.iter().map(|(case, outcome)| Entry::new(case, outcome)).collect();
        let report = json!({
            "url": self.url,
            "server": self.server,
            "notes": self.notes,
            "passed": total.passed,
            "failed": total.failed,
            "known": total.known,
            "not_applicable": total.not_applicable,
            "results": results,
        });
        format!("{report:#}")
    }

    /// In the form of JUnit, which servers that run tests show.
    #[must_use]
    pub fn junit(&self) -> String {
        let total = self.total();
        let mut text = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
        let _ = writeln!(
            text,
            "<testsuite name=\"{}\" tests=\"{}\" failures=\"{}\" errors=\"0\" skipped=\"{}\">",
            xml(self.url),
            self.results.len(),
            total.failed,
            total.not_applicable + total.known
        );
        for (case, outcome) in &self.results {
            let (part, section) = row(case);
            let version = case.stomp.map_or_else(String::new, |(version, _)| format!(" {version}"));
            let name = xml(&format!("{}{version} {}", case.id(), case.transcript.title));
            let class = xml(&format!("{part}.{section}"));
            let inner = match outcome {
                Outcome::Passed => String::new(),
                Outcome::Failed(failure) => format!(
                    "<failure message=\"{}\">{}</failure>",
                    xml(&failure.step),
                    xml(&format!("expected {}\nseen     {}", failure.expected, failure.seen))
                ),
                Outcome::Known(_, reason) => format!("<skipped message=\"{}\"/>", xml(&format!("known: {reason}"))),
                Outcome::NotApplicable(why) => format!("<skipped message=\"{}\"/>", xml(why)),
            };
            let _ = writeln!(text, "  <testcase classname=\"{class}\" name=\"{name}\">{inner}</testcase>");
        }
        text.push_str("</testsuite>\n");
        text
    }
}

fn cells(tallies: &[Tally; 4], sockjs: bool) -> String {
    let known: usize = tallies.iter().map(|tally| tally.known).sum();
    let mut cells = if sockjs {
        format!("{:>9}", tallies[3].shown())
    } else {
        format!("{:>9} {:>9} {:>9}", tallies[0].shown(), tallies[1].shown(), tallies[2].shown())
    };
    if known > 0 {
        let _ = write!(cells, "   {known} known");
    }
    cells
}

fn place(case: &Case<'_>) -> (&'static str, String) {
    case.stomp.map_or(("", "SockJS".to_owned()), |(version, carrier)| {
        let version = VERSIONS.iter().find(|known| **known == version).copied().unwrap_or_default();
        (version, carrier.to_string())
    })
}

/// A deviation, to be told.
struct Told<'a> {
    case: &'a Case<'a>,
    failure: &'a Failure,
    reason: Option<&'a str>,
    places: Vec<(&'static str, String)>,
}

impl Told<'_> {
    fn write(&self, text: &mut String) {
        let Self { case, failure, places, .. } = self;
        let level = if case.level == Level::Should { " (recommended)" } else { "" };
        let mut versions: Vec<&str> =
            places.iter().map(|(version, _)| *version).filter(|text| !text.is_empty()).collect();
        let mut carriers: Vec<&str> = places.iter().map(|(_, carrier)| carrier.as_str()).collect();
        versions.dedup();
        versions.sort_unstable();
        versions.dedup();
        carriers.sort_unstable();
        carriers.dedup();
        let versions = if versions.is_empty() { String::new() } else { format!("{}, ", versions.join(" ")) };
        let _ = writeln!(text, "  {:<5} {}{level}", case.id(), case.transcript.title);
        let _ = writeln!(text, "        {versions}{}", carriers.join(" "));
        let _ = writeln!(text, "        {}:{}  {}", case.file.path, failure.line, failure.step);
        let _ = writeln!(text, "        expected  {}", failure.expected);
        let _ = writeln!(text, "        seen      {}", failure.seen);
    }
}

/// A result as JSON has it.
#[derive(Debug, Serialize)]
struct Entry<'a> {
    id: &'a str,
    clauses: &'a [String],
    title: &'a str,
    section: &'a str,
    file: &'a str,
    line: usize,
    level: &'a str,
    version: Option<&'a str>,
    carrier: Option<&'a str>,
    outcome: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<&'a Failure>,
}

impl<'a> Entry<'a> {
    fn new(case: &'a Case<'a>, outcome: &'a Outcome) -> Self {
        let (name, reason, failure) = match outcome {
            Outcome::Passed => ("passed", None, None),
            Outcome::Failed(failure) => ("failed", None, Some(failure)),
            Outcome::Known(failure, reason) => ("known", Some(reason.as_str()), Some(failure)),
            Outcome::NotApplicable(why) => ("not_applicable", Some(why.as_str()), None),
        };
        Self {
            id: case.id(),
            clauses: &case.transcript.clauses,
            title: &case.transcript.title,
            section: &case.file.section.title,
            file: case.file.path,
            line: case.transcript.line,
            level: case.level.name(),
            version: case.stomp.map(|(version, _)| version),
            carrier: case.stomp.map(|(_, carrier)| carrier.name()),
            outcome: name,
            reason,
            failure,
        }
    }
}

/// Text within XML. What XML cannot have becomes U+FFFD.
fn xml(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\n' => escaped.push_str("&#10;"),
            '\u{0}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => escaped.push('\u{fffd}'),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::super::plan::{Library, Wanted};
    use super::*;
    use crate::client::carrier::Carrier;

    fn report(library: &Library) -> Report<'_> {
        let carriers = vec![Carrier::WebSocket, Carrier::SockJs];
        let versions = vec!["1.1".to_owned(), "1.2".to_owned()];
        let only = vec!["F01".to_owned(), "F16".to_owned(), "B13".to_owned()];
        let plan = library.plan(&Wanted { versions, carriers, sockjs: false, only, must: false });
        let failure =
            |step: &str| Failure { line: 7, step: step.into(), expected: "ERROR".into(), seen: "<\\0>".into() };
        let outcome = |case: &Case<'_>| match case.id() {
            "F01" => Outcome::Passed,
            "F16" if case.stomp == Some(("1.1", Carrier::WebSocket)) => {
                Outcome::Known(failure("A refused"), "old".into())
            }
            "F16" => Outcome::Failed(failure("A refused")),
            _ => Outcome::NotApplicable("takes long".into()),
        };
        let results = plan.into_iter().map(|case| {
            let outcome = outcome(&case);
            (case, outcome)
        });
        Report { url: "ws://x/ws", server: "a & b", notes: vec!["a note".into()], results: results.collect() }
    }

    #[test]
    fn the_table_names_every_deviation_once() {
        let library = Library::default();
        let text = report(&library).table();
        for part in [
            "ws://x/ws (a & b)\n  a note\n",
            "Frame syntax                             -       1/2       1/2   1 known",
            "STOMP over sockjs                          -       1/2       1/2",
            "F16   a header line has a colon\n        1.1 1.2, sockjs websocket\n",
            "expected  ERROR\n        seen      <\\0>",
            "F16   a header line has a colon: old",
            "B13: takes long",
            "4 passed, 3 failed, 1 known to differ, 4 not applicable",
        ] {
            assert!(text.contains(part), "{part:?} in\n{text}");
        }
        assert_eq!(text.matches("a header line has a colon\n").count(), 1, "{text}");
    }

    #[test]
    fn json_and_junit_have_every_result() {
        let library = Library::default();
        let report = report(&library);
        assert!(!report.is_good());
        let json: serde_json::Value = serde_json::from_str(&report.json()).unwrap();
        assert_eq!((json["passed"].as_u64(), json["failed"].as_u64()), (Some(4), Some(3)));
        let results = json["results"].as_array().unwrap();
        assert_eq!(results.len(), report.results.len());
        let failed = results.iter().find(|result| result["outcome"] == "failed").unwrap();
        assert_eq!(failed["failure"]["seen"], "<\\0>");
        let xml = report.junit();
        assert_eq!(xml.matches("<testcase ").count(), results.len());
        assert_eq!((xml.matches("<failure ").count(), xml.matches("<skipped ").count()), (3, 5));
        assert!(xml.contains("&lt;\\0&gt;") && !xml.contains("<\\0>"));
    }
}
