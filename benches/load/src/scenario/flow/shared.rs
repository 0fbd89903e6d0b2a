//! What the lanes of a flow and the thread that watches them know of each other.

use std::{
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst},
    },
    time::Instant,
};

use mio::Waker;

use crate::{
    Result,
    process::{Meter, Reading},
};

/// What the lanes are to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Phase {
    /// Nothing; whoever runs ends.
    Over,
    /// Send probes until every subscriber has one.
    Probing,
    /// Send messages.
    Sending,
    /// Receive what is on its way.
    Draining,
}

/// Counters have one writer each, their lane.
#[derive(Debug)]
pub(super) struct Shared {
    phase: AtomicU8,
    epoch: Instant,
    wakers: Vec<Waker>,
    lanes: Vec<Counters>,
    /// For spread groups: how far each lane is with each of them.
    done: Vec<Vec<AtomicU64>>,
    /// Lanes that send nothing more.
    stopped: AtomicUsize,
    /// What had been sent when the run began.
    sent_before: AtomicU64,
    measuring: AtomicBool,
    begun: Mutex<Option<Begun>>,
}

#[derive(Debug, Default)]
#[repr(align(128))]
pub(super) struct Counters {
    pub(super) sent: AtomicU64,
    pub(super) expected: AtomicU64,
    /// Received for the first time, or taken for lost since later ones came.
    pub(super) accounted: AtomicU64,
    pub(super) delivered: AtomicU64,
    pub(super) proved: AtomicU64,
}

#[derive(Debug)]
struct Begun {
    meter: Meter,
    since: Instant,
    delivered: u64,
}

impl Shared {
    pub(super) fn new(wakers: Vec<Waker>, spread_groups: usize) -> Self {
        let lanes = wakers.len();
        let each = |count: usize| (0..count).map(|_| AtomicU64::new(0)).collect::<Vec<_>>();
        Self {
            phase: AtomicU8::new(Phase::Over as u8),
            epoch: Instant::now(),
            wakers,
            lanes: (0..lanes).map(|_| Counters::default()).collect(),
            done: (0..spread_groups).map(|_| each(lanes)).collect(),
            stopped: AtomicUsize::new(0),
            sent_before: AtomicU64::new(0),
            measuring: AtomicBool::new(false),
            begun: Mutex::new(None),
        }
    }

    /// A run begins.
    pub(super) fn begin(&self) {
        self.stopped.store(0, SeqCst);
        self.measuring.store(false, SeqCst);
        *self.begun() = None;
        self.sent_before.store(self.sum(|counters| &counters.sent), SeqCst);
        self.enter(Phase::Sending);
    }

    pub(super) fn phase(&self) -> Phase {
        match self.phase.load(SeqCst) {
            1 => Phase::Probing,
            2 => Phase::Sending,
            3 => Phase::Draining,
            _ => Phase::Over,
        }
    }

    pub(super) fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, SeqCst);
        (0..self.wakers.len()).for_each(|lane| self.wake(lane));
    }

    pub(super) fn wake(&self, lane: usize) {
        // A lane that cannot be woken looks by itself, a little later.
        let _ = self.wakers[lane].wake();
    }

    pub(super) fn counters(&self, lane: usize) -> &Counters {
        &self.lanes[lane]
    }

    pub(super) fn stop_one(&self) {
        self.stopped.fetch_add(1, SeqCst);
    }

    pub(super) fn all_stopped(&self) -> bool {
        self.stopped.load(SeqCst) >= self.lanes.len()
    }

    pub(super) fn set_done(&self, group: usize, lane: usize, done: u64) {
        self.done[group][lane].store(done, SeqCst);
    }

    /// Messages of a spread group that everybody has.
    pub(super) fn done(&self, group: usize) -> u64 {
        self.done[group].iter().map(|done| done.load(SeqCst)).min().unwrap_or(0)
    }

    pub(super) fn sent(&self) -> u64 {
        self.all_sent() - self.sent_before.load(SeqCst)
    }

    /// Messages since this was made.
    pub(super) fn all_sent(&self) -> u64 {
        self.sum(|counters| &counters.sent)
    }

    pub(super) fn expected(&self) -> u64 {
        self.sum(|counters| &counters.expected)
    }

    pub(super) fn accounted(&self) -> u64 {
        self.sum(|counters| &counters.accounted)
    }

    pub(super) fn proved(&self) -> u64 {
        self.sum(|counters| &counters.proved)
    }

    /// The warm-up is over, if it was not before.
    pub(super) fn measure(&self, pid: Option<u32>) -> Result<()> {
        let mut begun = self.begun();
        if begun.is_none() {
            let delivered = self.sum(|counters| &counters.delivered);
            *begun = Some(Begun { meter: Meter::start(pid)?, since: Instant::now(), delivered });
            self.measuring.store(true, SeqCst);
        }
        Ok(())
    }

    pub(super) fn measuring(&self) -> bool {
        self.measuring.load(Relaxed)
    }

    /// Seconds since the end of the warm-up.
    pub(super) fn measured_for(&self) -> Option<f64> {
        self.begun().as_ref().map(|begun| begun.since.elapsed().as_secs_f64())
    }

    /// What was delivered and spent since then.
    pub(super) fn read(&self) -> Result<Option<(u64, Reading)>> {
        let delivered = self.sum(|counters| &counters.delivered);
        self.begun().as_ref().map(|begun| Ok((delivered - begun.delivered, begun.meter.read()?))).transpose()
    }

    /// Nanoseconds since this was made.
    pub(super) fn nanos(&self, at: Instant) -> u64 {
        at.saturating_duration_since(self.epoch).as_nanos() as u64
    }

    fn begun(&self) -> MutexGuard<'_, Option<Begun>> {
        self.begun.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn sum(&self, of: impl Fn(&Counters) -> &AtomicU64) -> u64 {
        self.lanes.iter().map(|counters| of(counters).load(SeqCst)).sum()
    }
}
