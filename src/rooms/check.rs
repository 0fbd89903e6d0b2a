//! From `[[room]]` to rules: all mistakes are found here.

use super::RoomRules;
use super::rules::{JoinRule, Rule};
use crate::config::problem::{ConfigProblem, Key, Problems};
use crate::config::rooms::{AnnouncementConfig, RoomConfig};
use crate::destination::{Destinations, Kind, Pattern};
use crate::routes::{Output, OutputConfig, Scope, Template, check_json, check_output, optional};

/// Checks all `[[room]]` sections. `source` is the text of `file`, for the lines in the messages.
///
/// # Errors
///
/// Every mistake found, in the order of the sections.
pub fn check(
    rooms: &[RoomConfig],
    destinations: &Destinations,
    source: &str,
    file: &str,
) -> Result<RoomRules, Vec<ConfigProblem>> {
    let mut problems = Problems::new(source, file);
    let mut rules: Vec<Rule> = Vec::new();
    let root = Key::root("room");
    for (number, config) in rooms.iter().enumerate() {
        let key = root.index(number);
        let Some(rule) = check_rule(config, &key, destinations, &mut problems) else { continue };
        for other in &rules {
            check_pair(&rule, other, &key, &mut problems);
        }
        rules.push(rule);
    }
    rules.sort_by_key(|rule| rule.pattern.specificity());
    problems.or_all(RoomRules { rules })
}

fn check_rule(
    config: &RoomConfig,
    key: &Key<'_>,
    destinations: &Destinations,
    problems: &mut Problems<'_>,
) -> Option<Rule> {
    let own = key.name("match");
    let pattern = problems.take(&own, Pattern::parse(&config.pattern))?;
    let scope = Scope {
        captures: pattern.names().collect(),
        announcement: true,
        member: true,
        members: true,
        ..Scope::default()
    };
    for name in pattern.names().filter(|name| scope.hides(name)) {
        problems.add(&own, format!("{{{name}}} has a meaning of its own in a room; choose another name"));
    }
    let joining = check_joining(config, key, destinations, problems);
    let mut read = |name: &str, list: &[AnnouncementConfig]| {
        let key = key.name(name);
        let check = |(number, config)| check_announcement(config, &key.index(number), &scope, destinations, problems);
        list.iter().enumerate().filter_map(check).collect()
    };
    let on_join = read("on_join", &config.on_join);
    let on_leave = read("on_leave", &config.on_leave);
    Some(Rule { joining: joining?, on_join, on_leave, pattern })
}

/// What follows a subscription: `Some(None)` if nothing, `None` after a mistake.
fn check_joining(
    config: &RoomConfig,
    key: &Key<'_>,
    destinations: &Destinations,
    problems: &mut Problems<'_>,
) -> Option<Option<JoinRule>> {
    let Some(destination) = &config.subscribe else {
        for (name, given) in [("member", config.member.is_some()), ("profile", config.profile.is_some())] {
            if given {
                problems.add(&key.name(name), "says who joins by subscribing; that needs subscribe");
            }
        }
        return Some(None);
    };
    let own = key.name("subscribe");
    let destination = problems.take(&own, Pattern::parse(destination))?;
    let kind = destinations.subscription(destination.as_str());
    if matches!(kind, Kind::Application(_) | Kind::Unknown) {
        problems.add(&own, format!("{:?} is no destination that can be subscribed to", destination.as_str()));
    }
    let scope = Scope { captures: destination.names().collect(), sender: true, ..Scope::default() };
    if !scope.captures.contains(&"room") {
        problems.add(&own, "does not say which room; write {room} where its name stands");
    }
    let member = config.member.as_ref().map(|text| problems.take(&key.name("member"), Template::parse(text, &scope)));
    let profile = config.profile.as_ref().map(|json| check_json(json, &key.name("profile"), &scope, problems));
    let (member, profile) = (optional(member)?, optional(profile)?);
    Some(Some(JoinRule { destination, member, profile }))
}

fn check_announcement(
    config: &AnnouncementConfig,
    key: &Key<'_>,
    scope: &Scope<'_>,
    destinations: &Destinations,
    problems: &mut Problems<'_>,
) -> Option<Output> {
    if config.to.is_empty() {
        problems.add(&key.name("to"), "is empty, so nothing is sent");
    }
    if config.json.is_none() && config.body.is_none() {
        problems.add(key, "has nothing to say; give json or body");
    }
    let output = OutputConfig {
        to: &config.to,
        json: config.json.as_ref(),
        body: config.body.as_deref(),
        content_type: config.content_type.as_deref(),
    };
    check_output(&output, key, scope, destinations, problems)
}

/// Two sections must not both mean the same room, nor the same subscription.
fn check_pair(rule: &Rule, other: &Rule, key: &Key<'_>, problems: &mut Problems<'_>) {
    if rule.pattern.specificity() == other.pattern.specificity() && rule.pattern.overlaps(&other.pattern) {
        let (own, other) = (rule.pattern.as_str(), other.pattern.as_str());
        problems.add(
            &key.name("match"),
            format!("{own:?} and {other:?} match the same rooms; which is meant would be chance"),
        );
    }
    let Some((own, other)) = rule.joining.as_ref().zip(other.joining.as_ref()) else { return };
    if own.destination.overlaps(&other.destination) {
        let (own, other) = (own.destination.as_str(), other.destination.as_str());
        let message = format!("{own:?} and {other:?} match the same subscriptions; one subscription joins one room");
        problems.add(&key.name("subscribe"), message);
    }
}
