//! What waits for the socket: one buffer per link that exists only while bytes wait.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use tokio::io::AsyncWrite;

use super::super::Stream;

/// Output beyond this many octets waits in the session's outbox, where it is counted and bounded.
const HIGH_WATER: usize = 64 * 1024;

/// A body of at least this size is handed to the kernel from where it lies instead of being copied first.
const SHARE_FROM: usize = 16 * 1024;

/// Write buffers kept per thread for the next link that writes.
const POOLED_BUFFERS: usize = 8;

thread_local! {
    static BUFFERS: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

#[derive(Debug, Clone, Copy)]
pub(super) enum OpCode {
    Text = 0x81,
    Binary = 0x82,
    Ping = 0x89,
}

/// Octets on their way to the socket. `first` comes before `rest`; `rest` is empty unless a large body is shared.
#[derive(Default)]
pub(super) struct Output {
    first: Vec<u8>,
    /// Octets of `first` that the socket has taken.
    taken: usize,
    rest: VecDeque<Segment>,
    len: usize,
    /// Octets of tungstenite's own replies among them: pongs that the peer asked for.
    replies: usize,
    /// The socket took less than it was offered.
    blocked: bool,
}

enum Segment {
    Owned(Vec<u8>),
    Shared(Bytes),
}

impl Output {
    /// Octets that wait.
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    /// Whether more may be put in before some has left.
    pub(super) const fn has_room(&self) -> bool {
        self.len < HIGH_WATER && !self.blocked
    }

    /// Whether the peer asks for replies faster than it takes them.
    pub(super) const fn is_full_of_replies(&self) -> bool {
        self.replies >= HIGH_WATER
    }

    /// Adds one WebSocket frame, not masked, as a server's are.
    pub(super) fn frame(&mut self, opcode: OpCode, head: &[u8], body: &Bytes, tail: &[u8]) {
        let len = head.len() + body.len() + tail.len();
        let mut prefix = [opcode as u8, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        // RFC 6455, 5.2: 7 bits, or 16 after 126, or 64 after 127, in network order.
        let prefix_len = if let (Ok(short), true) = (u8::try_from(len), len < 126) {
            prefix[1] = short;
            2
        } else if let Ok(medium) = u16::try_from(len) {
            prefix[1] = 126;
            prefix[2..4].copy_from_slice(&medium.to_be_bytes());
            4
        } else {
            prefix[1] = 127;
            prefix[2..].copy_from_slice(&(len as u64).to_be_bytes());
            10
        };
        self.len += prefix_len + len;
        let share = body.len() >= SHARE_FROM;
        let target = self.tail_buffer();
        target.reserve(prefix_len + head.len() + if share { 0 } else { body.len() + tail.len() });
        target.extend_from_slice(&prefix[..prefix_len]);
        target.extend_from_slice(head);
        if share {
            self.rest.push_back(Segment::Shared(body.clone()));
            self.rest.push_back(Segment::Owned(tail.to_vec()));
        } else {
            target.extend_from_slice(body);
            target.extend_from_slice(tail);
        }
    }

    pub(super) fn append(&mut self, octets: &[u8]) {
        self.replies += octets.len();
        self.len += octets.len();
        self.tail_buffer().extend_from_slice(octets);
    }

    fn tail_buffer(&mut self) -> &mut Vec<u8> {
        if self.rest.is_empty() {
            if self.first.capacity() == 0 {
                self.first = BUFFERS.with_borrow_mut(Vec::pop).unwrap_or_default();
            }
            return &mut self.first;
        }
        if !matches!(self.rest.back(), Some(Segment::Owned(_))) {
            self.rest.push_back(Segment::Owned(Vec::new()));
        }
        match self.rest.back_mut() {
            Some(Segment::Owned(buffer)) => buffer,
            _ => &mut self.first,
        }
    }

    /// Writes until nothing is left or the socket is full.
    pub(super) fn poll_drain(&mut self, io: &mut Stream, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.len > 0 {
            let written = if self.rest.is_empty() {
                Pin::new(&mut *io).poll_write(cx, &self.first[self.taken..])
            } else {
                let mut slices: [IoSlice<'_>; 16] = std::array::from_fn(|_| IoSlice::new(&[]));
                slices[0] = IoSlice::new(&self.first[self.taken..]);
                for (slice, segment) in slices[1..].iter_mut().zip(&self.rest) {
                    *slice = IoSlice::new(segment.octets());
                }
                Pin::new(&mut *io).poll_write_vectored(cx, &slices)
            };
            match written {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(octets)) => self.advance(octets),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    self.blocked = true;
                    return Poll::Pending;
                }
            }
        }
        // TLS may hold what it has taken.
        match Pin::new(&mut *io).poll_flush(cx) {
            Poll::Ready(flushed) => {
                self.clear();
                Poll::Ready(flushed)
            }
            Poll::Pending => {
                self.blocked = true;
                Poll::Pending
            }
        }
    }

    fn advance(&mut self, mut octets: usize) {
        self.len -= octets;
        let here = octets.min(self.first.len() - self.taken);
        self.taken += here;
        octets -= here;
        while octets > 0 {
            let Some(segment) = self.rest.front_mut() else { return };
            let here = octets.min(segment.octets().len());
            segment.advance(here);
            octets -= here;
            if segment.octets().is_empty() {
                self.rest.pop_front();
            }
        }
    }

    /// Gives the buffers back: an idle link holds none.
    pub(super) fn clear(&mut self) {
        let mut buffer = std::mem::take(&mut self.first);
        self.rest = VecDeque::new();
        self.taken = 0;
        self.len = 0;
        self.replies = 0;
        self.blocked = false;
        if buffer.capacity() > 0 && buffer.capacity() <= 4 * HIGH_WATER {
            buffer.clear();
            BUFFERS.with_borrow_mut(|pool| {
                if pool.len() < POOLED_BUFFERS {
                    pool.push(buffer);
                }
            });
        }
    }
}

impl Segment {
    fn octets(&self) -> &[u8] {
        match self {
            Self::Owned(octets) => octets,
            Self::Shared(octets) => octets,
        }
    }

    fn advance(&mut self, octets: usize) {
        match self {
            Self::Owned(owned) => drop(owned.drain(..octets)),
            Self::Shared(shared) => shared.advance(octets),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(output: &Output) -> Vec<u8> {
        let mut all = output.first[output.taken..].to_vec();
        output.rest.iter().for_each(|segment| all.extend_from_slice(segment.octets()));
        all
    }

    #[test]
    fn lengths_are_written_in_the_shortest_form() {
        for (len, prefix) in [
            (0, vec![0x81, 0]),
            (125, vec![0x81, 125]),
            (126, vec![0x81, 126, 0, 126]),
            (65535, vec![0x81, 126, 255, 255]),
            (65536, vec![0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            let mut output = Output::default();
            output.frame(OpCode::Text, &[], &Bytes::from(vec![7; len]), &[]);
            let all = written(&output);
            assert_eq!(all[..prefix.len()], prefix[..], "{len}");
            assert_eq!(all.len(), prefix.len() + len);
            assert_eq!(output.len, all.len());
        }
    }

    #[test]
    fn large_bodies_are_shared_and_keep_their_place() {
        let mut output = Output::default();
        let body = Bytes::from(vec![b'x'; SHARE_FROM]);
        output.frame(OpCode::Text, b"a", &body, b"z");
        output.frame(OpCode::Text, b"second", &Bytes::new(), &[]);
        assert!(
            output
                .rest
                .iter()
                .any(|segment| matches!(segment, Segment::Shared(shared) if shared.as_ptr() == body.as_ptr()))
        );
        let all = written(&output);
        assert_eq!(&all[all.len() - 9..], b"z\x81\x06second");
        let mut left = all.len();
        for step in [1, 5, SHARE_FROM, 3] {
            let step = step.min(left);
            output.advance(step);
            left -= step;
            assert_eq!(written(&output), all[all.len() - left..]);
            assert_eq!(output.len, left);
        }
    }
}
