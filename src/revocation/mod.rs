//! Who may no longer be who they were: users and tokens that an operator has revoked.
//!
//! A node asks its own list, [`Revocations`], at every CONNECT and whenever the list grows; it never waits for a store to do so.
//! What the list holds comes from a [`RevocationStore`], which all nodes share, or which outlives the process.

pub mod file;
pub mod redis;

use std::collections::HashMap;
use std::fmt;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use parking_lot::RwLock;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::relay::Later;

/// Most revocations that are remembered at a time, on all nodes together.
pub const MAX_REVOCATIONS: usize = 10_000;
/// Longest name of a user or token in octets.
pub const MAX_SUBJECT: usize = 1024;

/// What is revoked.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Subject {
    /// All a user has proved himself with so far: tokens issued up to now, and passwords.
    User(Box<str>),
    /// One token, by its `jti` or what stands for it.
    Token(Box<str>),
}

/// A user or token that does not count for a while.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revocation {
    /// Which.
    #[serde(flatten)]
    pub subject: Subject,
    /// When it was revoked, in milliseconds since 1970: what proves a user and was issued later is good.
    pub at: u64,
    /// Until when that is remembered, in milliseconds since 1970.
    pub until: u64,
}

impl Revocation {
    /// From now on, for so long.
    #[must_use]
    pub fn now(subject: Subject, last: Duration) -> Self {
        let at = unix_millis(SystemTime::now());
        Self { subject, at, until: at.saturating_add(u64::try_from(last.as_millis()).unwrap_or(u64::MAX)) }
    }

    fn is_over(&self, now: u64) -> bool {
        self.until <= now
    }
}

/// A change of the list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    /// One more.
    Revoke(Revocation),
    /// One less.
    Lift(Subject),
}

/// Why a change was not kept.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RevocationError {
    /// No room.
    #[error(
        "{actual} users and tokens are revoked, and no more than {limit} can be; lift some, or revoke them for shorter"
    )]
    Full {
        /// How many there are.
        actual: usize,
        /// How many there can be.
        limit: usize,
    },
    /// The store failed.
    #[error("what is revoked cannot be read or written: {0}")]
    Failed(String),
}

/// Where revocations are kept.
pub trait RevocationStore: Send + Sync + fmt::Debug {
    /// All of them; may hold some that are over.
    fn all(&self) -> Later<'_, Result<Vec<Revocation>, RevocationError>>;

    /// Keeps a change. Can be repeated.
    fn change<'a>(&'a self, change: &'a Change) -> Later<'a, Result<(), RevocationError>>;
}

/// What this node knows.
#[derive(Debug, Default)]
pub struct Revocations {
    known: RwLock<HashMap<Subject, Known>>,
}

#[derive(Debug)]
struct Known {
    revocation: Revocation,
    /// When this node heard of it.
    heard: Instant,
}

/// Who asks to be let in, or is in.
#[derive(Debug, Clone, Copy, Default)]
pub struct Claimant<'a> {
    /// The user's name.
    pub user: Option<&'a str>,
    /// By which the proof can be revoked.
    pub token: Option<&'a str>,
    /// When the proof was made.
    pub issued: Option<SystemTime>,
}

impl Revocations {
    /// Whether what the claimant has proved counts no more.
    #[must_use]
    pub fn refuse(&self, claimant: &Claimant<'_>) -> bool {
        let known = self.known.read();
        if known.is_empty() {
            return false;
        }
        let now = unix_millis(SystemTime::now());
        let find = |subject: Subject| known.get(&subject).filter(|known| !known.revocation.is_over(now));
        let token = claimant.token.and_then(|token| find(Subject::Token(token.into())));
        let user = claimant.user.and_then(|user| find(Subject::User(user.into())));
        let issued = claimant.issued.map(unix_millis);
        token.is_some() || user.is_some_and(|known| issued.is_none_or(|issued| issued <= known.revocation.at))
    }

    /// Takes over a change.
    pub fn apply(&self, change: Change) {
        let mut known = self.known.write();
        match change {
            Change::Revoke(revocation) => {
                known.insert(revocation.subject.clone(), Known { revocation, heard: Instant::now() });
            }
            Change::Lift(subject) => {
                known.remove(&subject);
            }
        }
    }

