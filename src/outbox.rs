//! A session's bounded queue between everybody who delivers to it and the one task that writes.
//!
//! Delivery never waits: [`Outbox::offer`] puts an entry in or says that there is no room, and the policy of the
//! destination decides what then happens. Answers to the session's own frames ([`Outbox::answer`]) are not counted
//! against the limit; the session stops reading when too many of them wait, which bounds them.
//!
//! Lock order: a topic or a kept queue may be locked while an outbox is, never the other way round.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Waker;

use bytestring::ByteString;
use parking_lot::Mutex;
use stampede_protocol::stomp::Fault;

use crate::close::CloseReason;
use crate::message::Message;
use crate::timers::Alarm;

/// What happens when a subscriber's outbox is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Overflow {
    /// The session is closed: it would otherwise miss messages without knowing.
    #[default]
    Close,
    /// The oldest waiting messages make room.
    DropOldest,
    /// Of each subscription and destination only the newest message stays.
    KeepLatest,
}

/// Which subscription of the session an entry is for. The generation tells a reused slot from the one before, so that
/// nothing follows an UNSUBSCRIBE.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SlotRef {
    /// Index of the subscription in its session.
    pub slot: u32,
    /// How often the session has subscribed before.
    pub generation: u32,
}

/// One message for one subscription.
#[derive(Debug)]
pub struct Delivery {
    /// The message, shared.
    pub message: Arc<Message>,
    /// For which subscription.
    pub to: SlotRef,
    /// Set when delivery must be proved: the message is kept until then.
    pub kept: Option<Kept>,
    /// What may happen to this entry when the outbox is full.
    pub overflow: Overflow,
}

/// Where a kept message waits for its proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kept {
    /// Its number in the queue.
    pub seq: u64,
    /// Whether it was handed out before.
    pub redelivered: bool,
}

/// An entry of the outbox.
#[derive(Debug)]
pub enum Entry {
    /// A message for a subscription.
    Message(Delivery),
    /// A message for this very session: for each of its own user subscriptions that matches `rest`, the text behind
    /// `/user`.
    Own {
        /// The message.
        message: Arc<Message>,
        /// Destination behind the addressee, with its leading slash.
        rest: ByteString,
    },
    /// A frame of this session has been carried out; its receipt, if it asked for one.
    Done(Option<ByteString>),
    /// A frame of this session could not be carried out.
    Failed(Box<Fault>),
}

/// What the writing task takes out in one go.
#[derive(Debug, Default)]
pub struct Taken {
    /// Entries in order.
    pub entries: VecDeque<Entry>,
    /// Why the session must end, if somebody decided so.
    pub close: Option<CloseReason>,
    /// Whether the timer rang since the last time.
    pub rang: bool,
}

/// The queue and the bell of one session.
#[derive(Debug, Default)]
pub struct Outbox {
    state: Mutex<State>,
    /// Answers queued and not written yet, wherever they wait.
    unwritten_answers: AtomicUsize,
}

#[derive(Debug, Default)]
struct State {
    entries: VecDeque<Entry>,
    queued_bytes: usize,
    dropped: u64,
    close: Option<CloseReason>,
    /// The task has been told to end.
    closing: bool,
    rang: bool,
    /// Somebody asked the task to look again.
    nudged: bool,
    /// The task sleeps and wants to be woken.
    parked: bool,
    waker: Option<Waker>,
    /// The session has ended; nothing is taken any more.
    shut: bool,
}

/// There was no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full {
    /// Octets that waited.
    pub queued_bytes: usize,
}

impl Outbox {
    /// Queues one delivery; never waits. Returns how many waiting messages were dropped to make room.
    ///
    /// # Errors
    ///
    /// [`Full`] when there is no room and the policy is to close: the session has then been told to end.
    pub fn offer(&self, delivery: Delivery, limit: usize) -> Result<u64, Full> {
        let cost = cost(&delivery.message);
        let mut state = self.state.lock();
        if state.shut || state.closing || state.close.is_some() {
            return Ok(0);
        }
        let mut dropped = 0;
        if state.queued_bytes + cost > limit && state.queued_bytes > 0 {
            match delivery.overflow {
                Overflow::Close => {}
                Overflow::DropOldest => dropped = state.make_room(cost, limit),
                Overflow::KeepLatest => dropped = state.drop_older(&delivery),
            }
            // What may not be dropped fills it: then the session has to go all the same.
            if state.queued_bytes + cost > limit && state.queued_bytes > 0 {
                return Err(state.overflow());
            }
        }
        state.queued_bytes += cost;
        state.dropped += dropped;
        state.entries.push_back(Entry::Message(delivery));
        state.wake();
        Ok(dropped)
    }

