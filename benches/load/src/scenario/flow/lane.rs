//! One thread's share of a flow.

use std::{
    sync::atomic::Ordering::SeqCst,
    time::{Duration, Instant},
};

use mio::Waker;

use super::{
    super::{Subject, TICK, destination, open_all},
    Bounds, Outcome, Shape,
    member::{Group, Member, Received},
    shared::{Phase, Shared},
};
use crate::{
    Error, Result,
    client::Event,
    pool::{Id, Notice, Pool},
    process::thread_cpu,
    report::Times,
    stomp::PROBE,
};

/// Connections of one thread.
#[derive(Debug)]
pub(super) struct Lane {
    number: usize,
    lanes: usize,
    spread: bool,
    pool: Pool,
    groups: Vec<Group>,
    publishers: Vec<Id>,
    /// For a connection's id: what it subscribed to.
    members: Vec<Option<Member>>,
    received: Received,
    /// Groups of this lane with room for more in flight.
    ready: Vec<usize>,
    /// Per publisher what is to be sent next, and which of them have something.
    outs: Vec<Vec<u8>>,
    touched: Vec<usize>,
    /// Messages of this run.
    sent: u64,
    /// Messages so far, and deliveries that they are to bring.
    all_sent: u64,
    expected: u64,
    /// Messages of the schedule that are due and could not be sent.
    late: u64,
    lag: Times,
    measured: Option<(Instant, Duration)>,
    busiest: f64,
}

impl Lane {
    pub(super) fn open(
        number: usize,
        lanes: usize,
        spread: bool,
        publishers: &Subject,
        subscribers: &Subject,
        shape: &Shape,
    ) -> Result<Self> {
        let mut pool = Pool::numbered(number, &subscribers.sources)?;
        // Which subscribers of each group are ours.
        let mine = if spread {
            shape.subscribers / lanes + usize::from(number < shape.subscribers % lanes)
        } else {
            shape.subscribers
        };
        let numbers: Vec<usize> =
            if spread { (0..shape.groups).collect() } else { (number..shape.groups).step_by(lanes).collect() };
        let groups: Vec<Group> = numbers.iter().map(|&n| Group::new(n, mine, shape, subscribers)).collect();
        // Publishers of a spread group lie together on one lane.
        let publishing = |group: usize| !spread || group % lanes == number;
        let dedicated = if shape.shared_publishers.is_some() { 0 } else { shape.publishers };
        let publishing_groups = groups.iter().filter(|group| publishing(group.number as usize)).count();
        let publisher_count =
            if publishing_groups == 0 { 0 } else { shape.shared_publishers.unwrap_or(0).max(dedicated * groups.len()) };
        let mut plans = Vec::new();
        let mut shapes = Vec::new();
        for first in (0..groups.len()).step_by(shape.subscriptions) {
            let count = shape.subscriptions.min(groups.len() - first);
            let names: Vec<&str> = groups[first..first + count].iter().map(|group| &*group.destination).collect();
            let plan = match &shape.user {
                Some(user) => subscribers.plan_of(Some(&destination(user, groups[first].number as usize)), &names),
                None => subscribers.plan_of(None, &names),
            };
            for _ in 0..mine {
                plans.push(plan.clone());
                shapes.push((first as u32, count as u32));
            }
        }
        plans.extend(std::iter::repeat_n(publishers.plan(None), publisher_count));
        let mut ids = open_all(&mut pool, plans)?;
        let publisher_ids = ids.split_off(shapes.len());
        let mut members = vec![None; ids.iter().max().map_or(0, |max| max + 1)];
        let mut slots = 0;
        for (&id, (first_group, count)) in ids.iter().zip(shapes) {
            members[id] = Some(Member { first_slot: slots, first_group, count });
            slots += count;
        }
        let received = Received::new(slots as usize, dedicated.max(1), lanes, spread);
        Ok(Self {
            number,
            lanes,
            spread,
            pool,
            groups,
            outs: vec![Vec::new(); publisher_ids.len()],
            publishers: publisher_ids,
            members,
            received,
            ready: Vec::new(),
            touched: Vec::new(),
            sent: 0,
            all_sent: 0,
            expected: 0,
            late: 0,
            lag: Times::new(),
            measured: None,
            busiest: 0.0,
        })
    }

    pub(super) fn waker(&self) -> Result<Waker> {
        self.pool.waker()
    }

    pub(super) fn pool(&mut self) -> &mut Pool {
        &mut self.pool
    }

    pub(super) fn slots(&self) -> u64 {
        self.received.slots() as u64
    }

