//! One kept destination as a state machine: no clock, no store, no locks.
//!
//! What happens goes in (`push`, `subscribe`, `settle`, `reject`, `unsubscribe`, `expire`); [`KeptQueue::pump`] then says what
//! is to be done about it. A message carries a sequence number that is never used twice while the queue lives; a delivery
//! is proved with it.
//!
//! ```text
//!              Mode::Everyone (mailbox)                 Mode::One (work queue)
//! push      -> log -> every subscriber                  log -> waiting -> one subscriber with room
//! settle    -> out of the log; still handed to those    out of the log
//!              who were subscribed when it arrived
//! reject    -> stays for the next subscription          waiting again, for another subscriber if there is one
//! gone      -> stays for the next subscription          waiting again
//! ```
//!
//! What always holds: a subscriber has no more than its [`Window`] unproved; it is handed messages in the order in which
//! they arrived, those handed out again by a work queue excepted; every message that leaves is named once in an
//! [`Effect::Removed`] with its reason. Every step costs O(log n) in messages and subscribers, apart from an arrival in
//! [`Mode::Everyone`], which wakes each subscriber that was waiting for it.

mod everyone;
mod flight;
mod log;
mod one;
#[cfg(test)]
mod tests;

use std::hash::Hash;
use std::sync::Arc;

use crate::config::mailbox::Keep;
use crate::mailbox::Refused;
use crate::message::Message;

use everyone::Everyone;
pub use flight::Window;
pub use log::message_bytes;
use log::{Entry, Log};
use one::One;

/// Who gets a kept message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// A mailbox: every subscriber, and whoever comes later until one has proved that it arrived.
    Everyone,
    /// A work queue: exactly one subscriber, and another one when that fails.
    One,
}

/// What a kept destination does with its messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Who gets a message.
    pub mode: Mode,
    /// How many are kept, and how long.
    pub keep: Keep,
}

/// What is to be done, in this order.
#[derive(Debug, Clone)]
pub enum Effect<C> {
    /// Hand the message over; it takes room in the window of `to` until settled or rejected under `seq`.
    Deliver {
        /// The subscription that gets it.
        to: C,
        /// What it is settled with.
        seq: u64,
        /// What to hand over.
        message: Arc<Message>,
        /// Whether it was handed out before without proof, so that the receiver may know it already.
        redelivered: bool,
    },
    /// The message is kept no longer: a store may forget it. Comes exactly once for each.
    Removed {
        /// Which one.
        seq: u64,
        /// Why.
        why: Removal,
        /// The message itself, for whoever looks after those that were given up.
        message: Arc<Message>,
    },
    /// This subscriber was there when the message arrived and will not get it: others have proved it meanwhile, and it
    /// lies so far behind that the message had to make room.
    Lagged {
        /// The subscription that lost it.
        by: C,
        /// Which one.
        seq: u64,
    },
}

/// Why a message is kept no longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Removal {
    /// A delivery was proved.
    Settled,
    /// It waited as long as the policy says.
    Expired,
    /// It made room for a newer one.
    DroppedOldest,
    /// It was rejected as often as the policy says.
    TooManyDeliveries,
}

/// A message was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pushed {
    /// Its place in the queue.
    pub seq: u64,
}

/// The messages and subscribers of one kept destination. `C` names a subscription.
#[derive(Debug)]
pub struct KeptQueue<C> {
    log: Log,
    flow: Flow<C>,
    /// Not yet fetched by [`KeptQueue::pump`].
    effects: Vec<Effect<C>>,
}

#[derive(Debug)]
enum Flow<C> {
    Everyone(Everyone<C>),
    One(One<C>),
}

impl<C: Copy + Eq + Hash> KeptQueue<C> {
    /// An empty queue that numbers its messages from `first_seq` on.
    #[must_use]
    pub fn new(policy: Policy, first_seq: u64) -> Self {
        let flow = match policy.mode {
            Mode::Everyone => Flow::Everyone(Everyone::default()),
            Mode::One => Flow::One(One::default()),
        };
        Self { log: Log::new(policy.keep, first_seq), flow, effects: Vec::new() }
    }

    /// Takes a message; it is kept from `now_ms` on (Unix time in milliseconds).
    ///
    /// # Errors
    ///
    /// When the policy refuses it; nothing has changed then.
    pub fn push(&mut self, message: Arc<Message>, now_ms: u64) -> Result<Pushed, Refused> {
        self.admit(&message)?;
        let seq = self.log.next_seq();
        self.insert(seq, message, now_ms);
        Ok(Pushed { seq })
    }

