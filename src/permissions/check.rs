//! From configuration to rules: all mistakes are found here, before a port is bound or a user let in.

use super::Permissions;
use super::rule::{OWN, Rule};
use crate::config::permissions::RuleConfig;
use crate::config::problem::{ConfigProblem, Key, Problems};
use crate::destination::{Destinations, Kind, Pattern};
use crate::routes::{Guard, Scope};

/// Most rules of a node.
pub const MAX_RULES: usize = 1024;
/// Most rules that come with one user.
pub const MAX_OWN_RULES: usize = 64;
/// Most octets in the texts of rules that come with one user: each of a node's sessions may bring its own.
pub const MAX_OWN_SIZE: usize = 8 * 1024;
/// Longest name of a rule in octets.
const MAX_NAME: usize = 200;

/// Checks all `[[permissions.rule]]` sections. `source` is the text of `file`, for the lines in the messages.
///
/// # Errors
///
/// Every mistake found, in the order of the rules.
pub fn check(
    rules: &[RuleConfig],
    destinations: &Destinations,
    source: &str,
    file: &str,
) -> Result<Permissions, Vec<ConfigProblem>> {
    let mut problems = Problems::new(source, file);
    let root = Key::root("permissions");
    let list = root.name("rule");
    if rules.len() > MAX_RULES {
        problems.add(&list, format!("{} rules are over the limit of {MAX_RULES}", rules.len()));
    }
    let mut permissions = Permissions::default();
    for (number, config) in rules.iter().take(MAX_RULES).enumerate() {
        if let Some(rule) = check_rule(config, &list.index(number), destinations, &mut problems) {
            permissions.add(rule);
        }
    }
    problems.or_all(permissions)
}

impl Permissions {
    /// The rules that come with a user, such as those that a call of its own backend answers.
    ///
    /// # Errors
    ///
    /// What is wrong with the first rule that is, or what there is too much of.
    pub fn of_user(rules: &[RuleConfig], destinations: &Destinations) -> Result<Self, String> {
        if rules.len() > MAX_OWN_RULES {
            return Err(format!("{} rules of one user are over the limit of {MAX_OWN_RULES}", rules.len()));
        }
        let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        let size: usize = rules.iter().map(|rule| rule.pattern.len() + text(&rule.name) + text(&rule.when)).sum();
        if size > MAX_OWN_SIZE {
            return Err(format!("rules of one user with {size} octets are over the limit of {MAX_OWN_SIZE}"));
        }
        check(rules, destinations, "", "").map_err(|mut problems| {
            let problem = problems.remove(0);
            format!("{}: {}", problem.key, problem.message)
        })
    }
}

fn check_rule(
    config: &RuleConfig,
    key: &Key<'_>,
    destinations: &Destinations,
    problems: &mut Problems<'_>,
) -> Option<Rule> {
    let own = key.name("match");
    let narrow = problems.take(&own, Pattern::parse(&config.pattern))?;
    if let Err(message) = reaches(&narrow, destinations) {
        problems.add(&own, message);
    }
    let names: Vec<&str> = narrow.names().collect();
    let scope = Scope {
        captures: names.iter().copied().filter(|name| *name != OWN).collect(),
        sender: true,
        ..Scope::default()
    };
    for (number, name) in names.iter().enumerate() {
        if *name == OWN {
            continue;
        }
        if names[..number].contains(name) {
            problems.add(&own, format!("{{{name}}} stands twice"));
        } else if scope.hides(name) {
            problems.add(&own, format!("{{{name}}} has a meaning of its own in a condition; choose another name"));
        }
    }
    if !narrow.names_segments(OWN) {
        problems.add(&own, "{user} is a whole segment, as in /user/{user}/queue/**");
    }
    if config.send.is_none() && config.subscribe.is_none() {
        problems.add(key, "says nothing; give send or subscribe, \"allow\" or \"deny\"");
    }
    let name = config.name.as_ref().unwrap_or(&config.pattern);
    if config.name.as_ref().is_some_and(|name| name.is_empty() || name.len() > MAX_NAME)
        || name.contains(char::is_control)
    {
        problems.add(&key.name("name"), format!("a name has 1 to {MAX_NAME} octets and no control characters"));
    }
    let when = match &config.when {
        Some(text) => Some(problems.take(&key.name("when"), Guard::parse(text, &scope))?),
        None => None,
    };
    Some(Rule {
        name: name.as_str().into(),
        wide: narrow.by_segment(),
        by_user: names.contains(&OWN),
        narrow,
        send: config.send,
        subscribe: config.subscribe,
        when,
    })
}

/// Whether a rule can ever match: a mistake in one that denies would open what it should close.
fn reaches(pattern: &Pattern, destinations: &Destinations) -> Result<(), String> {
    let text = pattern.as_str();
    let user = destinations.user_prefix();
    if let Kind::UserOwn(rest) = destinations.subscription(text) {
        return Err(format!(
            "rules see user destinations with their addressee: {user}{{user}}/{rest} for everybody's own, \
             {user}*/{rest} for those of all"
        ));
    }
    let broker = destinations.broker_prefixes().map(|prefix| format!("{prefix}*/**"));
    let others = [format!("{user}*/**"), format!("{}**", destinations.application_prefix())];
    let mut known = broker.chain(others).filter_map(|all| Pattern::parse(&all).ok());
    if known.any(|all| all.overlaps(pattern)) {
        return Ok(());
    }
    let prefixes: Vec<String> = destinations.broker_prefixes().map(|prefix| format!("{prefix}/…")).collect();
    let prefixes = prefixes.join(", ");
    let application = destinations.application_prefix();
    Err(format!("{text:?} matches no destination; known are {prefixes}, {user}{{id}}/… and {application}…"))
}
