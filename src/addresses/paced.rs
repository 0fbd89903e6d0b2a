//! How many of something each address may begin per second. What an address has paid for by waiting is forgotten.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use thiserror::Error;

use super::counted::counted_as;
use super::{Network, any_holds};

/// A bucket per address that leaks evenly: so many at once, and so many per second in the long run. Addresses are those of
/// [`Counted`](super::Counted).
#[derive(Debug)]
pub struct Paced {
    begun: Mutex<Begun>,
    per_second: u32,
    burst: u32,
    unlimited: Vec<Network>,
}

#[derive(Debug)]
struct Begun {
    /// When the bucket of an address will be empty.
    empty_at: HashMap<IpAddr, Instant>,
    /// As many entries make us look for those that are empty.
    sweep_at: usize,
}

/// One more than may begin now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("your address has opened {actual} faster than {per_second} a second, and {burst} at once is the limit")]
pub struct TooFast {
    /// How many are in the bucket, this one included.
    pub actual: u32,
    /// How many may begin in the long run.
    pub per_second: u32,
    /// How many may begin at once.
    pub burst: u32,
    /// When one more may begin.
    pub wait: Duration,
}

/// Fewer entries are not worth a look.
const SWEEP_FROM: usize = 1024;

/// Most entries. Nobody is refused for it: where so many are in use, all are forgotten and begin anew. An entry lives for what its
/// address has begun, divided by the rate, so to fill the table with one a second takes as many connections in that second.
const MOST: usize = 65_536;

impl Paced {
    /// `burst` at once and `per_second` after that; 0 per second for no limit. Those in the networks have none.
    #[must_use]
    pub fn new(per_second: u32, burst: u32, unlimited: Vec<Network>) -> Self {
        let begun = Begun { empty_at: HashMap::new(), sweep_at: SWEEP_FROM };
        Self { begun: Mutex::new(begun), per_second, burst, unlimited }
    }

    /// Counts one more. What is refused does not count: who goes on trying has its share all the same.
    ///
    /// # Errors
    ///
    /// When the address has begun as many as it may.
    pub fn begin(&self, address: IpAddr, now: Instant) -> Result<(), TooFast> {
        if self.per_second == 0 || any_holds(&self.unlimited, address) {
            return Ok(());
        }
        let each = Duration::from_secs(1) / self.per_second;
        let full = each * self.burst;
        let address = counted_as(address);
        let mut begun = self.begun.lock();
        let filled = begun.empty_at.get(&address).map_or(Duration::ZERO, |at| at.saturating_duration_since(now));
        let filled = filled + each;
        if filled > full {
            let actual = filled.as_nanos().div_ceil(each.as_nanos().max(1));
            let actual = u32::try_from(actual).unwrap_or(u32::MAX);
            return Err(TooFast { actual, per_second: self.per_second, burst: self.burst, wait: filled - full });
        }
        begun.note(address, now + filled, now);
        Ok(())
    }
}

impl Begun {
    fn note(&mut self, address: IpAddr, empty_at: Instant, now: Instant) {
        if self.empty_at.len() >= self.sweep_at {
            self.empty_at.retain(|_, at| *at > now);
            if self.empty_at.len() >= MOST {
                self.empty_at.clear();
            }
            self.empty_at.shrink_to(2 * self.empty_at.len());
            // Twice as many as are in use: a look at all of them is paid for by as many that came.
            self.sweep_at = (2 * self.empty_at.len()).clamp(SWEEP_FROM, MOST);
        }
        self.empty_at.insert(address, empty_at);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn entries(paced: &Paced) -> usize {
        paced.begun.lock().empty_at.len()
    }

    #[test]
    fn each_address_begins_so_many_at_once_and_then_at_the_rate() {
        let (paced, now) = (Paced::new(2, 3, vec!["10.0.0.0/8".parse().unwrap()]), Instant::now());
        for (after, address, expected) in [
            (0, "192.0.2.1", Ok(())),
            (0, "::ffff:192.0.2.1", Ok(())),
            (0, "192.0.2.1", Ok(())),
            (0, "192.0.2.1", Err((4, 500))),
            (0, "192.0.2.2", Ok(())),
            (100, "192.0.2.1", Err((4, 400))),
            (499, "192.0.2.1", Err((4, 1))),
            (500, "192.0.2.1", Ok(())),
            (500, "192.0.2.1", Err((4, 500))),
            (500, "10.0.0.1", Ok(())),
            (2500, "192.0.2.1", Ok(())),
            (2500, "192.0.2.1", Ok(())),
            (2500, "192.0.2.1", Ok(())),
            (2500, "192.0.2.1", Err((4, 500))),
            (2500, "2001:db8:0:1::1", Ok(())),
            (2500, "2001:db8:0:1::2", Ok(())),
            (2500, "2001:db8:0:1:ffff::", Ok(())),
            (2500, "2001:db8:0:1::3", Err((4, 500))),
            (2500, "2001:db8:0:2::1", Ok(())),
        ] {
            let found = paced.begin(ip(address), now + Duration::from_millis(after));
            let found = found.map_err(|too_fast| (too_fast.actual, too_fast.wait.as_millis()));
            assert_eq!(found, expected, "{address} after {after} ms");
        }
    }

    #[test]
    fn zero_is_no_limit() {
        let (paced, now) = (Paced::new(0, 0, Vec::new()), Instant::now());
        assert!((0..1000).all(|_| paced.begin(ip("192.0.2.1"), now).is_ok()));
        assert_eq!(entries(&paced), 0);
    }

    #[test]
    fn addresses_that_waited_are_forgotten() {
        let (paced, now) = (Paced::new(1, 10, Vec::new()), Instant::now());
        let address = |number: u32| IpAddr::from(std::net::Ipv4Addr::from_bits(number << 8));
        (0..1024).for_each(|number| paced.begin(address(number), now).unwrap());
        paced.begin(address(5000), now + SECOND).unwrap();
        assert_eq!(entries(&paced), 1);
        // None of these had the time to be forgotten.
        (0..200_000).for_each(|number| paced.begin(address(number), now + SECOND).unwrap());
        assert!(entries(&paced) <= MOST, "{}", entries(&paced));
    }

    proptest! {
        /// Whatever comes when: never more than the burst and what the time between allows, and who is refused waits no longer
        /// than one takes at the rate.
        #[test]
        fn no_stretch_of_time_has_more_than_its_share(
            per_second in 1_u32..50,
            burst in 1_u32..20,
            pauses in proptest::collection::vec(0_u64..200, 1..200),
        ) {
            let (paced, begin) = (Paced::new(per_second, burst, Vec::new()), Instant::now());
            let mut at = Duration::ZERO;
            let mut taken: Vec<Duration> = Vec::new();
            for pause in pauses {
                at += Duration::from_millis(pause);
                match paced.begin(ip("192.0.2.1"), begin + at) {
                    Ok(()) => taken.push(at),
                    Err(too_fast) => {
                        prop_assert_eq!(too_fast.actual, burst + 1);
                        prop_assert!(too_fast.wait <= SECOND / per_second);
                    }
                }
            }
            prop_assert!(!taken.is_empty());
            for (first, from) in taken.iter().enumerate() {
                for (last, to) in taken.iter().enumerate().skip(first) {
                    let allowed = f64::from(burst) + (*to - *from).as_secs_f64() * f64::from(per_second);
                    prop_assert!((last - first + 1) as f64 <= allowed + 1e-3, "{first} to {last} of {taken:?}");
                }
            }
        }
    }
}
