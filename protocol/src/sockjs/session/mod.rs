//! The state machine of one HTTP session: it outlives the requests that carry it.
//!
//! A driver feeds it receiving requests ([`Session::attach`]), messages of the application ([`Session::offer`],
//! [`Session::flush`], [`Session::close`]), lost connections ([`Session::abort`]) and time
//! ([`Session::handle_timeout`] at [`Session::poll_timeout`]); it takes chunks for the attached answer
//! ([`Session::take`]) and proofs of delivery ([`Session::poll_proof`]). The clock is always an argument.

mod fences;
mod receiver;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use self::fences::Fences;
use self::receiver::{READY_BYTES, Receiver};
use super::frame::{self, Array, NotText};
use super::transport::Wrapping;

/// What all sessions of an endpoint have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Time between heart-beats while a receiver is attached.
    pub heartbeat_time: Duration,
    /// How long a session waits for its next receiver; how long a closed one repeats its close frame.
    pub disconnect_delay: Duration,
    /// A streaming answer ends once it holds this many octets, prelude not counted, so that browsers can free memory.
    pub stream_bytes_limit: usize,
    /// Octets that may wait in a session, quoted. One message may go beyond it, so that none is too large by itself; the
    /// next one ends the session.
    pub queued_bytes_limit: usize,
    /// Messages that may wait in a session; one more ends it.
    pub queued_messages_limit: usize,
    /// A streaming answer of which nothing could be written for so long is given up.
    pub send_time_limit: Duration,
    /// What was written to a streaming answer counts as arrived after so long without the connection ending.
    pub quiet_time: Duration,
}

/// How a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The application closed it, and the time to say so is over.
    Closed,
    /// No receiver came back in time.
    Expired,
    /// The connection of the attached receiver broke: frames may be missing.
    Aborted,
    /// The attached receiver took nothing in time.
    Stalled,
    /// More output waited than may.
    Overflow,
}

/// What becomes of a receiving request.
#[derive(Debug)]
pub enum Attach {
    /// It is the session's receiver now: take its chunks until the end.
    Attached(ReceiverId),
    /// This is its whole answer.
    Answer(Vec<Bytes>),
    /// Another receiver is attached.
    Busy,
    /// The session is over; its id is free.
    Gone,
}

/// Names one receiving request of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ReceiverId(u64);

/// What an attached receiver gets next.
#[derive(Debug, PartialEq, Eq)]
pub enum Take {
    /// Octets to be sent at once, as a chunk of their own.
    Chunk(Bytes),
    /// The answer is complete; the receiver is detached.
    End,
    /// Nothing at the moment.
    Nothing,
    /// The session is over: break the connection off.
    Broken,
}

/// Why a message was not queued.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OfferError {
    /// SockJS carries text only; the message is dropped.
    #[error(transparent)]
    NotText(#[from] NotText),
    /// More waits than the session may hold: it is over, and its receivers are told.
    #[error("too much output waits")]
    Overflow,
}

/// One session.
///
/// ```text
///   New ──attach──► Open ──close, overflow──► Closing ──nobody asked for disconnect_delay──► Gone
///                    │                                                                        ▲
///                    └── receiver aborted or stalled, no receiver for disconnect_delay ───────┘
/// ```
#[derive(Debug)]
pub struct Session {
    settings: Arc<Settings>,
    phase: Phase,
    /// Output that no answer holds yet.
    queue: Array,
    receiver: Option<Receiver>,
    /// The newest receiving request.
    newest: ReceiverId,
    fences: Fences,
}

#[derive(Debug)]
enum Phase {
    /// Nobody has asked yet.
    New,
    /// Serving its application.
    Open {
        /// While nobody is attached: until when the next receiver has to come.
        expires: Option<Instant>,
    },
    /// The application is done; each receiver is told.
    Closing {
        /// The close frame.
        farewell: Vec<u8>,
        /// Whether it is written into an answer already.
        told: bool,
        /// Until when it is repeated.
        until: Instant,
        /// How it ended.
        end: End,
    },
    /// Over.
    Gone(End),
}

impl Session {
    /// A session nobody has asked for yet.
    #[must_use]
    pub fn new(settings: Arc<Settings>) -> Self {
        Self {
            settings,
            phase: Phase::New,
            queue: Array::default(),
            receiver: None,
            newest: ReceiverId(0),
            fences: Fences::default(),
        }
    }

