//! The task of one STOMP connection: a hand-written future over link, decoder, session and outbox.
//!
//! ```text
//!            link --Data--> decoder --Frame--> session --Request--> broker --> other outboxes
//!  outbox --Entry--> write --> link            (answers come back through the own outbox, in order)
//!  wheel --rang--> heart-beats, missed heart-beats, late CONNECT, slow reader
//! ```
//!
//! A poll writes what waits, then reads what came, until neither moves. Whatever ends the session goes through
//! [`Drive::end`] once; its subscriptions are given back before the last bytes leave.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{self, Poll};
use std::time::{Duration, Instant};

use bytestring::ByteString;
use stampede_protocol::stomp::session::{Session, Settlement};
use stampede_protocol::stomp::{Decoder, Fault, FaultKind, Frame, Item, Pulse};
use tokio_util::task::task_tracker::TaskTrackerToken;
use tracing::debug;

use super::Context;
use super::identify::Identified;
use super::link::{Handshake, Input, Link};
use super::slots::Slots;
use super::write::{self, Token, Written};
use crate::broker::{Handover, SessionHandle};
use crate::close::CloseReason;
use crate::outbox::{Entry, Taken};
use crate::telemetry::{Label, metrics};
use crate::timers::TimerId;

mod ending;
mod requests;
mod time;

/// Pieces of input taken before output gets its turn.
const INPUT_TURN: usize = 64;

/// How long a client may take to close after its DISCONNECT was answered: every client does it at once, and the
/// receipt must not be lost (clause D02).
const LEAVE_GRACE: Duration = Duration::from_millis(400);

pub(super) struct Drive<L: Link> {
    link: L,
    context: Arc<Context>,
    handle: Arc<SessionHandle>,
    timer: TimerId,
    /// When the wheel will ring, as far as it was asked.
    armed: Option<Instant>,
    decoder: Decoder,
    session: Session<Token>,
    slots: Slots,
    taken: Taken,
    phase: Phase,
    pulse: Pulse,
    /// When what proved who the client is ends.
    expires: Option<Instant>,
    renewing: Option<Box<Renewal>>,
    /// Since when the link takes nothing although something waits.
    blocked_since: Option<Instant>,
    proofs: Option<Box<Proofs>>,
    /// Number of the last fence; never used twice in a session.
    mark: u64,
    /// The wheel rang, and what is due has not been looked at.
    rang: bool,
    /// The decoder may hold whole frames whose turn has not come.
    held_back: bool,
    opened: Instant,
    _counted: TaskTrackerToken,
}

enum Phase {
    /// Before CONNECT.
    Fresh(Box<Handshake>),
    /// CONNECT was read; somebody decides.
    Identifying(Identified),
    Open,
    /// DISCONNECT was read; its receipt is written when everything before it is done.
    Leaving {
        receipt: Option<ByteString>,
    },
    /// The receipt was written; the client closes, or we do.
    Left {
        since: Instant,
    },
    /// A fault waits in the outbox for its turn; nothing is read any more.
    Failing {
        since: Instant,
        fault: Box<Fault>,
    },
    /// Everything is given back; the link says its last words.
    Closing,
}

/// A SEND that says anew who the client is; nothing is read until that is decided.
struct Renewal {
    deciding: Identified,
    receipt: Option<ByteString>,
}

/// Kept messages that were written and whose arrival the transport must prove.
#[derive(Default)]
struct Proofs {
    /// Written, not yet behind a fence.
    written: Vec<Token>,
    /// Behind the last fence.
    fenced: Vec<Token>,
}

impl<L: Link> Drive<L> {
    pub(super) fn new(context: Arc<Context>, mut link: L, handshake: Handshake) -> Self {
        let handle = SessionHandle::new(context.broker.node());
        let timer = context.wheel.add(Arc::clone(&handle));
        let now = Instant::now();
        let mut decoder = Decoder::new(context.limits.0);
        decoder.set_strict(context.session.strict);
        // Frames may follow CONNECT in the same message (clause C15), so that one is not held to a single CONNECT.
        link.limit_input(4 * context.limits.0.head_bytes);
        metrics().sessions_open.get_or_create(&Label { reason: link.transport() }).inc();
        // From now on, so that a node that drains can ask those to leave that have not said who they are.
        context.broker.open(&handle);
        if context.stop.is_cancelled() {
            handle.outbox.close(CloseReason::Drain);
        }
        Self {
            link,
            handle,
            timer,
            armed: None,
            decoder,
            session: Session::new(),
            slots: Slots::default(),
            taken: Taken::default(),
            phase: Phase::Fresh(Box::new(handshake)),
            pulse: Pulse::new(stampede_protocol::stomp::Agreed::default(), 1, now),
            expires: None,
            renewing: None,
            blocked_since: None,
            proofs: None,
            mark: 0,
            rang: false,
            held_back: false,
            opened: now,
            _counted: context.sessions.token(),
            context,
        }
    }

