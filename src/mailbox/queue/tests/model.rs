//! Any sequence of steps, against a model that looks at everything each time.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn a_mailbox_does_what_the_model_does(keep in keep(), steps in vec(step(), 1..80)) {
        World::new(Mode::Everyone, keep).walk(steps);
    }

    #[test]
    fn a_work_queue_does_what_the_model_allows(keep in keep(), steps in vec(step(), 1..80)) {
        World::new(Mode::One, keep).walk(steps);
    }
}

#[derive(Debug, Clone)]
enum Step {
    Push(usize),
    Subscribe(u8, Window),
    Unsubscribe(u8),
    /// The numbers are counted back from the newest message.
    Settle(u8, Vec<u64>),
    Reject(u8, Vec<u64>),
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let seqs = || vec(0..10_u64, 1..5);
    let bytes = prop_oneof![Just(usize::MAX), 10..100_usize];
    prop_oneof![
        6 => (0..40_usize).prop_map(Step::Push),
        2 => (0..4_u8, 1..4_usize, bytes)
            .prop_map(|(c, messages, bytes)| Step::Subscribe(c, Window { messages, bytes })),
        1 => (0..4_u8).prop_map(Step::Unsubscribe),
        4 => (0..4_u8, seqs()).prop_map(|(c, seqs)| Step::Settle(c, seqs)),
        2 => (0..4_u8, seqs()).prop_map(|(c, seqs)| Step::Reject(c, seqs)),
        1 => (0..40_u64).prop_map(Step::Wait),
    ]
}

fn keep() -> impl Strategy<Value = Keep> {
    let overflow = prop_oneof![Just(KeepOverflow::DropOldest), Just(KeepOverflow::Refuse)];
    (1..9_usize, 30..200_usize, overflow, 1..4_u32).prop_map(|(max, max_bytes, overflow, max_deliveries)| Keep {
        age: Duration::from_millis(100),
        max,
        max_bytes,
        overflow,
        max_deliveries,
    })
}

/// A queue and its model, taking the same steps.
struct World {
    queue: KeptQueue<u8>,
    mode: Mode,
    keep: Keep,
    now: u64,
    /// Every message ever accepted; its index is its number.
    messages: Vec<Told>,
    subscribers: BTreeMap<u8, Held>,
    /// What must be reported after this step, in order.
    removed: Vec<(u64, Removal)>,
    lagged: Vec<(u8, u64)>,
}

struct Told {
    bytes: usize,
    kept_at: u64,
    kept: bool,
    /// Proved, and in memory for those it is owed to.
    lingers: bool,
    handed: bool,
    rejections: u32,
    rejected_by: Option<u8>,
}

struct Held {
    window: Window,
    unproved: BTreeMap<u64, usize>,
    joined: u64,
    cursor: u64,
    /// A mailbox has nothing more for it until it settles or rejects something.
    blocked: bool,
}

impl Held {
    fn fits(&self, bytes: usize) -> bool {
        let held: usize = self.unproved.values().sum();
        self.unproved.is_empty() || (self.unproved.len() < self.window.messages && held + bytes <= self.window.bytes)
    }

    fn is_owed(&self, seq: u64) -> bool {
        self.joined <= seq && self.cursor <= seq
    }
}

impl World {
    fn new(mode: Mode, keep: Keep) -> Self {
        Self {
            queue: KeptQueue::new(Policy { mode, keep }, 0),
            mode,
            keep,
            now: 1000,
            messages: Vec::new(),
            subscribers: BTreeMap::new(),
            removed: Vec::new(),
            lagged: Vec::new(),
        }
    }

    fn walk(mut self, steps: Vec<Step>) {
        for step in steps {
            self.step(step);
            self.forget_handed();
            self.check_effects();
            self.forget_handed();
            let held: Vec<_> = self.messages.iter().filter(|m| m.kept || m.lingers).map(|m| m.bytes).collect();
            assert_eq!((self.queue.len(), self.queue.bytes()), (held.len(), held.iter().sum()));
            assert!(held.len() <= self.keep.max && held.iter().sum::<usize>() <= self.keep.max_bytes);
            assert_eq!(self.queue.subscribers(), self.subscribers.len());
        }
        // Whoever comes last, and proves as it receives, gets all that is kept.
        for c in 0..4 {
            self.step(Step::Unsubscribe(c));
        }
        self.step(Step::Subscribe(9, WIDE));
        self.forget_handed();
        self.check_effects();
        let unproved: Vec<_> = self.subscribers[&9].unproved.keys().copied().collect();
        assert_eq!(unproved, self.seqs(|m| m.kept));
        self.settle(9, &unproved);
        self.check_effects();
        assert!(self.queue.is_empty());
    }

