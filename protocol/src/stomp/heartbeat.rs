//! Heart-beats: what both sides offer, what follows, and when a beat is due or missed at a given instant.

use std::fmt;
use std::time::{Duration, Instant};

use super::{Fault, FaultKind};

/// One side's `heart-beat` header.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HeartBeat {
    /// The shortest interval, in milliseconds, it can keep as a sender; 0: it will not send any.
    pub can_ms: u32,
    /// The interval, in milliseconds, it would like to see from the other side; 0: it wants none.
    pub want_ms: u32,
}

impl HeartBeat {
    /// No heart-beats: what a missing header means.
    pub const NONE: Self = Self { can_ms: 0, want_ms: 0 };

    /// Reads the header. Numbers too large to hold count as the largest, 49 days.
    ///
    /// Not strict is Spring's reading: without a comma there are no heart-beats, and negative numbers are 0.
    ///
    /// # Errors
    ///
    /// The value is not two non-negative integers and a comma (STOMP 1.2, "Heart-beating").
    pub fn parse(text: &str, strict: bool) -> Result<Self, Fault> {
        let Some((can, want)) = text.split_once(',') else {
            return if strict { Err(bad(text)) } else { Ok(Self::NONE) };
        };
        match (milliseconds(can, strict), milliseconds(want, strict)) {
            (Some(can_ms), Some(want_ms)) => Ok(Self { can_ms, want_ms }),
            _ => Err(bad(text)),
        }
    }
}

impl fmt::Display for HeartBeat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{},{}", self.can_ms, self.want_ms)
    }
}

/// What two offers come to, as the server sees it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Agreed {
    /// The server writes something at least this often.
    pub send_every: Option<Duration>,
    /// The client promised to.
    pub expect_every: Option<Duration>,
}

/// Each direction has heart-beats if its sender can and its receiver wants; the longer interval holds.
///
/// ```
/// use std::time::Duration;
/// use stampede_protocol::stomp::heartbeat::{HeartBeat, agree};
///
/// let agreed = agree(HeartBeat { can_ms: 1000, want_ms: 0 }, HeartBeat { can_ms: 5000, want_ms: 4000 });
/// assert_eq!(agreed.expect_every, Some(Duration::from_secs(4)));
/// assert_eq!(agreed.send_every, None);
/// ```
#[must_use]
pub fn agree(client: HeartBeat, server: HeartBeat) -> Agreed {
    Agreed {
        send_every: interval(server.can_ms, client.want_ms),
        expect_every: interval(client.can_ms, server.want_ms),
    }
}

/// How early a beat may be; more would only be more of them.
const MOST_EARLY: Duration = Duration::from_secs(1);

/// When to beat and when to give up, for one connection. Any octet counts as a beat, in both directions.
///
/// ```
/// use std::time::{Duration, Instant};
/// use stampede_protocol::stomp::{HeartBeat, Pulse, heartbeat::agree};
///
/// let side = HeartBeat { can_ms: 10_000, want_ms: 10_000 };
/// let start = Instant::now();
/// let mut pulse = Pulse::new(agree(side, side), Pulse::DEFAULT_PATIENCE, start);
/// assert_eq!(pulse.next_timeout(), Some(start + Duration::from_secs(9)));
/// pulse.sent(start + Duration::from_secs(7));
/// assert!(!pulse.is_due(start + Duration::from_secs(10)));
/// assert!(pulse.is_dead(start + Duration::from_secs(30)));
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Pulse {
    agreed: Agreed,
    patience: u32,
    sent: Instant,
    received: Instant,
}

impl Pulse {
    /// Clients are late when their machine sleeps or their page is in the background; Spring waits as long.
    pub const DEFAULT_PATIENCE: u32 = 3;

    /// Both directions start at `now`. The peer counts as dead after `patience` silent intervals, at least one.
    #[must_use]
    pub fn new(agreed: Agreed, patience: u32, now: Instant) -> Self {
        Self { agreed, patience: patience.max(1), sent: now, received: now }
    }

    /// Octets were written.
    pub fn sent(&mut self, now: Instant) {
        self.sent = self.sent.max(now);
    }

    /// Octets came, half a frame included.
    pub fn received(&mut self, now: Instant) {
        self.received = self.received.max(now);
    }

    /// When to write a line end if nothing else was written until then: before the interval is over by a quarter of it,
    /// at most a second, so that the gap the peer sees stays within the agreed one although timers and networks are late.
    #[must_use]
    pub fn beat_at(&self) -> Option<Instant> {
        let every = self.agreed.send_every?;
        self.sent.checked_add(every - (every / 4).min(MOST_EARLY))
    }

    /// When the peer counts as dead if nothing comes until then.
    #[must_use]
    pub fn dead_at(&self) -> Option<Instant> {
        self.received.checked_add(self.agreed.expect_every?.checked_mul(self.patience)?)
    }

    /// Whether a line end must be written now.
    #[must_use]
    pub fn is_due(&self, now: Instant) -> bool {
        self.beat_at().is_some_and(|at| at <= now)
    }

