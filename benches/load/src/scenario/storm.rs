//! Many connections made at once or at a rate: what a storm of clients and their return have in common.

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use super::{Patience, Subject, TICK, destination, is_numbered};
use crate::{
    Error, Result,
    client::Event,
    pool::{Notice, Plan, Pool},
    process::{Meter, Reading, thread_cpu},
    report::Times,
};

/// How connections are made.
#[derive(Debug, Clone)]
pub struct Storm {
    /// Connections to make.
    pub count: usize,
    /// Connections being made at the same time; means nothing with a rate.
    pub concurrency: usize,
    /// Connections per second, begun whatever the server does.
    pub rate: Option<f64>,
    /// Seconds at most in which connections are begun.
    pub seconds: f64,
    /// Share of them, or of the time, that is warm-up.
    pub warm_up: f64,
    /// Destination to subscribe to, `{n}` standing for the number of the connection.
    pub destination: String,
    /// Whether a connection leaves as soon as it is ready.
    pub leaves: bool,
}

/// What a storm did.
#[derive(Debug)]
pub struct Made {
    /// Connections that became ready.
    pub ready: u64,
    /// Those behind the warm-up.
    pub measured: u64,
    /// Time spent on those.
    pub reading: Reading,
    /// From when a connection was due until it was ready.
    pub times: Times,
    /// Share of a core that the busiest of our threads took.
    pub busiest: f64,
    /// Connections that the server ended before they were ready; they are made anew, once per failure.
    pub refused: u64,
}

/// One thread's share.
#[derive(Debug)]
struct Part {
    ready: usize,
    measured: usize,
    times: Times,
    busy: Duration,
    refused: u64,
}

