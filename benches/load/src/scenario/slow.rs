//! One subscriber that never reads, beside others that do.

use std::time::{Duration, Instant};

use super::{
    Subject,
    flow::{Bounds, Flow, Shape},
    open_all, pace,
};
use crate::{
    Result,
    pool::{Id, Notice, Plan},
    process,
    report::Report,
};

/// A subscriber that never reads beside others that do
#[derive(Debug, Clone, clap::Args)]
pub struct Slow {
    /// Subscribers that read
    #[arg(long, default_value_t = 20)]
    pub subscribers: usize,
    /// Bytes of each body
    #[arg(long, default_value_t = 8192)]
    pub body: usize,
    /// Messages per second
    #[arg(long, default_value_t = 100.0)]
    pub rate: f64,
    /// Seconds without the slow one, and as many with it
    #[arg(long, default_value_t = 15.0)]
    pub seconds: f64,
    /// Closed loop instead of a rate: messages sent and not yet received by all who read
    #[arg(long, conflicts_with = "rate")]
    pub in_flight: Option<usize>,
    /// The destination
    #[arg(skip = "/topic/bench".to_owned())]
    pub destination: String,
}

impl Slow {
    /// What stands in its report.
    #[must_use]
    pub fn title(&self) -> String {
        let loop_ = pace(self.in_flight.unwrap_or(1), self.in_flight.is_none().then_some(self.rate));
        format!("slow, 1 of {}, {} B at {loop_}", self.subscribers + 1, self.body)
    }

    /// Runs it.
    ///
    /// # Errors
    ///
    /// See [`Flow::run`]; that the slow one is let go is no error.
    pub fn run(&self, subject: &Subject) -> Result<Report> {
        let shape = Shape {
            subscribers: self.subscribers,
            in_flight: self.in_flight.unwrap_or(1),
            body: self.body,
            rate: self.in_flight.is_none().then_some(self.rate),
            destination: self.destination.clone(),
            ..Shape::default()
        };
        let bounds = Bounds::lasting(self.seconds, 0.5);
        let mut flow = Flow::open(subject, shape)?;
        let without = flow.run(subject, &bounds, |_| Ok(()))?;
        let resident = || subject.pid.map_or(Ok(0), process::rss);
        let before = resident()?;
        let slow = Plan { receive_buffer: Some(SMALL_BUFFER), ..subject.plan(Some(&self.destination)) };
        let slow = open_all(flow.pool(), [slow])?[0];
        flow.pool().set_deaf(slow, true);
        let (mut most, mut looked) = (before, Instant::now());
        let with = flow.run(subject, &bounds, |now| {
            if now - looked > LOOK_EVERY {
                looked = now;
                most = most.max(resident()?);
            }
            Ok(())
        })?;
        let mut report = Report::new(self.title());
        for (name, p99, cpu, outcome) in [
            ("rate_without", "p99_without_us", "cpu_without_us", &without),
            ("rate_with", "p99_with_us", "cpu_with_us", &with),
        ] {
            let figures = {
                let mut inner = Report::new(String::new());
                outcome.report(&mut inner);
                inner
            };
            report.add(name, figures.figure("rate").unwrap_or_default(), "/s");
            report.add(p99, figures.figure("p99_us").unwrap_or_default(), "µs");
            if let Some(cost) = figures.figure("cpu_us") {
                report.add(cpu, cost, "µs each");
            }
        }
        report.add_tally(&with.tally);
        if subject.pid.is_some() {
            report.add("growth_kib", (most - before) as f64 / 1024.0, " KiB");
        }
        let (read, end) = drain(&mut flow, slow);
        report.add("slow_got", read as f64, "");
        report.note(end.map_or_else(|| "the slow one was kept".to_owned(), |why| format!("the slow one: {why}")));
        Ok(report)
    }
}

/// Lets the slow one read at last: how many messages had been on their way to it, and why it was let go.
fn drain(flow: &mut Flow, slow: Id) -> (u64, Option<String>) {
    flow.pool().set_deaf(slow, false);
    let mut read = 0;
    let mut end = flow.pool().catch_up(slow, |_| read += 1).err();
    let mut last = Instant::now();
    while end.is_none() && last.elapsed() < LOOK_EVERY * 8 {
        let turn = flow.pool().turn(LOOK_EVERY, |id, now, notice| {
            if id == slow {
                last = now;
                match notice {
                    Notice::Event(_) => read += 1,
                    Notice::Ended(reason) => end = Some(reason),
                }
            }
        });
        if let Err(error) = turn {
            end = Some(error.to_string());
        }
    }
    (read, end)
}

/// What the slow one's kernel takes in its place. Much less than a segment of the loopback interface would make the
/// kernels fall back on timers once it reads at last.
const SMALL_BUFFER: usize = 128 << 10;
const LOOK_EVERY: Duration = Duration::from_millis(250);
