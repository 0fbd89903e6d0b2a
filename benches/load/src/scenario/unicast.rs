//! Unicast: pairs of one publisher and one subscriber, each with a destination of its own.

use super::{
    Subject,
    flow::{Bounds, Flow, Shape},
};
use crate::{Result, report::Report};

/// Pairs of one publisher and one subscriber
#[derive(Debug, Clone, clap::Args)]
pub struct Unicast {
    /// Pairs, all at work at the same time
    #[arg(long, default_value_t = 100)]
    pub pairs: usize,
    /// Messages per pair that are sent and not yet received
    #[arg(long, default_value_t = 1)]
    pub in_flight: usize,
    /// Bytes of each body
    #[arg(long, default_value_t = 128)]
    pub body: usize,
    /// The destinations, {} standing for the number of the pair
    #[arg(long, default_value = "/queue/bench-{}")]
    pub destination: String,
    /// When it ends
    #[command(flatten)]
    pub bounds: Bounds,
}

impl Unicast {
    /// Runs it.
    ///
    /// # Errors
    ///
    /// See [`Flow::run`].
    pub fn run(&self, subject: &Subject) -> Result<Report> {
        let Self { pairs, in_flight, body, .. } = *self;
        let shape = Shape {
            groups: pairs,
            subscribers: 1,
            publishers: 1,
            in_flight,
            body,
            rate: None,
            destination: self.destination.clone(),
            user: None,
        };
        let outcome = Flow::open(subject, shape)?.run(&self.bounds, subject.pid, |_| Ok(()))?;
        let mut report = Report::new(format!("unicast {pairs} pairs, {body} B, {in_flight} in flight each"));
        report.add_work(outcome.delivered, &outcome.reading);
        report.add_times(&outcome.times);
        Ok(report)
    }
}
