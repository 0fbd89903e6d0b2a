//! The scenarios. Each is bounded in count and in time, excludes its warm-up, and fails rather than report a figure of
//! a run in which a message was lost, doubled, late beyond patience or changed.

pub mod connect;
pub mod fanout;
pub mod flow;
pub mod heart_beat;
pub mod idle;
pub mod reconnect;
pub mod slow;
pub mod storm;
pub mod topics;
pub mod unicast;

use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    Error, Result,
    client::{Event, Script},
    pool::{Id, Notice, Plan, Pool},
    progress::Progress,
    target::Target,
};

/// The server under test: where it is, which process it is where that is known, and how we load it.
#[derive(Debug, Clone)]
pub struct Subject {
    /// Its endpoint.
    pub target: Target,
    /// Its process, to read CPU time and memory of.
    pub pid: Option<u32>,
    /// How a subscription is known to be in force.
    pub proof: Proof,
    /// Where messages are sent that arrive at the destination of the scenario, where that is another; `{n}` as there.
    pub send_to: Option<String>,
    /// Threads that load it.
    pub threads: usize,
    /// Addresses to connect from, in turn; none leaves it to us.
    pub sources: Arc<[IpAddr]>,
    /// Where to show how far it is.
    pub progress: Progress,
}

/// How a subscription is known to be in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Proof {
    /// SUBSCRIBE asks for a RECEIPT.
    Receipt,
    /// A message that is sent to it arrives.
    Echo,
    /// It is not proved: CONNECTED counts.
    Connected,
}

impl Proof {
    /// Whether messages have to be sent to prove it.
    #[must_use]
    pub fn needs_echo(self) -> bool {
        self == Self::Echo
    }
}

impl Subject {
    /// A server that answers with receipts, loaded by one thread.
    #[must_use]
    pub fn new(target: Target, pid: Option<u32>) -> Self {
        let (proof, progress) = (Proof::Receipt, Progress::silent());
        Self { target, pid, proof, send_to: None, threads: 1, sources: Arc::from([]), progress }
    }

    /// The process, for scenarios that are about nothing else.
    ///
    /// # Errors
    ///
    /// Where it was not given.
    pub fn known_pid(&self) -> Result<u32> {
        self.pid.ok_or_else(|| Error::Usage("this scenario needs --pid".to_owned()))
    }

    /// How a client of this server connects: subscribing to `destination`, or to nothing.
    #[must_use]
    pub fn plan(&self, destination: Option<&str>) -> Plan {
        self.plan_with_beats(destination, 0)
    }

    /// The same as this user, whom the server takes at his word.
    #[must_use]
    pub fn plan_as(&self, user: &str, destination: Option<&str>) -> Plan {
        self.plan_of(Some(user), destination.as_slice())
    }

    /// The same with several subscriptions, and perhaps as a user.
    #[must_use]
    pub fn plan_of(&self, user: Option<&str>, destinations: &[&str]) -> Plan {
        let mut target = self.target.clone();
        if let Some(user) = user {
            target.login = Some((user.to_owned(), String::new()));
        }
        self.plan_to(&target, destinations, 0)
    }

    /// The same with heart-beats both ways, in milliseconds.
    #[must_use]
    pub fn plan_with_beats(&self, destination: Option<&str>, beat: u64) -> Plan {
        self.plan_to(&self.target, destination.as_slice(), beat)
    }

    fn plan_to(&self, target: &Target, destinations: &[&str], beat: u64) -> Plan {
        let script = Script::new(target, destinations, self.proof == Proof::Receipt, (beat, beat));
        Plan { script: Arc::new(script), receive_buffer: None }
    }