    fn step(&mut self, step: Step) {
        let newest = self.messages.len() as u64;
        let absolute = |back: Vec<u64>| back.into_iter().filter_map(|n| newest.checked_sub(n + 1)).collect::<Vec<_>>();
        match step {
            Step::Push(size) => self.push(size),
            Step::Subscribe(c, window) => {
                let new = !self.subscribers.contains_key(&c);
                assert_eq!(self.queue.subscribe(c, window), new);
                let held = Held { window, unproved: BTreeMap::new(), joined: newest, cursor: 0, blocked: false };
                self.subscribers.entry(c).or_insert(held);
            }
            Step::Unsubscribe(c) => {
                self.queue.unsubscribe(c);
                for seq in self.subscribers.remove(&c).into_iter().flat_map(|held| held.unproved.into_keys()) {
                    self.messages[seq as usize].rejected_by = None;
                }
            }
            Step::Settle(c, back) => self.settle(c, &absolute(back)),
            Step::Reject(c, back) => self.reject(c, &absolute(back)),
            Step::Wait(ms) => {
                self.now += ms;
                self.queue.expire(self.now);
                let keep_ms = self.keep.age.as_millis() as u64;
                for seq in 0..newest {
                    let Told { kept, lingers, kept_at, .. } = self.messages[seq as usize];
                    if kept_at + keep_ms <= self.now {
                        if kept {
                            self.remove(seq, Removal::Expired);
                        } else if lingers {
                            self.drop_lingering(seq);
                        }
                    }
                }
            }
        }
    }

    fn push(&mut self, size: usize) {
        let message = message(&"x".repeat(size));
        let bytes = message_bytes(&message);
        let kept = self.seqs(|m| m.kept);
        let kept_bytes: usize = self.bytes(|m| m.kept);
        let Keep { max, max_bytes, overflow, .. } = self.keep;
        let full = kept.len() + 1 > max || kept_bytes + bytes > max_bytes;
        let accepted = bytes <= max_bytes && (overflow == KeepOverflow::DropOldest || !full);
        let pushed = self.queue.push(message, self.now);
        assert_eq!(pushed.is_ok(), accepted, "{pushed:?}");
        if !accepted {
            return;
        }
        while self.seqs(|m| m.kept || m.lingers).len() + 1 > max
            || self.bytes(|m| m.kept || m.lingers) + bytes > max_bytes
        {
            match self.seqs(|m| m.lingers).first() {
                Some(&oldest) => self.drop_lingering(oldest),
                None => self.remove(self.seqs(|m| m.kept)[0], Removal::DroppedOldest),
            }
        }
        assert_eq!(pushed.unwrap().seq, self.messages.len() as u64);
        self.messages.push(Told {
            bytes,
            kept_at: self.now,
            kept: true,
            lingers: false,
            handed: false,
            rejections: 0,
            rejected_by: None,
        });
    }

    fn settle(&mut self, c: u8, seqs: &[u64]) {
        self.queue.settle(c, seqs);
        for &seq in seqs {
            if self.release(c, seq) {
                self.remove(seq, Removal::Settled);
            }
        }
    }

    fn reject(&mut self, c: u8, seqs: &[u64]) {
        self.queue.reject(c, seqs);
        for &seq in seqs {
            if self.release(c, seq) && self.messages[seq as usize].kept {
                let message = &mut self.messages[seq as usize];
                message.rejections += 1;
                message.rejected_by = Some(c);
                if message.rejections >= self.keep.max_deliveries {
                    self.remove(seq, Removal::TooManyDeliveries);
                }
            }
        }
    }

    fn release(&mut self, c: u8, seq: u64) -> bool {
        let Some(held) = self.subscribers.get_mut(&c) else { return false };
        let held_it = held.unproved.remove(&seq).is_some();
        held.blocked &= !held_it;
        held_it
    }

    fn remove(&mut self, seq: u64, why: Removal) {
        let proved = matches!(why, Removal::Settled | Removal::TooManyDeliveries);
        let owed = self.subscribers.values().any(|held| held.is_owed(seq));
        let message = &mut self.messages[seq as usize];
        if std::mem::replace(&mut message.kept, false) {
            message.lingers = self.mode == Mode::Everyone && proved && owed;
            self.removed.push((seq, why));
        }
    }

