//! Messages from one node to the other: at a low rate, as many as possible, to many.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use super::{
    Bench,
    nodes::{Costs, Nodes},
};
use crate::{
    Error, Result,
    client::Event,
    pool::{Notice, Pool},
    report::{Report, Times},
    scenario::{
        Subject,
        flow::{Bounds, Flow, Outcome, Shape, user_destination},
        open_all,
    },
    ws,
};

/// User messages at a fixed low rate
pub(super) struct Latency {
    pub(super) rate: f64,
    pub(super) seconds: f64,
}

impl Latency {
    pub(super) fn run(&self, bench: &mut Bench) -> Result<Report> {
        let nodes = Nodes::start(&bench.program, &bench.rabbit, &[])?;
        let shape = Shape { rate: Some(self.rate), ..users(1, 1000) };
        let (outcome, costs) = measured(&nodes, shape, self.seconds, || Ok(()))?;
        let mut report = Report::new(format!("user message, {}/s, {BODY} B", self.rate));
        costs.add(&mut report, outcome.delivered)?;
        report.add_times(&outcome.times);
        Ok(report)
    }
}

/// User messages between many pairs, and how soon they are confirmed at half of the highest rate, and at half of the aim
pub(super) struct Throughput {
    pub(super) pairs: usize,
    pub(super) in_flight: usize,
    pub(super) seconds: f64,
}

impl Throughput {
    pub(super) fn run(&self, bench: &mut Bench) -> Result<Report> {
        let nodes = Nodes::start(&bench.program, &bench.rabbit, &[])?;
        let mut report = Report::new(format!("user messages, {} pairs, {BODY} B", self.pairs));
        let (outcome, costs) = measured(&nodes, users(self.pairs, self.in_flight), self.seconds, || Ok(()))?;
        costs.add(&mut report, outcome.delivered)?;
        report.add_times(&outcome.times);
        let half = report.figure("rate").unwrap_or(0.0) / 2.0;
        for (names, rate) in [(&AT_HALF, half), (&AT_AIM, AIM / 2.0)] {
            self.at_rate(&nodes, rate, names, &mut report)?;
        }
        Ok(report)
    }

    /// The same at a fixed rate, with a probe beside it that asks for RECEIPT frames.
    fn at_rate(&self, nodes: &Nodes, rate: f64, names: &Names, report: &mut Report) -> Result<()> {
        let (a, b) = nodes.subjects()?;
        let (counts, over, envelopes) = (AtomicBool::new(false), AtomicBool::new(false), AtomicU64::new(0));
        let receipts = thread::scope(|scope| {
            let probe = scope.spawn(|| receipts(&a, &b, &counts, &over));
            let shape = Shape { rate: Some(rate), grain: GRAIN, ..users(self.pairs, self.in_flight) };
            let outcome = measured(nodes, shape, self.seconds, || {
                envelopes.store(nodes.envelopes()?, Ordering::Release);
                counts.store(true, Ordering::Release);
                Ok(())
            });
            over.store(true, Ordering::Release);
            let receipts = probe.join().map_err(|_| Error::Usage("the probe panicked".to_owned()))?;
            let (outcome, costs) = outcome?;
            let (seconds, sent) = (costs.seconds(), nodes.envelopes()? - envelopes.load(Ordering::Acquire));
            report.add(names.rate, outcome.delivered as f64 / seconds, "/s");
            report.add(names.envelope, outcome.delivered as f64 / sent.max(1) as f64, "messages each");
            report.add(names.busy, costs.busy()?, "cores");
            report.add(names.others, costs.others()?, "cores");
            receipts
        })?;
        report.add(names.receipt_p50_us, receipts.quantile(0.5), "µs");
        report.add(names.receipt_p99_us, receipts.quantile(0.99), "µs");
        Ok(())
    }
}

/// What the figures at one rate are called.
struct Names {
    rate: &'static str,
    envelope: &'static str,
    busy: &'static str,
    others: &'static str,
    receipt_p50_us: &'static str,
    receipt_p99_us: &'static str,
}

const AT_HALF: Names = Names {
    rate: "half_rate",
    envelope: "half_envelope",
    busy: "half_busy",
    others: "half_others",
    receipt_p50_us: "half_receipt_p50_us",
    receipt_p99_us: "half_receipt_p99_us",
};
const AT_AIM: Names = Names {
    rate: "aim_rate",
    envelope: "aim_envelope",
    busy: "aim_busy",
    others: "aim_others",
    receipt_p50_us: "aim_receipt_p50_us",
    receipt_p99_us: "aim_receipt_p99_us",
};

/// One publisher, many subscribers on the other node
pub(super) struct Fanout {
    pub(super) subscribers: usize,
    pub(super) seconds: f64,
}

