//! What configuration says about destinations.

use crate::config::DestinationPolicy;
use crate::destination::Pattern;
use crate::mailbox;
use crate::outbox::Overflow;

/// What holds for one destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Policy {
    /// What happens when a subscriber's outbox is full.
    pub overflow: Overflow,
    /// Kept until delivery is proved, and how.
    pub kept: Option<mailbox::queue::Policy>,
}

/// Policies by pattern; the first that matches counts.
#[derive(Debug)]
pub struct Policies {
    rules: Vec<(Pattern, Policy)>,
    default: Policy,
}

impl Policies {
    /// Policies in order, and what happens at a full outbox where none says otherwise.
    ///
    /// # Errors
    ///
    /// Names the pattern that is none.
    pub fn new(rules: &[DestinationPolicy], overflow: Overflow) -> Result<Self, String> {
        let default = Policy { overflow, kept: None };
        let rules = rules.iter().map(|rule| {
            let pattern = Pattern::parse(&rule.pattern)
                .map_err(|error| format!("destination.match: {:?} is no pattern: {error}", rule.pattern))?;
            let mode = if rule.share { mailbox::queue::Mode::One } else { mailbox::queue::Mode::Everyone };
            let kept = (rule.share || rule.keep.is_some())
                .then(|| mailbox::queue::Policy { mode, keep: rule.keep.unwrap_or_default() });
            Ok((pattern, Policy { overflow: rule.overflow.unwrap_or(overflow), kept }))
        });
        Ok(Self { rules: rules.collect::<Result<_, String>>()?, default })
    }

    pub(crate) fn of(&self, destination: &str) -> Policy {
        self.rules.iter().find(|(pattern, _)| pattern.matches(destination)).map_or(self.default, |(_, policy)| *policy)
    }
}
