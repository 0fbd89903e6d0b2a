//! Proof that output has arrived, on transports that acknowledge nothing.
//!
//! The next receiving request proves that the answer before it was read to its end: browsers ask again only then. A
//! streaming answer may last for hours, so there a quiet time after the last octet counts as proof too, the weaker
//! one: it says that the connection did not break.

use std::collections::VecDeque;
use std::time::Instant;

use super::ReceiverId;

/// Marks that wait for their proof, oldest first.
#[derive(Debug, Default)]
pub(super) struct Fences {
    waiting: VecDeque<Fence>,
    proved: VecDeque<u64>,
}

#[derive(Debug)]
struct Fence {
    mark: u64,
    /// The receiver that carried the last octets before the mark; unknown while they are queued.
    carried: Option<ReceiverId>,
    /// When the quiet time is over.
    quiet: Option<Instant>,
}

impl Fences {
    /// A new mark.
    pub(super) fn push(&mut self, mark: u64, carried: Option<ReceiverId>, quiet: Option<Instant>) {
        self.waiting.push_back(Fence { mark, carried, quiet });
    }

    /// Everything queued so far went to this receiver.
    pub(super) fn carried(&mut self, by: ReceiverId) {
        for fence in &mut self.waiting {
            fence.carried.get_or_insert(by);
        }
    }

    /// The connection has taken everything this receiver carried.
    pub(super) fn written(&mut self, by: ReceiverId, quiet: Instant) {
        for fence in self.waiting.iter_mut().filter(|fence| fence.carried == Some(by)) {
            fence.quiet.get_or_insert(quiet);
        }
    }

    /// The answer is complete: from here only the next request proves anything.
    pub(super) fn ended(&mut self) {
        for fence in &mut self.waiting {
            fence.quiet = None;
        }
    }

    /// A receiving request came.
    pub(super) fn attached(&mut self, receiver: ReceiverId) {
        self.prove(|fence| fence.carried.is_some_and(|carried| carried < receiver));
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        self.prove(|fence| fence.quiet.is_some_and(|quiet| quiet <= now));
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.waiting.front().and_then(|fence| fence.quiet)
    }

    pub(super) fn poll(&mut self) -> Option<u64> {
        self.proved.pop_front()
    }

    /// Marks are proved in their order only: the last octets before a mark include those before the marks before it.
    fn prove(&mut self, arrived: impl Fn(&Fence) -> bool) {
        while self.waiting.front().is_some_and(&arrived) {
            self.proved.extend(self.waiting.pop_front().map(|fence| fence.mark));
        }
    }
}