    /// Writes what waits, as far as the link takes it, and pushes it out. Returns whether the link is blocked.
    fn poll_output(&mut self, cx: &mut task::Context<'_>, now: Instant) -> bool {
        self.handle.outbox.take(&mut self.taken);
        let mut wrote = false;
        let mut blocked = false;
        while !self.taken.entries.is_empty() && !matches!(self.phase, Phase::Closing) {
            if self.link.poll_ready(cx).is_pending() {
                blocked = true;
                break;
            }
            if let Some(entry) = self.taken.entries.pop_front() {
                wrote = true;
                self.write(entry, now);
            }
        }
        if self.taken.entries.is_empty() && self.taken.entries.capacity() > KEPT_CAPACITY {
            self.taken.entries = VecDeque::new();
        }
        if wrote {
            self.pulse.sent(now);
        }
        blocked |= self.link.poll_flush(cx).is_pending();
        self.blocked_since = match self.blocked_since {
            _ if !blocked => None,
            Some(since) if !wrote => Some(since),
            // Blocked from now on, or again: it has taken all that was written before.
            _ => Some(now),
        };
        blocked
    }

    fn write(&mut self, entry: Entry, now: Instant) {
        let destinations = self.context.broker.destinations();
        match entry {
            Entry::Message(delivery) => {
                match write::message(&mut self.link, &mut self.session, &self.slots, &delivery, destinations) {
                    Written::Done => {}
                    Written::Unproved(token) => self.proofs.get_or_insert_default().written.push(token),
                    Written::LeftOut(token) => self.settle(Settlement::Nack, &[token], &mut Handover::nobody()),
                }
            }
            Entry::Own { message, rest } => {
                write::own(&mut self.link, &mut self.session, &self.slots, &message, &rest, destinations);
            }
            Entry::Done(Some(receipt)) => {
                self.handle.outbox.answered();
                write::frame(&mut self.link, &Frame::receipt(&receipt), self.session.version());
            }
            Entry::Done(None) => self.handle.outbox.answered(),
            Entry::Failed(fault)
                if !matches!(self.phase, Phase::Failing { .. }) && self.context.broker.stays_open(&fault) =>
            {
                self.handle.outbox.answered();
                self.pass_over(&fault);
            }
            Entry::Failed(fault) => {
                self.handle.outbox.answered();
                self.tell(&fault);
                self.end(CloseReason::from(&*fault), now);
            }
        }
    }

    /// Writes an ERROR frame.
    fn tell(&mut self, fault: &Fault) {
        // What cannot be read is quoted to its sender alone: it may be a piece of a secret or of a body.
        let quotes = matches!(fault.kind, FaultKind::Malformed | FaultKind::UnknownCommand | FaultKind::BadHeader);
        let error = if quotes { "" } else { &*fault.message };
        debug!(session.id = %self.handle.id, kind = fault.kind.as_str(), error, "ERROR");
        write::frame(&mut self.link, &fault.to_frame(), self.session.version());
    }

    /// Asks for a proof of what was written, one at a time.
    fn fence(&mut self, cx: &mut task::Context<'_>) {
        let Some(proofs) = &mut self.proofs else { return };
        if proofs.fenced.is_empty() && !proofs.written.is_empty() {
            std::mem::swap(&mut proofs.fenced, &mut proofs.written);
            self.mark += 1;
            self.link.fence(self.mark);
            // What the link does not take now it sends when it can: the flush has asked for the wake-up.
            let _later = self.link.poll_flush(cx);
        }
    }

    /// Reads what came. Returns whether there may be more.
    fn poll_input(&mut self, cx: &mut task::Context<'_>, now: Instant) -> bool {
        if let Phase::Identifying(deciding) = &mut self.phase {
            let Poll::Ready(decision) = deciding.as_mut().poll(cx) else { return false };
            match decision {
                Ok(identity) => self.accept(identity, now),
                Err(fault) => self.fail(fault, now),
            }
            self.read_frames(now);
            return true;
        }
        if let Some(renewal) = &mut self.renewing {
            let Poll::Ready(decision) = renewal.deciding.as_mut().poll(cx) else { return false };
            self.renewed(decision, now);
            self.held_back = true;
            return true;
        }
        if self.held_back {
            self.read_frames(now);
        }
        for _ in 0..INPUT_TURN {
            if !self.is_reading() {
                return matches!(self.phase, Phase::Identifying(_)) || self.renewing.is_some();
            }
            let Poll::Ready(input) = self.link.poll_input(cx) else { return false };
            match input {
                Input::Data(octets) => {
                    self.pulse.received(now);
                    self.decoder.feed(octets);
                    self.read_frames(now);
                }
                Input::Proved(mark) => self.proved(mark),
                Input::Gone(gone) => self.gone(gone, now),
            }
        }
        true
    }

