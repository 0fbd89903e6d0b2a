//! The codec from outside: fixtures at every cut, properties, and the saved corpus of the fuzz targets.
#![allow(clippy::unwrap_used, reason = "Clippy exempts test functions, not what they share")]

use std::path::Path;

mod bench;
mod checks;
mod corpus;
mod decoder;
mod fixtures;
mod properties;

/// Names the file in hand when a check on it fails.
struct Shown<'a>(&'a Path);

impl Drop for Shown<'_> {
    #[allow(clippy::print_stderr, reason = "the harness shows it with the failure")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("while at {}", self.0.display());
        }
    }
}
