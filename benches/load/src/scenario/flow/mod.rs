//! Messages through groups of publishers and subscribers: the engine of fan-out, unicast, many topics and slow subscriber.
//!
//! A group has a destination of its own. Its loop is closed or open:
//!
//! - closed: a message is in flight from its SEND until its last subscriber has it, and no more than the bound are. What
//!   may be sent after a turn is sent in one write, as it comes to be in a busy client.
//! - open: messages are due at a fixed rate, whatever the server does. Latency counts from when a message was due, not
//!   from when it was sent at last, so a server that stalls is charged for all who had to wait (no coordinated omission).
//!
//! Every message carries a [stamp](crate::stomp::Stamp), and every stamp is read: what is lost, comes twice or out of its
//! order is counted, per publisher and subscriber. One message in `CHECK_EVERY` per subscriber is checked to the last byte.
//!
//! Connections lie on lanes, one thread each. Where there are as many groups as lanes, a group lies whole on one of them;
//! else its subscribers are spread, and the lane of its publishers is told how far the others are.

mod lane;
mod member;
mod order;
mod shared;

use std::{
    thread,
    time::{Duration, Instant},
};

use super::Subject;
use crate::{
    Error, Result,
    pool::Pool,
    process::Reading,
    report::{Report, Times},
    stomp::STAMP_LEN,
};
use lane::Lane;
pub use order::Tally;
use shared::{Phase, Shared};

/// Who sends how much to whom.
#[derive(Debug, Clone)]
pub struct Shape {
    /// Groups, each with a destination of its own.
    pub groups: usize,
    /// Subscribers per group.
    pub subscribers: usize,
    /// Publishers per group, who take turns.
    pub publishers: usize,
    /// Where set, all groups of a thread have only so many publishers between them.
    pub shared_publishers: Option<usize>,
    /// Groups that one connection subscribes to.
    pub subscriptions: usize,
    /// Messages per group that are sent and not yet received by all its subscribers; means nothing with a rate.
    pub in_flight: usize,
    /// Bytes of each body.
    pub body: usize,
    /// Messages per second, of all groups together; `None` for a closed loop.
    pub rate: Option<f64>,
    /// With a rate: what falls due in one of these spans is sent together at its end. Zero sends each message for itself,
    /// which at a high rate costs a machine more than the server does.
    pub grain: Duration,
    /// Destination, `{}` standing for the number of the group.
    pub destination: String,
    /// Each group is a user with this name, and is sent to at `/user/NAME` in front of the destination.
    pub user: Option<String>,
}

impl Default for Shape {
    fn default() -> Self {
        Self {
            groups: 1,
            subscribers: 1,
            publishers: 1,
            shared_publishers: None,
            subscriptions: 1,
            in_flight: 1,
            body: 128,
            rate: None,
            grain: Duration::ZERO,
            destination: "/topic/bench-{}".to_owned(),
            user: None,
        }
    }
}

/// When a run ends.
#[derive(Debug, Clone, clap::Args)]
pub struct Bounds {
    /// Messages to send at most, over all destinations; the first tenth at most is warm-up
    #[arg(long, default_value_t = 10_000_000_000)]
    pub messages: u64,
    /// Seconds to measure at most
    #[arg(long, default_value_t = 5.0)]
    pub seconds: f64,
    /// Seconds of warm-up at most
    #[arg(long, default_value_t = 1.0)]
    pub warm_up: f64,
    /// Seconds without any message after which what is missing is taken for lost
    #[arg(long, default_value_t = 10.0)]
    pub patience: f64,
}

impl Bounds {
    /// Bounded by time only.
    #[must_use]
    pub fn lasting(seconds: f64, warm_up: f64) -> Self {
        Self { messages: u64::MAX, seconds, warm_up, patience: 15.0 }
    }
}

/// What was measured between the warm-up and the end.
#[derive(Debug)]
pub struct Outcome {
    /// Messages received, by all subscribers together; those that came twice count once.
    pub delivered: u64,
    /// Time spent.
    pub reading: Reading,
    /// From when a message was due to each subscriber.
    pub times: Times,
    /// With a rate: how late it was sent.
    pub lag: Times,
    /// What went wrong, the warm-up included.
    pub tally: Tally,
    /// Messages that were due and could not be sent, since the server did not take them.
    pub unsent: u64,
    /// Share of a core that the busiest of our threads took.
    pub busiest: f64,
}