    fn is_reading(&self) -> bool {
        match self.phase {
            Phase::Fresh(_) | Phase::Left { .. } => true,
            Phase::Open => self.renewing.is_none() && !self.is_full(),
            // What follows DISCONNECT, however wrong, must not overtake its receipt (clause D01).
            Phase::Leaving { .. } => false,
            Phase::Identifying(_) | Phase::Failing { .. } | Phase::Closing => false,
        }
    }

    /// Whether so many frames wait for a store, for other nodes, or their answers for the client, that no more are read.
    fn is_full(&self) -> bool {
        let waiting = self.handle.in_progress() as usize + self.handle.outbox.unwritten_answers();
        // Whoever has something on its way is asked again when that is done, and nobody else is held up.
        let congested = || self.handle.in_progress() > 0 && self.context.broker.is_congested();
        waiting >= self.context.frames_in_progress || congested()
    }

    fn read_frames(&mut self, now: Instant) {
        self.held_back = false;
        while self.is_reading() {
            match self.decoder.next() {
                Ok(None) => return,
                Ok(Some(Item::HeartBeat)) => {}
                Ok(Some(Item::Frame(frame))) => self.frame(frame, now),
                Err(fault) => self.fail(fault, now),
            }
        }
        self.held_back = true;
    }

    fn proved(&mut self, mark: u64) {
        let Some(proofs) = &mut self.proofs else { return };
        if mark == self.mark {
            let proved = std::mem::take(&mut proofs.fenced);
            if proofs.written.is_empty() {
                self.proofs = None;
            }
            self.settle(Settlement::Ack, &proved, &mut Handover::nobody());
        }
    }

    fn poll_once(&mut self, cx: &mut task::Context<'_>) -> Poll<()> {
        let now = Instant::now();
        loop {
            let blocked = self.poll_output(cx, now);
            self.rang |= std::mem::take(&mut self.taken.rang);
            if let Some(reason) = self.taken.close.take() {
                self.told_to_close(reason, now);
            }
            let more = self.poll_input(cx, now);
            self.leave_when_done(blocked, now);
            if !more && std::mem::take(&mut self.rang) {
                // Only now: what lay in the socket while this node was stopped counts as heard.
                self.armed = None;
                self.check_time(now);
                if !matches!(self.phase, Phase::Closing) && self.link.poll_flush(cx).is_pending() {
                    self.blocked_since.get_or_insert(now);
                }
            }
            if matches!(self.phase, Phase::Closing) {
                return self.link.poll_closed(cx);
            }
            if more {
                continue;
            }
            if !blocked {
                self.fence(cx);
            }
            let quiet = if blocked {
                self.handle.outbox.park_blocked(&mut self.taken.entries, cx.waker())
            } else {
                self.handle.outbox.park(cx.waker())
            };
            if quiet {
                self.arm();
                return Poll::Pending;
            }
        }
    }

    /// Answers DISCONNECT once everything before it is done.
    fn leave_when_done(&mut self, blocked: bool, now: Instant) {
        let Phase::Leaving { receipt } = &mut self.phase else { return };
        let waits = blocked || !self.taken.entries.is_empty() || self.handle.outbox.has_more();
        if waits || self.handle.in_progress() > 0 {
            return;
        }
        match receipt.take() {
            Some(receipt) => {
                self.phase = Phase::Left { since: now };
                self.handle.outbox.answer(Entry::Done(Some(receipt)));
            }
            None => self.end(CloseReason::Disconnected, now),
        }
    }
}

/// Entries whose memory a quiet session may keep.
const KEPT_CAPACITY: usize = 8;

impl<L: Link> Future for Drive<L> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<()> {
        self.get_mut().poll_once(cx)
    }
}

// Every part is used through `&mut`; nothing is ever pinned in place.
impl<L: Link> Unpin for Drive<L> {}

impl<L: Link> Drop for Drive<L> {
    fn drop(&mut self) {
        // A task that was dropped or that panicked in the middle: nobody else may notice.
        if !matches!(self.phase, Phase::Closing) {
            self.give_back(&CloseReason::Lost, Instant::now());
        }
    }
}
