//! The scenarios. Each is bounded in count and in time, excludes its warm-up, and fails rather than report a figure of
//! a run in which a message was lost, doubled, late beyond patience or changed.

pub mod connect;
pub mod fanout;
pub mod flow;
pub mod heart_beat;
pub mod idle;
pub mod slow;
pub mod unicast;

use std::{
    rc::Rc,
    time::{Duration, Instant},
};

use crate::{
    Error, Result,
    client::{Event, Script},
    pool::{Id, Notice, Plan, Pool},
    target::Target,
};

/// The server under test: where it is, and which process it is where that is known.
#[derive(Debug, Clone)]
pub struct Subject {
    /// Its endpoint.
    pub target: Target,
    /// Its process, to read CPU time and memory of.
    pub pid: Option<u32>,
}

impl Subject {
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
        let target = Target { login: Some((user.to_owned(), String::new())), ..self.target.clone() };
        Plan { script: Rc::new(Script::new(&target, destination, (0, 0))), receive_buffer: None }
    }

    /// The same with heart-beats both ways, in milliseconds.
    #[must_use]
    pub fn plan_with_beats(&self, destination: Option<&str>, beat: u64) -> Plan {
        Plan { script: Rc::new(Script::new(&self.target, destination, (beat, beat))), receive_buffer: None }
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

/// The destination of group `n`: `{}` in a pattern stands for its number.
#[must_use]
pub fn destination(pattern: &str, n: usize) -> String {
    pattern.replace("{}", &n.to_string())
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

/// A server that has not moved for so long will not.
const PATIENCE: Duration = Duration::from_secs(15);
