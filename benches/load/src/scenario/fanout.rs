//! Fan-out: few publishers, many subscribers, one destination.

use super::{
    Subject,
    flow::{Bounds, Flow, Shape},
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
    /// Messages sent and not yet received by all subscribers
    #[arg(long, default_value_t = 16)]
    pub in_flight: usize,
    /// Bytes of each body
    #[arg(long, default_value_t = 128)]
    pub body: usize,
    /// The destination
    #[arg(long, default_value = "/topic/bench")]
    pub destination: String,
    /// When it ends
    #[command(flatten)]
    pub bounds: Bounds,
}

impl Fanout {
    /// Runs it.
    ///
    /// # Errors
    ///
    /// See [`Flow::run`].
    pub fn run(&self, subject: &Subject) -> Result<Report> {
        let Self { subscribers, publishers, in_flight, body, .. } = *self;
        let shape = Shape {
            groups: 1,
            subscribers,
            publishers,
            in_flight,
            body,
            rate: None,
            destination: self.destination.clone(),
            user: None,
        };
        let outcome = Flow::open(subject, shape)?.run(&self.bounds, subject.pid, |_| Ok(()))?;
        let mut report = Report::new(format!("fanout {publishers}->{subscribers}, {body} B, {in_flight} in flight"));
        report.add_work(outcome.delivered, &outcome.reading);
        report.add_times(&outcome.times);
        Ok(report)
    }
}
