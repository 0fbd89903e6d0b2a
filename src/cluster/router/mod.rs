//! From this node to others: who has receivers, one envelope per set of nodes, confirmed to whoever waits.
//!
//! Messages wait in one queue. A batch of them is taken, looked up in one round trip, and published; the next batch fills
//! meanwhile. On a busy node the answer takes as long as all its sessions need for a turn, so one look-up serves several
//! envelopes where so much waits. When nothing is open a message leaves at once. While confirms are awaited messages wait
//! for company, for a limited time: a broker confirms a few thousand envelopes a second, however full they are.

mod dispatch;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use bytestring::ByteString;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::envelope::Way;
use super::patterns::KnownPatterns;
use super::{Outcome, Shared};
use crate::config::cluster::Relay as RelayConfig;
use crate::ids::NodeId;
use crate::mailbox::shared::Append;
use crate::message::ListVersion;
use crate::registry::Name;
use crate::relay::{Relay, RelayError, Route, Token};

use dispatch::Group;

/// How often messages that waited too long are looked for while nothing moves.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Envelopes that one look-up fills at most.
const ENVELOPES_AT_ONCE: usize = 8;

/// The queue to the relay.
#[derive(Debug)]
pub(super) struct Router {
    queue: Mutex<VecDeque<Job>>,
    wake: Notify,
    load: Arc<Load>,
    relay: Arc<dyn Relay>,
    config: RelayConfig,
    /// Envelopes that wait for their confirm at most; the relay holds them, everything else waits here.
    window: usize,
    patterns: KnownPatterns,
    seq: Mutex<u64>,
}

/// What is on its way, in numbers.
#[derive(Debug, Default)]
struct Load {
    bytes: AtomicUsize,
    envelopes: AtomicUsize,
    /// Told when an envelope is done.
    done: Notify,
}

/// One message that has to leave.
#[derive(Debug)]
pub(super) struct Job {
    what: What,
    part: Part,
    since: Instant,
}

/// Where it has to go.
#[derive(Debug)]
pub(super) enum What {
    /// To the nodes with receivers for the name. It is `stranded` when it lay in a queue that nobody reads.
    Find { name: Name, way: Way, record: Bytes, list: Option<ListVersion>, stranded: bool },
    /// To all nodes, or those with subscribers.
    Broadcast { destination: Box<str>, record: Bytes, list: Option<ListVersion> },
    /// To one session.
    Session { node: NodeId, session: ByteString, rest: ByteString, record: Bytes },
    /// Into the shared store, and to those who have its destination open.
    Keep { append: Append },
    /// To all nodes.
    Notice { record: Bytes },
}

/// Who waits for a message, and what it counts for. The fields are dropped in this order: who looks at the load because of
/// an outcome must find it gone.
struct Part {
    charge: Option<Charge>,
    outcome: Option<Arc<dyn Outcome>>,
    _token: Option<Token>,
}

pub(super) struct Charge {
    bytes: usize,
    load: Arc<Load>,
}

impl Job {
    /// `token` stands for the envelope that the message came in, if it did.
    pub(super) fn new(what: What, outcome: Option<Arc<dyn Outcome>>, token: Option<Token>) -> Self {
        Self { what, part: Part { charge: None, outcome, _token: token }, since: Instant::now() }
    }

    fn bytes(&self) -> usize {
        // A flat sum for what surrounds the message.
        128 + match &self.what {
            What::Find { record, .. }
            | What::Broadcast { record, .. }
            | What::Session { record, .. }
            | What::Notice { record } => record.len(),
            What::Keep { append } => append.record.len(),
        }
    }
}

impl Router {
    pub(super) fn new(relay: Arc<dyn Relay>, config: RelayConfig, window: usize) -> Self {
        Self {
            queue: Mutex::default(),
            wake: Notify::new(),
            load: Arc::default(),
            relay,
            config,
            window,
            patterns: KnownPatterns::default(),
            seq: Mutex::new(0),
        }
    }

    pub(super) const fn relay(&self) -> &Arc<dyn Relay> {
        &self.relay
    }

    /// Takes a message; never waits. It fails at once when there is no room.
    pub(super) fn submit(&self, mut job: Job) {
        match self.charge(job.bytes()) {
            Ok(charge) => job.part.charge = Some(charge),
            Err(full) => return job.part.fail(&full),
        }
        self.queue.lock().push_back(job);
        self.wake.notify_one();
    }