impl Outcome {
    /// Itself, if every message came once and in order.
    ///
    /// # Errors
    ///
    /// What went wrong otherwise.
    pub fn sound(self) -> Result<Self> {
        if self.tally.is_clean() { Ok(self) } else { Err(Error::Server(self.tally.to_string())) }
    }

    /// Puts it all into a report.
    pub fn report(&self, report: &mut Report) {
        report.add_work_of(self.delivered, &self.reading, Some(self.busiest));
        report.add_times(&self.times);
        if !self.lag.is_empty() {
            report.add("lag_p99_us", self.lag.quantile(0.99), "µs");
            if self.lag.quantile(0.99) > LATE {
                report.note(
                    "the load generator sent late: it was the bottleneck, or the server read slower than the rate",
                );
            }
        }
        if self.unsent > 0 {
            report.add("unsent", self.unsent as f64, "");
            report.note("the server took less than the rate");
        }
        report.add_tally(&self.tally);
    }
}

/// Connected groups.
#[derive(Debug)]
pub struct Flow {
    shape: Shape,
    lanes: Vec<Lane>,
    shared: Shared,
}

impl Flow {
    /// Connects everybody.
    ///
    /// # Errors
    ///
    /// Where the shape makes no sense or the server does not let everybody in.
    pub fn open(subject: &Subject, shape: Shape) -> Result<Self> {
        Self::open_between(subject, subject, shape)
    }

