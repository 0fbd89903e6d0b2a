//! What a run has measured: one line for people, one object for programs.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::{Map, Value, json};

use crate::{process::Reading, scenario::flow::Tally};

/// The result of one run.
#[derive(Debug, Clone)]
pub struct Report {
    /// What ran, with its parameters, as one short text.
    pub title: String,
    figures: Vec<Figure>,
    notes: Vec<String>,
    sound: bool,
}

#[derive(Debug, Clone)]
struct Figure {
    name: &'static str,
    value: f64,
    unit: &'static str,
}

impl Figure {
    /// Its name without the unit, which stands behind the value.
    fn label(&self) -> &'static str {
        if self.name == "kib_each" {
            return "resident";
        }
        let unit = ["_us", "_kib", "_ms", "_s"].into_iter().find_map(|unit| self.name.strip_suffix(unit));
        unit.unwrap_or(self.name)
    }

    /// With the unit.
    fn value(&self) -> String {
        format!("{}{}", self.shown(), self.unit())
    }

    fn shown(&self) -> String {
        // What is counted comes in whole numbers.
        if self.unit.is_empty() && self.value.abs() < 1000.0 && self.value.fract() == 0.0 {
            return format!("{:.0}", self.value);
        }
        number(self.value)
    }

    fn unit(&self) -> String {
        if self.unit.starts_with('µ') { format!(" {}", self.unit) } else { self.unit.to_owned() }
    }
}

impl Report {
    /// A report without figures.
    #[must_use]
    pub fn new(title: String) -> Self {
        Self { title, figures: Vec::new(), notes: Vec::new(), sound: true }
    }

    /// Adds a figure.
    pub fn add(&mut self, name: &'static str, value: f64, unit: &'static str) {
        self.figures.push(Figure { name, value, unit });
    }

    /// Adds a remark.
    pub fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    /// Adds rate and cost of `count` things done in the span of `reading`.
    pub fn add_work(&mut self, count: u64, reading: &Reading) {
        self.add_work_of(count, reading, None);
    }

    /// The same where the load came from several threads, of which the busiest took this share of a core.
    pub fn add_work_of(&mut self, count: u64, reading: &Reading, busiest: Option<f64>) {
        let seconds = reading.wall.as_secs_f64().max(f64::MIN_POSITIVE);
        let each = count.max(1) as f64;
        self.add("count", count as f64, "");
        self.add("rate", count as f64 / seconds, "/s");
        if let Some(server) = reading.server {
            self.add("cpu_us", server.as_secs_f64() * 1e6 / each, "µs each");
            self.add("server_cpu", 100.0 * server.as_secs_f64() / seconds, "%");
        }
        let own = 100.0 * reading.own.as_secs_f64() / seconds;
        self.add("load_cpu", own, "%");
        let busiest = busiest.map_or(own, |share| 100.0 * share);
        // CPU times come in hundredths of a second: a share of a short span means nothing.
        if busiest > CLIENT_BOUND && seconds >= 0.5 {
            self.note("the load generator was the bottleneck: read the CPU figures, not the rate");
        }
    }

    /// Adds percentiles of `times`.
    pub fn add_times(&mut self, times: &Times) {
        for (name, quantile) in [("p50_us", 0.5), ("p99_us", 0.99), ("p999_us", 0.999), ("max_us", 1.0)] {
            self.add(name, times.0.value_at_quantile(quantile) as f64, "µs");
        }
    }

    /// Adds what went wrong with messages.
    pub fn add_tally(&mut self, tally: &Tally) {
        let Tally { lost, duplicates, reordered, strays, late } = *tally;
        let all = [("lost", lost), ("duplicates", duplicates), ("out_of_order", reordered), ("misdirected", strays)];
        for (name, count) in all {
            self.add(name, count as f64, "");
        }
        if late > 0 {
            self.add("undelivered", late as f64, "");
        }
        if !tally.is_clean() {
            self.sound = false;
            self.note(format!("NOT SOUND: {tally}"));
        }
    }

