//! The live HTTP sessions of one endpoint.
//!
//! Lock order: a session's own lock, then the wheel's. Under the table's lock only a session is locked that nobody else
//! knows yet.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::task::Waker;
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;
use stampede_protocol::sockjs::session::{End, ReceiverId};
use stampede_protocol::sockjs::{Attach, Session, Settings, Wrapping};
use tokio::sync::Notify;
use tokio::time::MissedTickBehavior;

use super::counters::SockJsCounters;
use super::websocket::Bell;
use crate::config::sockjs::SockJsConfig;
use crate::timers::{Alarm, TICK, TimerId, Wheel};
use crate::transport::http1::Breaker;

/// All HTTP sessions of an endpoint by the id their client chose.
#[derive(Debug)]
pub(super) struct Sessions {
    table: Mutex<HashMap<Arc<str>, Arc<Live>>>,
    lost: Mutex<Lost>,
    settings: Arc<Settings>,
    remember: Duration,
    most: usize,
    wheel: Wheel<Live>,
    /// For the heart-beats of SockJS WebSockets, which are no sessions of the table.
    pub(super) bells: Wheel<Bell>,
    pub(super) counters: SockJsCounters,
}

/// What a receiving request finds under its id.
pub(super) enum Found {
    /// A session.
    Live(Arc<Live>),
    /// A session made for this request; it needs an application.
    Fresh(Arc<Live>),
    /// A session that was lost a moment ago.
    Lost,
    /// No room for another.
    Full,
}

impl Sessions {
    /// An empty table and the task that keeps its time.
    pub(super) fn start(config: &SockJsConfig) -> Arc<Self> {
        let now = Instant::now();
        let sessions = Arc::new(Self {
            table: Mutex::default(),
            lost: Mutex::default(),
            settings: Arc::new(config.session_settings()),
            remember: config.remember_lost_sessions,
            most: config.sessions,
            wheel: Wheel::new(now),
            bells: Wheel::new(now),
            counters: SockJsCounters::default(),
        });
        tokio::spawn(keep_time(Arc::downgrade(&sessions)));
        sessions
    }

    /// The session a receiving request is for.
    pub(super) fn find_or_begin(self: &Arc<Self>, id: &str) -> Found {
        let mut table = self.table.lock();
        // Under the lock of the table, as in `remove`: an id is live, or lost, or free, with nothing in between.
        if self.lost.lock().contains(id, Instant::now()) {
            self.counters.refused_lost.fetch_add(1, Ordering::Relaxed);
            return Found::Lost;
        }
        let full = table.len() >= self.most;
        match table.entry(id.into()) {
            Entry::Occupied(entry) => Found::Live(Arc::clone(entry.get())),
            Entry::Vacant(_) if full => {
                self.counters.refused_full.fetch_add(1, Ordering::Relaxed);
                Found::Full
            }
            Entry::Vacant(entry) => {
                let live = Live::new(Arc::clone(entry.key()), Arc::clone(self));
                // Nobody else knows it yet, so this does not wait; whoever finds it finds it with its timer.
                let mut inner = live.inner.lock();
                entry.insert(Arc::clone(&live));
                drop(table);
                inner.timer = Some(self.wheel.add(Arc::clone(&live)));
                drop(inner);
                self.counters.sessions_open.fetch_add(1, Ordering::Relaxed);
                self.counters.sessions_begun.fetch_add(1, Ordering::Relaxed);
                Found::Fresh(live)
            }
        }
    }

    /// The session a sending request is for.
    pub(super) fn find(&self, id: &str) -> Option<Arc<Live>> {
        self.table.lock().get(id).map(Arc::clone)
    }

    /// Takes a session that is over out of the table, once.
    fn remove(&self, live: &Live, end: End) {
        {
            let mut table = self.table.lock();
            if table.get(&*live.id).is_none_or(|entry| !std::ptr::eq(&raw const **entry, live)) {
                return;
            }
            table.remove(&*live.id);
            // A session that ended in order has told its client; of the others the client may not know yet.
            if matches!(end, End::Aborted | End::Expired | End::Stalled) {
                self.lost.lock().remember(Arc::clone(&live.id), Instant::now() + self.remember);
            }
            if table.capacity() > 1024 && table.len() < table.capacity() / 8 {
                table.shrink_to_fit();
            }
        }
        if let Some(timer) = live.inner.lock().timer.take() {
            self.wheel.remove(timer);
        }
        // How it ended stands in the counters before it is missing in the gauge: who sees the one sees the other.
        self.count(end);
        self.counters.sessions_open.fetch_sub(1, Ordering::Release);
    }

