//! How fast a session may send: frames and octets per second, as two buckets that fill by time.

use std::time::{Duration, Instant};

/// What a session may send now. A second's worth may come at once; what comes beyond it is a debt, and nothing is read before it
/// is paid.
#[derive(Debug)]
pub(super) struct Pace {
    frames: Bucket,
    octets: Bucket,
}

#[derive(Debug)]
struct Bucket {
    per_second: f64,
    left: f64,
    at: Instant,
}

impl Pace {
    /// `None` where there is no limit; 0 stands for none.
    pub(super) fn new(frames_per_second: u32, octets_per_second: usize, now: Instant) -> Option<Box<Self>> {
        (frames_per_second > 0 || octets_per_second > 0).then(|| {
            let octets = u32::try_from(octets_per_second).unwrap_or(u32::MAX);
            Box::new(Self { frames: Bucket::new(frames_per_second, now), octets: Bucket::new(octets, now) })
        })
    }

    pub(super) fn frame(&mut self, now: Instant) {
        self.frames.take(1.0, now);
    }

    pub(super) fn octets(&mut self, count: usize, now: Instant) {
        self.octets.take(u32::try_from(count).unwrap_or(u32::MAX).into(), now);
    }

    /// From when on more may come, if that is not now.
    pub(super) fn ready_at(&self, now: Instant) -> Option<Instant> {
        [&self.frames, &self.octets].into_iter().filter_map(Bucket::ready_at).max().filter(|at| *at > now)
    }
}

impl Bucket {
    fn new(per_second: u32, now: Instant) -> Self {
        Self { per_second: per_second.into(), left: per_second.into(), at: now }
    }

    fn take(&mut self, count: f64, now: Instant) {
        if self.per_second > 0.0 {
            let filled = now.saturating_duration_since(self.at).as_secs_f64() * self.per_second;
            self.left = (self.left + filled).min(self.per_second) - count;
            self.at = now;
        }
    }

    fn ready_at(&self) -> Option<Instant> {
        if self.per_second == 0.0 || self.left >= 0.0 {
            return None;
        }
        self.at.checked_add(Duration::try_from_secs_f64(-self.left / self.per_second).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_seconds_worth_may_come_at_once_and_no_more_in_the_long_run() {
        let start = Instant::now();
        let mut pace = Pace::new(10, 0, start).unwrap();
        for _ in 0..10 {
            pace.frame(start);
        }
        assert_eq!(pace.ready_at(start), None);
        pace.frame(start);
        assert_eq!(pace.ready_at(start), Some(start + SECOND / 10));
        let (mut now, mut frames) = (start, 11);
        while now < start + 10 * SECOND {
            now = pace.ready_at(now).unwrap_or(now + SECOND / 100);
            while pace.ready_at(now).is_none() {
                pace.frame(now);
                frames += 1;
            }
        }
        assert!((100..=115).contains(&frames), "{frames} in 10 s");
    }

    #[test]
    fn octets_are_paid_for_after_they_came() {
        let start = Instant::now();
        let mut pace = Pace::new(0, 1000, start).unwrap();
        pace.octets(5000, start);
        assert_eq!(pace.ready_at(start), Some(start + 4 * SECOND));
        assert_eq!(pace.ready_at(start + 4 * SECOND), None);
        pace.frame(start);
        assert_eq!(pace.frames.ready_at(), None, "frames have no limit here");
    }

    #[test]
    fn without_limits_there_is_nothing() {
        assert!(Pace::new(0, 0, Instant::now()).is_none());
    }
}