    /// Queues a message for the session itself, see [`Entry::Own`].
    ///
    /// # Errors
    ///
    /// As [`Outbox::offer`].
    pub fn offer_own(&self, message: Arc<Message>, rest: ByteString, limit: usize) -> Result<(), Full> {
        let cost = cost(&message);
        let mut state = self.state.lock();
        if state.shut || state.closing || state.close.is_some() {
            return Ok(());
        }
        if state.queued_bytes + cost > limit && state.queued_bytes > 0 {
            return Err(state.overflow());
        }
        state.queued_bytes += cost;
        state.entries.push_back(Entry::Own { message, rest });
        state.wake();
        Ok(())
    }

    /// Queues the answer to a frame of this session.
    pub fn answer(&self, entry: Entry) {
        let mut state = self.state.lock();
        if !state.shut {
            self.unwritten_answers.fetch_add(1, Ordering::Relaxed);
            state.entries.push_back(entry);
            state.wake();
        }
    }

    /// An answer was written.
    pub fn answered(&self) {
        self.unwritten_answers.fetch_sub(1, Ordering::Relaxed);
    }

    /// Answers that the client has not taken yet. Its task is the only one that decides by them, and only by their
    /// order of size.
    #[must_use]
    pub fn unwritten_answers(&self) -> usize {
        self.unwritten_answers.load(Ordering::Relaxed)
    }

    /// Tells the session to end; the first reason counts.
    pub fn close(&self, reason: CloseReason) {
        let mut state = self.state.lock();
        if !state.closing {
            state.close.get_or_insert(reason);
            state.wake();
        }
    }

    /// Whether something waits.
    #[must_use]
    pub fn has_more(&self) -> bool {
        !self.state.lock().entries.is_empty()
    }

    /// Wakes the session to look again at something outside the outbox.
    pub fn nudge(&self) {
        let mut state = self.state.lock();
        // Remembered: a task that runs right now may have looked already.
        state.nudged = true;
        state.wake();
    }

    /// Takes everything that waits. Entries taken before stay in front.
    pub fn take(&self, taken: &mut Taken) {
        let mut state = self.state.lock();
        state.parked = false;
        state.nudged = false;
        taken.rang |= std::mem::take(&mut state.rang);
        if let Some(reason) = state.close.take() {
            taken.close.get_or_insert(reason);
            state.closing = true;
        }
        if taken.entries.is_empty() {
            std::mem::swap(&mut state.entries, &mut taken.entries);
        } else {
            taken.entries.append(&mut state.entries);
        }
        state.queued_bytes = 0;
    }

    /// Parks the task until something waits. Returns whether nothing does already.
    pub fn park(&self, waker: &Waker) -> bool {
        let mut state = self.state.lock();
        state.entries.is_empty() && state.park(waker)
    }

    /// Like [`Outbox::park`] for a task that cannot write now: only flags wake it. Entries that it took and could not
    /// write go back to the front, where they are counted again.
    pub fn park_blocked(&self, unwritten: &mut VecDeque<Entry>, waker: &Waker) -> bool {
        let mut state = self.state.lock();
        if !unwritten.is_empty() {
            state.queued_bytes += unwritten.iter().map(Entry::cost).sum::<usize>();
            unwritten.append(&mut state.entries);
            std::mem::swap(&mut state.entries, unwritten);
        }
        state.park(waker)
    }

    /// Ends the queue and returns what was never written.
    pub fn shut(&self) -> VecDeque<Entry> {
        let mut state = self.state.lock();
        state.shut = true;
        state.waker = None;
        state.queued_bytes = 0;
        std::mem::take(&mut state.entries)
    }

    /// Octets that wait, and messages dropped so far.
    #[must_use]
    pub fn stats(&self) -> (usize, u64) {
        let state = self.state.lock();
        (state.queued_bytes, state.dropped)
    }
}

impl State {
    fn park(&mut self, waker: &Waker) -> bool {
        if self.rang || self.nudged || self.close.is_some() {
            return false;
        }
        if !self.waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
            self.waker = Some(waker.clone());
        }
        self.parked = true;
        true
    }

    fn wake(&mut self) {
        if std::mem::take(&mut self.parked)
            && let Some(waker) = &self.waker
        {
            waker.wake_by_ref();
        }
    }

    fn overflow(&mut self) -> Full {
        self.close = Some(CloseReason::SlowConsumer);
        self.wake();
        Full { queued_bytes: self.queued_bytes }
    }

    /// Drops the oldest droppable messages until `cost` fits.
    fn make_room(&mut self, cost: usize, limit: usize) -> u64 {
        // A little more than needed, so that not every further message has to look through all of them.
        let mut over = (self.queued_bytes + cost).saturating_sub(limit - limit / 8);
        let mut dropped = 0;
        let mut freed = 0;
        self.entries.retain(|entry| match entry {
            Entry::Message(delivery) if over > 0 && delivery.overflow != Overflow::Close => {
                let cost = self::cost(&delivery.message);
                over = over.saturating_sub(cost);
                freed += cost;
                dropped += 1;
                false
            }
            _ => true,
        });
        self.queued_bytes -= freed;
        dropped
    }

    /// Drops what waits for the same subscription from the same destination: older values of the same thing.
    fn drop_older(&mut self, newer: &Delivery) -> u64 {
        let mut dropped = 0;
        let mut freed = 0;
        self.entries.retain(|entry| match entry {
            Entry::Message(older)
                if older.to == newer.to
                    && older.overflow == Overflow::KeepLatest
                    && older.message.destination == newer.message.destination =>
            {
                freed += cost(&older.message);
                dropped += 1;
                false
            }
            _ => true,
        });
        self.queued_bytes -= freed;
        dropped
    }
}

