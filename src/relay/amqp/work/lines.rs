//! What waits to be published: a line for each queue, without I/O.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::queue::{self, Undeclared};
use crate::relay::work::WorkQueue;
use crate::relay::{Confirm, RelayError};

/// Queues that are remembered as declared while nothing waits for them.
const REMEMBERED: usize = 4096;
/// How long a queue that could not be declared is left alone.
const PAUSE: Duration = Duration::from_millis(500);

/// One message that wants to be confirmed.
pub(in crate::relay::amqp) struct Offer {
    pub(super) queue: WorkQueue,
    pub(super) record: Bytes,
    since: Instant,
    done: Option<Confirm>,
}

/// Names one attempt to publish a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sending {
    destination: Box<str>,
    number: u64,
    attempt: u64,
}

/// Messages in the order in which they came, by queue.
#[derive(Default)]
pub(super) struct Lines {
    lines: HashMap<Box<str>, Line>,
    next: u64,
    attempts: u64,
    /// Messages that are not settled.
    open: usize,
    undeclared: VecDeque<Box<str>>,
    /// Queues that are declared and have messages to be sent; each once.
    ready: VecDeque<Box<str>>,
}

struct Line {
    queue: WorkQueue,
    state: State,
    /// It stands among the undeclared or the ready.
    listed: bool,
    waiting: BTreeMap<u64, Offer>,
    /// With the attempt that counts.
    sent: BTreeMap<u64, (u64, Offer)>,
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// To be declared, from then on.
    Unknown(Option<Instant>),
    Declaring,
    Declared(Instant),
}

impl Offer {
    pub(super) fn new(queue: WorkQueue, record: Bytes, done: Confirm) -> Self {
        Self { queue, record, since: Instant::now(), done: Some(done) }
    }

    pub(super) fn end(mut self, result: Result<(), RelayError>) {
        if let Some(done) = self.done.take() {
            done(result);
        }
    }
}

impl Drop for Offer {
    fn drop(&mut self) {
        if let Some(done) = self.done.take() {
            done(Err(RelayError::Closed));
        }
    }
}

impl Sending {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, '.');
        let (number, attempt) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        Some(Self { number, attempt, destination: "".into() })
    }
}

impl fmt::Display for Sending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.number, self.attempt)
    }
}

impl Lines {
    pub(super) fn is_empty(&self) -> bool {
        self.open == 0
    }

    pub(super) fn push(&mut self, offer: Offer) {
        let destination = offer.queue.destination.clone();
        if self.lines.len() >= REMEMBERED && !self.lines.contains_key(&destination) {
            self.lines.retain(|_, line| !line.waiting.is_empty() || !line.sent.is_empty() || line.listed);
        }
        let line = self.lines.entry(destination.clone()).or_insert_with(|| Line {
            queue: offer.queue.clone(),
            state: State::Unknown(None),
            listed: false,
            waiting: BTreeMap::new(),
            sent: BTreeMap::new(),
        });
        if let State::Declared(at) = line.state
            && at.elapsed() >= queue::declared_for(&line.queue)
        {
            line.state = State::Unknown(None);
        }
        line.waiting.insert(self.next, offer);
        self.next += 1;
        self.open += 1;
        self.list(&destination);
    }

    /// A queue that has to be declared before its messages are sent.
    pub(super) fn next_undeclared(&mut self) -> Option<WorkQueue> {
        for _ in 0..self.undeclared.len() {
            let destination = self.undeclared.pop_front()?;
            let Some(line) = self.lines.get_mut(&destination) else { continue };
            match line.state {
                State::Unknown(Some(at)) if at > Instant::now() => self.undeclared.push_back(destination),
                State::Unknown(_) => {
                    line.listed = false;
                    line.state = State::Declaring;
                    return Some(line.queue.clone());
                }
                State::Declaring | State::Declared(_) => {
                    line.listed = false;
                    self.list(&destination);
                }
            }
        }
        None
    }

