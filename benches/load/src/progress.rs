//! One line on the terminal that says how far a run is.

use std::{
    io::{IsTerminal, Write},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

/// Where to show it; copies share the line.
#[derive(Debug, Clone, Default)]
pub struct Progress(Option<Arc<Mutex<Line>>>);

#[derive(Debug, Default)]
struct Line {
    last: Option<Instant>,
    title: String,
}

impl Progress {
    /// Shows nothing.
    #[must_use]
    pub fn silent() -> Self {
        Self(None)
    }

    /// Shows it on standard error if that is a terminal.
    #[must_use]
    pub fn on_terminal() -> Self {
        Self(std::io::stderr().is_terminal().then(Arc::default))
    }

    /// What stands in front of every line.
    pub fn title(&self, title: &str) {
        if let Some(line) = &self.0 {
            line.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).title = title.to_owned();
        }
    }

    /// Shows what `text` says, a few times per second at most.
    pub fn line(&self, now: Instant, text: impl FnOnce() -> String) {
        let Some(line) = &self.0 else { return };
        let mut line = line.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if line.last.is_some_and(|last| now.saturating_duration_since(last) < EVERY) {
            return;
        }
        line.last = Some(now);
        // Back to the first column, and clear to the end of the line (ECMA-48: CR, EL).
        write_all(&format!("\r\x1b[K{}: {}", line.title, text()));
    }

    /// Takes the line away.
    pub fn clear(&self) {
        if let Some(line) = &self.0 {
            line.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).last = None;
            write_all("\r\x1b[K");
        }
    }
}

fn write_all(text: &str) {
    // With no terminal left there is nobody to show it to.
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}

const EVERY: Duration = Duration::from_millis(200);
