//! Messages through groups of publishers and subscribers: the engine of fan-out, unicast and slow subscriber.
//!
//! Each group is a closed loop of its own: a message is in flight from its SEND until its last subscriber has it, and
//! no more than the bound are. What may be sent after a turn is sent in one write, as it comes to be in a busy client.
//! Every message is counted; one in `CHECK_EVERY` per subscriber is checked to the last byte and for its place in the
//! order, which also finds what was lost or doubled before it.

use std::time::{Duration, Instant};

use super::{Patience, Subject, TICK, destination, open_all};
use crate::{
    Error, Result,
    client::Event,
    pool::{Id, Notice, Pool},
    process::{Meter, Reading},
    report::Times,
    stomp::{NUMBER_LEN, Send, check_message},
};

/// Who sends how much to whom.
#[derive(Debug, Clone)]
pub struct Shape {
    /// Groups, each with a destination of its own.
    pub groups: usize,
    /// Subscribers per group.
    pub subscribers: usize,
    /// Publishers per group, who take turns.
    pub publishers: usize,
    /// Messages per group that are sent and not yet received by all its subscribers.
    pub in_flight: usize,
    /// Bytes of each body.
    pub body: usize,
    /// Messages per second and group at most; `None` leaves it to the bound in flight.
    pub rate: Option<f64>,
    /// Destination, `{}` standing for the number of the group.
    pub destination: String,
    /// Each group is a user with this name, and is sent to at `/user/NAME` in front of the destination.
    pub user: Option<String>,
}

/// When a run ends.
#[derive(Debug, Clone, clap::Args)]
pub struct Bounds {
    /// Messages to send at most, over all groups; the first tenth at most is warm-up
    #[arg(long, default_value_t = 10_000_000)]
    pub messages: u64,
    /// Seconds to measure at most
    #[arg(long, default_value_t = 5.0)]
    pub seconds: f64,
    /// Seconds of warm-up at most
    #[arg(long, default_value_t = 1.0)]
    pub warm_up: f64,
}

/// What was measured between the warm-up and the end.
#[derive(Debug)]
pub struct Outcome {
    /// Messages received, by all subscribers together.
    pub delivered: u64,
    /// Time spent.
    pub reading: Reading,
    /// From SEND to each subscriber.
    pub times: Times,
}

/// Connected groups.
#[derive(Debug)]
pub struct Flow {
    shape: Shape,
    /// The connections; those not of a group are the caller's.
    pub pool: Pool,
    publishers: Vec<Id>,
    /// For a connection's id: its group and its number in it.
    subscriber: Vec<Option<(usize, usize)>>,
    groups: Vec<Group>,
    out: Vec<u8>,
}