    pub(super) fn declared(&mut self, destination: &str, result: Result<(), Undeclared>) {
        let Some(line) = self.lines.get_mut(destination) else { return };
        match result {
            Ok(()) => line.state = State::Declared(Instant::now()),
            Err(Undeclared::Passing(error)) => {
                tracing::debug!(destination, error, "a work queue could not be declared; it is tried again");
                line.state = State::Unknown(Some(Instant::now() + PAUSE));
            }
            Err(refused) => {
                line.state = State::Unknown(None);
                for (_, offer) in std::mem::take(&mut line.waiting) {
                    self.open -= 1;
                    offer.end(Err(refused.error()));
                }
            }
        }
        self.list(destination);
    }

    /// The next message that can be sent; the queues take turns.
    pub(super) fn next_to_send(&mut self) -> Option<(Sending, &Offer)> {
        loop {
            let destination = self.ready.pop_front()?;
            let Some(line) = self.lines.get_mut(&destination) else { continue };
            line.listed = false;
            if !matches!(line.state, State::Declared(_)) {
                self.list(&destination);
                continue;
            }
            let Some((number, offer)) = line.waiting.pop_first() else { continue };
            self.attempts += 1;
            let attempt = self.attempts;
            line.sent.insert(number, (attempt, offer));
            self.list(&destination);
            let offer = self.lines.get(&destination).and_then(|line| line.sent.get(&number));
            return offer.map(|(_, offer)| (Sending { destination, number, attempt }, offer));
        }
    }

    /// The broker has answered this attempt. One that was returned, or given up, is settled no more.
    pub(super) fn settle(&mut self, sending: &Sending, result: Result<(), RelayError>) {
        let Some(line) = self.lines.get_mut(&sending.destination) else { return };
        if line.sent.get(&sending.number).is_some_and(|(attempt, _)| *attempt == sending.attempt)
            && let Some((_, offer)) = line.sent.remove(&sending.number)
        {
            self.open -= 1;
            offer.end(result);
        }
    }

    /// No queue was there for this attempt: it is declared and the message sent again, in its place.
    pub(super) fn returned(&mut self, sending: &Sending) {
        let found = self.lines.iter_mut().find(|(_, line)| line.sent.contains_key(&sending.number));
        let Some((destination, line)) = found else { return };
        if line.sent.get(&sending.number).is_some_and(|(attempt, _)| *attempt == sending.attempt)
            && let Some((_, offer)) = line.sent.remove(&sending.number)
        {
            line.waiting.insert(sending.number, offer);
            if matches!(line.state, State::Declared(_)) {
                line.state = State::Unknown(None);
            }
            let destination = destination.clone();
            self.list(&destination);
        }
    }

    /// Nothing that was sent will be confirmed: all of it waits again, and no queue counts as declared.
    pub(super) fn connection_lost(&mut self) {
        let mut busy = Vec::new();
        for (destination, line) in &mut self.lines {
            line.state = State::Unknown(None);
            let sent = std::mem::take(&mut line.sent);
            line.waiting.extend(sent.into_iter().map(|(number, (_, offer))| (number, offer)));
            busy.push(destination.clone());
        }
        busy.iter().for_each(|destination| self.list(destination));
    }

    /// Ends what has waited too long.
    pub(super) fn give_up(&mut self, after: Duration) {
        let mut old = Vec::new();
        for line in self.lines.values_mut() {
            while let Some(first) = line.waiting.first_entry()
                && first.get().since.elapsed() >= after
            {
                old.push(first.remove());
            }
            while let Some(first) = line.sent.first_entry()
                && first.get().1.since.elapsed() >= after
            {
                old.push(first.remove().1);
            }
        }
        self.open -= old.len();
        old.into_iter().for_each(|offer| offer.end(Err(RelayError::Timeout(after))));
    }

