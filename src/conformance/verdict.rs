//! How a transcript went.

use serde::Serialize;

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
