//! Memory of connections that do nothing: before, with them, and after they have left.

use std::time::{Duration, Instant};

use super::{Subject, destination, open_all};
use crate::{
    Error, Result,
    pool::{Notice, Pool},
    process,
    report::Report,
};

/// Memory per idle subscribed connection
#[derive(Debug, Clone, clap::Args)]
pub struct Idle {
    /// Connections
    #[arg(long, default_value_t = 10_000)]
    pub count: usize,
    /// Destination to subscribe to, {} standing for the number of the connection
    #[arg(long, default_value = "/topic/bench")]
    pub destination: String,
    /// Seconds at most until the memory has settled
    #[arg(long, default_value_t = 40.0)]
    pub seconds: f64,
}

impl Idle {
    /// Runs it.
    ///
    /// # Errors
    ///
    /// Where a connection is not made or does not last.
    pub fn run(&self, subject: &Subject) -> Result<Report> {
        let pid = subject.known_pid()?;
        let mut pool = Pool::new()?;
        let before = self.settled(pid, &mut pool, 0, STILL)?;
        let one_plan = (!self.destination.contains("{}")).then(|| subject.plan(Some(&self.destination)));
        let ids = open_all(
            &mut pool,
            (0..self.count).map(|n| match &one_plan {
                Some(plan) => plan.clone(),
                None => subject.plan(Some(&destination(&self.destination, n))),
            }),
        )?;
        let with = self.settled(pid, &mut pool, self.count, STILL)?;
        for id in ids {
            pool.close(id)?;
        }
        let closed = Instant::now();
        let after = self.settled(pid, &mut pool, 0, STILL_AFTER)?;
        let waited = closed.elapsed();
        if !pool.is_empty() {
            return Err(Error::Server(format!("left {} closed connections open", pool.len())));
        }
        let each = (with as f64 - before as f64) / self.count.max(1) as f64;
        let kib = |bytes: u64| bytes as f64 / 1024.0;
        let mut report = Report::new(format!("idle, {} connections", self.count));
        report.add("kib_each", each / 1024.0, " KiB each");
        report.add("before_kib", kib(before), " KiB");
        report.add("with_kib", kib(with), " KiB");
        report.add("after_kib", kib(after), " KiB");
        report.add("kept_kib", kib(after) - kib(before), " KiB");
        report.add("waited_s", waited.as_secs_f64(), " s");
        Ok(report)
    }

    /// Resident memory once it has not moved for `still`; `open` connections must last meanwhile.
    fn settled(&self, pid: u32, pool: &mut Pool, open: usize, still: Duration) -> Result<u64> {
        let give_up = Instant::now() + Duration::from_secs_f64(self.seconds);
        let mut last = process::rss(pid)?;
        let mut since = Instant::now();
        while since.elapsed() < still && Instant::now() < give_up {
            let mut ended = None;
            let pause = Instant::now() + LOOK_EVERY;
            while Instant::now() < pause {
                pool.turn(pause.saturating_duration_since(Instant::now()), |_, _, notice| {
                    if let Notice::Ended(reason) = notice {
                        ended = Some(reason);
                    }
                })?;
            }
            if pool.len() < open {
                return Err(Error::Server(format!("an idle connection ended: {}", ended.unwrap_or_default())));
            }
            let now = process::rss(pid)?;
            if now.abs_diff(last) > SAME {
                since = Instant::now();
                last = now;
            }
        }
        process::rss(pid)
    }
}

/// Memory that has not moved for so long is taken to have settled.
const STILL: Duration = Duration::from_secs(2);
/// The same after the end: allocators give back what is free only with a delay.
const STILL_AFTER: Duration = Duration::from_secs(12);
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Less than this is no movement.
const SAME: u64 = 64 << 10;
