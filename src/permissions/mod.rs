//! Permissions: which frames of a client have an effect, by destination.
//!
//! ```text
//! SEND, SUBSCRIBE --> rules of the user --> rules of the node --> profile --> carried out, or a Denial that says why
//!                     (the first rule that matches and speaks about the verb decides)
//! ```
//!
//! This room reads texts and answers; it knows no session and keeps no state. User destinations come under their one
//! canonical name, `/user/{id}/…`, whichever form the client wrote. What the server itself publishes is never asked about.
//!
//! A subscription to a pattern is allowed where the *whole* pattern is: one rule that allows must cover it, and no earlier
//! rule that denies may have a destination in common with it. Where that cannot be told, the answer is no.

mod check;
mod gate;
mod rule;

use std::cell::OnceCell;
use std::sync::Arc;

use serde_json::Value;
use smallvec::SmallVec;

use self::rule::Rule;
use crate::config::permissions::Effect;
use crate::destination::{Pattern, PatternIndex};
use crate::routes::Who;

pub use check::{MAX_OWN_RULES, MAX_OWN_SIZE, MAX_RULES, check};
pub use gate::{Denial, Gate, Profile};

/// Checked rules, in order.
#[derive(Debug, Clone, Default)]
pub struct Permissions {
    rules: Vec<Rule>,
    index: PatternIndex<usize>,
}

/// What a client wants to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// SEND.
    Send,
    /// SUBSCRIBE.
    Subscribe,
}

/// What it wants to do that with.
#[derive(Debug, Clone, Copy)]
pub enum Target<'a> {
    /// One destination by its canonical name, whatever characters that holds.
    Exact(&'a str),
    /// All that a pattern matches; SUBSCRIBE only.
    Pattern(&'a Pattern),
}

/// Who asks.
pub struct Asking<'a> {
    /// The name of the user, if the session has one.
    pub user: Option<&'a str>,
    /// The id of the session.
    pub session: &'a str,
    /// Finds out what else is known of the user; called when a condition needs it.
    pub claims: &'a dyn Fn() -> Option<Arc<Value>>,
    known: OnceCell<Option<Arc<Value>>>,
}

/// What a rule decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision<'r> {
    /// The client may.
    Allowed,
    /// It may not.
    Denied {
        /// Name of the rule.
        rule: &'r str,
    },
}

impl Permissions {
    /// What the first rule that matches says; none if no rule does.
    #[must_use]
    pub fn decide(&self, verb: Verb, target: Target<'_>, asking: &Asking<'_>) -> Option<Decision<'_>> {
        match target {
            Target::Exact(destination) => self.decide_exact(verb, destination, asking),
            Target::Pattern(pattern) => self.rules.iter().find_map(|rule| rule.decide_pattern(verb, pattern, asking)),
        }
    }

    /// Whether some rule speaks about a verb.
    #[must_use]
    pub fn speak_about(&self, verb: Verb) -> bool {
        self.rules.iter().any(|rule| rule.effect(verb).is_some())
    }

    /// How many rules there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.rules.len()
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    fn add(&mut self, rule: Rule) {
        let number = self.rules.len();
        for pattern in rule.patterns() {
            self.index.insert(pattern, number);
        }
        self.rules.push(rule);
    }

    fn decide_exact(&self, verb: Verb, destination: &str, asking: &Asking<'_>) -> Option<Decision<'_>> {
        if self.rules.is_empty() {
            return None;
        }
        let mut candidates: SmallVec<[usize; 8]> = SmallVec::new();
        self.index.for_each_match(destination, |&number| candidates.push(number));
        // `/topic/a/` is another destination than `/topic/a`, but nobody who denies one means to leave the other.
        let trimmed = destination.trim_end_matches('/');
        if trimmed.len() < destination.len() {
            self.index.for_each_match(trimmed, |&number| candidates.push(number));
        }
        candidates.sort_unstable();
        candidates.dedup();
        candidates.iter().find_map(|&number| self.rules[number].decide_exact(verb, destination, trimmed, asking))
    }
}

/// The index follows from the rules.
impl PartialEq for Permissions {
    fn eq(&self, other: &Self) -> bool {
        self.rules == other.rules
    }
}

impl Verb {
    /// As STOMP calls it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Send => "SEND",
            Self::Subscribe => "SUBSCRIBE",
        }
    }

    /// The key of a rule that speaks about it.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::Send => "send",
            Self::Subscribe => "subscribe",
        }
    }
}

impl<'a> Asking<'a> {
    /// Somebody with this name, if any, in this session.
    pub fn new(user: Option<&'a str>, session: &'a str, claims: &'a dyn Fn() -> Option<Arc<Value>>) -> Self {
        Self { user, session, claims, known: OnceCell::new() }
    }

    fn claims(&self) -> Option<&Value> {
        self.known.get_or_init(self.claims).as_deref()
    }

    fn node(&self) -> Option<&'a str> {
        Who { session: self.session, ..Who::default() }.node()
    }

    /// The user's name if it can stand as one segment of a destination. A name with `%2F` in it is written as that of
    /// another user is, so nothing of that user's is its own.
    fn segment_user(&self) -> Option<&'a str> {
        self.user.filter(|user| !user.is_empty() && !user.contains("%2F"))
    }
}

impl std::fmt::Debug for Asking<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Asking").field("user", &self.user).field("session", &self.session).finish_non_exhaustive()
    }
}

const fn decided(effect: Effect, rule: &str) -> Decision<'_> {
    match effect {
        Effect::Allow => Decision::Allowed,
        Effect::Deny => Decision::Denied { rule },
    }
}

#[cfg(test)]
mod tests;
