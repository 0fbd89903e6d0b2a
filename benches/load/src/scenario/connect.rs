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
        let mut pool = Pool::new(subject.target.addr)?;
        let one_plan = (!self.destination.contains("{}")).then(|| subject.plan(Some(&self.destination)));
        let end = Instant::now() + Duration::from_secs_f64(self.seconds);
        let mut begun: Vec<Instant> = Vec::new();
        let (mut opened, mut ready, mut unmeasured) = (0, 0, 0);
        let mut meter = None;
        let mut times = Times::new();
        let mut patience = Patience::new();
        loop {
            while pool.len() < self.concurrency && opened < self.count && Instant::now() < end {
                let id = match &one_plan {
                    Some(plan) => pool.open(plan)?,
                    None => pool.open(&subject.plan(Some(&destination(&self.destination, opened))))?,
                };
                opened += 1;
                begun.resize(begun.len().max(id + 1), Instant::now());
                begun[id] = Instant::now();
            }
            if pool.is_empty() {
                break;
            }
            let mut leaving = Vec::new();
            let mut ended = None;
            pool.turn(TICK, |id, now, notice| match notice {
                Notice::Event(Event::Ready) => {
                    times.add(now.saturating_duration_since(begun[id]));
                    leaving.push(id);
                }
                Notice::Ended(reason) => ended = Some(reason),
                Notice::Event(_) => {}
            })?;
            if let Some(reason) = ended {
                return Err(Error::Server(format!("after {ready} connections: {reason}")));
            }
            if !leaving.is_empty() {
                patience.renew();
            }
            ready += leaving.len();
            for id in leaving {
                pool.close(id);
            }
            if meter.is_none() && ready >= self.count / 10 {
                meter = Some(Meter::start(subject.pid)?);
                unmeasured = ready;
                times.clear();
            }
            patience.check(|| format!("after {ready} connections"))?;
        }
        let meter = meter.ok_or_else(|| Error::Usage("too short a time for a tenth of the connections".to_owned()))?;
        let mut report = Report::new(format!("connect, {} at the same time", self.concurrency));
        report.add_work((ready - unmeasured) as u64, &meter.read()?);
        report.add_times(&times);
        Ok(report)
    }
}