    fn count(&self, end: End) {
        let counter: &AtomicU64 = match end {
            End::Aborted => &self.counters.aborted,
            End::Expired => &self.counters.expired,
            End::Stalled => &self.counters.stalled,
            End::Closed | End::Overflow => return,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// Ends with the endpoint: when nobody but its own sessions hold the table, they have ended first.
async fn keep_time(sessions: Weak<Sessions>) {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(sessions) = sessions.upgrade() else { return };
        let now = Instant::now();
        sessions.wheel.advance(now);
        sessions.bells.advance(now);
        sessions.lost.lock().forget(now);
    }
}

/// One HTTP session between the requests that carry it and the link its application holds.
#[derive(Debug)]
pub(super) struct Live {
    id: Arc<str>,
    /// The table holds this session in turn, until it is over; each session has a deadline, so that comes.
    pub(super) sessions: Arc<Sessions>,
    inner: Mutex<Inner>,
    /// The receiver is detached.
    pub(super) freed: Notify,
    /// The application has taken input.
    pub(super) room: Notify,
}

/// What the parties of a session share.
#[derive(Debug)]
pub(super) struct Inner {
    pub(super) machine: Session,
    pub(super) input: VecDeque<Bytes>,
    pub(super) input_bytes: usize,
    /// The application's task.
    pub(super) link: Option<Waker>,
    /// The connection that carries the attached receiver.
    pub(super) receiver: Option<Waker>,
    /// The application holds output back until a receiver is attached.
    pub(super) waiting: bool,
    breaker: Option<Breaker>,
    timer: Option<TimerId>,
    scheduled: Option<Instant>,
}

/// Whom a step concerns besides the one who makes it. To wake without need would let the two sides wake each other for
/// ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wake {
    Nobody,
    Link,
    Receiver,
    Both,
}

impl Live {
    fn new(id: Arc<str>, sessions: Arc<Sessions>) -> Arc<Self> {
        let inner = Inner {
            machine: Session::new(Arc::clone(&sessions.settings)),
            input: VecDeque::new(),
            input_bytes: 0,
            link: None,
            receiver: None,
            waiting: false,
            breaker: None,
            timer: None,
            scheduled: None,
        };
        Arc::new(Self { id, sessions, inner: Mutex::new(inner), freed: Notify::new(), room: Notify::new() })
    }

    /// Makes one step and does what follows from it: deadlines, wake-ups, and the end of the session.
    pub(super) fn step<T>(&self, step: impl FnOnce(&mut Inner, Instant) -> (T, Wake)) -> T {
        let mut inner = self.inner.lock();
        let (outcome, wake) = step(&mut inner, Instant::now());
        let deadline = inner.machine.poll_timeout();
        if deadline != inner.scheduled {
            inner.scheduled = deadline;
            if let Some(timer) = inner.timer {
                self.sessions.wheel.set(timer, deadline);
            }
        }
        let gone = inner.machine.end().filter(|_| inner.machine.is_gone());
        let wake = if gone.is_some() { Wake::Both } else { wake };
        let link = matches!(wake, Wake::Link | Wake::Both).then(|| inner.link.take()).flatten();
        let receiver = matches!(wake, Wake::Receiver | Wake::Both).then(|| inner.receiver.take()).flatten();
        let breaker = gone.and_then(|_| inner.breaker.take());
        drop(inner);
        link.into_iter().chain(receiver).for_each(Waker::wake);
        if let Some(breaker) = breaker {
            breaker.break_off();
        }
        if let Some(end) = gone {
            self.sessions.remove(self, end);
        }
        outcome
    }

    /// A receiving request came; `breaker` breaks off the connection that carries it.
    pub(super) fn attach(&self, wrapping: Wrapping, breaker: Option<Breaker>) -> Attach {
        self.step(|inner, now| {
            let attach = inner.machine.attach(wrapping, inner.waiting, now);
            if matches!(attach, Attach::Attached(_)) {
                inner.breaker = breaker;
                self.sessions.counters.receivers_attached.fetch_add(1, Ordering::Relaxed);
            }
            (attach, Wake::Both)
        })
    }

    /// The receiver's answer is complete, or its connection broke.
    pub(super) fn detach(&self, id: ReceiverId) {
        self.step(|inner, _| {
            inner.breaker = None;
            inner.machine.abort(id);
            ((), Wake::Link)
        });
        self.sessions.counters.receivers_attached.fetch_sub(1, Ordering::Relaxed);
        self.freed.notify_one();
    }
}

impl Alarm for Live {
    fn ring(&self) {
        self.step(|inner, now| {
            // The wheel forgets a deadline when it rings.
            inner.scheduled = None;
            inner.machine.handle_timeout(now);
            ((), Wake::Both)
        });
    }
}

/// Ids of lost sessions, for a short while, so that a client that comes late is told instead of finding itself in a new
/// session in the middle of a conversation.
#[derive(Debug, Default)]
struct Lost {
    until: HashMap<Arc<str>, Instant>,
    /// In the order they are forgotten.
    order: VecDeque<(Instant, Arc<str>)>,
}

/// Ids remembered at a time, at most; the oldest makes room.
const MOST_LOST: usize = 4096;

impl Lost {
    fn remember(&mut self, id: Arc<str>, until: Instant) {
        if self.order.len() == MOST_LOST {
            self.drop_oldest();
        }
        self.order.push_back((until, Arc::clone(&id)));
        self.until.insert(id, until);
    }

    fn contains(&self, id: &str, now: Instant) -> bool {
        self.until.get(id).is_some_and(|until| now < *until)
    }

    fn forget(&mut self, now: Instant) {
        while self.order.front().is_some_and(|(until, _)| *until <= now) {
            self.drop_oldest();
        }
        if self.order.is_empty() && self.order.capacity() > 0 {
            *self = Self::default();
        }
    }

    fn drop_oldest(&mut self) {
        let Some((until, id)) = self.order.pop_front() else { return };
        if self.until.get(&id) == Some(&until) {
            self.until.remove(&id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lost_ids_are_remembered_for_their_time_and_within_bounds() {
        let (mut lost, now) = (Lost::default(), Instant::now());
        let at = |seconds| now + Duration::from_secs(seconds);
        lost.remember("a".into(), at(10));
        assert!(lost.contains("a", at(9)));
        assert!(!lost.contains("a", at(10)));
        lost.forget(at(10));
        assert!(lost.order.is_empty() && lost.until.is_empty());
        for number in 0..MOST_LOST + 1 {
            lost.remember(number.to_string().into(), at(10));
        }
        assert_eq!((lost.order.len(), lost.until.len()), (MOST_LOST, MOST_LOST));
        assert!(!lost.contains("0", now));
        assert!(lost.contains("1", now));
    }
}
