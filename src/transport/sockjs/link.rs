//! An HTTP session as its application sees it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};

use stampede_protocol::sockjs::frame::close;
use stampede_protocol::sockjs::session::{End, OfferError};

use super::sessions::{Inner, Live, Wake};
use crate::session::link::{Gone, Input, Link, OutFrame};

/// The application's end of a session.
#[derive(Debug)]
pub(super) struct HttpLink {
    live: Arc<Live>,
    transport: &'static str,
    /// Nothing more comes in: it was closed, or is gone.
    done: bool,
}

impl HttpLink {
    pub(super) const fn new(live: Arc<Live>, transport: &'static str) -> Self {
        Self { live, transport, done: false }
    }
}

impl Link for HttpLink {
    fn poll_input(&mut self, cx: &mut Context<'_>) -> Poll<Input> {
        if self.done {
            return Poll::Pending;
        }
        let input = self.live.step(|inner, _| {
            let input = next_input(inner);
            if input.is_none() {
                register(&mut inner.link, cx);
            }
            (input, Wake::Nobody)
        });
        let Some(input) = input else { return Poll::Pending };
        match input {
            Input::Data(_) => self.live.room.notify_one(),
            Input::Gone(_) => self.done = true,
            Input::Proved(_) => {}
        }
        Poll::Ready(input)
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.live.step(|inner, _| {
            inner.waiting = inner.machine.is_open() && !inner.machine.is_ready();
            (pending_while(inner.waiting, inner, cx), Wake::Nobody)
        })
    }

    fn write(&mut self, frame: OutFrame<'_>) -> bool {
        let offered = self.live.step(|inner, now| {
            let offered = inner.machine.offer(&[frame.head, frame.body, frame.tail], now);
            // The receiver is woken by the flush, once for all that is written before it.
            (offered, if offered == Err(OfferError::Overflow) { Wake::Both } else { Wake::Nobody })
        });
        let counters = &self.live.sessions.counters;
        match offered {
            Ok(()) => {}
            Err(OfferError::NotText(_)) => drop(counters.binary_dropped.fetch_add(1, Ordering::Relaxed)),
            Err(OfferError::Overflow) => drop(counters.queue_overflow.fetch_add(1, Ordering::Relaxed)),
        }
        !matches!(offered, Err(OfferError::NotText(_)))
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.live.step(|inner, now| {
            inner.machine.flush(now);
            let wake = if inner.machine.has_output() { Wake::Receiver } else { Wake::Nobody };
            (pending_while(inner.machine.is_open() && !inner.machine.is_flushed(), inner, cx), wake)
        })
    }

    fn fence(&mut self, mark: u64) {
        self.live.step(|inner, now| (inner.machine.fence(mark, now), Wake::Nobody));
    }

    fn close(&mut self, code: u16, reason: &str) {
        self.done = true;
        self.live.step(|inner, now| {
            inner.machine.close(code, reason, now);
            inner.input.clear();
            inner.input_bytes = 0;
            ((), Wake::Receiver)
        });
        self.live.room.notify_one();
    }

    fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.live.step(|inner, _| (pending_while(!inner.machine.has_said_farewell(), inner, cx), Wake::Nobody))
    }

    // `application_heart_beats` changes nothing here: a poll that an application's heart-beat has answered needs no `h`,
    // and one that stays unanswered needs it, or JSONP clients give up after 35 s.

    fn transport(&self) -> &'static str {
        self.transport
    }
}

impl Drop for HttpLink {
    /// An application that just leaves says what Spring says for a plain close.
    fn drop(&mut self) {
        let (code, reason) = close::GO_AWAY;
        self.close(code, reason);
    }
}

fn next_input(inner: &mut Inner) -> Option<Input> {
    if let Some(octets) = inner.input.pop_front() {
        inner.input_bytes -= super::send::cost(&octets);
        if inner.input.is_empty() {
            inner.input = std::collections::VecDeque::new();
        }
        return Some(Input::Data(octets));
    }
    if let Some(mark) = inner.machine.poll_proof() {
        return Some(Input::Proved(mark));
    }
    inner.machine.end().map(|end| match end {
        End::Closed => Input::Gone(Gone::Closed),
        End::Expired | End::Aborted | End::Stalled | End::Overflow => Input::Gone(Gone::Lost),
    })
}

fn pending_while(pending: bool, inner: &mut Inner, cx: &mut Context<'_>) -> Poll<()> {
    if !pending {
        return Poll::Ready(());
    }
    register(&mut inner.link, cx);
    Poll::Pending
}

/// Keeps the waker of the task that polls now.
pub(super) fn register(slot: &mut Option<Waker>, cx: &mut Context<'_>) {
    if slot.as_ref().is_none_or(|waker| !waker.will_wake(cx.waker())) {
        *slot = Some(cx.waker().clone());
    }
}