    /// A receiving request came. `waiting` says that the application holds back output until someone listens.
    pub fn attach(&mut self, wrapping: Wrapping, waiting: bool, now: Instant) -> Attach {
        if self.receiver.is_some() {
            return Attach::Busy;
        }
        match &mut self.phase {
            Phase::New => {
                self.phase = Phase::Open { expires: None };
                self.attach_new(wrapping, now)
            }
            Phase::Open { expires } => {
                *expires = None;
                self.attach_next(wrapping, waiting, now)
            }
            Phase::Closing { farewell, told, until, .. } => {
                *until = now + self.settings.disconnect_delay;
                let mut answer: Vec<Bytes> = wrapping.prelude().into_iter().collect();
                if let Some(frame) = self.queue.take() {
                    answer.push(wrapping.wrap(frame));
                    if wrapping.is_polling() {
                        return Attach::Answer(answer);
                    }
                }
                *told = true;
                answer.push(wrapping.wrap(farewell.clone()));
                Attach::Answer(answer)
            }
            Phase::Gone(_) => Attach::Gone,
        }
    }

    /// Queues one message given in pieces of UTF-8. A streaming receiver gets it as a frame of its own.
    ///
    /// After a close, messages are dropped in silence.
    ///
    /// # Errors
    ///
    /// See [`OfferError`].
    pub fn offer(&mut self, pieces: &[&[u8]], now: Instant) -> Result<(), OfferError> {
        if !matches!(self.phase, Phase::New | Phase::Open { .. }) {
            return Ok(());
        }
        let waiting = self.receiver.as_ref().map_or(0, |receiver| receiver.chunk_bytes) + self.queue.bytes();
        if waiting > self.settings.queued_bytes_limit || self.queue.messages() >= self.settings.queued_messages_limit {
            self.queue.clear();
            let (code, reason) = frame::close::OVERFLOW;
            self.finish(frame::close(code, reason), End::Overflow, now);
            return Err(OfferError::Overflow);
        }
        self.queue.push(pieces)?;
        let streams = self.receiver.as_ref().is_some_and(|receiver| !receiver.gathers && !receiver.ending);
        if streams && self.queue.messages() == 1 {
            self.move_queue(now);
        }
        Ok(())
    }

    /// Hands everything that was offered to the receiver, if one is attached.
    pub fn flush(&mut self, now: Instant) {
        self.move_queue(now);
        if let Some(receiver) = &mut self.receiver {
            receiver.gathers = receiver.wrapping.is_polling();
        }
    }

    /// Ends the session: what waits goes out first, then the close frame, to every receiver that asks from now on.
    pub fn close(&mut self, code: u16, reason: &str, now: Instant) {
        if matches!(self.phase, Phase::New | Phase::Open { .. }) {
            self.finish(frame::close(code, reason), End::Closed, now);
        }
    }

    /// The connection of a receiver broke. Nothing happens when its answer was complete before.
    pub fn abort(&mut self, id: ReceiverId) {
        if self.receiver.as_ref().is_none_or(|receiver| receiver.id != id) {
            return;
        }
        self.receiver = None;
        self.fences.ended();
        if matches!(self.phase, Phase::Open { .. }) {
            self.leave(End::Aborted);
        }
    }

    /// The next piece of a receiver's answer.
    pub fn take(&mut self, id: ReceiverId, now: Instant) -> Take {
        let Some(receiver) = self.receiver.as_mut().filter(|receiver| receiver.id == id) else { return Take::Broken };
        if let Some(chunk) = receiver.pop(now) {
            if receiver.chunks.is_empty() && !receiver.wrapping.is_polling() {
                self.fences.written(id, now + self.settings.quiet_time);
            }
            return Take::Chunk(chunk);
        }
        if !receiver.ending {
            return Take::Nothing;
        }
        self.receiver = None;
        self.fences.ended();
        if let Phase::Open { expires } = &mut self.phase {
            *expires = Some(now + self.settings.disconnect_delay);
        }
        Take::End
    }