    /// Counts what is on its way until the result is dropped.
    pub(super) fn charge(&self, bytes: usize) -> Result<Charge, RelayError> {
        let waiting_bytes = self.load.bytes.fetch_add(bytes, Ordering::AcqRel);
        let charge = Charge { bytes, load: Arc::clone(&self.load) };
        let limit = self.config.buffer_size_limit;
        if waiting_bytes + bytes > limit { Err(RelayError::Full { waiting_bytes, limit }) } else { Ok(charge) }
    }

    pub(super) fn is_congested(&self) -> bool {
        self.waiting_bytes() > self.config.buffer_size_limit / 2
    }

    pub(super) fn waiting_bytes(&self) -> usize {
        self.load.bytes.load(Ordering::Acquire)
    }

    /// Waits until nothing is on its way.
    pub(super) async fn idle(&self) {
        loop {
            let done = self.load.done.notified();
            if self.waiting_bytes() == 0 {
                return;
            }
            // Work that failed in the queue rings nothing.
            let _looked = tokio::time::timeout(Duration::from_millis(20), done).await;
        }
    }

    /// The next messages that leave together.
    async fn next_batch(&self) -> Vec<Job> {
        loop {
            let (woken, done) = (self.wake.notified(), self.load.done.notified());
            let mut look_at = Instant::now() + LOOK_EVERY;
            let given_up;
            {
                let mut queue = self.queue.lock();
                given_up = self.too_old(&mut queue);
                let open = self.load.envelopes.load(Ordering::Acquire);
                if let Some(first) = queue.front()
                    && open < self.window
                {
                    let alone_until = first.since + self.config.envelope_delay;
                    if open == 0 || queue.len() >= self.config.envelope_messages || alone_until <= Instant::now() {
                        let batch = self.take(&mut queue, self.window - open);
                        drop(queue);
                        self.give_up(given_up);
                        return batch;
                    }
                    look_at = alone_until;
                }
            }
            self.give_up(given_up);
            tokio::select! {
                () = woken => {}
                () = done => {}
                () = tokio::time::sleep_until(look_at) => {}
            }
        }
    }

    /// Takes what may leave when there is room for so many envelopes.
    fn take(&self, queue: &mut VecDeque<Job>, room: usize) -> Vec<Job> {
        let envelopes = room.min(ENVELOPES_AT_ONCE);
        let (most, size) =
            (self.config.envelope_messages * envelopes, self.config.envelope_size_limit.saturating_mul(envelopes));
        let (mut count, mut bytes) = (0, 0);
        for job in queue.iter() {
            if count > 0 && (count >= most || bytes + job.bytes() > size) {
                break;
            }
            count += 1;
            bytes += job.bytes();
        }
        let batch = queue.drain(..count).collect();
        if queue.is_empty() {
            queue.shrink_to(64);
        }
        batch
    }

    /// The queue is in the order of arrival, so only its front can be too old.
    fn too_old(&self, queue: &mut VecDeque<Job>) -> Vec<Job> {
        let now = Instant::now();
        let mut old = Vec::new();
        while let Some(job) = queue.pop_front_if(|job| job.since + self.config.send_timeout <= now) {
            old.push(job);
        }
        old
    }

    fn give_up(&self, jobs: Vec<Job>) {
        for job in jobs {
            job.part.fail(&RelayError::Timeout(self.config.send_timeout));
        }
    }

    fn publish(&self, stream: &str, route: Route, group: Group) {
        let envelope = {
            let mut seq = self.seq.lock();
            *seq += 1;
            group.builder.finish(stream, *seq)
        };
        self.load.envelopes.fetch_add(1, Ordering::AcqRel);
        let (load, parts) = (Arc::clone(&self.load), group.parts);
        let done = Box::new(move |confirmed: Result<(), RelayError>| {
            match confirmed {
                Ok(()) => drop(parts),
                Err(error) => parts.into_iter().for_each(|part| part.fail(&error)),
            }
            load.envelopes.fetch_sub(1, Ordering::AcqRel);
            load.done.notify_waiters();
            load.done.notify_one();
        });
        self.relay.publish(route, envelope, done);
    }
}

impl Part {
    fn fail(self, error: &dyn std::fmt::Display) {
        match &self.outcome {
            Some(outcome) => outcome.failed(&error.to_string()),
            None => tracing::debug!(%error, "a message did not reach other nodes"),
        }
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.load.bytes.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

impl std::fmt::Debug for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Part").field("bytes", &self.charge.as_ref().map(|charge| charge.bytes)).finish_non_exhaustive()
    }
}

/// Sends what comes, as long as the node takes part.
pub(super) async fn run(shared: Arc<Shared>) {
    loop {
        let batch = shared.router.next_batch().await;
        if !batch.is_empty() {
            dispatch::route(&shared, batch).await;
        }
    }
}
