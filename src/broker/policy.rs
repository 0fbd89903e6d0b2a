//! What configuration says about destinations.

use crate::config::DestinationPolicy;
use crate::config::problem::{ConfigProblem, Key, Problems};
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
#[derive(Debug, Default)]
pub struct Policies {
    rules: Vec<(Pattern, Policy)>,
    default: Policy,
}

impl Policies {
    /// Policies in order, and what happens at a full outbox where none says otherwise; `source` and `file` are where
    /// the rules stand.
    ///
    /// # Errors
    ///
    /// Names every pattern that is none.
    pub fn new(
        rules: &[DestinationPolicy],
        overflow: Overflow,
        source: &str,
        file: &str,
    ) -> Result<Self, Vec<ConfigProblem>> {
        let mut problems = Problems::new(source, file);
        let list = Key::root("destination");
        let mut checked = Vec::with_capacity(rules.len());
        for (number, rule) in rules.iter().enumerate() {
            let Some(pattern) = problems.take(&list.index(number).name("match"), Pattern::parse(&rule.pattern)) else {
                continue;
            };
            let mode = if rule.share { mailbox::queue::Mode::One } else { mailbox::queue::Mode::Everyone };
            let kept = (rule.share || rule.keep.is_some())
                .then(|| mailbox::queue::Policy { mode, keep: rule.keep.unwrap_or_default() });
            checked.push((pattern, Policy { overflow: rule.overflow.unwrap_or(overflow), kept }));
        }
        problems.or_all(Self { rules: checked, default: Policy { overflow, kept: None } })
    }

    pub(crate) fn of(&self, destination: &str) -> Policy {
        self.rules.iter().find(|(pattern, _)| pattern.matches(destination)).map_or(self.default, |(_, policy)| *policy)
    }
}
