//! Rooms of several nodes: what concerns one waits for the store, in turn.
//!
//! ```text
//! SEND to a route with a room, SUBSCRIBE, UNSUBSCRIBE, end of a session
//!       --> one queue of the node --> rooms::shared::Together --> publish --confirmed--> told
//! ```
//!
//! While a session has something in the queue, what it sends goes there as well: nothing it sent overtakes what it sent
//! before. A frame is confirmed when the room has changed and everybody was told.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use parking_lot::Mutex;
use stampede_protocol::stomp::session::Send;
use stampede_protocol::stomp::{Fault, FaultKind};
use tokio::sync::Notify;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::handover::Pending;
use super::{Broker, Handover, SessionHandle};
use crate::cluster::Cluster;
use crate::ids::{Boot, NodeId, SessionId};
use crate::outbox::SlotRef;
use crate::rooms::Rooms;
use crate::rooms::shared::{Away, Change, Ended, Here, Stay, Together};
use crate::routes::Action;

/// Frames that may wait for a room on a node.
const MAX_WAITING: usize = 10_000;
/// Pause before what failed is tried again.
const PAUSE: Duration = Duration::from_millis(500);
/// Stays of a dead run that are ended at once.
const BATCH: usize = 32;
/// Ends that are reported to the store at once.
const REPORTS: usize = 128;

/// Where the rooms are.
#[derive(Debug)]
pub(super) enum RoomsBehind {
    /// On this node. Locked while its announcements are delivered, so that the last list of members that anybody gets is the
    /// last one there was. Lock order: rooms, then topic or kept queue, then outbox.
    Alone(Mutex<Rooms>),
    /// In a store that all nodes share.
    Shared(Box<Queue>),
}

/// What waits for the shared rooms.
#[derive(Debug)]
pub(super) struct Queue {
    pub(super) rooms: Together,
    waiting: Mutex<Waiting>,
    /// How many sessions wait: most of the time nobody does, and whoever sends need not look further.
    sessions: AtomicUsize,
    wake: Notify,
    /// Ends of stays that were told, or could not be.
    reports: UnboundedSender<Report>,
    reported: Mutex<Option<UnboundedReceiver<Report>>>,
    /// Stays that have ended, until the store knows that it was told.
    untold: AtomicUsize,
}

type Report = (Vec<Stay>, bool);

#[derive(Debug, Default)]
struct Waiting {
    jobs: VecDeque<Job>,
    /// How many of them each session has, the one in progress included.
    of: HashMap<SessionId, u32>,
    /// To look again is among them.
    looks: bool,
    busy: bool,
}

/// In the order in which they came.
#[derive(Debug)]
pub(super) enum Job {
    Send {
        session: Arc<SessionHandle>,
        send: Send,
        strict: bool,
        pending: Arc<Pending>,
    },
    /// A SUBSCRIBE that a route answers.
    Answer {
        session: Arc<SessionHandle>,
        to: SlotRef,
        send: Send,
        pending: Arc<Pending>,
    },
    Subscribed {
        session: Arc<SessionHandle>,
        destination: Box<str>,
        pending: Arc<Pending>,
    },
    Unsubscribed {
        session: Arc<SessionHandle>,
        destination: Box<str>,
        pending: Option<Arc<Pending>>,
    },
    Ended {
        session: Arc<SessionHandle>,
    },
    Look,
}

impl RoomsBehind {
    pub(super) fn new(rooms: Rooms, cluster: Option<&Arc<Cluster>>) -> Self {
        let Some(cluster) = cluster else { return Self::Alone(Mutex::new(rooms)) };
        let (reports, reported) = unbounded_channel();
        Self::Shared(Box::new(Queue {
            rooms: Together::new(rooms, Arc::clone(cluster.rooms())),
            waiting: Mutex::default(),
            sessions: AtomicUsize::new(0),
            wake: Notify::new(),
            reports,
            reported: Mutex::new(Some(reported)),
            untold: AtomicUsize::new(0),
        }))
    }

    pub(super) fn shared(&self) -> Option<&Queue> {
        match self {
            Self::Alone(_) => None,
            Self::Shared(queue) => Some(queue),
        }
    }
}

impl Queue {
    /// Whether something of the session waits here, so that what it sends has to wait as well.
    pub(super) fn has(&self, session: &SessionId) -> bool {
        self.sessions.load(Ordering::Acquire) > 0 && self.waiting.lock().of.contains_key(session)
    }

