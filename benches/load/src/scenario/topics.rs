//! Many destinations, each with few subscribers, on connections that subscribe to many of them.

use super::{
    Subject,
    flow::{Bounds, Flow, Shape},
    pace,
};
use crate::{Result, report::Report};

/// Many destinations with few subscribers each
#[derive(Debug, Clone, clap::Args)]
pub struct Topics {
    /// Destinations
    #[arg(long, default_value_t = 10_000)]
    pub topics: usize,
    /// Subscribers of each
    #[arg(long, default_value_t = 2)]
    pub subscribers: usize,
    /// Destinations that one connection subscribes to
    #[arg(long, default_value_t = 50)]
    pub per_connection: usize,
    /// Publishers of each thread of the generator, each for its share of the destinations
    #[arg(long, default_value_t = 8)]
    pub publishers: usize,
    /// Closed loop: messages per destination that are sent and not yet received by all its subscribers
    #[arg(long, default_value_t = 1)]
    pub in_flight: usize,
    /// Open loop: messages per second to all destinations together, due whatever the server does
    #[arg(long, conflicts_with = "in_flight")]
    pub rate: Option<f64>,
    /// Bytes of each body, 36 at least
    #[arg(long, default_value_t = 128)]
    pub body: usize,
    /// The destinations, {n} standing for their number
    #[arg(skip = "/topic/bench-{n}".to_owned())]
    pub destination: String,
    /// When it ends
    #[command(flatten)]
    pub bounds: Bounds,
}

impl Topics {
    /// What stands in its report.
    #[must_use]
    pub fn title(&self) -> String {
        let Self { topics, subscribers, body, in_flight, rate, .. } = self;
        format!("topics {topics} x {subscribers}, {body} B, {}", pace(*in_flight, *rate))
    }

    /// Runs it.
    ///
    /// # Errors
    ///
    /// See [`Flow::run`].
    pub fn run(&self, subject: &Subject) -> Result<Report> {
        let Self { topics, subscribers, per_connection, publishers, in_flight, body, rate, .. } = *self;
        let shape = Shape {
            groups: topics,
            subscribers,
            subscriptions: per_connection,
            shared_publishers: Some(publishers),
            in_flight,
            body,
            rate,
            destination: self.destination.clone(),
            ..Shape::default()
        };
        let outcome = Flow::open(subject, shape)?.run(subject, &self.bounds, |_| Ok(()))?;
        let mut report = Report::new(self.title());
        outcome.report(&mut report);
        Ok(report)
    }
}
