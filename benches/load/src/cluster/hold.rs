//! Sessions held open by a process of their own: a system may allow one process fewer files than a row needs sessions.

use std::{
    io::Write,
    ops::Range,
    process::Command,
    time::{Duration, Instant},
};

use crate::{
    Error, Result,
    child::Guarded,
    pool::{Notice, Pool},
    scenario::{Subject, open_all},
};

/// Opens idle sessions at one node, each with a user of its own, and holds them until it is killed
#[derive(Debug, clap::Args)]
pub struct Hold {
    /// The node's endpoint
    #[arg(long)]
    url: String,
    /// Number of the first user
    #[arg(long)]
    first: usize,
    /// Sessions
    #[arg(long)]
    count: usize,
    /// Which of these processes it is: each connects from addresses of its own
    #[arg(long)]
    number: usize,
}

impl Hold {
    /// Says on `out` when all are open; ends only when one of them does.
    ///
    /// # Errors
    ///
    /// Where a session is not made or does not last.
    pub fn run(&self, out: &mut impl Write) -> Result<()> {
        let subject = Subject::new(self.url.parse()?, None);
        let mut pool = Pool::numbered(self.number, &subject.sources)?;
        let users = self.first..self.first + self.count;
        open_all(&mut pool, users.map(|n| subject.plan_as(&format!("idle-{n}"), Some("/user/queue/bench"))))?;
        writeln!(out, "{OPEN}").and_then(|()| out.flush()).map_err(Error::system("printing"))?;
        loop {
            let mut ended = None;
            pool.turn(Duration::from_secs(1), |_, _, notice| {
                if let Notice::Ended(reason) = notice {
                    ended = Some(reason);
                }
            })?;
            if let Some(reason) = ended {
                return Err(Error::Server(format!("an idle session ended: {reason}")));
            }
        }
    }
}

/// A process that does the above.
#[derive(Debug)]
pub(super) struct Holder {
    process: Guarded,
    /// What it said last, where it says why it gave up.
    words: tempfile::NamedTempFile,
}

impl Holder {
    /// Starts it, this very program; [`wait_until_open`](Self::wait_until_open) returns when it has them all.
    pub(super) fn start(number: usize, url: &str, users: Range<usize>) -> Result<Self> {
        let program = std::env::current_exe().map_err(Error::system("finding this program"))?;
        let words = tempfile::NamedTempFile::new().map_err(Error::system("making a file"))?;
        let file = words.reopen().map_err(Error::system("opening a file"))?;
        let mut command = Command::new(program);
        command.args(["hold", "--url", url]);
        for (option, value) in [("--number", number), ("--first", users.start), ("--count", users.len())] {
            command.args([option, &value.to_string()]);
        }
        Ok(Self { process: Guarded::start(&command, file)?, words })
    }

    pub(super) fn wait_until_open(&self, until: Instant) -> Result<()> {
        match self.process.line(until.saturating_duration_since(Instant::now())) {
            Ok(line) if line == OPEN => Ok(()),
            _ => Err(self.failed("did not open its sessions")),
        }
    }

    /// Fails where a session has ended since.
    pub(super) fn check(&self) -> Result<()> {
        use std::sync::mpsc::RecvTimeoutError::Timeout;
        match self.process.line(Duration::ZERO) {
            Err(Timeout) => Ok(()),
            _ => Err(self.failed("did not hold its sessions")),
        }
    }

    fn failed(&self, what: &str) -> Error {
        let words = std::fs::read_to_string(self.words.path()).unwrap_or_default();
        Error::Server(format!("a process {what}; its last words:\n{words}"))
    }
}

const OPEN: &str = "open";