    /// Adds what was measured here.
    pub(super) fn add_to(&mut self, outcome: &mut Outcome) {
        outcome.times.merge(&self.received.times);
        outcome.lag.merge(&self.lag);
        outcome.unsent += self.late;
        outcome.busiest = outcome.busiest.max(self.busiest);
        outcome.tally.add(&self.received.order.tally());
        outcome.tally.strays += self.received.strays;
    }

    /// Does what the phase says until that is [`Phase::Over`].
    pub(super) fn run(&mut self, shape: &Shape, shared: &Shared, bounds: &Bounds, start: Instant) -> Result<()> {
        let mine: Vec<usize> =
            (0..self.groups.len()).filter(|&group| !self.spread || group % self.lanes == self.number).collect();
        // The bound in number is shared out evenly, the rest to the first.
        let share = bounds.messages / shape.groups as u64;
        let rest = if self.number == 0 { bounds.messages % shape.groups as u64 } else { 0 };
        let quota = share.saturating_mul(mine.len() as u64).saturating_add(rest);
        let pace = shape.rate.map(|rate| rate * mine.len() as f64 / shape.groups as f64);
        self.ready.clone_from(&mine);
        self.groups.iter_mut().for_each(|group| group.is_ready = true);
        (self.sent, self.late, self.measured) = (0, 0, None);
        self.received.times.clear();
        self.lag.clear();
        let mut stopped = false;
        let mut probed: Option<Instant> = None;
        loop {
            let now = Instant::now();
            if self.measured.is_none() && shared.measuring() {
                self.measured = Some((now, thread_cpu()));
                self.received.times.clear();
                self.lag.clear();
            }
            let mut wait = TICK;
            match shared.phase() {
                Phase::Over => break,
                Phase::Probing => {
                    if probed.is_none_or(|at| now - at > PROBE_EVERY) {
                        probed = Some(now);
                        self.probe(shape, &mine)?;
                    }
                }
                Phase::Sending => match pace {
                    Some(pace) if !mine.is_empty() => {
                        wait = self.keep_pace(shape, shared, &mine, pace, quota, start)?
                    }
                    Some(_) => {}
                    None => self.fill_up(shape, shared, &mine, quota, now)?,
                },
                Phase::Draining => {
                    if !stopped {
                        stopped = true;
                        shared.stop_one();
                    }
                }
            }
            self.turn(shape, shared, wait)?;
        }
        if let Some((since, cpu)) = self.measured {
            let spent = thread_cpu().saturating_sub(cpu).as_secs_f64();
            self.busiest = spent / since.elapsed().as_secs_f64().max(f64::MIN_POSITIVE);
        }
        // What was sent twice at the very end comes now.
        let end = Instant::now() + TICK;
        while Instant::now() < end && probed.is_none() {
            self.turn(shape, shared, TICK)?;
        }
        Ok(())
    }

    /// Closed loop: sends what has room.
    fn fill_up(&mut self, shape: &Shape, shared: &Shared, mine: &[usize], quota: u64, now: Instant) -> Result<()> {
        if self.spread {
            for &group in mine {
                self.fill_group(shape, shared, group, shared.done(group), quota, now);
            }
        } else {
            while let Some(group) = self.ready.pop() {
                self.groups[group].is_ready = false;
                self.fill_group(shape, shared, group, self.groups[group].done, quota, now);
            }
        }
        self.send_out(shared)
    }

    fn fill_group(&mut self, shape: &Shape, shared: &Shared, at: usize, done: u64, quota: u64, now: Instant) {
        let flying = self.groups[at].sent.saturating_sub(done);
        let room = (shape.in_flight as u64).saturating_sub(flying).min(quota.saturating_sub(self.sent));
        let due = shared.nanos(now);
        (0..room).for_each(|_| self.put(shape, at, due));
    }

    /// Open loop: sends what is due and tells how long nothing more is.
    fn keep_pace(
        &mut self,
        shape: &Shape,
        shared: &Shared,
        mine: &[usize],
        pace: f64,
        quota: u64,
        start: Instant,
    ) -> Result<Duration> {
        let now = start.elapsed();
        let elapsed = whole(now, shape.grain);
        // The lanes take turns as well.
        let phase = self.number as f64 / (self.lanes as f64 * pace);
        let due = ((elapsed.as_secs_f64() - phase) * pace + 1.0).max(0.0) as u64;
        let end = due.min(quota).min(self.sent + AT_ONCE);
        let begin = shared.nanos(start);
        while self.sent < end {
            let at = mine[(self.sent % mine.len() as u64) as usize];
            let publisher = self.publisher(shape, at);
            if self.pool.unsent(self.publishers[publisher]) + self.outs[publisher].len() > UNSENT {
                break;
            }
            let intended = ((self.sent as f64 / pace + phase) * 1e9) as u64;
            self.lag.add(now.saturating_sub(Duration::from_nanos(intended)));
            self.put(shape, at, begin + intended);
        }
        self.late = due.min(quota).saturating_sub(self.sent);
        self.send_out(shared)?;
        if self.late > 0 {
            return Ok(Duration::ZERO);
        }
        let next = whole(Duration::from_secs_f64(self.sent as f64 / pace + phase), shape.grain) + shape.grain;
        let next = next.saturating_sub(start.elapsed());
        if next < TICK && self.sent < quota {
            self.pool.wake_in(next)?;
        }
        Ok(TICK)
    }