    /// Takes over what a store said that was asked at `asked`; what was heard since then stays. Tells whether there is
    /// anything new.
    pub fn replace(&self, all: Vec<Revocation>, asked: Instant) -> bool {
        let (now, heard) = (unix_millis(SystemTime::now()), Instant::now());
        let mut known = self.known.write();
        let mut next: HashMap<Subject, Known> = all
            .into_iter()
            .filter(|revocation| !revocation.is_over(now))
            .map(|revocation| (revocation.subject.clone(), Known { revocation, heard }))
            .collect();
        let is_new = |(subject, next): (&Subject, &Known)| {
            known.get(subject).is_none_or(|known| known.revocation != next.revocation)
        };
        let news = next.iter().any(is_new);
        next.extend(known.drain().filter(|(_, known)| known.heard >= asked));
        *known = next;
        news
    }

    /// Those that are not over.
    #[must_use]
    pub fn list(&self) -> Vec<Revocation> {
        let now = unix_millis(SystemTime::now());
        let known = self.known.read();
        known.values().map(|known| known.revocation.clone()).filter(|revocation| !revocation.is_over(now)).collect()
    }
}

fn unix_millis(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    fn user(name: &str) -> Subject {
        Subject::User(name.into())
    }

    fn ann(issued: Option<SystemTime>) -> Claimant<'static> {
        Claimant { user: Some("ann"), token: Some("t1"), issued }
    }

    #[test]
    fn a_revoked_user_comes_back_only_with_what_was_issued_later() {
        let revocations = Revocations::default();
        assert!(!revocations.refuse(&ann(None)));
        revocations.apply(Change::Revoke(Revocation::now(user("ann"), DAY)));
        let now = SystemTime::now();
        assert!(revocations.refuse(&ann(None)), "a password has no time");
        assert!(revocations.refuse(&ann(Some(now - DAY))));
        assert!(!revocations.refuse(&ann(Some(now + Duration::from_secs(1)))));
        assert!(!revocations.refuse(&Claimant { user: Some("ben"), ..Claimant::default() }));
        assert!(!revocations.refuse(&Claimant::default()), "nobody is nobody");
        revocations.apply(Change::Lift(user("ann")));
        assert!(!revocations.refuse(&ann(None)));
    }

    #[test]
    fn a_revoked_token_is_no_longer_good_for_anybody() {
        let revocations = Revocations::default();
        revocations.apply(Change::Revoke(Revocation::now(Subject::Token("t1".into()), DAY)));
        assert!(revocations.refuse(&ann(Some(SystemTime::now() + DAY))));
        assert!(!revocations.refuse(&Claimant { token: Some("t2"), ..ann(None) }));
    }

    #[test]
    fn what_is_over_counts_no_more() {
        let revocations = Revocations::default();
        revocations.apply(Change::Revoke(Revocation::now(user("ann"), Duration::ZERO)));
        assert!(!revocations.refuse(&ann(None)));
        assert!(revocations.list().is_empty());
        assert!(!revocations.replace(vec![Revocation::now(user("ann"), Duration::ZERO)], Instant::now()));
    }

    #[test]
    fn an_old_answer_of_the_store_takes_nothing_away_that_was_heard_since() {
        let revocations = Revocations::default();
        revocations.apply(Change::Revoke(Revocation::now(user("old"), DAY)));
        let asked = Instant::now();
        let heard = Revocation::now(user("new"), DAY);
        revocations.apply(Change::Revoke(heard.clone()));
        let stored = Revocation::now(user("stored"), DAY);
        assert!(revocations.replace(vec![stored.clone()], asked));
        let mut list = revocations.list();
        list.sort_by(|a, b| a.subject.cmp(&b.subject));
        assert_eq!(list, [heard, stored.clone()]);
        revocations.replace(vec![stored.clone()], Instant::now());
        assert!(!revocations.replace(vec![stored], Instant::now()), "nothing new");
    }

    #[test]
    fn a_change_reads_as_it_was_written() {
        let revocation = Revocation { subject: user("ann"), at: 1, until: 2 };
        let text = serde_json::to_string(&Change::Revoke(revocation.clone())).unwrap();
        assert_eq!(text, r#"{"revoke":{"user":"ann","at":1,"until":2}}"#);
        assert_eq!(serde_json::from_str::<Change>(&text).unwrap(), Change::Revoke(revocation));
    }
}
