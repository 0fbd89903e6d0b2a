//! A storm of connections: TCP, WebSocket, CONNECT and SUBSCRIBE, up to CONNECTED and the receipt, then gone.

use std::time::{Duration, Instant};

use super::{Patience, Subject, TICK, destination};
use crate::{
    Error, Result,
    client::Event,
    pool::{Notice, Pool},
    process::Meter,
    report::{Report, Times},
};

/// Connects, subscribes and leaves, again and again
#[derive(Debug, Clone, clap::Args)]
pub struct Connect {
    /// Connections to make
    #[arg(long, default_value_t = 20_000)]
    pub count: usize,
    /// Connections being made at the same time
    #[arg(long, default_value_t = 64)]
    pub concurrency: usize,
    /// Seconds at most
    #[arg(long, default_value_t = 30.0)]
    pub seconds: f64,
    /// Destination to subscribe to, {} standing for the number of the connection
    #[arg(long, default_value = "/topic/bench")]
    pub destination: String,
}

impl Connect {
    /// Runs it; the first tenth is warm-up.
    ///
    /// # Errors
    ///
    /// Where a connection is refused or does not become ready.
    pub fn run(&self, subject: &Subject) -> Result<Report> {
        if self.count == 0 || self.concurrency == 0 {
            return Err(Error::Usage("all counts must be at least 1".to_owned()));
        }
        let mut pool = Pool::new()?;
        let one_plan = (!self.destination.contains("{}")).then(|| subject.plan(Some(&self.destination)));
        let end = Instant::now() + Duration::from_secs_f64(self.seconds);
        // When a connection was begun; none once it is ready.
        let mut begun: Vec<Option<Instant>> = Vec::new();
        let (mut opened, mut ready, mut unmeasured) = (0, 0, 0);
        let mut meter = None;
        let mut times = Times::new();
        let mut patience = Patience::new();
        let reading = loop {
            while opened - ready < self.concurrency && opened < self.count && Instant::now() < end {
                let id = match &one_plan {
                    Some(plan) => pool.open(plan)?,
                    None => pool.open(&subject.plan(Some(&destination(&self.destination, opened))))?,
                };
                opened += 1;
                begun.resize(begun.len().max(id + 1), None);
                begun[id] = Some(Instant::now());
            }
            if opened == ready {
                let meter = meter.ok_or_else(|| Error::Usage("too little time for a tenth of it".to_owned()))?;
                break Meter::read(&meter)?;
            }
            let mut done = Vec::new();
            let mut failed = None;
            pool.turn(TICK, |id, now, notice| match notice {
                Notice::Event(Event::Ready) => {
                    if let Some(since) = begun[id].take() {
                        times.add(now.saturating_duration_since(since));
                        done.push(id);
                    }
                }
                Notice::Ended(reason) if begun[id].is_some() => failed = Some(reason),
                Notice::Ended(_) | Notice::Event(_) => {}
            })?;
            if let Some(reason) = failed {
                return Err(Error::Server(format!("after {ready} connections: {reason}")));
            }
            if !done.is_empty() {
                patience.renew();
            }
            ready += done.len();
            for id in done {
                pool.close(id)?;
            }
            if pool.len() > self.concurrency * LEAVING {
                pool.drop_leaving();
            }
            if meter.is_none() && ready >= self.count / 10 {
                meter = Some(Meter::start(subject.pid)?);
                unmeasured = ready;
                times.clear();
            }
            patience.check(|| format!("after {ready} connections"))?;
        };
        let mut report = Report::new(format!("connect, {} at the same time", self.concurrency));
        report.add_work((ready - unmeasured) as u64, &reading);
        report.add_times(&times);
        Ok(report)
    }
}

/// A server may take its time to close what has left, up to so many times the concurrency.
const LEAVING: usize = 16;