    /// Puts a queue where it is found when something can be done for it.
    fn list(&mut self, destination: &str) {
        let Some(line) = self.lines.get_mut(destination) else { return };
        if line.listed || line.waiting.is_empty() {
            return;
        }
        let list = match line.state {
            State::Unknown(_) => &mut self.undeclared,
            State::Declared(_) => &mut self.ready,
            State::Declaring => return,
        };
        line.listed = true;
        list.push_back(destination.into());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parking_lot::Mutex;

    use super::*;
    use crate::config::mailbox::Keep;

    type Results = Arc<Mutex<Vec<(u8, bool)>>>;

    fn offer(results: &Results, destination: &str, body: u8) -> Offer {
        let queue = WorkQueue { destination: destination.into(), keep: Keep::default() };
        let results = Arc::clone(results);
        Offer::new(queue, vec![body].into(), Box::new(move |result| results.lock().push((body, result.is_ok()))))
    }

    fn send_all(lines: &mut Lines) -> Vec<(u8, Sending)> {
        std::iter::from_fn(|| lines.next_to_send().map(|(sending, offer)| (offer.record[0], sending))).collect()
    }

    #[test]
    fn nothing_is_sent_before_its_queue_is_declared() {
        let (mut lines, results) = (Lines::default(), Results::default());
        lines.push(offer(&results, "/a", 1));
        lines.push(offer(&results, "/a", 2));
        assert!(send_all(&mut lines).is_empty());
        assert_eq!(&*lines.next_undeclared().unwrap().destination, "/a");
        assert!(lines.next_undeclared().is_none());
        lines.declared("/a", Ok(()));
        let sent = send_all(&mut lines);
        assert_eq!(sent.iter().map(|(body, _)| *body).collect::<Vec<_>>(), [1, 2]);
        sent.iter().for_each(|(_, sending)| lines.settle(sending, Ok(())));
        assert_eq!(*results.lock(), [(1, true), (2, true)]);
        assert!(lines.is_empty());
    }

    #[test]
    fn what_is_unconfirmed_is_sent_again_in_order_and_settled_once() {
        let (mut lines, results) = (Lines::default(), Results::default());
        for body in 1..=3 {
            lines.push(offer(&results, "/a", body));
        }
        lines.next_undeclared().unwrap();
        lines.declared("/a", Ok(()));
        let first = send_all(&mut lines);
        lines.settle(&first[1].1, Ok(()));
        lines.connection_lost();
        lines.push(offer(&results, "/a", 4));
        lines.next_undeclared().unwrap();
        lines.declared("/a", Ok(()));
        let again = send_all(&mut lines);
        assert_eq!(again.iter().map(|(body, _)| *body).collect::<Vec<_>>(), [1, 3, 4]);
        lines.settle(&first[0].1, Ok(()));
        assert_eq!(*results.lock(), [(2, true)]);
        again.iter().for_each(|(_, sending)| lines.settle(sending, Ok(())));
        assert_eq!(results.lock().len(), 4);
    }

    #[test]
    fn a_returned_message_declares_its_queue_again() {
        let (mut lines, results) = (Lines::default(), Results::default());
        lines.push(offer(&results, "/a", 1));
        lines.next_undeclared().unwrap();
        lines.declared("/a", Ok(()));
        let sent = send_all(&mut lines);
        lines.returned(&Sending::parse(&sent[0].1.to_string()).unwrap());
        lines.settle(&sent[0].1, Ok(()));
        assert!(results.lock().is_empty());
        lines.next_undeclared().unwrap();
        lines.declared("/a", Ok(()));
        let again = send_all(&mut lines);
        lines.settle(&again[0].1, Ok(()));
        assert_eq!(*results.lock(), [(1, true)]);
    }

    #[test]
    fn a_refused_queue_fails_its_own_messages_only() {
        let (mut lines, results) = (Lines::default(), Results::default());
        lines.push(offer(&results, "/a", 1));
        lines.push(offer(&results, "/b", 2));
        lines.next_undeclared().unwrap();
        lines.next_undeclared().unwrap();
        lines.declared("/a", Err(Undeclared::Refused("otherwise".into())));
        lines.declared("/b", Ok(()));
        assert_eq!(*results.lock(), [(1, false)]);
        assert_eq!(send_all(&mut lines).len(), 1);
        lines.give_up(Duration::ZERO);
        assert_eq!(*results.lock(), [(1, false), (2, false)]);
        assert!(lines.is_empty());
    }
}
