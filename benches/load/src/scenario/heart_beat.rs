//! The cost of being there: connections that do nothing but beat.

use std::time::{Duration, Instant};

use super::{Patience, Subject, TICK, open_all};
use crate::{
    Error, Result, client,
    client::Event,
    pool::{Id, Notice, Plan, Pool},
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
    /// Seconds to measure, after one interval of warm-up; several intervals, to see whether beats are late
    #[arg(long, default_value_t = 30.0)]
    pub seconds: f64,
    /// The destination every connection subscribes to
    #[arg(skip = "/topic/bench".to_owned())]
    pub destination: String,
}

impl HeartBeat {
    /// Runs it: our beats are spread evenly over the interval, the server's must come in time.
    ///
    /// # Errors
    ///
    /// Where a connection is not made or does not last.
    pub fn run(&self, subject: &Subject) -> Result<Report> {
        if self.count == 0 || self.interval == 0 {
            return Err(Error::Usage("no beats to measure".to_owned()));
        }
        let mut pool = Pool::new()?;
        let plan = subject.plan_with_beats(Some(&self.destination), self.interval);
        let (ours, theirs) = self.agree(&plan)?;
        let ids = open_all(&mut pool, std::iter::repeat_n(plan, self.count))?;
        let mut beats = Beats::new(&ids, ours, theirs);
        beats.keep(&mut pool, ours.max(theirs))?;
        let (meter, sent, heard) = (Meter::start(subject.pid)?, beats.sent, beats.heard);
        beats.keep(&mut pool, Duration::from_secs_f64(self.seconds))?;
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
        report.add("server_interval_ms", theirs.as_millis() as f64, " ms");
        Ok(report)
    }

    /// Asks the server, with a connection of its own, how often both sides will beat (STOMP 1.2, Heart-beating: the
    /// longer of what one side can do and the other wants).
    fn agree(&self, plan: &Plan) -> Result<(Duration, Duration)> {
        let mut pool = Pool::new()?;
        pool.open(plan)?;
        let mut answer = None;
        let patience = Patience::new();
        while answer.is_none() {
            pool.turn(TICK, |_, _, notice| match notice {
                Notice::Event(Event::Connected(beat)) => answer = Some(Ok(beat)),
                Notice::Ended(reason) => answer = Some(Err(reason)),
                Notice::Event(_) => {}
            })?;
            patience.check(|| "no CONNECTED".to_owned())?;
        }
        let (sends, wants) = answer.unwrap_or(Ok((0, 0))).map_err(Error::Server)?;
        if sends == 0 || wants == 0 {
            return Err(Error::Server(format!("does not beat both ways: heart-beat:{sends},{wants}")));
        }
        Ok((Duration::from_millis(self.interval.max(wants)), Duration::from_millis(self.interval.max(sends))))
    }
}

struct Beats<'a> {
    ids: &'a [Id],
    ours: Duration,
    theirs: Duration,
    start: Instant,
    sent: u64,
    heard: u64,
    last_heard: Vec<Instant>,
    late: Vec<bool>,
    longest_gap: Duration,
}

impl<'a> Beats<'a> {
    fn new(ids: &'a [Id], ours: Duration, theirs: Duration) -> Self {
        let now = Instant::now();
        let slots = ids.iter().max().map_or(0, |max| max + 1);
        Self {
            ids,
            ours,
            theirs,
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
            let per_interval = self.ids.len() as f64 / self.ours.as_secs_f64();
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
                Notice::Event(Event::Connected(_) | Event::Ready | Event::Receipt(_)) => {}
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
        self.late[id] |= gap > self.theirs + self.theirs / 10;
    }

    /// Counts those that have not been heard for long by the end.
    fn look_at_silence(&mut self) {
        let now = Instant::now();
        for &id in self.ids {
            if now.saturating_duration_since(self.last_heard[id]) > self.theirs {
                self.hear(id, now);
            }
        }
    }
}

/// How exactly our own beats are timed.
const PAUSE: Duration = Duration::from_millis(5);
