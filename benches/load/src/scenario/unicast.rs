//! Unicast: pairs of one publisher and one subscriber, each with a destination of its own.

use super::{
    Subject,
    flow::{Bounds, Flow, Shape},
    pace,
};
use crate::{Result, report::Report};

/// Pairs of one publisher and one subscriber, each with a destination of its own
#[derive(Debug, Clone, clap::Args)]
pub struct Unicast {
    /// Pairs, all at work at the same time
    #[arg(long, default_value_t = 100)]
    pub pairs: usize,
    /// Closed loop: messages per pair that are sent and not yet received
    #[arg(long, default_value_t = 1)]
    pub in_flight: usize,
    /// Open loop: messages per second of all pairs together, due whatever the server does
    #[arg(long, conflicts_with = "in_flight")]
    pub rate: Option<f64>,
    /// Bytes of each body, 36 at least
    #[arg(long, default_value_t = 128)]
    pub body: usize,
    /// The destinations, {n} standing for the number of the pair
    #[arg(skip = "/queue/bench-{n}".to_owned())]
    pub destination: String,
    /// When it ends
    #[command(flatten)]
    pub bounds: Bounds,
}

impl Unicast {
    /// What stands in its report.
    #[must_use]
    pub fn title(&self) -> String {
        let Self { pairs, in_flight, body, rate, .. } = self;
        format!("unicast {pairs} pairs, {body} B, {}", pace(*in_flight, *rate))
    }

    /// Runs it.
    ///
    /// # Errors
    ///
    /// See [`Flow::run`].
    pub fn run(&self, subject: &Subject) -> Result<Report> {
        let Self { pairs, in_flight, body, rate, .. } = *self;
        let destination = self.destination.clone();
        let shape = Shape { groups: pairs, in_flight, body, rate, destination, ..Shape::default() };
        let outcome = Flow::open(subject, shape)?.run(subject, &self.bounds, |_| Ok(()))?;
        let mut report = Report::new(self.title());
        outcome.report(&mut report);
        Ok(report)
    }
}
