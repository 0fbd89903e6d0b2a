//! A storm of connections: TCP, WebSocket, CONNECT and SUBSCRIBE, up to CONNECTED and the receipt, then gone.

use super::{
    Subject,
    storm::{Storm, pools},
};
use crate::{Error, Result, report::Report};

/// Connects, subscribes and leaves, again and again
#[derive(Debug, Clone, clap::Args)]
pub struct Connect {
    /// Connections to make
    #[arg(long, default_value_t = 20_000)]
    pub count: usize,
    /// Closed loop: connections being made at the same time
    #[arg(long, default_value_t = 64)]
    pub concurrency: usize,
    /// Open loop: connections per second, begun whatever the server does
    #[arg(long, conflicts_with = "concurrency")]
    pub rate: Option<f64>,
    /// Seconds at most
    #[arg(long, default_value_t = 30.0)]
    pub seconds: f64,
    /// Destination to subscribe to, {n} standing for the number of the connection
    #[arg(skip = "/topic/bench".to_owned())]
    pub destination: String,
}

impl Connect {
    /// What stands in its report.
    #[must_use]
    pub fn title(&self) -> String {
        match self.rate {
            Some(rate) => format!("connect, {rate}/s"),
            None => format!("connect, {} at the same time", self.concurrency),
        }
    }

    /// Runs it; the first tenth is warm-up.
    ///
    /// # Errors
    ///
    /// Where connections are refused again and again or do not become ready.
    pub fn run(&self, subject: &Subject) -> Result<Report> {
        let Self { count, concurrency, rate, seconds, .. } = *self;
        let destination = self.destination.clone();
        let storm = Storm { count, concurrency, rate, seconds, warm_up: 0.1, destination, leaves: true };
        let made = storm.run(subject, &mut pools(subject, count)?)?;
        if made.measured == 0 {
            return Err(Error::Usage("too little time for any connection behind the warm-up".to_owned()));
        }
        let mut report = Report::new(self.title());
        report.add_work_of(made.measured, &made.reading, Some(made.busiest));
        report.add_times(&made.times);
        report.add_refused(made.refused);
        Ok(report)
    }
}
