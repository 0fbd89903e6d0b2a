//! The server that is asked, and how.

use std::time::Duration;

use crate::client::entrance::Way;

/// A server, and what it calls things.
#[derive(Debug, Clone)]
pub struct Server {
    /// Where it is, and how to get in.
    pub way: Way,
    /// Destinations that give each subscriber a copy; `{}` is a word that is new each time.
    pub topic: String,
    /// Destinations whose messages go to one subscriber, and to another one if it goes without an ACK.
    pub queue: Option<String>,
    /// A destination that clients may neither send nor subscribe to.
    pub refused: Option<String>,
    /// How long what must come may take.
    pub patience: Duration,
    /// How long nothing must come where nothing is to come.
    pub quiet: Duration,
    /// How much later than promised a heart-beat may come: the network, and a busy machine.
    pub margin: Duration,
    /// How long a SUBSCRIBE may take where the server gives no RECEIPT for it.
    pub settle: Duration,
    /// Whether it gives a RECEIPT for SUBSCRIBE; found out by asking.
    pub receipts: bool,
    /// Whether to play what takes more than a few seconds.
    pub slow: bool,
}

impl Server {
    /// A topic that nobody else knows.
    pub(super) fn fresh_topic(&self) -> String {
        self.topic.replace("{}", &format!("{:016x}", getrandom::u64().unwrap_or_default()))
    }

    /// The header lines that let one in, each with its end.
    pub(super) fn credentials(&self) -> String {
        let mut lines = String::new();
        if let Some((login, passcode)) = &self.way.login {
            lines.push_str(&format!("login:{login}\npasscode:{passcode}\n"));
        }
        for line in &self.way.connect {
            lines.push_str(line);
            lines.push('\n');
        }
        lines
    }
}
