//! What is due, and when to look again.

use std::time::Instant;

use stampede_protocol::stomp::{Fault, FaultKind};

use super::{Drive, LEAVE_GRACE, Phase};
use crate::close::CloseReason;
use crate::session::link::Link;
use crate::session::write;

impl<L: Link> Drive<L> {
    /// What is due at `now`.
    pub(super) fn check_time(&mut self, now: Instant) {
        match self.phase {
            Phase::Fresh(_) | Phase::Identifying(_) if now >= self.opened + self.context.time_to_connect => {
                let limit = self.context.time_to_connect;
                self.tell(&Fault::new(FaultKind::Limit, format!("no CONNECT within {limit:?}")));
                return self.end(CloseReason::ConnectTimeout, now);
            }
            // What is not written yet cannot have been read: the grace begins when the link has taken it.
            Phase::Left { .. } if self.blocked_since.is_some() => self.phase = Phase::Left { since: now },
            Phase::Left { since } if now >= since + LEAVE_GRACE => return self.end(CloseReason::Disconnected, now),
            Phase::Failing { since, ref fault } if now >= since + LEAVE_GRACE => {
                // Its turn never came: the client reads slowly. It may still read the last words.
                let fault = fault.clone();
                self.tell(&fault);
                return self.end(CloseReason::from(&*fault), now);
            }
            _ => {}
        }
        // Who is just proving it anew gets the answer.
        if matches!(self.phase, Phase::Open) && self.renewing.is_none() && self.expires.is_some_and(|end| now >= end) {
            let what = "who you are is no longer proved: the token has expired; connect again with a new one";
            self.tell(&Fault::new(FaultKind::Forbidden, what));
            return self.end(CloseReason::Expired, now);
        }
        if self.blocked_since.is_some_and(|since| now >= since + self.context.send_time_limit) {
            return self.end(CloseReason::SlowConsumer, now);
        }
        if !self.is_reading() {
            // Its silence says nothing as long as nobody listens.
            self.pulse.received(now);
        }
        if self.pulse.is_dead(now) {
            let silent = self.session.agreed().expect_every.unwrap_or_default();
            let tolerance = self.context.heart_beat_tolerance;
            self.tell(&Fault::new(
                FaultKind::State,
                format!("no heart-beat: nothing came within {tolerance} times the agreed {silent:?}"),
            ));
            return self.end(CloseReason::HeartBeatMissed, now);
        }
        if self.pulse.is_due(now) && matches!(self.phase, Phase::Open) && self.blocked_since.is_none() {
            write::heart_beat(&mut self.link);
            self.pulse.sent(now);
        }
    }

    /// Asks the wheel for the next instant at which something may be due.
    pub(super) fn arm(&mut self) {
        let phase = match self.phase {
            Phase::Fresh(_) | Phase::Identifying(_) => Some(self.opened + self.context.time_to_connect),
            Phase::Left { since } | Phase::Failing { since, .. } => Some(since + LEAVE_GRACE),
            Phase::Open if self.renewing.is_none() => self.expires,
            _ => None,
        };
        let paced = self.pace.as_ref().and_then(|pace| pace.ready_at(Instant::now()));
        let blocked = self.blocked_since.map(|since| since + self.context.send_time_limit);
        let next = [phase, paced, blocked, self.pulse.next_timeout()].into_iter().flatten().min();
        // A later deadline needs no call: the wheel rings at the earlier one and this is asked again.
        if let Some(next) = next
            && self.armed.is_none_or(|armed| next < armed)
        {
            self.armed = Some(next);
            self.context.wheel.set(self.timer, Some(next));
        }
    }
}