#[derive(Debug)]
struct Group {
    destination: String,
    user: Option<String>,
    send: Send,
    sent: u64,
    /// What `sent` was when the run began.
    sent_before_run: u64,
    /// Messages that all subscribers have.
    done: u64,
    /// Per message in flight, at its number modulo the bound: subscribers that lack it, and when it was sent.
    lacking: Vec<usize>,
    sent_at: Vec<Instant>,
    /// Messages each subscriber has.
    got: Vec<u64>,
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
        let counts = [shape.groups, shape.subscribers, shape.publishers, shape.in_flight];
        if counts.contains(&0) || shape.body < NUMBER_LEN {
            return Err(Error::Usage(format!("all counts must be at least 1, a body {NUMBER_LEN} bytes")));
        }
        let mut pool = Pool::new()?;
        let groups: Vec<Group> =
            (0..shape.groups).map(|n| Group::new(destination(&shape.destination, n), n, &shape)).collect();
        let plans = groups
            .iter()
            .flat_map(|group| {
                let plan = match &group.user {
                    Some(user) => subscribers.plan_as(user, Some(&group.destination)),
                    None => subscribers.plan(Some(&group.destination)),
                };
                std::iter::repeat_n(plan, shape.subscribers)
            })
            .chain(std::iter::repeat_n(publishers.plan(None), shape.groups * shape.publishers));
        let mut ids = open_all(&mut pool, plans)?;
        let publishers = ids.split_off(shape.groups * shape.subscribers);
        let mut subscriber = vec![None; ids.iter().max().map_or(0, |max| max + 1)];
        for (nth, &id) in ids.iter().enumerate() {
            subscriber[id] = Some((nth / shape.subscribers, nth % shape.subscribers));
        }
        Ok(Self { shape, pool, publishers, subscriber, groups, out: Vec::new() })
    }

    /// Sends until a bound is met and everybody has everything; `tick` is called after every turn.
    ///
    /// # Errors
    ///
    /// Where a message is lost, doubled, out of order or changed, or the server stalls or goes away.
    pub fn run(
        &mut self,
        bounds: &Bounds,
        pid: Option<u32>,
        mut tick: impl FnMut(Instant) -> Result<()>,
    ) -> Result<Outcome> {
        let start = Instant::now();
        let already_sent = self.sent();
        for group in &mut self.groups {
            group.sent_before_run = group.sent;
        }
        let warm_up = Duration::from_secs_f64(bounds.warm_up);
        let mut times = Times::new();
        let mut measured: Option<(Meter, u64, Instant)> = None;
        let mut patience = Patience::new();
        let mut delivered = 0;
        loop {
            let now = Instant::now();
            let sent = self.sent() - already_sent;
            if measured.is_none() && (now - start >= warm_up || sent >= bounds.messages / 10) {
                times.clear();
                measured = Some((Meter::start(pid)?, delivered, now + Duration::from_secs_f64(bounds.seconds)));
            }
            let over = sent >= bounds.messages || measured.as_ref().is_some_and(|(_, _, end)| now >= *end);
            if over && self.groups.iter().all(|group| group.done == group.sent) {
                break;
            }
            if !over {
                self.publish(now - start, bounds.messages - sent)?;
            }
            let before = delivered;
            self.turn(&mut delivered, &mut times)?;
            if delivered > before || self.shape.rate.is_some_and(|_| self.nothing_in_flight()) {
                patience.renew();
            }
            patience.check(|| self.stalled())?;
            tick(now)?;
        }
        let (meter, unmeasured, _) = measured.ok_or_else(|| Error::Usage("nothing to send".to_owned()))?;
        let outcome = Outcome { delivered: delivered - unmeasured, reading: meter.read()?, times };
        // What was sent twice at the very end comes now.
        self.turn(&mut delivered, &mut Times::new())?;
        Ok(outcome)
    }

    /// Sends what is allowed, in one write per publisher.
    fn publish(&mut self, elapsed: Duration, mut left: u64) -> Result<()> {
        let due = self.shape.rate.map(|rate| (rate * elapsed.as_secs_f64()) as u64 + 1);
        for (n, group) in self.groups.iter_mut().enumerate() {
            let mut room = (self.shape.in_flight as u64 - (group.sent - group.done)).min(left);
            if let Some(due) = due {
                room = room.min(due.saturating_sub(group.sent - group.sent_before_run));
            }
            if room == 0 {
                continue;
            }
            left -= room;
            let (numbers, turns) = (group.sent..group.sent + room, self.shape.publishers as u64);
            for publisher in 0..turns.min(room) {
                self.out.clear();
                let first = numbers.start + publisher;
                let who = (first % turns) as usize;
                for number in (first..numbers.end).step_by(self.shape.publishers) {
                    group.send.put(&mut self.out, number);
                }
                let now = Instant::now();
                for number in (first..numbers.end).step_by(self.shape.publishers) {
                    group.note_sent(number, now);
                }
                self.pool.send(self.publishers[n * self.shape.publishers + who], &self.out)?;
            }
            group.sent = numbers.end;
        }
        Ok(())
    }

    fn turn(&mut self, delivered: &mut u64, times: &mut Times) -> Result<()> {
        let timeout = self.shape.rate.map_or(TICK, |rate| TICK.min(Duration::from_secs_f64(0.5 / rate)));
        let (groups, subscriber, shape) = (&mut self.groups, &self.subscriber, &self.shape);
        let mut fault = None;
        self.pool.turn(timeout, |id, now, notice| {
            let member = subscriber.get(id).copied().flatten();
            match (notice, member) {
                (Notice::Event(Event::Message(payload)), Some((group, nth))) => {
                    *delivered += 1;
                    if let Err(what) = groups[group].receive(nth, payload, now, shape, times) {
                        fault = Some(format!("subscriber {nth} of {}: {what}", groups[group].destination));
                    }
                }
                (Notice::Ended(reason), Some((group, nth))) => {
                    fault = Some(format!("subscriber {nth} of {}: {reason}", groups[group].destination));
                }
                _ => {}
            }
        })?;
        fault.map_or(Ok(()), |what| Err(Error::Server(what)))
    }

    fn sent(&self) -> u64 {
        self.groups.iter().map(|group| group.sent).sum()
    }

    fn nothing_in_flight(&self) -> bool {
        self.groups.iter().all(|group| group.done == group.sent)
    }

    fn stalled(&self) -> String {
        let behind = self.groups.iter().find(|group| group.done < group.sent);
        behind.map_or_else(String::new, |group| {
            let lacking = group.got.iter().filter(|&&got| got == group.done).count();
            format!("message {} to {} is lacking at {lacking} subscribers", group.done, group.destination)
        })
    }
}

