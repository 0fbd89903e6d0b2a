//! The receiving request that is attached to a session.

use std::collections::VecDeque;
use std::time::Instant;

use bytes::Bytes;

use super::{ReceiverId, Settings};
use crate::sockjs::transport::Wrapping;

/// The attached request.
#[derive(Debug)]
pub(super) struct Receiver {
    pub(super) id: ReceiverId,
    pub(super) wrapping: Wrapping,
    /// What the connection has not taken yet.
    pub(super) chunks: VecDeque<Bytes>,
    pub(super) chunk_bytes: usize,
    /// Octets of frames so far, counted against the limit of an answer.
    written: usize,
    /// The answer ends after its chunks.
    pub(super) ending: bool,
    /// Messages gather until the next flush: they waited before this receiver came, so they go as one frame.
    pub(super) gathers: bool,
    pub(super) heart_beat: Instant,
    /// When the connection last took a chunk, or had none to take.
    moved: Instant,
}

impl Receiver {
    /// A receiver that has its prelude to take.
    pub(super) fn new(id: ReceiverId, wrapping: Wrapping, heart_beat: Instant, now: Instant) -> Self {
        let chunks: VecDeque<Bytes> = wrapping.prelude().into_iter().collect();
        Self {
            id,
            chunk_bytes: chunks.iter().map(Bytes::len).sum(),
            chunks,
            written: 0,
            ending: false,
            gathers: wrapping.is_polling(),
            wrapping,
            heart_beat,
            moved: now,
        }
    }

    /// Dresses a frame and queues it; the answer ends after it where the transport or the limit says so.
    pub(super) fn push(&mut self, frame: Vec<u8>, limit: usize, now: Instant) {
        let chunk = self.wrapping.wrap(frame);
        if self.chunks.is_empty() {
            self.moved = now;
        }
        self.written += chunk.len();
        self.chunk_bytes += chunk.len();
        self.ending = self.wrapping.is_polling() || self.written >= limit;
        self.chunks.push_back(chunk);
    }

    pub(super) fn pop(&mut self, now: Instant) -> Option<Bytes> {
        let chunk = self.chunks.pop_front()?;
        self.chunk_bytes -= chunk.len();
        self.moved = now;
        Some(chunk)
    }

    /// When the peer has taken nothing for too long.
    pub(super) fn stalls(&self, settings: &Settings) -> Option<Instant> {
        (!self.chunks.is_empty()).then(|| self.moved + settings.send_time_limit)
    }
}

/// What may wait for a slow connection before the application is asked to hold back.
pub(super) const READY_BYTES: usize = 64 * 1024;
