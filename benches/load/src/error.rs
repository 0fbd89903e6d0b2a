//! What can go wrong while measuring.

use std::io;

/// The result of a step of a measurement.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a measurement has no result. A run that lost or doubled a message is an error, never a figure.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system refused something on our side.
    #[error("{what}")]
    System {
        /// What we were doing.
        what: String,
        /// What it answered.
        source: io::Error,
    },
    /// The server answered something else than the scenario needs, or went away.
    #[error("the server: {0}")]
    Server(String),
    /// Nothing moved for too long.
    #[error("stalled: {0}")]
    Stalled(String),
    /// The request makes no sense.
    #[error("{0}")]
    Usage(String),
}

impl Error {
    /// Says what was going on when the system failed us; made for `map_err`.
    pub fn system(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::System { what, source }
    }
}
