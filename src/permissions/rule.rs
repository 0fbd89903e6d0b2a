//! One rule: whom and what it matches.

use std::borrow::Cow;

use super::{Asking, Decision, Verb, decided};
use crate::config::permissions::Effect;
use crate::destination::{Captures, Pattern, encode_segment};
use crate::routes::{Found, Guard, Lookup, Refusal, Variable, follow};

/// The variable of a pattern that stands for the session's own user.
pub(super) const OWN: &str = "user";

/// A checked rule.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Rule {
    pub(super) name: Box<str>,
    /// What it allows: as narrow as it is written.
    pub(super) narrow: Pattern,
    /// What it denies: the same, segment by segment, so that `/topic//a` is no way around `/topic/a`.
    pub(super) wide: Pattern,
    /// Whether `{user}` stands in it.
    pub(super) by_user: bool,
    pub(super) send: Option<Effect>,
    pub(super) subscribe: Option<Effect>,
    pub(super) when: Option<Guard>,
}

impl Rule {
    pub(super) const fn effect(&self, verb: Verb) -> Option<Effect> {
        match verb {
            Verb::Send => self.send,
            Verb::Subscribe => self.subscribe,
        }
    }

    /// What an index must find it by.
    pub(super) fn patterns(&self) -> impl Iterator<Item = &Pattern> {
        let says = |effect| self.send == Some(effect) || self.subscribe == Some(effect);
        let narrow = says(Effect::Allow).then_some(&self.narrow);
        let wide = says(Effect::Deny).then_some(&self.wide);
        narrow.into_iter().chain(wide)
    }

    /// What it says about one destination; `trimmed` is the same without separators at its end.
    pub(super) fn decide_exact(
        &self,
        verb: Verb,
        destination: &str,
        trimmed: &str,
        asking: &Asking<'_>,
    ) -> Option<Decision<'_>> {
        let effect = self.effect(verb)?;
        let pattern = self.pattern(effect, asking)?;
        let text = match effect {
            _ if pattern.matches(destination) => destination,
            Effect::Deny if pattern.matches(trimmed) => trimmed,
            _ => return None,
        };
        let holds = self.when.as_ref().is_none_or(|guard| {
            let captures = pattern.captures(text).unwrap_or_default();
            settled(effect, guard.holds(&Case { captures, destination: Some(text), asking }))
        });
        holds.then(|| decided(effect, &self.name))
    }

    /// What it says about everything that `wanted` matches; nothing where it may be right for a part of it only, if it
    /// allows.
    pub(super) fn decide_pattern(&self, verb: Verb, wanted: &Pattern, asking: &Asking<'_>) -> Option<Decision<'_>> {
        let effect = self.effect(verb)?;
        let pattern = self.pattern(effect, asking)?;
        let matches = match effect {
            Effect::Allow => pattern.covers(wanted),
            Effect::Deny => pattern.overlaps(wanted),
        };
        if !matches {
            return None;
        }
        let holds = self.when.as_ref().is_none_or(|guard| {
            let captures = pattern.fixed_captures(wanted);
            settled(effect, guard.holds(&Case { captures, destination: None, asking }))
        });
        holds.then(|| decided(effect, &self.name))
    }

    /// Its pattern for this session; none if it is not for it.
    fn pattern(&self, effect: Effect, asking: &Asking<'_>) -> Option<Cow<'_, Pattern>> {
        let pattern = match effect {
            Effect::Allow => &self.narrow,
            Effect::Deny => &self.wide,
        };
        if !self.by_user {
            return Some(Cow::Borrowed(pattern));
        }
        let user = asking.segment_user()?;
        Some(Cow::Owned(pattern.bind(OWN, &encode_segment(user))))
    }
}

/// Whether a condition holds. One that cannot be decided forbids: it allows nothing, and denies.
fn settled(effect: Effect, holds: Result<bool, Refusal>) -> bool {
    holds.unwrap_or(effect == Effect::Deny)
}

/// What the variables of a condition stand for in one case.
struct Case<'a, 'c> {
    captures: Captures<'a>,
    /// None for a pattern, which means many; there variables that it leaves open have no value.
    destination: Option<&'a str>,
    asking: &'a Asking<'c>,
}

impl Lookup for Case<'_, '_> {
    fn find(&self, variable: &Variable) -> Result<Found<'_>, Refusal> {
        let asking = self.asking;
        Ok(match variable {
            Variable::Capture(name) => match self.captures.get(name) {
                None if self.destination.is_none() => return Err(open(name)),
                found => found.into(),
            },
            Variable::Destination => match self.destination {
                None => return Err(open("destination")),
                found => found.into(),
            },
            Variable::User => asking.user.into(),
            Variable::Claim(path) => asking.claims().and_then(|claims| follow(claims, path)).into(),
            Variable::Session => Some(asking.session).into(),
            Variable::Node => asking.node().into(),
            // No rule is read with any other in its scope.
            _ => Found::Missing,
        })
    }
}

fn open(variable: &str) -> Refusal {
    Refusal::Missing { variable: format!("{{{variable}}}"), template: "a pattern".to_owned() }
}
