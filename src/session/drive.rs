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
use stampede_protocol::stomp::session::{Action, Connect, Request, Session, Settlement};
use stampede_protocol::stomp::{Decoder, Fault, FaultKind, Frame, Item, Pulse};
use tokio_util::task::task_tracker::TaskTrackerToken;
use tracing::debug;

use super::Context;
use super::identify::Identified;
use super::link::{Gone, Handshake, Input, Link};
use super::slots::Slots;
use super::write::{self, Token};
use crate::broker::{Handover, Identity, SessionHandle};
use crate::close::CloseReason;
use crate::outbox::{Entry, Taken};
use crate::telemetry::{Label, count, metrics};
use crate::timers::TimerId;

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
    /// Since when the link takes nothing although something waits.
    blocked_since: Option<Instant>,
    proofs: Option<Box<Proofs>>,
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
    },
    /// Everything is given back; the link says its last words.
    Closing,
}

/// Kept messages that were written and whose arrival the transport must prove.
#[derive(Default)]
struct Proofs {
    /// Written, not yet behind a fence.
    written: Vec<Token>,
    /// Behind the fence with [`Proofs::mark`].
    fenced: Vec<Token>,
    mark: u64,
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
            blocked_since: None,
            proofs: None,
            held_back: false,
            opened: now,
            _counted: context.sessions.token(),
            context,
        }
    }

    // --- output ---

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
                let token = write::message(&mut self.link, &mut self.session, &self.slots, &delivery, destinations);
                if let Some(token) = token {
                    self.proofs.get_or_insert_default().written.push(token);
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
            proofs.mark += 1;
            self.link.fence(proofs.mark);
            // What the link does not take now it sends when it can: the flush has asked for the wake-up.
            let _later = self.link.poll_flush(cx);
        }
    }

    // --- input ---

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
        if self.held_back {
            self.read_frames(now);
        }
        for _ in 0..INPUT_TURN {
            if !self.is_reading() {
                return matches!(self.phase, Phase::Identifying(_));
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
            Phase::Open => !self.is_full(),
            // What follows DISCONNECT, however wrong, must not overtake its receipt (clause D01).
            Phase::Leaving { .. } => false,
            Phase::Identifying(_) | Phase::Failing { .. } | Phase::Closing => false,
        }
    }

    /// Whether so many frames wait for a store, or their answers for the client, that no more are read.
    fn is_full(&self) -> bool {
        let waiting = self.handle.in_progress() as usize + self.handle.outbox.unwritten_answers();
        waiting >= self.context.frames_in_progress
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

    fn frame(&mut self, frame: Frame, now: Instant) {
        metrics().frames_received.inc();
        match self.session.handle(&self.context.session, frame) {
            Ok(request) => self.carry_out(request, now),
            Err(fault) => self.fail(fault, now),
        }
    }

    fn carry_out(&mut self, request: Request<Token>, now: Instant) {
        match request {
            Request::Connect(connect) => self.connect(&connect, now),
            Request::Send(send) => self.context.broker.send(&self.handle, send, self.context.session.strict),
            Request::Subscribe(subscribe) => self.subscribe(subscribe, now),
            Request::Unsubscribe { slot, receipt, .. } => {
                if let Some(slot) = self.slots.take(slot) {
                    self.context.broker.unsubscribe(&slot.placement);
                    if let Some(destination) = slot.joins {
                        self.context.broker.leave_by_subscription(&self.handle, &destination);
                    }
                }
                self.confirm(receipt);
            }
            Request::Settle { how, tokens, receipt } => {
                self.settle(how, &tokens);
                self.confirm(receipt);
            }
            Request::Commit { actions, receipt } => self.commit(actions, receipt, now),
            Request::Abort { receipt, .. } | Request::Confirm { receipt } => self.confirm(receipt),
            Request::Dropped { why } => count(&metrics().frames_dropped, why.as_str()),
            Request::Disconnect { receipt, .. } => {
                self.leave_everything();
                self.phase = Phase::Leaving { receipt };
            }
        }
    }

    fn connect(&mut self, connect: &Connect, now: Instant) {
        let phase = std::mem::replace(&mut self.phase, Phase::Failing { since: now });
        let Phase::Fresh(handshake) = phase else { return };
        self.phase = Phase::Identifying(self.context.authenticator.identify(connect, &handshake));
    }

    fn accept(&mut self, identity: Identity, now: Instant) {
        let connected = self.session.accept(&self.context.session, identity.name.as_deref(), self.handle.id.as_str());
        self.handle.identify(identity);
        let version = self.session.version();
        self.decoder.set_version(version);
        self.decoder.set_limits(self.context.limits.1);
        // Several frames may share one message.
        self.link.limit_input(2 * (self.context.limits.1.body_bytes + self.context.limits.1.head_bytes));
        let agreed = self.session.agreed();
        if agreed.send_every.is_some() {
            self.link.application_heart_beats();
        }
        self.pulse = Pulse::new(agreed, self.context.heart_beat_tolerance, now);
        self.phase = Phase::Open;
        debug!(session.id = %self.handle.id, user = self.handle.user().map(|user| &**user), %version, "session opened");
        write::frame(&mut self.link, &connected, version);
    }

    fn subscribe(&mut self, subscribe: stampede_protocol::stomp::session::Subscribe, now: Instant) {
        let to = self.slots.next(subscribe.slot);
        let strict = self.context.session.strict;
        match self.context.broker.subscribe(&self.handle, to, &subscribe, strict) {
            Ok((placement, own)) => {
                let joins =
                    self.context.broker.follows_subscriptions().then(|| ByteString::from(&*subscribe.destination));
                self.slots.put(to, placement, own, joins);
                self.confirm(subscribe.receipt);
            }
            Err(fault) => self.fail(fault.with_receipt(subscribe.receipt), now),
        }
    }

    fn settle(&self, how: Settlement, tokens: &[Token]) {
        for token in tokens {
            let (Some(seq), Some(slot)) = (token.seq, self.slots.get(token.to)) else { continue };
            self.context.broker.settle(&slot.placement, how, seq);
        }
    }

    /// All or nothing (clause T15): what can be refused is refused before anything is done.
    fn commit(&mut self, actions: Vec<Action<Token>>, receipt: Option<ByteString>, now: Instant) {
        let strict = self.context.session.strict;
        for action in &actions {
            if let Action::Send(send) = action
                && let Err(fault) = self.context.broker.check(&self.handle, send)
            {
                return self.fail(fault.with_receipt(receipt), now);
            }
        }
        for action in actions {
            match action {
                Action::Send(send) => self.context.broker.send(&self.handle, send, strict),
                Action::Settle { how, tokens, receipt } => {
                    self.settle(how, &tokens);
                    self.confirm(receipt);
                }
            }
        }
        self.confirm(receipt);
    }

    /// Confirms a frame that is done, behind everything that was queued before it.
    fn confirm(&self, receipt: Option<ByteString>) {
        if receipt.is_some() {
            drop(Handover::new(Arc::clone(&self.handle), receipt));
        }
    }

    fn proved(&mut self, mark: u64) {
        let Some(proofs) = &mut self.proofs else { return };
        if mark == proofs.mark {
            let proved = std::mem::take(&mut proofs.fenced);
            if proofs.written.is_empty() {
                self.proofs = None;
            }
            self.settle(Settlement::Ack, &proved);
        }
    }

    // --- the end ---

    /// A mistake of the client: told after everything that was answered before it; nothing more is read (clause E07).
    fn fail(&mut self, fault: Fault, now: Instant) {
        if matches!(self.phase, Phase::Failing { .. } | Phase::Closing) {
            return;
        }
        self.phase = Phase::Failing { since: now };
        self.leave_everything();
        self.handle.outbox.answer(Entry::Failed(Box::new(fault)));
    }

    fn gone(&mut self, gone: Gone, now: Instant) {
        let reason = match gone {
            _ if matches!(self.phase, Phase::Leaving { .. } | Phase::Left { .. }) => CloseReason::Disconnected,
            Gone::Closed => CloseReason::ClosedByPeer,
            Gone::Lost | Gone::Silent => CloseReason::Lost,
            Gone::Broken => CloseReason::TransportViolation,
            Gone::TooBig { size, limit } => {
                self.tell(&Fault::new(
                    FaultKind::Limit,
                    format!("message of {size} octets is over the transport's limit of {limit}"),
                ));
                CloseReason::MessageTooBig
            }
        };
        self.end(reason, now);
    }

    /// Somebody else decided that the session must end.
    fn told_to_close(&mut self, reason: CloseReason, now: Instant) {
        if reason == CloseReason::SlowConsumer {
            let limit = self.context.send_buffer_size_limit;
            self.tell(&Fault::new(
                FaultKind::Limit,
                format!("outbox full: what waits for this session is over the limit of {limit} octets"),
            ));
        }
        self.end(reason, now);
    }

    /// Ends the session, whatever the reason; only the link still has something to say.
    fn end(&mut self, reason: CloseReason, now: Instant) {
        if matches!(self.phase, Phase::Closing) {
            return;
        }
        self.give_back(&reason, now);
        self.link.close(reason.code(), reason.text());
    }

    fn give_back(&mut self, reason: &CloseReason, now: Instant) {
        self.phase = Phase::Closing;
        self.leave_everything();
        self.context.broker.close(&self.handle);
        self.context.wheel.remove(self.timer);
        self.handle.outbox.shut();
        self.taken = Taken::default();
        self.proofs = None;
        let metrics = metrics();
        metrics.sessions_open.get_or_create(&Label { reason: self.link.transport() }).dec();
        count(&metrics.sessions_closed, reason.label());
        debug!(
            session.id = %self.handle.id,
            reason = reason.label(),
            seconds = now.saturating_duration_since(self.opened).as_secs(),
            "session ended"
        );
    }

    fn leave_everything(&mut self) {
        self.session.end();
        for slot in self.slots.drain() {
            self.context.broker.unsubscribe(&slot.placement);
        }
    }

    // --- time ---

    /// What is due at `now`.
    fn check_time(&mut self, now: Instant) {
        match self.phase {
            Phase::Fresh(_) | Phase::Identifying(_) if now >= self.opened + self.context.time_to_connect => {
                let limit = self.context.time_to_connect;
                self.tell(&Fault::new(FaultKind::Limit, format!("no CONNECT within {limit:?}")));
                return self.end(CloseReason::ConnectTimeout, now);
            }
            Phase::Left { since } if now >= since + LEAVE_GRACE => return self.end(CloseReason::Disconnected, now),
            Phase::Failing { since } if now >= since + LEAVE_GRACE => {
                // Its turn never came: the client reads nothing.
                return self.end(CloseReason::SlowConsumer, now);
            }
            _ => {}
        }
        if self.blocked_since.is_some_and(|since| now >= since + self.context.send_time_limit) {
            return self.end(CloseReason::SlowConsumer, now);
        }
        // A client that is leaving is not read, so its silence says nothing.
        if self.pulse.is_dead(now) && !matches!(self.phase, Phase::Leaving { .. }) {
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
    fn arm(&mut self) {
        let phase = match self.phase {
            Phase::Fresh(_) | Phase::Identifying(_) => Some(self.opened + self.context.time_to_connect),
            Phase::Left { since } | Phase::Failing { since } => Some(since + LEAVE_GRACE),
            _ => None,
        };
        let blocked = self.blocked_since.map(|since| since + self.context.send_time_limit);
        let next = [phase, blocked, self.pulse.next_timeout()].into_iter().flatten().min();
        // A later deadline needs no call: the wheel rings at the earlier one and this is asked again.
        if let Some(next) = next
            && self.armed.is_none_or(|armed| next < armed)
        {
            self.armed = Some(next);
            self.context.wheel.set(self.timer, Some(next));
        }
    }

    fn poll_once(&mut self, cx: &mut task::Context<'_>) -> Poll<()> {
        let now = Instant::now();
        loop {
            let blocked = self.poll_output(cx, now);
            if std::mem::take(&mut self.taken.rang) {
                self.armed = None;
                self.check_time(now);
                // A heart-beat may have been written; if the link does not take it, it is blocked next time round.
                let _later = self.link.poll_flush(cx);
            }
            if let Some(reason) = self.taken.close.take() {
                self.told_to_close(reason, now);
            }
            let more = self.poll_input(cx, now);
            self.leave_when_done(now);
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
    fn leave_when_done(&mut self, now: Instant) {
        let Phase::Leaving { receipt } = &mut self.phase else { return };
        if self.handle.in_progress() > 0 || self.handle.outbox.has_more() {
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
