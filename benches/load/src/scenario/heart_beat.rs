//! The cost of being there: connections that do nothing but beat.

use std::time::{Duration, Instant};

use super::{Subject, open_all};
use crate::{
    Error, Result, client,
    client::Event,
    pool::{Id, Notice, Pool},
    process::Meter,
    report::Report,
};

/// CPU share of a server with idle connections and heart-beats both ways
#[derive(Debug, Clone, clap::Args)]
pub struct HeartBeat {
    /// Connections
    #[arg(long, default_value_t = 5_000)]
    pub count: usize,
    /// Milliseconds between beats, both ways
    #[arg(long, default_value_t = 10_000)]
    pub interval: u64,
    /// Seconds to measure, after one interval of warm-up
    #[arg(long, default_value_t = 30.0)]
    pub seconds: f64,
    /// The destination every connection subscribes to
    #[arg(long, default_value = "/topic/bench")]
    pub destination: String,
}

impl HeartBeat {
    /// Runs it: our beats are spread evenly over the interval, the server's must come in time.
    ///
    /// # Errors
    ///
    /// Where a connection is not made or does not last.
    pub fn run(&self, subject: &Subject) -> Result<Report> {
        let interval = Duration::from_millis(self.interval);
        let seconds = Duration::from_secs_f64(self.seconds);
        if self.count == 0 || self.interval == 0 || seconds <= interval {
            return Err(Error::Usage("--seconds must be longer than one interval, which must not be 0".to_owned()));
        }
        let mut pool = Pool::new(subject.target.addr)?;
        let plan = subject.plan_with_beats(Some(&self.destination), self.interval);
        let ids = open_all(&mut pool, std::iter::repeat_n(plan, self.count))?;
        let mut beats = Beats::new(&ids, interval);
        beats.keep(&mut pool, interval)?;
        let (meter, sent, heard) = (Meter::start(subject.pid)?, beats.sent, beats.heard);
        beats.keep(&mut pool, seconds)?;
        let reading = meter.read()?;
        beats.look_at_silence();
        let mut report = Report::new(format!("heart-beat {} ms, {} connections", self.interval, self.count));
        let wall = reading.wall.as_secs_f64();
        if let Some(server) = reading.server {
            report.add("server_cpu", 100.0 * server.as_secs_f64() / wall, "%");
        }
        report.add("sent", (beats.sent - sent) as f64 / wall, "/s");
        report.add("heard", (beats.heard - heard) as f64 / wall, "/s");
        report.add("late", beats.late.iter().filter(|late| **late).count() as f64, "");
        report.add("longest_gap_ms", beats.longest_gap.as_millis() as f64, " ms");
        Ok(report)
    }
}

struct Beats<'a> {
    ids: &'a [Id],
    interval: Duration,
    start: Instant,
    sent: u64,
    heard: u64,
    last_heard: Vec<Instant>,
    late: Vec<bool>,
    longest_gap: Duration,
}

impl<'a> Beats<'a> {
    fn new(ids: &'a [Id], interval: Duration) -> Self {
        let now = Instant::now();
        let slots = ids.iter().max().map_or(0, |max| max + 1);
        Self {
            ids,
            interval,
            start: now,
            sent: 0,
            heard: 0,
            last_heard: vec![now; slots],
            late: vec![false; slots],
            longest_gap: Duration::ZERO,
        }
    }

    /// Beats and listens for `span`.
    fn keep(&mut self, pool: &mut Pool, span: Duration) -> Result<()> {
        let end = Instant::now() + span;
        let beat = client::beat();
        let mut ended = None;
        while Instant::now() < end {
            let per_interval = self.ids.len() as f64 / self.interval.as_secs_f64();
            let due = (self.start.elapsed().as_secs_f64() * per_interval) as u64;
            while self.sent < due {
                let nth = (self.sent % self.ids.len() as u64) as usize;
                pool.send(self.ids[nth], &beat)?;
                self.sent += 1;
            }
            pool.turn(PAUSE, |id, now, notice| match notice {
                Notice::Event(Event::Beat | Event::Message(_)) => {
                    self.heard += 1;
                    self.hear(id, now);
                }
                Notice::Event(Event::Ready) => {}
                Notice::Ended(reason) => ended = Some(reason),
            })?;
            if let Some(reason) = ended {
                return Err(Error::Server(format!("ended a connection that beats: {reason}")));
            }
        }
        Ok(())
    }

    fn hear(&mut self, id: Id, now: Instant) {
        let gap = now.saturating_duration_since(self.last_heard[id]);
        self.last_heard[id] = now;
        self.longest_gap = self.longest_gap.max(gap);
        // STOMP 1.2, Heart-beating: the receiver should allow an error margin for timing.
        self.late[id] |= gap > self.interval + self.interval / 10;
    }

    /// Counts those that have not been heard for long by the end.
    fn look_at_silence(&mut self) {
        let now = Instant::now();
        for &id in self.ids {
            if now.saturating_duration_since(self.last_heard[id]) > self.interval {
                self.hear(id, now);
            }
        }
    }
}

/// How exactly our own beats are timed.
const PAUSE: Duration = Duration::from_millis(5);