    /// Takes what may be refused.
    pub(super) fn offer(&self, job: Job) -> Result<(), Fault> {
        if self.waiting.lock().jobs.len() >= MAX_WAITING {
            let text = format!("{MAX_WAITING} frames already wait for the rooms of all nodes; send again later");
            return Err(Fault::new(FaultKind::Failed, text));
        }
        self.push(job);
        Ok(())
    }

    /// Takes what must not get lost: no more than there are subscriptions and sessions.
    pub(super) fn push(&self, job: Job) {
        let mut waiting = self.waiting.lock();
        match job.session() {
            Some(session) => *waiting.of.entry(session.id.clone()).or_default() += 1,
            None if waiting.looks => return,
            None => waiting.looks = true,
        }
        self.sessions.store(waiting.of.len(), Ordering::Release);
        waiting.jobs.push_back(job);
        drop(waiting);
        self.wake.notify_one();
    }

    async fn next(&self) -> Job {
        loop {
            {
                let mut waiting = self.waiting.lock();
                if let Some(job) = waiting.jobs.pop_front() {
                    waiting.busy = true;
                    if matches!(job, Job::Look) {
                        waiting.looks = false;
                    }
                    return job;
                }
            }
            self.wake.notified().await;
        }
    }

    fn done(&self, session: Option<SessionId>) {
        let mut waiting = self.waiting.lock();
        waiting.busy = false;
        if let Some(session) = session
            && let Some(count) = waiting.of.get_mut(&session)
        {
            *count -= 1;
            if *count == 0 {
                waiting.of.remove(&session);
            }
            self.sessions.store(waiting.of.len(), Ordering::Release);
        }
    }

    fn is_idle(&self) -> bool {
        let waiting = self.waiting.lock();
        waiting.jobs.is_empty() && !waiting.busy && self.untold.load(Ordering::Acquire) == 0 && self.rooms.is_empty()
    }
}

impl Job {
    fn session(&self) -> Option<&Arc<SessionHandle>> {
        match self {
            Self::Send { session, .. }
            | Self::Answer { session, .. }
            | Self::Subscribed { session, .. }
            | Self::Unsubscribed { session, .. }
            | Self::Ended { session } => Some(session),
            Self::Look => None,
        }
    }
}

impl Broker {
    /// Carries out what waits for the rooms; never ends.
    pub(super) async fn run_rooms(&self, cluster: &Cluster) {
        let Some(queue) = self.rooms.shared() else { return };
        loop {
            let job = queue.next().await;
            let session = job.session().map(|session| session.id.clone());
            let here = Here { boot: cluster.boot(), up: cluster.is_registry_up() };
            Box::pin(self.carry_out(queue, &here, job)).await;
            queue.done(session);
            if let Some(away) = queue.rooms.take_failure() {
                cluster.registry_failed(&away.0);
            }
        }
    }