impl Fanout {
    pub(super) fn run(&self, bench: &mut Bench) -> Result<Report> {
        let nodes = Nodes::start(&bench.program, &bench.rabbit, &[])?;
        let destination = "/topic/bench".to_owned();
        let shape = Shape { subscribers: self.subscribers, destination, user: None, ..users(1, 256) };
        let (outcome, costs) = measured(&nodes, shape, self.seconds, || Ok(()))?;
        let mut report = Report::new(format!("topic 1->{}, {BODY} B, 256 in flight", self.subscribers));
        costs.add(&mut report, outcome.delivered)?;
        report.add_times(&outcome.times);
        Ok(report)
    }
}

/// Each group a user, one sender and one receiver.
fn users(pairs: usize, in_flight: usize) -> Shape {
    Shape {
        groups: pairs,
        in_flight,
        body: BODY,
        destination: OWN.to_owned(),
        user: Some("bench-{}".to_owned()),
        ..Shape::default()
    }
}

/// Runs twice, of which the first is the warm-up; `begin` is called between the two.
fn measured(nodes: &Nodes, shape: Shape, seconds: f64, begin: impl FnOnce() -> Result<()>) -> Result<(Outcome, Costs)> {
    let (a, b) = nodes.subjects()?;
    let running = || {
        let mut flow = Flow::open_between(&a, &b, shape)?;
        let bounds = |seconds| Bounds::lasting(seconds, 0.0);
        flow.run(&a, &bounds(seconds / 5.0), |_| Ok(()))?;
        begin()?;
        let costs = nodes.costs()?;
        Ok((flow.run(&a, &bounds(seconds), |_| Ok(()))?.sound()?, costs))
    };
    running().map_err(|error: Error| Error::Server(format!("{error}; last words:\n{}", nodes.last_words())))
}

/// A sender of its own who asks for a RECEIPT with every message, at a low fixed rate, beside whatever else runs; what is
/// sent while nothing counts is warm-up.
fn receipts(a: &Subject, b: &Subject, counts: &AtomicBool, over: &AtomicBool) -> Result<Times> {
    let mut pool = Pool::new()?;
    let plans = [a.plan_as("prober", None), b.plan_as("probed", Some(OWN))];
    let sender = open_all(&mut pool, plans)?[0];
    let destination = user_destination("probed", OWN);
    let body = "x".repeat(BODY);
    let (mut times, mut sent, start) = (Times::new(), Vec::new(), Instant::now());
    let mut open = 0_usize;
    while !over.load(Ordering::Acquire) || open > 0 {
        if !over.load(Ordering::Acquire) && start.elapsed() >= PROBE_EVERY * sent.len() as u32 {
            let text = format!("SEND\ndestination:{destination}\nreceipt:{}\n\n{body}\0", sent.len());
            let mut frame = Vec::new();
            ws::put_client(&mut frame, ws::TEXT, text.as_bytes());
            sent.push((Instant::now(), counts.load(Ordering::Acquire)));
            open += 1;
            pool.send(sender, &frame)?;
        }
        let mut fault = None;
        pool.turn(Duration::from_millis(1), |_, now, notice| match notice {
            Notice::Event(Event::Receipt(payload)) => {
                let number: Option<usize> = header(payload, "receipt-id").and_then(|id| id.parse().ok());
                match number.and_then(|number| sent.get(number)) {
                    Some((sent, true)) => times.add(now.saturating_duration_since(*sent)),
                    Some((_, false)) => {}
                    None => fault = Some("a RECEIPT that nobody asked for".to_owned()),
                }
                open = open.saturating_sub(1);
            }
            Notice::Ended(reason) => fault = Some(reason),
            Notice::Event(_) => {}
        })?;
        if let Some(reason) = fault {
            return Err(Error::Server(reason));
        }
        if start.elapsed() > Duration::from_secs(120) {
            return Err(Error::Stalled(format!("{open} RECEIPT frames are lacking")));
        }
    }
    Ok(times)
}

/// A header of a frame.
pub(super) fn header<'a>(payload: &'a [u8], name: &str) -> Option<&'a str> {
    let head = payload.split(|&byte| byte == 0).next()?;
    let lines = head.split(|&byte| byte == b'\n').take_while(|line| !line.is_empty());
    let mut fields = lines.filter_map(|line| str::from_utf8(line).ok()?.split_once(':'));
    fields.find(|(field, _)| *field == name).map(|(_, value)| value)
}

/// Bytes of each message.
const BODY: usize = 128;
/// Where users receive.
const OWN: &str = "/user/queue/bench";
/// User messages per second between nodes that the project aims at.
const AIM: f64 = 100_000.0;
/// At a fixed rate.
const GRAIN: Duration = Duration::from_millis(1);
const PROBE_EVERY: Duration = Duration::from_millis(5);