    /// Takes back a message that a store has kept since it was sent, in ascending order and before anything is pushed.
    /// It was accepted once, so it is not refused now; `false` when the number was used already.
    pub fn restore(&mut self, seq: u64, message: Arc<Message>, now_ms: u64) -> bool {
        if seq < self.log.next_seq() {
            return false;
        }
        let kept_at = message.sent_at.min(now_ms);
        self.insert(seq, message, kept_at);
        true
    }

    /// Takes a message that another queue keeps and may ask back; `handed` when somebody may have received it. Gives its
    /// number.
    pub fn lend(&mut self, message: Arc<Message>, handed: bool, now_ms: u64) -> u64 {
        let (seq, kept_at) = (self.log.next_seq(), message.sent_at.min(now_ms));
        self.insert(seq, message, kept_at);
        if let Some(entry) = self.log.get_mut(seq) {
            entry.handed = handed;
        }
        seq
    }

    /// Whether `c` has this delivery and has not proved it.
    #[must_use]
    pub fn holds(&self, c: C, seq: u64) -> bool {
        match &self.flow {
            Flow::Everyone(flow) => flow.holds(c, seq),
            Flow::One(flow) => flow.holds(c, seq),
        }
    }

    /// Takes a delivery back from `c`, and the message out of the queue without a word; `false` when `c` does not hold it.
    pub fn withdraw(&mut self, c: C, seq: u64) -> bool {
        self.release(c, seq) && self.log.remove(seq).is_some()
    }

    /// As [`KeptQueue::withdraw`] for all messages that no subscriber holds, in a work queue; gives their numbers.
    pub fn withdraw_waiting(&mut self) -> Vec<u64> {
        let Flow::One(flow) = &mut self.flow else { return Vec::new() };
        let waiting = flow.take_waiting();
        waiting.iter().for_each(|seq| drop(self.log.remove(*seq)));
        waiting
    }

    /// `c` could do nothing with this delivery, and nobody else shall try.
    pub fn give_up(&mut self, c: C, seq: u64) {
        if self.release(c, seq) {
            self.remove(seq, Removal::TooManyDeliveries);
        }
    }

    /// How often a message may be rejected.
    #[must_use]
    pub const fn max_deliveries(&self) -> u32 {
        self.log.max_deliveries()
    }

    /// A store that is shared with other nodes says that messages with lower numbers than `next_seq` have been and may be
    /// gone. Numbers never fall.
    pub fn skip_to(&mut self, next_seq: u64) {
        self.log.skip_to(next_seq);
    }

    /// Messages with lower numbers were handed to somebody elsewhere, who may have received them.
    pub fn mark_handed(&mut self, below: u64) {
        self.log.mark_handed(below);
    }

    /// Below this number lie all messages that somebody was handed.
    #[must_use]
    pub fn handed_below(&self) -> u64 {
        self.log.handed_below()
    }

    /// Removes what has been proved elsewhere: everything below `next_seq` that `kept` does not name.
    pub fn settled_elsewhere(&mut self, next_seq: u64, kept: impl Fn(u64) -> bool) {
        for seq in self.log.numbers_below(next_seq) {
            if !kept(seq) {
                self.remove(seq, Removal::Settled);
            }
        }
    }

    /// Adds a subscriber; what is kept comes to it before what arrives from now on. `false`, and no change, when it is
    /// subscribed already.
    pub fn subscribe(&mut self, c: C, window: Window) -> bool {
        match &mut self.flow {
            Flow::Everyone(flow) => flow.subscribe(c, window, &self.log),
            Flow::One(flow) => flow.subscribe(c, window),
        }
    }

    /// Removes a subscriber, however it ended. What it has not proved is delivered again.
    pub fn unsubscribe(&mut self, c: C) {
        match &mut self.flow {
            Flow::Everyone(flow) => flow.unsubscribe(c),
            Flow::One(flow) => flow.unsubscribe(c, &self.log),
        }
    }

    /// These deliveries to `c` are proved. Numbers that it does not hold are passed over: a proof may cross with the
    /// loss of the subscription.
    pub fn settle(&mut self, c: C, seqs: &[u64]) {
        for &seq in seqs {
            if self.release(c, seq) {
                self.remove(seq, Removal::Settled);
            }
        }
    }