impl Group {
    fn new(received_at: String, number: usize, shape: &Shape) -> Self {
        let user = shape.user.as_ref().map(|name| destination(name, number));
        let sent_to = user.as_ref().map_or_else(|| received_at.clone(), |user| user_destination(user, &received_at));
        Self {
            send: Send::new(&sent_to, shape.body),
            destination: received_at,
            user,
            sent: 0,
            sent_before_run: 0,
            done: 0,
            lacking: vec![0; shape.in_flight],
            sent_at: vec![Instant::now(); shape.in_flight],
            got: vec![0; shape.subscribers],
        }
    }

    fn note_sent(&mut self, number: u64, now: Instant) {
        let slot = (number % self.lacking.len() as u64) as usize;
        self.lacking[slot] = self.got.len();
        self.sent_at[slot] = now;
    }

    #[inline]
    fn receive(
        &mut self,
        nth: usize,
        payload: &[u8],
        now: Instant,
        shape: &Shape,
        times: &mut Times,
    ) -> Result<(), String> {
        let place = self.got[nth];
        if place >= self.sent {
            return Err(format!("more than the {} messages sent", self.sent));
        }
        self.got[nth] += 1;
        let slot = (place % self.lacking.len() as u64) as usize;
        self.lacking[slot] -= 1;
        if self.lacking[slot] == 0 {
            // Nobody gets the next before this one, so they are completed in order.
            self.done += 1;
        }
        times.add(now.saturating_duration_since(self.sent_at[slot]));
        if place.is_multiple_of(CHECK_EVERY) {
            let number = check_message(payload, &self.destination, shape.body)?;
            // Only one publisher fixes the order for all.
            let slack = if shape.publishers == 1 { 0 } else { shape.in_flight as u64 };
            if number.abs_diff(place) > slack {
                return Err(format!("message {number} in place of {place}"));
            }
        }
        Ok(())
    }
}

/// Where others send what a user gets at `/user/queue/…`.
#[must_use]
pub fn user_destination(user: &str, own: &str) -> String {
    format!("/user/{user}{}", own.strip_prefix("/user").unwrap_or(own))
}

/// One message in so many is checked in full.
const CHECK_EVERY: u64 = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(publishers: usize) -> Shape {
        Shape {
            groups: 1,
            subscribers: 2,
            publishers,
            in_flight: 4,
            body: 32,
            rate: None,
            destination: "/topic/{}".to_owned(),
            user: None,
        }
    }

    /// A group with four messages in flight.
    fn group(shape: &Shape) -> Group {
        let mut group = Group::new("/topic/0".to_owned(), 0, shape);
        (0..4).for_each(|number| group.note_sent(number, Instant::now()));
        group.sent = 4;
        group
    }

    fn message(number: u64) -> Vec<u8> {
        let filler = "x".repeat(16);
        format!("MESSAGE\nsubscription:0\nmessage-id:1\ndestination:/topic/0\n\n{number:016}{filler}\0").into_bytes()
    }

    fn receive(group: &mut Group, shape: &Shape, nth: usize, number: u64) -> Result<(), String> {
        group.receive(nth, &message(number), Instant::now(), shape, &mut Times::new())
    }

    #[test]
    fn a_message_is_done_when_all_have_it() {
        let shape = shape(1);
        let mut group = group(&shape);
        for number in 0..3 {
            assert_eq!(receive(&mut group, &shape, 0, number), Ok(()));
        }
        assert_eq!(group.done, 0);
        assert_eq!(receive(&mut group, &shape, 1, 0), Ok(()));
        assert_eq!(group.done, 1);
    }

    #[test]
    fn one_message_too_many_is_seen() {
        let shape = shape(1);
        let mut group = group(&shape);
        (0..4).for_each(|number| receive(&mut group, &shape, 0, number).unwrap());
        assert_eq!(receive(&mut group, &shape, 0, 3), Err("more than the 4 messages sent".to_owned()));
    }

    #[test]
    fn a_message_out_of_its_place_is_seen() {
        let one = shape(1);
        assert!(receive(&mut group(&one), &one, 0, 1).unwrap_err().contains("message 1 in place of 0"));
        let two = shape(2);
        assert_eq!(receive(&mut group(&two), &two, 0, 1), Ok(()), "two publishers may overtake each other");
        assert!(receive(&mut group(&two), &two, 0, 5).is_err());
    }
}
