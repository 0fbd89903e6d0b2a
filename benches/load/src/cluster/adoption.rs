//! A node stops, many messages for its users pile up in its queue, and it is killed.

use std::time::{Duration, Instant};

use super::{Bench, bare::has_queue, nodes::Nodes};
use crate::{
    Error, Result,
    client::Event,
    pool::{Notice, Pool},
    report::Report,
    scenario::{Patience, flow::user_destination, open_all},
    ws,
};

/// Users are on node b, who dies, and then come back to node a
pub(super) struct Adoption {
    pub(super) messages: usize,
    pub(super) small: bool,
}

impl Adoption {
    pub(super) fn run(&self, bench: &mut Bench) -> Result<Report> {
        let lease = Duration::from_secs(if self.small { 2 } else { 10 });
        let renewal = Duration::from_millis(if self.small { 500 } else { 3000 });
        let (text, renewal_text) = (format!("\"{}s\"", lease.as_secs()), format!("\"{}ms\"", renewal.as_millis()));
        let settings = [
            ("STAMPEDE__REDIS__LEASE", &*text),
            ("STAMPEDE__REDIS__LEASE_RENEWAL", &*renewal_text),
            // All of it comes at once to a few users: that they are no slow readers is not the question here.
            ("STAMPEDE__OUTBOX__SEND_BUFFER_SIZE_LIMIT", "\"256MiB\""),
        ];
        let nodes = Nodes::start(&bench.program, &bench.rabbit, &settings)?;
        let queue = nodes.queue_of_b();
        let (a, b, _redis) = nodes.into_parts();
        let (here, there) = (a.subject()?, b.subject()?);
        let user = |n: usize| format!("adopted-{n}");
        let mut gone = Pool::new()?;
        open_all(&mut gone, (0..USERS).map(|n| there.plan_as(&user(n), Some(OWN))))?;
        let mut pool = Pool::new()?;
        let senders = open_all(&mut pool, (0..SENDERS).map(|_| here.plan(None)))?;

        b.process.signal("STOP")?;
        let stopped = Instant::now();
        let each = self.messages / SENDERS;
        for (nth, &sender) in senders.iter().enumerate() {
            let mut out = Vec::new();
            for n in 0..each {
                let destination = user_destination(&user((nth + n) % USERS), OWN);
                let receipt = if n + 1 == each { "receipt:last\n" } else { "" };
                let text = format!("SEND\ndestination:{destination}\n{receipt}\n{n:0128}\0");
                ws::put_client(&mut out, ws::TEXT, text.as_bytes());
            }
            pool.send(sender, &out)?;
        }
        let (mut confirmed, mut patience) = (0, Patience::new());
        while confirmed < SENDERS {
            let before = confirmed;
            turn(&mut pool, |event| confirmed += usize::from(matches!(event, Event::Receipt(_))))?;
            if confirmed > before {
                patience.renew();
            }
            patience.check(|| format!("{confirmed} of {SENDERS} senders have their last RECEIPT"))?;
        }
        let sending = stopped.elapsed();

        drop(b);
        let killed = Instant::now();
        drop(gone);
        open_all(&mut pool, (0..USERS).map(|n| here.plan_as(&user(n), Some(OWN))))?;
        let (mut delivered, mut looked) = (0_u64, Instant::now());
        loop {
            turn(&mut pool, |event| delivered += u64::from(matches!(event, Event::Message(_))))?;
            if looked.elapsed() > LOOK_EVERY {
                looked = Instant::now();
                if !has_queue(&bench.rabbit, &queue)? {
                    break;
                }
            }
            if killed.elapsed() > lease + PATIENCE {
                return Err(Error::Stalled(format!("the queue is still there; last words: {}", a.last_words())));
            }
        }
        let gone = Instant::now();
        // What was handed over at the very end may still be on its way.
        let all = (each * SENDERS) as u64;
        while delivered < all && gone.elapsed() < HANDED_OVER_WITHIN {
            turn(&mut pool, |event| delivered += u64::from(matches!(event, Event::Message(_))))?;
        }
        if delivered < all {
            return Err(Error::Server(format!("{delivered} of {all} messages reached the users who came back")));
        }
        let mut report = Report::new(format!("{} in a dead node's queue", self.messages));
        report.add("sending_s", sending.as_secs_f64(), " s");
        report.add("gone_s", (gone - killed).as_secs_f64(), " s");
        // The lease was renewed last up to an interval before the node stopped: the worst case counts.
        let lease_ended = stopped + lease - renewal;
        report.add("beyond_s", gone.saturating_duration_since(lease_ended).as_secs_f64(), " s");
        report.add("delivered", delivered as f64, "");
        Ok(report)
    }
}

fn turn(pool: &mut Pool, mut on: impl FnMut(Event<'_>)) -> Result<()> {
    let mut fault = None;
    pool.turn(Duration::from_millis(5), |_, _, notice| match notice {
        Notice::Event(event) => on(event),
        Notice::Ended(reason) => fault = Some(reason),
    })?;
    fault.map_or(Ok(()), |reason| Err(Error::Server(reason)))
}

const USERS: usize = 50;
const SENDERS: usize = 10;
const OWN: &str = "/user/queue/bench";
const LOOK_EVERY: Duration = Duration::from_millis(100);
const PATIENCE: Duration = Duration::from_secs(60);
const HANDED_OVER_WITHIN: Duration = Duration::from_secs(10);
