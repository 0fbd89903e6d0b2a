//! Those who subscribed, and what has come to them.

use std::time::Duration;

use super::{
    super::{Subject, destination},
    Shape,
    order::{Arrival, Order},
    shared::Shared,
    user_destination,
};
use crate::{
    report::Times,
    stomp::{self, PROBE, Send, check_message},
};

#[derive(Debug)]
pub(super) struct Group {
    /// Its number among all.
    pub(super) number: u32,
    pub(super) destination: String,
    pub(super) send: Send,
    subscribers: usize,
    pub(super) sent: u64,
    /// Messages that all its subscribers on this lane have.
    pub(super) done: u64,
    pub(super) is_ready: bool,
    /// In a closed loop, per message in flight at its place modulo the bound: subscribers that lack it.
    lacking: Vec<usize>,
}

/// A connection that subscribed to `count` groups from `first_group` of its lane on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Member {
    pub(super) first_slot: u32,
    pub(super) first_group: u32,
    pub(super) count: u32,
}

/// What has come in.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) order: Order,
    /// Per slot, messages that have come or were skipped.
    got: Vec<u64>,
    proved: Vec<bool>,
    pub(super) times: Times,
    pub(super) accounted: u64,
    pub(super) delivered: u64,
    pub(super) proofs: u64,
    pub(super) strays: u64,
    /// The same for all slots.
    lanes: u32,
    spread: bool,
    /// Groups that got room, in a closed loop.
    pub(super) moved: Vec<usize>,
}

impl Group {
    pub(super) fn new(number: usize, subscribers: usize, shape: &Shape, subject: &Subject) -> Self {
        let received_at = destination(&shape.destination, number);
        let user = shape.user.as_ref().map(|name| destination(name, number));
        let sent_to = match (&subject.send_to, user) {
            (Some(pattern), _) => destination(pattern, number),
            (None, Some(user)) => user_destination(&user, &received_at),
            (None, None) => received_at.clone(),
        };
        let target = &subject.target;
        let bound = if shape.rate.is_some() { 0 } else { shape.in_flight };
        Self {
            number: number as u32,
            send: Send::new(&sent_to, number as u32, shape.body, &target.headers.send, target.sockjs),
            destination: received_at,
            subscribers,
            sent: 0,
            done: 0,
            is_ready: false,
            lacking: vec![subscribers; bound],
        }
    }
}

impl Received {
    /// Nothing yet, for so many subscriptions to groups with so many publishers.
    pub(super) fn new(slots: usize, publishers: usize, lanes: usize, spread: bool) -> Self {
        Self {
            order: Order::new(slots, publishers),
            got: vec![0; slots],
            proved: vec![false; slots],
            times: Times::new(),
            accounted: 0,
            delivered: 0,
            proofs: 0,
            strays: 0,
            lanes: lanes as u32,
            spread,
            moved: Vec::new(),
        }
    }

    /// Subscriptions.
    pub(super) fn slots(&self) -> usize {
        self.got.len()
    }

    /// A message has come.
    #[inline]
    pub(super) fn take(
        &mut self,
        member: Member,
        payload: &[u8],
        groups: &mut [Group],
        shape: &Shape,
        (shared, now): (&Shared, u64),
    ) -> Result<(), String> {
        let stamp = stomp::stamp(payload, shape.body)
            .ok_or_else(|| format!("a message that nobody sent: {:?}", String::from_utf8_lossy(payload)))?;
        let at = if self.spread { stamp.group } else { stamp.group / self.lanes };
        let within = at.wrapping_sub(member.first_group);
        let Some(group) = groups.get_mut(at as usize).filter(|group| group.number == stamp.group) else {
            self.strays += 1;
            return Ok(());
        };
        if within >= member.count {
            self.strays += 1;
            return Ok(());
        }
        let slot = member.first_slot + within;
        if stamp.number == PROBE {
            let proved = &mut self.proved[slot as usize];
            self.proofs += u64::from(!*proved);
            *proved = true;
            return Ok(());
        }
        // Another run with the same destination, or a changed body; of a spread group only its publishers' lane has the count.
        if stamp.number >= group.sent && stamp.number >= shared.all_sent() {
            return Err(format!("message {} of destination {}, which was not sent", stamp.number, group.destination));
        }
        match self.order.note(slot, stamp.number) {
            Arrival::New { skipped } => {
                self.delivered += 1;
                self.account(slot, 1 + skipped, at, group);
            }
            Arrival::Late => self.delivered += 1,
            Arrival::Again => return Ok(()),
        }
        self.times.add(Duration::from_nanos(now.saturating_sub(stamp.due)));
        if stamp.number.is_multiple_of(CHECK_EVERY) {
            check_message(payload, &within.to_string(), &group.destination, shape.body)?;
        }
        Ok(())
    }

    /// A subscriber is further by so many messages.
    #[inline]
    fn account(&mut self, slot: u32, by: u64, at: u32, group: &mut Group) {
        self.accounted += by;
        let got = &mut self.got[slot as usize];
        let bound = group.lacking.len() as u64;
        if bound > 0 {
            for place in *got..*got + by {
                let lacking = &mut group.lacking[(place % bound) as usize];
                *lacking -= 1;
                if *lacking == 0 {
                    // Nobody gets the next before this one, so they are completed in order.
                    *lacking = group.subscribers;
                    group.done += 1;
                    self.moved.push(at as usize);
                }
            }
        }
        *got += by;
    }
}

/// One message in so many is checked in full.
const CHECK_EVERY: u64 = 64;