    /// Waits until no session of this node is in a room, and everybody who is to know does.
    pub async fn left_all_rooms(&self) {
        while self.rooms.shared().is_some_and(|queue| !queue.is_idle()) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn carry_out(&self, queue: &Queue, here: &Here, job: Job) {
        match job {
            Job::Send { session, send, strict, pending } => {
                self.send_in_turn(queue, here, &session, send, strict, pending).await;
            }
            Job::Answer { session, to, send, pending } => {
                self.answer_in_turn(queue, here, &session, to, &send, pending).await;
            }
            Job::Subscribed { session, destination, pending } => {
                match queue.rooms.subscribed(here, &destination, &session.who()).await {
                    Ok(change) => self.tell(queue, change, Some(pending)),
                    Err(refusal) => pending.fail(super::routed::refused(&refusal)),
                }
            }
            Job::Unsubscribed { session, destination, pending } => {
                let waiter = pending.clone().map(|pending| pending as _);
                let change = queue.rooms.unsubscribed(here, &destination, &session.who(), waiter).await;
                self.tell(queue, change, pending);
            }
            Job::Ended { session } => {
                let change = queue.rooms.end_session(here, session.id.as_str()).await;
                self.tell(queue, change, None);
            }
            Job::Look => {
                let change = queue.rooms.look_again(here).await;
                self.tell(queue, change, None);
            }
        }
    }

    fn tell(&self, queue: &Queue, mut change: Change, frame: Option<Arc<Pending>>) {
        let actions = change.take_announcements();
        self.publish_change(queue, actions, change.ended, frame);
    }

    /// Publishes what a change causes, and reports to the store that the end of these stays was told.
    pub(super) fn publish_change(
        &self,
        queue: &Queue,
        actions: Vec<Action>,
        ended: Vec<Stay>,
        frame: Option<Arc<Pending>>,
    ) {
        if ended.is_empty() {
            let mut handover = frame.map_or_else(Handover::nobody, Handover::resume);
            return self.publish(actions, &mut handover);
        }
        queue.untold.fetch_add(ended.len(), Ordering::AcqRel);
        self.publish_watched(actions, ended, frame, queue.reports.clone());
    }

    fn publish_watched(
        &self,
        actions: Vec<Action>,
        ended: Vec<Stay>,
        frame: Option<Arc<Pending>>,
        reports: UnboundedSender<Report>,
    ) {
        // Whoever is to hear of it ends with the node.
        let report = move |told| drop(reports.send((ended, told)));
        self.publish(actions, &mut Handover::watched(frame, report));
    }

    /// Tells the store what was told, and tells again what could not be; never ends.
    pub(super) async fn run_reports(&self, cluster: &Cluster) {
        let Some(queue) = self.rooms.shared() else { return };
        let Some(mut reported) = queue.reported.lock().take() else { return };
        let mut reports = Vec::new();
        while reported.recv_many(&mut reports, REPORTS).await > 0 {
            let (told, failed): (Vec<Report>, Vec<Report>) = reports.drain(..).partition(|(_, told)| *told);
            let stays: Vec<Stay> = told.into_iter().flat_map(|(stays, _)| stays).collect();
            while let Err(away) = queue.rooms.told(&stays).await {
                cluster.registry_failed(&away.0);
                tokio::time::sleep(PAUSE).await;
            }
            queue.untold.fetch_sub(stays.len(), Ordering::AcqRel);
            if !failed.is_empty() {
                tokio::time::sleep(PAUSE).await;
                let here = Here { boot: cluster.boot(), up: true };
                for stay in failed.into_iter().flat_map(|(stays, _)| stays) {
                    queue.untold.fetch_sub(1, Ordering::AcqRel);
                    match queue.rooms.tell_again(&here, &stay).await {
                        Ok(Ended::Tell(change)) => self.tell(queue, change, None),
                        Ok(Ended::Quietly | Ended::ByAnother) => {}
                        Err(away) => {
                            cluster.registry_failed(&away.0);
                            queue.untold.fetch_add(1, Ordering::AcqRel);
                            // This very task reads it.
                            drop(queue.reports.send((vec![stay], false)));
                        }
                    }
                }
            }
        }
    }

    /// Ends what a dead run has left in rooms; `true` when nothing of it is left.
    pub(super) async fn end_of_dead(&self, dead: &Boot, alive: &HashMap<NodeId, Boot>) -> bool {
        let (Some(queue), Some(cluster)) = (self.rooms.shared(), &self.cluster) else { return true };
        match Box::pin(self.end_stays(queue, cluster, dead, alive)).await {
            Ok(done) => done,
            Err(away) => {
                tracing::warn!(%dead, error = %away, "members on a dead node cannot be looked after now");
                false
            }
        }
    }

    async fn end_stays(
        &self,
        queue: &Queue,
        cluster: &Cluster,
        dead: &Boot,
        alive: &HashMap<NodeId, Boot>,
    ) -> Result<bool, Away> {
        let by = cluster.boot();
        let lives = |boot: &Boot| *boot == by || alive.get(&boot.node()) == Some(boot);
        let mut done = true;
        for stays in queue.rooms.stays_of(dead).await?.chunks(BATCH) {
            let ended = join_all(stays.iter().map(|stay| queue.rooms.end_of_dead(stay, &by, &lives))).await;
            let (reports, mut reported) = unbounded_channel();
            for one in ended {
                match one? {
                    Ended::Quietly => {}
                    Ended::ByAnother => done = false,
                    Ended::Tell(mut change) => {
                        let actions = change.take_announcements();
                        self.publish_watched(actions, change.ended, None, reports.clone());
                    }
                }
            }
            drop(reports);
            while let Some((stays, told)) = reported.recv().await {
                match told {
                    true => queue.rooms.told(&stays).await?,
                    false => done = false,
                }
            }
        }
        Ok(done)
    }
}
