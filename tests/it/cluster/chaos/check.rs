//! What happened, and whether it may have.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// What a message is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// To a user, and kept until delivery is proved.
    Kept,
    /// To a user who is there.
    Live,
    /// To everybody.
    Topic,
}

impl Kind {
    pub(super) const ALL: [Self; 3] = [Self::Kept, Self::Live, Self::Topic];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Kept => "kept",
            Self::Live => "live",
            Self::Topic => "topic",
        }
    }
}

/// Names a message: sender, receiver and kind, and the how manyth of these it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Letter {
    pub(super) kind: Kind,
    pub(super) from: usize,
    /// Which session of the sender.
    pub(super) session: u64,
    /// For [`Kind::Topic`] 0.
    pub(super) to: usize,
    pub(super) number: u64,
}

impl Letter {
    pub(super) fn body(&self) -> String {
        format!("{} {} {} {} {}", self.kind.name(), self.from, self.session, self.to, self.number)
    }

    pub(super) fn read(body: &str) -> Option<Self> {
        let mut words = body.split(' ');
        let name = words.next()?;
        let kind = Kind::ALL.into_iter().find(|kind| kind.name() == name)?;
        let mut next = || -> Option<u64> { words.next()?.parse().ok() };
        let (from, session) = (next()?, next()?);
        let (to, number) = (next()?, next()?);
        Some(Self { kind, from: from as usize, session, to: to as usize, number })
    }
}

/// A message as a client got it.
#[derive(Debug, Clone)]
pub(super) struct Got {
    pub(super) letter: Letter,
    pub(super) by: usize,
    /// Which of the receiver's sessions.
    pub(super) session: u64,
    pub(super) message_id: String,
}

/// Everything that clients saw, each in their own order.
#[derive(Debug, Default)]
pub(super) struct History {
    /// Messages that were confirmed by a RECEIPT.
    pub(super) confirmed: BTreeSet<Letter>,
    pub(super) sent: u64,
    pub(super) got: Vec<Got>,
}

impl History {
    /// Everything that may not have happened; empty when all is well.
    pub(super) fn violations(&self) -> Vec<String> {
        let mut found = Vec::new();
        self.lost(&mut found);
        self.strangers(&mut found);
        self.disorder(&mut found);
        self.renamed(&mut found);
        found
    }

    /// For people: how much happened.
    pub(super) fn summary(&self) -> String {
        let mut text = format!("{} sent, {} confirmed, {} received", self.sent, self.confirmed.len(), self.got.len());
        for kind in Kind::ALL {
            let of_kind = self.got.iter().filter(|got| got.letter.kind == kind);
            let (mut seen, mut again) = (BTreeSet::new(), 0);
            for got in of_kind {
                again += u64::from(!seen.insert((got.letter, got.by)));
            }
            let _ = write!(text, "; {}: {} and {again} repetitions", kind.name(), seen.len());
        }
        text
    }

    fn lost(&self, found: &mut Vec<String>) {
        let got: BTreeSet<Letter> = self.got.iter().map(|got| got.letter).collect();
        let kept = self.confirmed.iter().filter(|letter| letter.kind == Kind::Kept);
        found.extend(
            kept.filter(|letter| !got.contains(letter)).map(|letter| format!("confirmed and lost: {letter:?}")),
        );
    }

    fn strangers(&self, found: &mut Vec<String>) {
        let wrong = self.got.iter().filter(|got| got.letter.kind != Kind::Topic && got.letter.to != got.by);
        found.extend(wrong.map(|got| format!("reached somebody else: {got:?}")));
    }

    /// Per sending session and destination, what was confirmed comes in the order in which it was sent; a repetition may
    /// come later. A mailbox has one order over all sessions of its user, a topic one in each.
    fn disorder(&self, found: &mut Vec<String>) {
        let mut last: BTreeMap<(Kind, u64, usize, u64), u64> = BTreeMap::new();
        let mut seen = BTreeSet::new();
        for got in &self.got {
            let session = match got.letter.kind {
                Kind::Kept => 0,
                Kind::Topic => got.session,
                // What was on its way to a node that died is sent on when that is found out.
                Kind::Live => continue,
            };
            let new = seen.insert((got.letter, got.by, session));
            if !new || !self.confirmed.contains(&got.letter) {
                continue;
            }
            let last = last.entry((got.letter.kind, got.letter.session, got.by, session)).or_default();
            if got.letter.number < *last {
                found.push(format!("out of order, after number {last}: {got:?}"));
            }
            *last = got.letter.number.max(*last);
        }
    }

    fn renamed(&self, found: &mut Vec<String>) {
        let mut ids: BTreeMap<Letter, &str> = BTreeMap::new();
        for got in &self.got {
            let id = ids.entry(got.letter).or_insert(&got.message_id);
            if *id != got.message_id {
                found.push(format!("repeated with another message-id than {id}: {got:?}"));
            }
        }
    }
}

fn letter(kind: Kind, number: u64) -> Letter {
    Letter { kind, from: 1, session: 9, to: if kind == Kind::Topic { 0 } else { 2 }, number }
}

fn got(letter: Letter, by: usize) -> Got {
    Got { letter, by, session: 1, message_id: format!("m{}", letter.number) }
}

/// A checker that finds nothing would be no checker.
#[test]
fn every_kind_of_violation_is_found() {
    let all = || -> History {
        let letters = [1, 2, 3].map(|number| letter(Kind::Kept, number));
        let got = letters.map(|letter| got(letter, 2)).to_vec();
        History { confirmed: letters.into_iter().collect(), sent: 3, got }
    };
    assert_eq!(all().violations(), [""; 0]);
    let mut repeated = all();
    repeated.got.push(got(letter(Kind::Kept, 1), 2));
    assert_eq!(repeated.violations(), [""; 0], "a repetition is allowed");

    let check = |history: &History, expected: &str| {
        let found = history.violations();
        assert!(found.len() == 1 && found[0].starts_with(expected), "{expected}: {found:?}");
    };
    let mut lost = all();
    lost.got.pop();
    check(&lost, "confirmed and lost");
    let mut stranger = all();
    stranger.got.push(got(letter(Kind::Kept, 1), 3));
    check(&stranger, "reached somebody else");
    let mut disorder = all();
    disorder.got.swap(0, 1);
    check(&disorder, "out of order");
    let mut renamed = all();
    renamed.got.push(Got { message_id: "other".into(), ..got(letter(Kind::Kept, 1), 2) });
    check(&renamed, "repeated with another");
    let mut topic = all();
    for number in [5, 4] {
        topic.confirmed.insert(letter(Kind::Topic, number));
        topic.got.push(got(letter(Kind::Topic, number), 3));
    }
    check(&topic, "out of order");
}