    /// Finds out whether the server answers a SUBSCRIBE with a RECEIPT.
    ///
    /// # Errors
    ///
    /// Where it cannot be talked to at all.
    pub fn find_proof(&mut self, destination: &str) -> Result<()> {
        self.proof = Proof::Receipt;
        let mut pool = Pool::new()?;
        pool.open(&self.plan(Some(destination)))?;
        let (start, mut connected, mut ready, mut ended) = (Instant::now(), None, false, None);
        while !ready {
            pool.turn(TICK, |_, now, notice| match notice {
                Notice::Event(Event::Connected(_)) => connected = Some(now),
                Notice::Event(Event::Ready) => ready = true,
                Notice::Ended(reason) => ended = Some(reason),
                Notice::Event(_) => {}
            })?;
            if let Some(reason) = ended {
                return Err(Error::Server(reason));
            }
            if connected.is_some_and(|at| at.elapsed() > RECEIPT_WITHIN) {
                self.proof = Proof::Echo;
                return Ok(());
            }
            if start.elapsed() > PATIENCE {
                return Err(Error::Stalled("no CONNECTED came".to_owned()));
            }
        }
        Ok(())
    }
}

/// Opens a connection per plan, [`CONCURRENCY`] at a time, and returns their ids in the order of the plans.
///
/// # Errors
///
/// Where one does not become ready.
pub fn open_all(pool: &mut Pool, plans: impl IntoIterator<Item = Plan>) -> Result<Vec<Id>> {
    let mut plans = plans.into_iter();
    let mut ids = Vec::new();
    let mut ready = 0;
    let mut patience = Patience::new();
    let mut ended = None;
    loop {
        while ids.len() - ready < CONCURRENCY {
            match plans.next() {
                Some(plan) => ids.push(pool.open(&plan)?),
                None => break,
            }
        }
        if ready == ids.len() {
            return Ok(ids);
        }
        pool.turn(TICK, |_, _, notice| match notice {
            Notice::Event(Event::Ready) => {
                ready += 1;
                patience.renew();
            }
            Notice::Ended(reason) => ended = Some(reason),
            Notice::Event(_) => {}
        })?;
        if let Some(reason) = ended {
            return Err(Error::Server(format!("connection {} of those to open: {reason}", ready + 1)));
        }
        patience.check(|| format!("{ready} of {} connections became ready", ids.len()))?;
    }
}

/// The destination of group `n`: `{n}` or `{}` in a pattern stands for its number.
#[must_use]
pub fn destination(pattern: &str, n: usize) -> String {
    let n = n.to_string();
    pattern.replace("{}", &n).replace("{n}", &n)
}

/// The loop of a scenario in words.
#[must_use]
pub fn pace(in_flight: usize, rate: Option<f64>) -> String {
    rate.map_or_else(|| format!("{in_flight} in flight"), |rate| format!("{rate}/s"))
}

/// Whether [`destination`] differs from group to group.
#[must_use]
pub fn is_numbered(pattern: &str) -> bool {
    destination(pattern, 0) != destination(pattern, 1)
}

/// Gives up when nothing has moved for `PATIENCE`.
#[derive(Debug)]
pub struct Patience(Instant);

impl Patience {
    /// Something moved just now.
    #[must_use]
    pub fn new() -> Self {
        Self(Instant::now())
    }

    /// Something moved.
    pub fn renew(&mut self) {
        self.0 = Instant::now();
    }

    /// Checks whether there is any left.
    ///
    /// # Errors
    ///
    /// [`Error::Stalled`] with what `state` says.
    pub fn check(&self, state: impl FnOnce() -> String) -> Result<()> {
        if self.0.elapsed() > PATIENCE {
            return Err(Error::Stalled(state()));
        }
        Ok(())
    }
}

impl Default for Patience {
    fn default() -> Self {
        Self::new()
    }
}

/// Connections that a scenario opens at the same time while it sets up.
pub const CONCURRENCY: usize = 64;

/// How long a turn may wait for readiness: clocks and bounds are looked at that often.
pub const TICK: Duration = Duration::from_millis(50);

/// A server that confirms a SUBSCRIBE at all does so at once.
const RECEIPT_WITHIN: Duration = Duration::from_millis(1500);

/// A server that has not moved for so long will not.
const PATIENCE: Duration = Duration::from_secs(15);
