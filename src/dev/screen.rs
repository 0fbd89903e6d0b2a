//! What the person sees: lines, a clock while something takes long, pages.

use std::io::{IsTerminal, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Prints a line.
pub(super) fn say(line: &str) {
    // Whoever reads our output may have gone; the nodes go on.
    let _unread = writeln!(std::io::stdout().lock(), "{line}");
}

/// Says that something has begun, and on a terminal for how long it has been going on; the outcome and how long it took.
pub(super) async fn clocked<T>(label: &str, what: impl Future<Output = T>) -> (T, Duration) {
    let begun = Instant::now();
    let terminal = std::io::stdout().is_terminal();
    if !terminal {
        say(&format!("{label} ..."));
    }
    let mut second = tokio::time::interval(Duration::from_secs(1));
    tokio::pin!(what);
    let outcome = loop {
        tokio::select! {
            outcome = &mut what => break outcome,
            _ = second.tick(), if terminal => overwrite(&format!("{label} ... {} s", begun.elapsed().as_secs())),
        }
    };
    if terminal {
        overwrite("");
    }
    (outcome, begun.elapsed())
}

fn overwrite(line: &str) {
    let mut out = std::io::stdout().lock();
    let _unread = write!(out, "\r{line}\x1b[K").and_then(|()| out.flush());
}

/// Opens a page where there is a desktop.
pub(super) fn open(page: &str) {
    let desktop =
        ["DISPLAY", "WAYLAND_DISPLAY"].iter().any(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()));
    if !desktop {
        return;
    }
    let mut opener = Command::new("xdg-open");
    opener.arg(page).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // The browser is the person's own and stays when we end.
    std::os::unix::process::CommandExt::process_group(&mut opener, 0);
    match opener.spawn() {
        // Some openers stay as long as the browser does.
        Ok(mut opener) => drop(std::thread::spawn(move || opener.wait())),
        Err(error) => say(&format!("xdg-open {page}: {error}; open it yourself")),
    }
}
