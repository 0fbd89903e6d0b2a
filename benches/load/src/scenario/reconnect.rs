//! Everybody is cut off at once and comes back at once: what a balancer that restarts does to a server.

use std::time::Instant;

use super::{
    Subject,
    storm::{Storm, pools},
};
use crate::{Result, report::Report};

/// All connections are lost at once and come back
#[derive(Debug, Clone, clap::Args)]
pub struct Reconnect {
    /// Connections
    #[arg(long, default_value_t = 5_000)]
    pub count: usize,
    /// Closed loop: connections that come back at the same time
    #[arg(long, default_value_t = 1_000)]
    pub concurrency: usize,
    /// Open loop: connections that come back per second, as clients with a random delay do
    #[arg(long, conflicts_with = "concurrency")]
    pub rate: Option<f64>,
    /// How often
    #[arg(long, default_value_t = 3)]
    pub rounds: usize,
    /// Seconds at most for one round
    #[arg(long, default_value_t = 60.0)]
    pub seconds: f64,
    /// Destination to subscribe to, {n} standing for the number of the connection
    #[arg(skip = "/topic/bench".to_owned())]
    pub destination: String,
}

impl Reconnect {
    /// What stands in its report.
    #[must_use]
    pub fn title(&self) -> String {
        match self.rate {
            Some(rate) => format!("reconnect {}, {rate}/s", self.count),
            None => format!("reconnect {}, {} at the same time", self.count, self.concurrency),
        }
    }

    /// Runs it; the first coming is not measured.
    ///
    /// # Errors
    ///
    /// Where connections are refused again and again or do not become ready.
    pub fn run(&self, subject: &Subject) -> Result<Report> {
        let Self { count, rate, seconds, .. } = *self;
        let destination = self.destination.clone();
        let first = Storm { count, concurrency: 64, rate: None, seconds, warm_up: 0.0, destination, leaves: false };
        let back = Storm { concurrency: self.concurrency, rate, ..first.clone() };
        let mut pools = pools(subject, count)?;
        first.run(subject, &mut pools)?;
        let mut all = None;
        let mut slowest = 0.0_f64;
        for _ in 0..self.rounds.max(1) {
            let cut = Instant::now();
            pools.iter_mut().for_each(crate::pool::Pool::cut);
            let made = back.run(subject, &mut pools)?;
            slowest = slowest.max(cut.elapsed().as_secs_f64());
            match &mut all {
                None => all = Some(made),
                Some(all) => {
                    all.measured += made.measured;
                    all.times.merge(&made.times);
                    all.refused += made.refused;
                    all.busiest = all.busiest.max(made.busiest);
                    all.reading.add(&made.reading);
                }
            }
        }
        let mut report = Report::new(self.title());
        if let Some(all) = all {
            report.add_work_of(all.measured, &all.reading, Some(all.busiest));
            report.add_times(&all.times);
            report.add("slowest_s", slowest, " s");
            report.add_refused(all.refused);
        }
        Ok(report)
    }
}
