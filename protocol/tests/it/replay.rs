//! Inputs that lie in files, for whoever checks them one by one; the server's tests include this file.

use std::fs;
use std::path::Path;

/// Checks every file of a folder; there must be one.
pub(crate) fn replay(folder: &Path, check: fn(&[u8])) {
    let mut inputs = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let _shown = Shown(&path);
        check(&fs::read(&path).unwrap());
        inputs += 1;
    }
    assert!(inputs > 0, "no input in {}", folder.display());
}

/// Names the file in hand when a check on it fails.
pub(crate) struct Shown<'a>(pub(crate) &'a Path);

impl Drop for Shown<'_> {
    #[allow(clippy::print_stderr, reason = "the harness shows it with the failure")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("while at {}", self.0.display());
        }
    }
}
