//! One timer wheel for all sessions of a node: heart-beats, missed heart-beats, slow readers, CONNECT that never comes.
//!
//! A session owns one entry and tells when it wants to be woken next; asking for a later time costs nothing but a store,
//! because the wheel looks again when the earlier time comes. Thousands of idle sessions are woken in bundles, once per
//! tick, instead of one timer interrupt each.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use slab::Slab;

/// How exact wake-ups are: never early, at most one tick late.
pub const TICK: Duration = Duration::from_millis(50);

/// Ticks in one turn of the wheel; deadlines beyond it are looked at once per turn (about 51 s).
const BUCKETS: usize = 1024;

/// Woken when its time has come.
pub trait Alarm: Send + Sync {
    /// Called from the wheel's task without any lock of the wheel held; must not block.
    fn ring(&self);
}

/// The wheel.
#[derive(Debug)]
pub struct Wheel<A> {
    start: Instant,
    state: Mutex<State<A>>,
}

#[derive(Debug)]
struct State<A> {
    /// The first tick that has not been handled.
    tick: u64,
    buckets: Vec<Vec<u32>>,
    entries: Slab<Entry<A>>,
}

#[derive(Debug)]
struct Entry<A> {
    alarm: Arc<A>,
    /// When to ring; `u64::MAX` when not wanted.
    due: u64,
    /// The tick at which some bucket holds this entry, so that an earlier deadline knows that it must queue again.
    queued: u64,
}

/// A session's place on the wheel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimerId(u32);

impl<A: Alarm> Wheel<A> {
    /// An empty wheel whose tick 0 is `start`.
    #[must_use]
    pub fn new(start: Instant) -> Self {
        let state = State { tick: 0, buckets: vec![Vec::new(); BUCKETS], entries: Slab::new() };
        Self { start, state: Mutex::new(state) }
    }

    /// Takes a place, with no deadline.
    pub fn add(&self, alarm: Arc<A>) -> TimerId {
        let key = self.state.lock().entries.insert(Entry { alarm, due: u64::MAX, queued: u64::MAX });
        // 2^32 sessions do not fit a machine's memory.
        TimerId(u32::try_from(key).unwrap_or(u32::MAX))
    }

    /// Gives the place back. A bucket may still name it; whoever gets the place next is then looked at once for nothing.
    pub fn remove(&self, id: TimerId) {
        let mut state = self.state.lock();
        state.entries.try_remove(id.0 as usize);
        if state.entries.is_empty() {
            state.entries.shrink_to_fit();
        }
    }

    /// Sets the deadline, replacing the one before.
    pub fn set(&self, id: TimerId, at: Option<Instant>) {
        let due = at.map_or(u64::MAX, |at| self.tick_of(at));
        let mut state = self.state.lock();
        let state = &mut *state;
        let Some(entry) = state.entries.get_mut(id.0 as usize) else { return };
        entry.due = due;
        if due < entry.queued {
            let at = due.clamp(state.tick, state.tick + BUCKETS as u64 - 1);
            entry.queued = at;
            state.buckets[bucket(at)].push(id.0);
        }
    }

    /// Rings everything due up to `now`; call about once per [`TICK`].
    pub fn advance(&self, now: Instant) {
        let target = self.tick_before(now);
        let mut ringing: Vec<Arc<A>> = Vec::new();
        {
            let mut state = self.state.lock();
            let state = &mut *state;
            while state.tick <= target {
                let tick = state.tick;
                state.tick += 1;
                let ids = std::mem::take(&mut state.buckets[bucket(tick)]);
                for id in ids {
                    let Some(entry) = state.entries.get_mut(id as usize) else { continue };
                    if entry.due <= tick {
                        ringing.push(Arc::clone(&entry.alarm));
                        entry.due = u64::MAX;
                        entry.queued = u64::MAX;
                    } else if entry.queued <= tick {
                        entry.queued = u64::MAX;
                        if entry.due != u64::MAX {
                            let at = entry.due.min(tick + BUCKETS as u64);
                            entry.queued = at;
                            state.buckets[bucket(at)].push(id);
                        }
                    }
                }
            }
        }
        for alarm in ringing {
            alarm.ring();
        }
    }

    /// Places taken.
    #[must_use]
    pub fn len(&self) -> usize {
        self.state.lock().entries.len()
    }

    /// Whether no place is taken.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The first tick at or after this instant.
    fn tick_of(&self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(self.start).as_millis();
        u64::try_from(since.div_ceil(TICK.as_millis())).unwrap_or(u64::MAX - 1)
    }

    /// The last tick that lies fully in the past.
    fn tick_before(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.start).as_millis() / TICK.as_millis()).unwrap_or(u64::MAX - 1)
    }
}

const fn bucket(tick: u64) -> usize {
    (tick % BUCKETS as u64) as usize
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[derive(Default)]
    struct Bell(AtomicUsize);

    impl Alarm for Bell {
        fn ring(&self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn rings_once_never_early_and_at_most_a_tick_late() {
        for millis in [0, 1, 49, 50, 51, 9_999, 60_000, 200_000] {
            let start = Instant::now();
            let wheel = Wheel::new(start);
            let bell = Arc::new(Bell::default());
            let id = wheel.add(Arc::clone(&bell));
            let due = start + Duration::from_millis(millis);
            wheel.set(id, Some(due));
            let mut now = start;
            let mut rang_at = None;
            while now < due + Duration::from_secs(1) {
                wheel.advance(now);
                if rang_at.is_none() && bell.0.load(Ordering::Relaxed) == 1 {
                    rang_at = Some(now);
                }
                now += Duration::from_millis(10);
            }
            let rang_at = rang_at.unwrap();
            assert!(rang_at >= due && rang_at <= due + TICK, "{millis}: {:?}", rang_at - start);
            assert_eq!(bell.0.load(Ordering::Relaxed), 1, "{millis}");
        }
    }

    #[test]
    fn a_later_deadline_replaces_an_earlier_one_and_back() {
        let start = Instant::now();
        let wheel = Wheel::new(start);
        let bell = Arc::new(Bell::default());
        let id = wheel.add(Arc::clone(&bell));
        let at = |millis| Some(start + Duration::from_millis(millis));
        wheel.set(id, at(100));
        wheel.set(id, at(500));
        wheel.advance(start + Duration::from_millis(450));
        assert_eq!(bell.0.load(Ordering::Relaxed), 0);
        wheel.set(id, at(470));
        wheel.advance(start + Duration::from_millis(520));
        assert_eq!(bell.0.load(Ordering::Relaxed), 1);
        wheel.set(id, at(600));
        wheel.set(id, None);
        wheel.advance(start + Duration::from_millis(900));
        assert_eq!(bell.0.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn a_removed_place_never_rings_and_leaves_nothing() {
        let start = Instant::now();
        let wheel = Wheel::new(start);
        let bell = Arc::new(Bell::default());
        let id = wheel.add(Arc::clone(&bell));
        wheel.set(id, Some(start));
        wheel.remove(id);
        wheel.advance(start + Duration::from_secs(60));
        assert_eq!(bell.0.load(Ordering::Relaxed), 0);
        assert_eq!(Arc::strong_count(&bell), 1);
        assert!(wheel.is_empty());
    }
}