    /// Connects the publishers to one server and the subscribers to another of the same cluster.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn open_between(publishers: &Subject, subscribers: &Subject, shape: Shape) -> Result<Self> {
        let counts = [shape.groups, shape.subscribers, shape.publishers, shape.in_flight, shape.subscriptions];
        if counts.contains(&0) || shape.shared_publishers == Some(0) || shape.body < STAMP_LEN {
            return Err(Error::Usage(format!("all counts must be at least 1, a body {STAMP_LEN} bytes")));
        }
        if shape.rate.is_some_and(|rate| !rate.is_finite() || rate <= 0.0) {
            return Err(Error::Usage("a rate must be above 0".to_owned()));
        }
        let count = subscribers.threads.max(1).min(shape.groups * shape.subscribers);
        let spread = shape.groups < count;
        subscribers.progress.line(Instant::now(), || "connecting".to_owned());
        let opened: Vec<Result<Lane>> = thread::scope(|scope| {
            let shape = &shape;
            let open = |number| move || Lane::open(number, count, spread, publishers, subscribers, shape);
            let threads: Vec<_> = (0..count).map(|number| scope.spawn(open(number))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| Err(panicked()))).collect()
        });
        let lanes = opened.into_iter().collect::<Result<Vec<_>>>()?;
        let wakers = lanes.iter().map(Lane::waker).collect::<Result<Vec<_>>>()?;
        let shared = Shared::new(wakers, if spread { shape.groups } else { 0 });
        let mut flow = Self { shape, lanes, shared };
        if subscribers.proof.needs_echo() {
            flow.prove(subscribers)?;
        }
        Ok(flow)
    }

    /// A pool of this flow, for a connection that belongs to no group.
    pub fn pool(&mut self) -> &mut Pool {
        self.lanes[0].pool()
    }

    /// Sends until a bound is met and everybody has everything; `tick` is called every few milliseconds.
    ///
    /// # Errors
    ///
    /// Where a message is changed, or the server goes away. What is lost, doubled or out of order is in the outcome.
    pub fn run(
        &mut self,
        subject: &Subject,
        bounds: &Bounds,
        mut tick: impl FnMut(Instant) -> Result<()>,
    ) -> Result<Outcome> {
        let (shape, shared) = (&self.shape, &self.shared);
        let start = Instant::now();
        shared.begin();
        if bounds.warm_up == 0.0 {
            // Not when it is looked at next: few messages may all have come by then.
            shared.measure(subject.pid)?;
        }
        let patience = Duration::from_secs_f64(bounds.patience);
        let (end, stalled) = Self::on_lanes(&mut self.lanes, shape, shared, bounds, start, || {
            let mut moved = (Instant::now(), shared.accounted());
            let mut drained_since = None;
            loop {
                thread::park_timeout(LOOK_EVERY);
                let now = Instant::now();
                if shared.phase() == Phase::Over {
                    return Ok((None, false));
                }
                let tenth = shared.sent() >= bounds.messages / 10;
                if tenth || now >= start + Duration::from_secs_f64(bounds.warm_up) {
                    shared.measure(subject.pid)?;
                }
                let (expected, accounted) = (shared.expected(), shared.accounted());
                if accounted != moved.1 || accounted >= expected {
                    moved = (now, accounted);
                }
                let stalled = now - moved.0 > patience;
                let over = shared.sent() >= bounds.messages
                    || shared.measured_for().is_some_and(|seconds| seconds >= bounds.seconds);
                if shared.phase() == Phase::Sending && (over || stalled) {
                    shared.enter(Phase::Draining);
                    drained_since = Some(now);
                }
                let given_up = drained_since.is_some_and(|since: Instant| now - since > DRAIN_AT_MOST);
                if shared.all_stopped() && (shared.accounted() >= shared.expected() || stalled || given_up) {
                    shared.measure(subject.pid)?;
                    let end = shared.read()?;
                    shared.enter(Phase::Over);
                    return Ok((end, stalled));
                }
                tick(now)?;
                subject.progress.line(now, || {
                    let what = if drained_since.is_some() { "waiting for the last" } else { "sending" };
                    let seconds = (now - start).as_secs_f64();
                    format!("{what}, {seconds:.0} s, {} messages received", crate::report::number(accounted as f64))
                });
            }
        })?;
        subject.progress.clear();
        let (delivered, reading) = end.ok_or_else(|| Error::Usage("nothing to send".to_owned()))?;
        let mut outcome = Outcome {
            delivered,
            reading,
            times: Times::new(),
            lag: Times::new(),
            tally: Tally::default(),
            unsent: 0,
            busiest: 0.0,
        };
        self.lanes.iter_mut().for_each(|lane| lane.add_to(&mut outcome));
        let missing = shared.expected().saturating_sub(shared.accounted());
        if stalled {
            outcome.tally.lost += missing
        } else {
            outcome.tally.late += missing
        }
        Ok(outcome)
    }

    /// Waits until a message has come through to every subscriber: for servers that give no receipts.
    fn prove(&mut self, subject: &Subject) -> Result<()> {
        let slots: u64 = self.lanes.iter().map(Lane::slots).sum();
        let (shape, shared) = (&self.shape, &self.shared);
        let bounds = Bounds::lasting(0.0, 0.0);
        shared.enter(Phase::Probing);
        let start = Instant::now();
        Self::on_lanes(&mut self.lanes, shape, shared, &bounds, start, || {
            let mut moved = (Instant::now(), 0);
            loop {
                thread::park_timeout(LOOK_EVERY);
                let proved = shared.proved();
                if shared.phase() == Phase::Over || proved >= slots {
                    shared.enter(Phase::Over);
                    return Ok(());
                }
                if proved != moved.1 {
                    moved = (Instant::now(), proved);
                }
                if moved.0.elapsed() > Duration::from_secs_f64(bounds.patience) {
                    shared.enter(Phase::Over);
                    return Err(Error::Stalled(format!("{proved} of {slots} subscriptions brought a message")));
                }
                subject.progress.line(Instant::now(), || format!("{proved} of {slots} subscriptions work"));
            }
        })
    }

    /// Runs every lane on a thread of its own while `watch` runs here; the lanes end with phase `Over`.
    fn on_lanes<T>(
        lanes: &mut [Lane],
        shape: &Shape,
        shared: &Shared,
        bounds: &Bounds,
        start: Instant,
        watch: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        thread::scope(|scope| {
            let main = thread::current();
            let threads: Vec<_> = lanes
                .iter_mut()
                .map(|lane| {
                    let main = main.clone();
                    scope.spawn(move || {
                        let ended = lane.run(shape, shared, bounds, start);
                        if ended.is_err() {
                            shared.enter(Phase::Over);
                            main.unpark();
                        }
                        ended
                    })
                })
                .collect();
            let watched = watch();
            shared.enter(Phase::Over);
            for thread in threads {
                thread.join().unwrap_or_else(|_| Err(panicked()))?;
            }
            watched
        })
    }
}

/// Where others send what a user gets at `/user/queue/…`.
#[must_use]
pub fn user_destination(user: &str, own: &str) -> String {
    format!("/user/{user}{}", own.strip_prefix("/user").unwrap_or(own))
}

fn panicked() -> Error {
    Error::Usage("a thread of the load generator panicked".to_owned())
}

const LOOK_EVERY: Duration = Duration::from_millis(5);
/// A server that is still delivering what was sent so long ago is not waited for.
const DRAIN_AT_MOST: Duration = Duration::from_secs(30);
/// Microseconds behind the schedule that are told.
const LATE: f64 = 2_000.0;