    /// Adds how often connections were refused that had to be made anew.
    pub fn add_refused(&mut self, refused: u64) {
        self.add("refused", refused as f64, "");
        if refused > 0 {
            self.note(format!("the server ended {refused} connections before they were ready"));
        }
    }

    /// Whether every message came once, in order and to the right one.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.sound
    }

    /// What the figures do not say.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// A figure by its name.
    #[must_use]
    pub fn figure(&self, name: &str) -> Option<f64> {
        self.figures.iter().find(|figure| figure.name == name).map(|figure| figure.value)
    }

    /// One line, with the remarks behind it.
    #[must_use]
    pub fn line(&self) -> String {
        let mut line = format!("{:<44}", self.title);
        for figure in &self.figures {
            line += &format!(" | {} {}", figure.label(), figure.value());
        }
        for note in &self.notes {
            line += &format!(" | {note}");
        }
        line
    }

    /// Several lines, for a person who looks at one run.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = self.title.clone();
        for figure in &self.figures {
            text += &format!("\n  {:<16}{:>14}{}", figure.label().replace('_', " "), figure.shown(), figure.unit());
        }
        for note in &self.notes {
            text += &format!("\n  ! {note}");
        }
        text
    }

    /// The same as an object; the units are in the names or per second, per cent, bytes.
    #[must_use]
    pub fn json(&self) -> Value {
        let figures: Map<String, Value> =
            self.figures.iter().map(|figure| (figure.name.to_owned(), json!(figure.value))).collect();
        json!({ "run": self.title, "figures": figures, "notes": self.notes, "sound": self.sound })
    }
}

/// A number as short as it says anything.
#[must_use]
pub fn number(value: f64) -> String {
    match value.abs() {
        big if big >= 1000.0 => {
            let digits = format!("{:.0}", value.abs());
            let groups: Vec<&str> =
                digits.as_bytes().rchunks(3).rev().filter_map(|group| str::from_utf8(group).ok()).collect();
            format!("{}{}", if value < 0.0 { "-" } else { "" }, groups.join(","))
        }
        medium if medium >= 100.0 => format!("{value:.0}"),
        small if small >= 10.0 || value == 0.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// Durations, kept as a histogram of microseconds with three digits.
#[derive(Debug)]
pub struct Times(Histogram<u64>);

impl Times {
    /// None yet; the longest that is told from others is ten minutes.
    #[must_use]
    pub fn new() -> Self {
        Self(Histogram::new_with_max(600_000_000, 3).expect("the bounds are constants that fit three digits"))
    }

    /// Adds one.
    pub fn add(&mut self, time: Duration) {
        self.0.saturating_record(u64::try_from(time.as_micros()).unwrap_or(u64::MAX).max(1));
    }

    /// The microseconds that this share of them does not exceed.
    #[must_use]
    pub fn quantile(&self, share: f64) -> f64 {
        self.0.value_at_quantile(share) as f64
    }

    /// Adds all of another.
    pub fn merge(&mut self, other: &Self) {
        self.0.add(&other.0).expect("both have the same bounds");
    }

    /// Forgets them all.
    pub fn clear(&mut self) {
        self.0.reset();
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Default for Times {
    fn default() -> Self {
        Self::new()
    }
}

/// Share of a core, in per cent, above which a thread of ours is what limits the rate.
const CLIENT_BOUND: f64 = 85.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        let shown = [1_234_567.0, 999.6, 123.4, 12.34, 1.234, 0.0, -0.5, -4321.0].map(number);
        assert_eq!(shown, ["1,234,567", "1000", "123", "12.3", "1.23", "0.0", "-0.50", "-4,321"]);
    }

    #[test]
    fn cost_is_server_time_over_count() {
        let mut report = Report::new("x".to_owned());
        let (second, tenth) = (Duration::from_secs(1), Duration::from_millis(100));
        report.add_work(1000, &Reading { wall: second, server: Some(tenth), own: second });
        assert_eq!(report.figure("cpu_us"), Some(100.0));
        assert_eq!(report.figure("rate"), Some(1000.0));
        assert!(report.line().contains("bottleneck"));
        assert_eq!(report.json()["figures"]["server_cpu"], json!(10.0));
    }
}