impl Alarm for Outbox {
    fn ring(&self) {
        let mut state = self.state.lock();
        state.rang = true;
        state.wake();
    }
}

impl Entry {
    fn cost(&self) -> usize {
        match self {
            Self::Message(delivery) => cost(&delivery.message),
            Self::Own { message, .. } => cost(message),
            Self::Done(_) | Self::Failed(_) => 0,
        }
    }
}

/// What a message counts for: its body, and a flat sum for head and bookkeeping.
fn cost(message: &Message) -> usize {
    message.body.len() + 256
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use stampede_protocol::stomp::Headers;

    use super::*;

    fn delivery(name: &str, slot: u32, overflow: Overflow) -> Delivery {
        let message = Message::new(name.into(), "/topic/a".into(), Headers::new(), Bytes::from(vec![0; 744]), 0);
        Delivery { message: Arc::new(message), to: SlotRef { slot, generation: 0 }, kept: None, overflow }
    }

    fn names(outbox: &Outbox) -> (Vec<String>, Option<CloseReason>) {
        let mut taken = Taken::default();
        outbox.take(&mut taken);
        let names = taken.entries.iter().map(|entry| match entry {
            Entry::Message(delivery) => delivery.message.id.to_string(),
            other => format!("{other:?}"),
        });
        (names.collect(), taken.close)
    }

    /// Each message counts 1000, the limit is 3000.
    #[test]
    fn a_full_outbox_follows_the_policy() {
        for (overflow, expected, closed) in [
            (Overflow::Close, vec!["0", "1", "2"], true),
            (Overflow::DropOldest, vec!["2", "3", "4"], false),
            (Overflow::KeepLatest, vec!["1", "3", "4"], false),
        ] {
            let outbox = Outbox::default();
            for number in 0..5 {
                // Slot 1 gets one message early on; the rest is for slot 0.
                let to = u32::from(number == 1);
                let _full = outbox.offer(delivery(&number.to_string(), to, overflow), 3000);
            }
            let (names, close) = names(&outbox);
            assert_eq!(names, expected, "{overflow:?}");
            assert_eq!(close.is_some(), closed, "{overflow:?}");
        }
    }

    #[test]
    fn one_message_larger_than_the_limit_passes_an_empty_outbox() {
        let outbox = Outbox::default();
        assert_eq!(outbox.offer(delivery("big", 0, Overflow::Close), 10), Ok(0));
        assert!(outbox.offer(delivery("next", 0, Overflow::Close), 10).is_err());
    }

    #[test]
    fn keep_latest_spares_other_destinations_and_policies() {
        let outbox = Outbox::default();
        let other = |name: &str, destination: &'static str, overflow| {
            let message = Message::new(name.into(), destination.into(), Headers::new(), Bytes::from(vec![0; 744]), 0);
            Delivery { message: Arc::new(message), to: SlotRef { slot: 0, generation: 0 }, kept: None, overflow }
        };
        for delivery in [
            other("chat", "/topic/chat", Overflow::Close),
            other("old", "/topic/price", Overflow::KeepLatest),
            other("gold", "/topic/gold", Overflow::KeepLatest),
            other("new", "/topic/price", Overflow::KeepLatest),
        ] {
            assert!(outbox.offer(delivery, 3000).is_ok());
        }
        assert_eq!(names(&outbox).0, ["chat", "gold", "new"]);
    }

    #[test]
    fn a_nudge_while_the_task_runs_is_not_lost() {
        let outbox = Outbox::default();
        outbox.take(&mut Taken::default());
        outbox.nudge();
        assert!(!outbox.park(Waker::noop()));
        outbox.take(&mut Taken::default());
        assert!(outbox.park(Waker::noop()));
    }

    #[test]
    fn nothing_is_taken_after_the_end() {
        let outbox = Outbox::default();
        assert_eq!(outbox.offer(delivery("a", 0, Overflow::Close), 3000), Ok(0));
        assert_eq!(outbox.shut().len(), 1);
        assert_eq!(outbox.offer(delivery("b", 0, Overflow::Close), 3000), Ok(0));
        assert_eq!(outbox.stats().0, 0);
    }
}
