//! `stampede send` and `stampede subscribe`: a client on the command line, for people who debug.
//!
//! ```text
//! connecting  arguments about the connection
//! session     a session with a server: CONNECT, heart-beats, frames, DISCONNECT
//! send        sends messages, and waits until they are confirmed
//! subscribe   prints what comes
//! show        how a message is printed
//! indent      JSON as people read it
//! ```
//!
//! What a server writes is read by `stampede-protocol`, and reaches a terminal only without what could drive it.

mod connecting;
mod indent;
pub mod send;
mod session;
pub mod show;
pub mod subscribe;

use std::io::Write as _;

/// Why a tool did not do what it was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// There is no connection, or what was asked for cannot be done. Exit status 2.
    #[error("{0}")]
    NotAsked(String),
    /// The server refused, or the session ended before all was done. Exit status 1.
    #[error("{0}")]
    Failed(String),
}

impl Failure {
    /// The exit status that tells it.
    #[must_use]
    pub const fn status(&self) -> u8 {
        match self {
            Self::NotAsked(_) => 2,
            Self::Failed(_) => 1,
        }
    }
}

/// Says how it goes, beside what is printed. Nobody may listen.
fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "stampede: {line}");
}

/// A header of a frame as it is given on the command line. Colons in the value and line ends are escaped on the way.
///
/// The names in `taken` have arguments of their own.
fn header(text: &str, taken: &[&str]) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').filter(|(name, _)| !name.is_empty()).ok_or("a header is NAME:VALUE")?;
    if text.contains('\0') {
        return Err("octet 0 would end the frame".to_owned());
    }
    if taken.contains(&name) {
        return Err(format!("{name} is set by the command itself, and of equal names servers take the first"));
    }
    Ok((name.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_names_and_values() {
        let check = |text, expected: Option<(&str, &str)>| {
            let read = header(text, &["receipt"]).ok();
            assert_eq!(read.as_ref().map(|(name, value)| (&**name, &**value)), expected, "{text:?}");
        };
        check("a:b", Some(("a", "b")));
        check("a: b:c\nd", Some(("a", " b:c\nd")));
        check("a:", Some(("a", "")));
        for text in ["", "a", ":b", "a:\0", "receipt:1"] {
            check(text, None);
        }
    }
}