impl Storm {
    /// Runs it on these pools, one thread each; connections that stay are left in them.
    ///
    /// # Errors
    ///
    /// Where connections do not become ready.
    pub fn run(&self, subject: &Subject, pools: &mut [Pool]) -> Result<Made> {
        if self.count == 0 || self.concurrency == 0 || self.rate.is_some_and(|rate| rate <= 0.0) {
            return Err(Error::Usage("all counts must be at least 1".to_owned()));
        }
        let lanes = pools.len();
        let start = Instant::now();
        // With a warm-up, whoever is the first to be done with it starts the meter.
        let meter = std::sync::Mutex::new(None);
        let begin = || -> Result<Instant> {
            let mut meter = meter.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            if meter.is_none() {
                *meter = Some((Meter::start(subject.pid)?, Instant::now()));
            }
            Ok(meter.as_ref().map_or(start, |&(_, since)| since))
        };
        if self.warm_up == 0.0 {
            begin()?;
        }
        let parts: Vec<Result<Part>> = thread::scope(|scope| {
            let begin = &begin;
            let threads: Vec<_> = pools
                .iter_mut()
                .enumerate()
                .map(|(lane, pool)| scope.spawn(move || self.part(subject, pool, (lane, lanes), start, begin)))
                .collect();
            let failed = || Err(Error::Usage("a thread of the load generator panicked".to_owned()));
            threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| failed())).collect()
        });
        subject.progress.clear();
        let parts = parts.into_iter().collect::<Result<Vec<_>>>()?;
        let meter = meter.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
        let (meter, _) = meter.ok_or_else(|| Error::Usage("too little time for the warm-up".to_owned()))?;
        let reading = meter.read()?;
        let mut made = Made { ready: 0, measured: 0, reading, times: Times::new(), busiest: 0.0, refused: 0 };
        for part in parts {
            made.ready += part.ready as u64;
            made.measured += part.measured as u64;
            made.times.merge(&part.times);
            made.refused += part.refused;
            let share = part.busy.as_secs_f64() / reading.wall.as_secs_f64().max(f64::MIN_POSITIVE);
            made.busiest = made.busiest.max(share);
        }
        Ok(made)
    }

    fn part(
        &self,
        subject: &Subject,
        pool: &mut Pool,
        (lane, lanes): (usize, usize),
        start: Instant,
        begin: &dyn Fn() -> Result<Instant>,
    ) -> Result<Part> {
        let count = self.count / lanes + usize::from(lane < self.count % lanes);
        let concurrency = self.concurrency.div_ceil(lanes);
        let one_plan = (!is_numbered(&self.destination)).then(|| subject.plan(Some(&self.destination)));
        let plan = |n: usize| -> Plan {
            one_plan.clone().unwrap_or_else(|| subject.plan(Some(&destination(&self.destination, n * lanes + lane))))
        };
        let end = start + Duration::from_secs_f64(self.seconds);
        // When a connection was due; none once it is ready.
        let mut begun: Vec<Option<(Instant, usize)>> = Vec::new();
        let (mut opened, mut ready, mut unmeasured) = (0, 0, 0);
        let mut cpu = thread_cpu();
        let mut warm = self.warm_up > 0.0;
        let mut times = Times::new();
        let mut patience = Patience::new();
        let mut refused = 0;
        let mut again: Vec<(Instant, usize)> = Vec::new();
        loop {
            let now = Instant::now();
            let mut wait = TICK;
            loop {
                let due = match again.pop() {
                    Some(once_more) => once_more,
                    None if opened >= count || now >= end => break,
                    None => match self.rate {
                        None if opened - ready >= concurrency => break,
                        None => (Instant::now(), opened),
                        Some(rate) => {
                            let due = (opened * lanes + lane) as f64 / rate;
                            let due = start + Duration::from_secs_f64(due);
                            if due > now {
                                wait = wait.min(due - now);
                                break;
                            }
                            (due, opened)
                        }
                    },
                };
                let id = pool.open(&plan(due.1))?;
                opened += usize::from(due.1 == opened);
                begun.resize(begun.len().max(id + 1), None);
                begun[id] = Some(due);
            }
            if (opened == count || now >= end) && ready == opened {
                break;
            }
            if wait < TICK {
                pool.wake_in(wait)?;
            }
            let mut done = Vec::new();
            let mut failed = None;
            pool.turn(TICK, |id, now, notice| {
                let waiting = begun.get(id).copied().flatten();
                match (notice, waiting) {
                    (Notice::Event(Event::Ready), Some((since, _))) => {
                        begun[id] = None;
                        times.add(now.saturating_duration_since(since));
                        done.push(id);
                    }
                    (Notice::Ended(reason), Some(due)) => {
                        begun[id] = None;
                        failed = Some(reason);
                        again.push(due);
                    }
                    // One that was ready and stays.
                    (Notice::Ended(reason), None) if !self.leaves => failed = Some(reason),
                    _ => {}
                }
            })?;
            if let Some(reason) = failed {
                refused += 1;
                if refused > REFUSED_AT_MOST {
                    return Err(Error::Server(format!("after {ready} connections: {reason}")));
                }
            }
            if !done.is_empty() {
                patience.renew();
            }
            ready += done.len();
            if self.leaves {
                for id in done {
                    pool.close(id)?;
                }
                if pool.len() > concurrency * LEAVING {
                    pool.drop_leaving();
                }
            }
            let enough = ready as f64 >= count as f64 * self.warm_up;
            if warm && ready > 0 && (enough || now >= start + (end - start).mul_f64(self.warm_up)) {
                warm = false;
                begin()?;
                cpu = thread_cpu();
                unmeasured = ready;
                times.clear();
            }
            patience.check(|| format!("after {ready} connections"))?;
            if lane == 0 {
                subject.progress.line(now, || format!("{} of {} connections", ready * lanes, self.count));
            }
        }
        let busy = thread_cpu().saturating_sub(cpu);
        Ok(Part { ready, measured: ready - unmeasured, times, busy, refused })
    }
}

/// Pools for the threads of a scenario.
///
/// # Errors
///
/// Where the system has no more epoll instances.
pub fn pools(subject: &Subject, connections: usize) -> Result<Vec<Pool>> {
    let lanes = subject.threads.clamp(1, connections.max(1));
    (0..lanes).map(|lane| Pool::numbered(lane, &Arc::clone(&subject.sources))).collect()
}

/// A server may take its time to close what has left, up to so many times the concurrency.
const LEAVING: usize = 16;
/// A server that refuses more has had enough, as far as one thread of ours sees.
const REFUSED_AT_MOST: u64 = 1000;