    /// Appends the next message of a group to what its publisher sends.
    fn put(&mut self, shape: &Shape, at: usize, due: u64) {
        let publisher = self.publisher(shape, at);
        let (group, out) = (&mut self.groups[at], &mut self.outs[publisher]);
        if out.is_empty() {
            self.touched.push(publisher);
        }
        group.send.put(out, group.sent, due);
        group.sent += 1;
        self.sent += 1;
        self.all_sent += 1;
        self.expected += shape.subscribers as u64;
    }

    /// Who publishes the next message of a group.
    fn publisher(&self, shape: &Shape, at: usize) -> usize {
        match shape.shared_publishers {
            Some(count) => at % count,
            None => at * shape.publishers + (self.groups[at].sent % shape.publishers as u64) as usize,
        }
    }

    /// Sends what was put together, one write per publisher.
    fn send_out(&mut self, shared: &Shared) -> Result<()> {
        if self.touched.is_empty() {
            return Ok(());
        }
        // Before anybody can have received them.
        let counters = shared.counters(self.number);
        counters.expected.store(self.expected, SeqCst);
        counters.sent.store(self.all_sent, SeqCst);
        for publisher in self.touched.drain(..) {
            self.pool.send(self.publishers[publisher], &self.outs[publisher])?;
            self.outs[publisher].clear();
        }
        Ok(())
    }

    fn probe(&mut self, shape: &Shape, mine: &[usize]) -> Result<()> {
        for &at in mine {
            let mut out = Vec::new();
            self.groups[at].send.put(&mut out, PROBE, 0);
            self.pool.send(self.publishers[self.publisher(shape, at)], &out)?;
        }
        Ok(())
    }

    /// Receives what there is.
    fn turn(&mut self, shape: &Shape, shared: &Shared, wait: Duration) -> Result<()> {
        let Self { pool, groups, members, received, publishers, .. } = self;
        let mut fault = None;
        pool.turn(wait, |id, now, notice| {
            let Some(member) = members.get(id).copied().flatten() else {
                // Whoever else is in the pool may come and go.
                if let Notice::Ended(reason) = notice
                    && publishers.contains(&id)
                {
                    fault = Some(format!("publisher {id}: {reason}"));
                }
                return;
            };
            match notice {
                Notice::Event(Event::Message(payload)) => {
                    if let Err(what) = received.take(member, payload, groups, shape, (shared, shared.nanos(now))) {
                        fault = Some(format!("subscriber {id}: {what}"));
                    }
                }
                Notice::Ended(reason) => fault = Some(format!("subscriber {id}: {reason}")),
                Notice::Event(_) => {}
            }
        })?;
        if let Some(what) = fault {
            return Err(Error::Server(what));
        }
        let counters = shared.counters(self.number);
        counters.accounted.store(self.received.accounted, SeqCst);
        counters.delivered.store(self.received.delivered, SeqCst);
        counters.proved.store(self.received.proofs, SeqCst);
        while let Some(at) = self.received.moved.pop() {
            let group = &mut self.groups[at];
            if self.spread {
                shared.set_done(at, self.number, group.done);
                let publisher = at % self.lanes;
                if publisher != self.number {
                    shared.wake(publisher);
                }
            } else if !group.is_ready {
                group.is_ready = true;
                self.ready.push(at);
            }
        }
        Ok(())
    }
}

/// The whole grains of a time.
fn whole(time: Duration, grain: Duration) -> Duration {
    let rest = time.as_nanos().checked_rem(grain.as_nanos()).unwrap_or(0);
    time.saturating_sub(Duration::from_nanos(rest as u64))
}

/// Messages that are sent at once when the schedule was missed: whoever receives must not wait for all of them.
const AT_ONCE: u64 = 1024;
/// Bytes that may wait for a publisher's socket before no more is sent.
const UNSENT: usize = 4 << 20;
const PROBE_EVERY: Duration = Duration::from_millis(300);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_goes_on_in_grains_or_evenly() {
        let (time, milli) = (Duration::from_micros(3_999), Duration::from_millis(1));
        assert_eq!(whole(time, milli), 3 * milli);
        assert_eq!(whole(time, Duration::ZERO), time);
    }
}