    fn drop_lingering(&mut self, seq: u64) {
        self.messages[seq as usize].lingers = false;
        self.lagged.extend(self.subscribers.iter().filter(|(_, held)| held.is_owed(seq)).map(|(c, _)| (*c, seq)));
    }

    fn forget_handed(&mut self) {
        for (seq, message) in (0..).zip(&mut self.messages) {
            message.lingers &= self.subscribers.values().any(|held| held.is_owed(seq));
        }
    }

    fn check_effects(&mut self) {
        let mut out = Vec::new();
        self.queue.pump(&mut out);
        let mut delivered: BTreeMap<u8, Vec<(u64, bool)>> = BTreeMap::new();
        let (mut removed, mut lagged) = (Vec::new(), Vec::new());
        for effect in out {
            match effect {
                Effect::Removed { seq, why, .. } => removed.push((seq, why)),
                Effect::Lagged { by, seq } => lagged.push((by, seq)),
                Effect::Deliver { to, seq, redelivered, .. } => {
                    if self.mode == Mode::One {
                        self.check_turn(to, seq, redelivered);
                    }
                    delivered.entry(to).or_default().push((seq, redelivered));
                }
            }
        }
        lagged.sort_unstable_by_key(|(by, seq)| (*seq, *by));
        self.lagged.sort_unstable_by_key(|(by, seq)| (*seq, *by));
        assert_eq!(removed, std::mem::take(&mut self.removed));
        assert_eq!(lagged, std::mem::take(&mut self.lagged));
        match self.mode {
            Mode::Everyone => assert_eq!(delivered, self.everyones_share()),
            Mode::One => self.check_nobody_idles(),
        }
    }

    /// What each subscriber of a mailbox gets now: all that is there for it, in order, as far as its window goes.
    fn everyones_share(&mut self) -> BTreeMap<u8, Vec<(u64, bool)>> {
        let mut shares: BTreeMap<u8, Vec<(u64, bool)>> = BTreeMap::new();
        for (c, held) in &mut self.subscribers {
            for (seq, message) in (0..).zip(&mut self.messages).skip(held.cursor as usize) {
                let for_it = message.kept || (message.lingers && held.joined <= seq);
                if !for_it {
                    continue;
                }
                held.blocked |= !held.fits(message.bytes);
                if held.blocked {
                    break;
                }
                held.unproved.insert(seq, message.bytes);
                held.cursor = seq + 1;
                let handed = std::mem::replace(&mut message.handed, true);
                shares.entry(*c).or_default().push((seq, handed && seq < held.joined));
            }
        }
        shares
    }

    /// One delivery of a work queue: the oldest that nobody holds, to somebody with room.
    fn check_turn(&mut self, to: u8, seq: u64, redelivered: bool) {
        assert_eq!(Some(&seq), self.waiting().first());
        let message = &mut self.messages[seq as usize];
        assert_eq!(redelivered, std::mem::replace(&mut message.handed, true));
        assert!(self.subscribers[&to].fits(message.bytes));
        if message.rejected_by.take() == Some(to) {
            let free = self.subscribers.iter().find(|(c, held)| **c != to && held.unproved.is_empty());
            assert!(free.is_none(), "rejected by {to}, and {:?} has nothing to do", free.map(|(c, _)| c));
        }
        let bytes = message.bytes;
        self.subscribers.get_mut(&to).unwrap().unproved.insert(seq, bytes);
    }

    /// While messages wait, a worker has its hands full; its bytes may be too many for the oldest, whatever comes behind.
    fn check_nobody_idles(&self) {
        if self.waiting().is_empty() {
            return;
        }
        for (c, held) in &self.subscribers {
            assert!(!held.unproved.is_empty(), "{c} holds nothing");
            let full = held.unproved.len() >= held.window.messages;
            assert!(full || held.window.bytes != usize::MAX, "{c} has room for more messages");
        }
    }

    fn waiting(&self) -> Vec<u64> {
        let mut seqs = self.seqs(|m| m.kept);
        seqs.retain(|seq| self.subscribers.values().all(|held| !held.unproved.contains_key(seq)));
        seqs
    }

    fn seqs(&self, which: impl Fn(&Told) -> bool) -> Vec<u64> {
        (0..).zip(&self.messages).filter(|(_, message)| which(message)).map(|(seq, _)| seq).collect()
    }

    fn bytes(&self, which: impl Fn(&Told) -> bool) -> usize {
        self.messages.iter().filter(|message| which(message)).map(|message| message.bytes).sum()
    }
}
