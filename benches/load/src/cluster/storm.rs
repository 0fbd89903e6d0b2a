//! Many subscriptions on destinations that nobody knew, and how soon they are found again after Redis or RabbitMQ was lost.

use std::time::{Duration, Instant};

use super::{Bench, flows::header, nodes::Nodes};
use crate::{
    Error, Result,
    client::Event,
    pool::{Id, Notice, Pool},
    report::Report,
    scenario::{Patience, Subject, open_all},
    ws,
};

/// Subscribes on node a, sends on node b
pub(super) struct Storm {
    pub(super) subscriptions: usize,
}

impl Storm {
    pub(super) fn run(&self, bench: &mut Bench) -> Result<Report> {
        // By interest, so that every subscription has to be known to the other node.
        let mut nodes = Nodes::start(&bench.program, &bench.rabbit, &[("STAMPEDE__RELAY__BROADCAST", "interest")])?;
        let (a, b) = nodes.subjects()?;
        let mut crowd = Crowd::open(&a, &b, self.subscriptions)?;
        let mut report = Report::new(format!("{} new destinations", self.subscriptions));
        let costs = nodes.costs()?;
        report.add("storm_s", crowd.subscribe()?.as_secs_f64(), " s");
        costs.add(&mut report, self.subscriptions as u64)?;
        crowd.found()?;
        nodes.redis.restart()?;
        report.add("redis_s", crowd.found()?.as_secs_f64(), " s");
        bench.rabbit.restart()?;
        report.add("rabbit_s", crowd.found()?.as_secs_f64(), " s");
        Ok(report)
    }
}

struct Crowd {
    pool: Pool,
    subscribers: Vec<Id>,
    sender: Id,
    /// Where the sender is.
    b: Subject,
    subscriptions: usize,
    /// How often it was asked whether all are found: what an earlier round sent counts for nothing.
    rounds: usize,
}

impl Crowd {
    fn open(a: &Subject, b: &Subject, subscriptions: usize) -> Result<Self> {
        let mut pool = Pool::new()?;
        let sessions = subscriptions.div_ceil(PER_SESSION);
        let plans = (0..sessions).map(|n| a.plan_as(&format!("storm-{n}"), Some("/user/queue/storm")));
        let mut ids = open_all(&mut pool, plans.chain([b.plan(None)]))?;
        let sender = ids.pop().ok_or_else(|| Error::Usage("no subscriptions".to_owned()))?;
        Ok(Self { pool, subscribers: ids, sender, b: b.clone(), subscriptions, rounds: 0 })
    }

    /// All at once; the time until the last RECEIPT.
    fn subscribe(&mut self) -> Result<Duration> {
        let start = Instant::now();
        for (nth, &id) in self.subscribers.iter().enumerate() {
            let mut out = Vec::new();
            for n in (nth * PER_SESSION..self.subscriptions).take(PER_SESSION) {
                let text = format!("SUBSCRIBE\nid:s{n}\ndestination:/topic/storm-{n}\nreceipt:s{n}\n\n\0");
                ws::put_client(&mut out, ws::TEXT, text.as_bytes());
            }
            self.pool.send(id, &out)?;
        }
        let (mut left, mut patience) = (self.subscriptions, Patience::new());
        while left > 0 {
            let (before, mut ended) = (left, None);
            self.pool.turn(TURN, |_, _, notice| match notice {
                Notice::Event(Event::Receipt(_)) => left -= 1,
                Notice::Ended(reason) => ended = Some(reason),
                Notice::Event(_) => {}
            })?;
            if let Some(reason) = ended {
                return Err(Error::Server(reason));
            }
            if left < before {
                patience.renew();
            }
            patience.check(|| format!("{left} RECEIPT frames are lacking"))?;
        }
        Ok(start.elapsed())
    }

    /// Sends to some of the subscriptions, and to every user, again and again until each has got a message.
    fn found(&mut self) -> Result<Duration> {
        let start = Instant::now();
        self.rounds += 1;
        let body = format!("\n\nround {}\0", self.rounds);
        let sampled = (0..self.subscriptions).step_by(self.subscriptions.div_ceil(SAMPLES).max(1));
        let mut left: Vec<(String, Option<Id>, String)> =
            sampled.map(|n| (format!("s{n}"), None, format!("/topic/storm-{n}"))).collect();
        let users = self.subscribers.iter().enumerate();
        left.extend(users.map(|(n, &id)| ("0".to_owned(), Some(id), format!("/user/storm-{n}/queue/storm"))));
        let mut next = Instant::now();
        while !left.is_empty() {
            if Instant::now() >= next {
                next += SEND_EVERY;
                let mut out = Vec::new();
                for (_, _, destination) in &left {
                    let text = format!("SEND\ndestination:{destination}{body}");
                    ws::put_client(&mut out, ws::TEXT, text.as_bytes());
                }
                self.pool.send(self.sender, &out)?;
            }
            let (sender, mut sender_ended, mut fault) = (self.sender, false, None);
            self.pool.turn(TURN, |id, _, notice| match notice {
                Notice::Event(Event::Message(payload)) if payload.ends_with(body.as_bytes()) => {
                    let subscription = header(payload, "subscription").unwrap_or_default();
                    left.retain(|(name, who, _)| name != subscription || who.is_some_and(|who| who != id));
                }
                Notice::Ended(_) if id == sender => sender_ended = true,
                Notice::Ended(reason) => fault = Some(reason),
                Notice::Event(_) => {}
            })?;
            if let Some(reason) = fault {
                return Err(Error::Server(format!("a subscriber: {reason}")));
            }
            if sender_ended {
                // What could not be sent on ends its sender.
                self.sender = open_all(&mut self.pool, [self.b.plan(None)])?[0];
            }
            if start.elapsed() > PATIENCE {
                return Err(Error::Stalled(format!("{} of the samples got nothing, {} first", left.len(), left[0].2)));
            }
        }
        Ok(start.elapsed())
    }
}

/// Subscriptions of one session; a server allows a thousand.
const PER_SESSION: usize = 500;
const SAMPLES: usize = 50;
const SEND_EVERY: Duration = Duration::from_millis(10);
const TURN: Duration = Duration::from_millis(2);
const PATIENCE: Duration = Duration::from_secs(90);