    /// Whether the peer has been silent for too long.
    #[must_use]
    pub fn is_dead(&self, now: Instant) -> bool {
        self.dead_at().is_some_and(|at| at <= now)
    }

    /// The next instant at which one of the two may change.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Instant> {
        match (self.beat_at(), self.dead_at()) {
            (Some(beat), Some(dead)) => Some(beat.min(dead)),
            (beat, dead) => beat.or(dead),
        }
    }
}

fn bad(text: &str) -> Fault {
    let text = super::parse::excerpt(text);
    Fault::new(FaultKind::BadHeader, format!("heart-beat '{text}' is not two non-negative integers"))
}

fn milliseconds(text: &str, strict: bool) -> Option<u32> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) if !strict => (true, digits),
        _ => (false, text),
    };
    if digits.is_empty() || !digits.bytes().all(|octet| octet.is_ascii_digit()) {
        return None;
    }
    // All digits: the only failure left is a number too large to hold.
    Some(if negative { 0 } else { digits.parse().unwrap_or(u32::MAX) })
}

fn interval(can_ms: u32, want_ms: u32) -> Option<Duration> {
    (can_ms > 0 && want_ms > 0).then(|| Duration::from_millis(can_ms.max(want_ms).into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_non_negative_integers_and_a_comma() {
        for (text, lenient, strict) in [
            ("0,0", Some((0, 0)), Some((0, 0))),
            ("10000,20000", Some((10_000, 20_000)), Some((10_000, 20_000))),
            ("99999999999,0", Some((u32::MAX, 0)), Some((u32::MAX, 0))),
            ("5", Some((0, 0)), None),
            ("", Some((0, 0)), None),
            ("-5,-7", Some((0, 0)), None),
            ("-1,10", Some((0, 10)), None),
            ("a,b", None, None),
            ("abc,1", None, None),
            ("1,2,3", None, None),
            (" 1 , 2 ", None, None),
            ("1,", None, None),
            ("-,1", None, None),
            ("+1,1", None, None),
        ] {
            let pair = |strict| HeartBeat::parse(text, strict).ok().map(|beat| (beat.can_ms, beat.want_ms));
            assert_eq!((pair(false), pair(true)), (lenient, strict), "{text:?}");
        }
    }

    #[test]
    fn the_longer_interval_holds_where_both_take_part() {
        for (client, server, send, expect) in [
            ((1000, 0), (0, 2000), None, Some(2000)),
            ((0, 1000), (500, 500), Some(1000), None),
            ((0, 1000), (0, 500), None, None),
            ((4000, 4000), (10_000, 3000), Some(10_000), Some(4000)),
        ] {
            let side = |(can_ms, want_ms)| HeartBeat { can_ms, want_ms };
            let agreed = agree(side(client), side(server));
            let ms = |interval: Option<Duration>| interval.map(|interval| interval.as_millis());
            assert_eq!((ms(agreed.send_every), ms(agreed.expect_every)), (send, expect), "{client:?} {server:?}");
        }
    }

    #[test]
    fn a_beat_is_due_within_the_interval_and_anything_written_defers_it() {
        let start = Instant::now();
        let ms = |count| start + Duration::from_millis(count);
        let agreed = agree(HeartBeat { can_ms: 0, want_ms: 1000 }, HeartBeat { can_ms: 1000, want_ms: 0 });
        let mut pulse = Pulse::new(agreed, Pulse::DEFAULT_PATIENCE, start);
        assert_eq!(pulse.beat_at(), Some(ms(750)));
        assert!(!pulse.is_due(ms(749)) && pulse.is_due(ms(750)));
        pulse.sent(ms(400));
        assert_eq!((pulse.next_timeout(), pulse.dead_at()), (Some(ms(1150)), None));
    }

    #[test]
    fn the_peer_is_dead_after_three_silent_intervals() {
        let start = Instant::now();
        let ms = |count| start + Duration::from_millis(count);
        let agreed = agree(HeartBeat { can_ms: 1000, want_ms: 0 }, HeartBeat { can_ms: 0, want_ms: 500 });
        let mut pulse = Pulse::new(agreed, Pulse::DEFAULT_PATIENCE, start);
        // One tenth late every time, and once much later, is alive.
        for at in [1100, 2200, 3300, 6299] {
            assert!(!pulse.is_dead(ms(at)));
            pulse.received(ms(at));
        }
        assert!(!pulse.is_dead(ms(9298)) && pulse.is_dead(ms(9299)));
        assert_eq!(pulse.next_timeout(), Some(ms(9299)));
    }

    #[test]
    fn the_longest_intervals_do_not_overflow() {
        let most = HeartBeat { can_ms: u32::MAX, want_ms: u32::MAX };
        let pulse = Pulse::new(agree(most, most), u32::MAX, Instant::now());
        assert!(!pulse.is_dead(Instant::now()) && !pulse.is_due(Instant::now()));
    }
}
