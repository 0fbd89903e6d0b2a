//! When files are looked at again: every few seconds, and at once on SIGHUP.

use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// How often files are looked at.
const EVERY: Duration = Duration::from_secs(2);

/// See the module.
#[derive(Debug)]
pub struct Reload {
    /// None where the signal cannot be listened for.
    hangup: Option<Signal>,
}

impl Reload {
    /// Listens from the call on; from then on SIGHUP does not end the process any more.
    ///
    /// # Panics
    ///
    /// Outside a Tokio runtime.
    #[must_use]
    pub fn listen() -> Self {
        let hangup = signal(SignalKind::hangup())
            .inspect_err(|error| tracing::warn!(%error, "SIGHUP cannot be listened for; it ends this node"))
            .ok();
        Self { hangup }
    }

    /// Waits until it is time for a look. Whether SIGHUP asked for it: then also what seems unchanged is to be read.
    ///
    /// # Cancel safety
    ///
    /// A signal is not lost.
    pub async fn due(&mut self) -> bool {
        match &mut self.hangup {
            // None after the last signal there can be.
            Some(hangup) => matches!(tokio::time::timeout(EVERY, hangup.recv()).await, Ok(Some(()))),
            None => {
                tokio::time::sleep(EVERY).await;
                false
            }
        }
    }
}
