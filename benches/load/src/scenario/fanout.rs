//! Fan-out: few publishers, many subscribers, one destination.

use super::{
    Subject,
    flow::{Bounds, Flow, Shape},
    pace,
};
use crate::{Result, report::Report};

/// One destination with many subscribers
#[derive(Debug, Clone, clap::Args)]
pub struct Fanout {
    /// Subscribers
    #[arg(long, default_value_t = 100)]
    pub subscribers: usize,
    /// Publishers, who take turns
    #[arg(long, default_value_t = 1)]
    pub publishers: usize,
    /// Closed loop: messages sent and not yet received by all subscribers
    #[arg(long, default_value_t = 16)]
    pub in_flight: usize,
    /// Open loop: messages per second, due whatever the server does; latency counts from when they were due
    #[arg(long, conflicts_with = "in_flight")]
    pub rate: Option<f64>,
    /// Bytes of each body, 36 at least
    #[arg(long, default_value_t = 128)]
    pub body: usize,
    /// The destination
    #[arg(skip = "/topic/bench".to_owned())]
    pub destination: String,
    /// When it ends
    #[command(flatten)]
    pub bounds: Bounds,
}

impl Fanout {
    /// What stands in its report.
    #[must_use]
    pub fn title(&self) -> String {
        let Self { subscribers, publishers, in_flight, body, rate, .. } = self;
        format!("fanout {publishers}->{subscribers}, {body} B, {}", pace(*in_flight, *rate))
    }

    /// Runs it.
    ///
    /// # Errors
    ///
    /// See [`Flow::run`].
    pub fn run(&self, subject: &Subject) -> Result<Report> {
        let Self { subscribers, publishers, in_flight, body, rate, .. } = *self;
        let destination = self.destination.clone();
        let shape = Shape { subscribers, publishers, in_flight, body, rate, destination, ..Shape::default() };
        let outcome = Flow::open(subject, shape)?.run(subject, &self.bounds, |_| Ok(()))?;
        let mut report = Report::new(self.title());
        outcome.report(&mut report);
        Ok(report)
    }
}