    /// `c` could not do anything with these deliveries. Numbers that it does not hold are passed over.
    pub fn reject(&mut self, c: C, seqs: &[u64]) {
        for &seq in seqs {
            if !self.release(c, seq) {
                continue;
            }
            if self.log.rejected_too_often(seq) {
                self.remove(seq, Removal::TooManyDeliveries);
            } else if let Flow::One(flow) = &mut self.flow {
                flow.rejected(seq, c, &self.log);
            }
        }
    }

    /// Gives up what has waited as long as the policy says.
    pub fn expire(&mut self, now_ms: u64) {
        while let Some(seq) = self.log.expired(now_ms) {
            self.remove(seq, Removal::Expired);
        }
        if let Flow::Everyone(flow) = &mut self.flow {
            while flow.oldest_lingering().is_some_and(|entry| self.log.is_expired(entry, now_ms)) {
                flow.drop_lingering(&mut self.effects);
            }
        }
    }

    /// Appends to `out` what is to be done since the last call: all of it, in order.
    pub fn pump(&mut self, out: &mut Vec<Effect<C>>) {
        out.append(&mut self.effects);
        match &mut self.flow {
            Flow::Everyone(flow) => flow.pump(&mut self.log, out),
            Flow::One(flow) => flow.pump(&mut self.log, out),
        }
    }

    /// Whether the policy has room for this message, or makes it.
    ///
    /// # Errors
    ///
    /// Names the limit and what stands against it.
    pub fn admit(&self, message: &Message) -> Result<(), Refused> {
        self.log.admit(message_bytes(message))
    }

    /// The number the next message gets.
    #[must_use]
    pub fn next_seq(&self) -> u64 {
        self.log.next_seq()
    }

    /// Messages in memory: kept ones, and proved ones that a subscriber has still to be handed.
    #[must_use]
    pub fn len(&self) -> usize {
        self.log.len() + self.lingering().0
    }

    /// Bytes of the messages in memory.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.log.bytes() + self.lingering().1
    }

    /// Whether no message is in memory.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Number of subscribers.
    #[must_use]
    pub fn subscribers(&self) -> usize {
        match &self.flow {
            Flow::Everyone(flow) => flow.subscribers(),
            Flow::One(flow) => flow.subscribers(),
        }
    }

    fn insert(&mut self, seq: u64, message: Arc<Message>, kept_at: u64) {
        let entry = Entry::new(message, kept_at);
        self.make_room(entry.bytes);
        self.log.insert(seq, entry);
        match &mut self.flow {
            Flow::Everyone(flow) => flow.arrived(),
            Flow::One(flow) => flow.arrived(seq),
        }
    }

    /// Drops the oldest until one more message of this size fits: first what is proved already and only lingers.
    fn make_room(&mut self, bytes: usize) {
        loop {
            let (count, held) = self.lingering();
            if self.log.has_room(count + 1, held + bytes) {
                return;
            }
            if let Flow::Everyone(flow) = &mut self.flow
                && flow.drop_lingering(&mut self.effects)
            {
                continue;
            }
            // What was accepted before a restart is kept even if the limit is lower now.
            let (true, Some(seq)) = (self.log.drops_oldest(), self.log.oldest()) else { return };
            self.remove(seq, Removal::DroppedOldest);
        }
    }

    /// Takes the delivery from the window of `c`; `false` when it does not hold it.
    fn release(&mut self, c: C, seq: u64) -> bool {
        match &mut self.flow {
            Flow::Everyone(flow) => flow.release(c, seq),
            Flow::One(flow) => flow.release(c, seq),
        }
    }

    fn remove(&mut self, seq: u64, why: Removal) {
        let Some(entry) = self.log.remove(seq) else { return };
        self.effects.push(Effect::Removed { seq, why, message: Arc::clone(&entry.message) });
        match &mut self.flow {
            Flow::Everyone(flow) if matches!(why, Removal::Settled | Removal::TooManyDeliveries) => {
                flow.linger(seq, entry)
            }
            Flow::Everyone(_) => {}
            Flow::One(flow) => flow.removed(seq),
        }
    }

    /// Messages and bytes of what is proved and still to be handed to a subscriber.
    fn lingering(&self) -> (usize, usize) {
        match &self.flow {
            Flow::Everyone(flow) => flow.lingering(),
            Flow::One(_) => (0, 0),
        }
    }
}