    /// Does what is due at `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.fences.handle_timeout(now);
        match &self.phase {
            Phase::Open { expires: Some(at) } if *at <= now => return self.leave(End::Expired),
            Phase::Closing { until, end, .. } if *until <= now => return self.leave(*end),
            _ => {}
        }
        let Some(receiver) = &mut self.receiver else { return };
        if receiver.stalls(&self.settings).is_some_and(|at| at <= now) {
            return self.leave(End::Stalled);
        }
        if receiver.heart_beat <= now && !receiver.ending {
            receiver.heart_beat = now + self.settings.heartbeat_time;
            // Not behind a backlog: what waits there is a sign of life already.
            if receiver.chunks.is_empty() {
                receiver.push(frame::HEART_BEAT.into(), self.settings.stream_bytes_limit, now);
            }
        }
    }

    /// Asks that `mark` is told once everything offered so far has arrived.
    pub fn fence(&mut self, mark: u64, now: Instant) {
        let streamed = self
            .receiver
            .as_ref()
            .is_some_and(|receiver| receiver.chunks.is_empty() && !receiver.ending && !receiver.wrapping.is_polling());
        let carried = (self.queue.messages() == 0).then_some(self.newest);
        let quiet = (streamed && carried.is_some()).then(|| now + self.settings.quiet_time);
        self.fences.push(mark, carried, quiet);
    }

    /// The next mark that is proved.
    #[must_use]
    pub fn poll_proof(&mut self) -> Option<u64> {
        self.fences.poll()
    }

    /// When [`Session::handle_timeout`] has something to do.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let phase = match &self.phase {
            Phase::New | Phase::Gone(_) => None,
            Phase::Open { expires } => *expires,
            Phase::Closing { until, .. } => Some(*until),
        };
        let receiver = self.receiver.as_ref();
        let stalls = receiver.and_then(|receiver| receiver.stalls(&self.settings));
        let beats = receiver.filter(|receiver| !receiver.ending).map(|receiver| receiver.heart_beat);
        [phase, stalls, beats, self.fences.poll_timeout()].into_iter().flatten().min()
    }

    /// Whether output offered now would go out at once.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        matches!(self.phase, Phase::Open { .. })
            && self.queue.bytes() <= self.settings.queued_bytes_limit / 2
            && self.queue.messages() < self.settings.queued_messages_limit
            && self.receiver.as_ref().is_some_and(|receiver| {
                !receiver.ending && receiver.chunk_bytes <= (self.settings.queued_bytes_limit / 2).min(READY_BYTES)
            })
    }

    /// Whether nothing waits on this side.
    #[must_use]
    pub fn is_flushed(&self) -> bool {
        self.queue.messages() == 0 && self.receiver.as_ref().is_none_or(|receiver| receiver.chunks.is_empty())
    }

    /// Whether the attached receiver has something to take.
    #[must_use]
    pub fn has_output(&self) -> bool {
        self.receiver.as_ref().is_some_and(|receiver| receiver.ending || !receiver.chunks.is_empty())
    }

    /// Whether a closed session has told its receiver so, or never will.
    #[must_use]
    pub fn has_said_farewell(&self) -> bool {
        match self.phase {
            Phase::New | Phase::Open { .. } => false,
            Phase::Closing { told, .. } => told && self.receiver.is_none(),
            Phase::Gone(_) => true,
        }
    }

    /// Whether messages of the client still mean something: its application has not closed it.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        matches!(self.phase, Phase::New | Phase::Open { .. })
    }

    /// How it ended, once the application has nothing more to expect.
    #[must_use]
    pub const fn end(&self) -> Option<End> {
        match self.phase {
            Phase::New | Phase::Open { .. } => None,
            Phase::Closing { end, .. } | Phase::Gone(end) => Some(end),
        }
    }

    /// Whether its id is free.
    #[must_use]
    pub const fn is_gone(&self) -> bool {
        matches!(self.phase, Phase::Gone(_))
    }

    fn attach_new(&mut self, wrapping: Wrapping, now: Instant) -> Attach {
        let mut receiver = self.receiver(wrapping, now);
        receiver.push(frame::OPEN.into(), self.settings.stream_bytes_limit, now);
        self.seat(receiver)
    }

    fn attach_next(&mut self, wrapping: Wrapping, waiting: bool, now: Instant) -> Attach {
        let mut receiver = self.receiver(wrapping, now);
        self.fences.attached(receiver.id);
        receiver.gathers |= waiting;
        let id = self.seat(receiver);
        self.move_queue(now);
        id
    }

    fn receiver(&mut self, wrapping: Wrapping, now: Instant) -> Receiver {
        self.newest = ReceiverId(self.newest.0 + 1);
        Receiver::new(self.newest, wrapping, now + self.settings.heartbeat_time, now)
    }

    fn seat(&mut self, receiver: Receiver) -> Attach {
        let id = receiver.id;
        self.receiver = Some(receiver);
        Attach::Attached(id)
    }

    /// Everything that waits goes to the receiver as one frame.
    fn move_queue(&mut self, now: Instant) {
        let Some(receiver) = self.receiver.as_mut().filter(|receiver| !receiver.ending) else { return };
        let Some(frame) = self.queue.take() else { return };
        receiver.push(frame, self.settings.stream_bytes_limit, now);
        self.fences.carried(receiver.id);
    }

    fn finish(&mut self, farewell: Vec<u8>, end: End, now: Instant) {
        self.move_queue(now);
        let mut told = false;
        if let Some(receiver) = self.receiver.as_mut().filter(|receiver| !receiver.ending) {
            receiver.push(farewell.clone(), self.settings.stream_bytes_limit, now);
            receiver.ending = true;
            told = true;
        }
        self.phase = Phase::Closing { farewell, told, until: now + self.settings.disconnect_delay, end };
    }

    fn leave(&mut self, end: End) {
        self.receiver = None;
        self.queue.clear();
        self.fences.ended();
        self.phase = Phase::Gone(end);
    }
}
