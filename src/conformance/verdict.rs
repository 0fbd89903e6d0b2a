//! How a transcript went.

use serde::Serialize;

use super::script::Step;

/// The step that went otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// Its line in the file.
    pub line: usize,
    /// The step.
    pub step: String,
    /// What should have come, as transcripts write it.
    pub expected: String,
    /// What came.
    pub seen: String,
}

impl Failure {
    /// That a step went otherwise.
    pub(super) fn of(step: &Step, expected: String, seen: String) -> Self {
        let Step { line, who, verb, rest } = step;
        Self { line: *line, step: format!("{who} {verb} {rest}").trim_end().to_owned(), expected, seen }
    }
}

/// How it went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// As the clause says.
    Passed,
    /// Otherwise.
    Failed(Failure),
    /// Otherwise, as those who run the server know, for this reason.
    Known(Failure, String),
    /// It could not be played, for this reason.
    NotApplicable(String),
}

/// How much a clause asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// The specification says MUST, or the grammar or its plain text leaves no choice.
    Must,
    /// The specification says SHOULD.
    Should,
}

impl Level {
    /// As transcripts and reports write it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Must => "MUST",
            Self::Should => "SHOULD",
        }
    }
}
