//! From configuration to routes: all mistakes are found here, before a port is bound.

use super::guard::Guard;
use super::output::check_json;
use super::template::Template;
use super::variable::Scope;
use super::{OutputConfig, RoomUse, Route, Routes, check_output};
use crate::config::problem::{ConfigProblem, Key, Problems};
use crate::config::routes::RouteConfig;
use crate::destination::{Destinations, Pattern, is_pattern};

/// Headers that say something about a frame itself and so cannot be taken from another frame.
const FRAME_HEADERS: [&str; 10] = [
    "destination",
    "content-type",
    "content-length",
    "message-id",
    "subscription",
    "receipt",
    "transaction",
    "ack",
    "id",
    "heart-beat",
];

/// Checks all `[[route]]` sections. `source` is the text of `file`, for the lines in the messages.
///
/// # Errors
///
/// Every mistake found, in the order of the routes.
pub fn check(
    routes: &[RouteConfig],
    destinations: &Destinations,
    source: &str,
    file: &str,
) -> Result<Routes, Vec<ConfigProblem>> {
    let mut problems = Problems::new(source, file);
    let mut checked = Routes::default();
    let root = Key::root("route");
    let mut earlier: Vec<(Pattern, bool)> = Vec::new();
    for (number, config) in routes.iter().enumerate() {
        let key = root.index(number);
        let Some(pattern) = check_pattern(config, &key, destinations, &mut problems) else { continue };
        for (other, subscribe) in &earlier {
            if *subscribe == config.subscribe && ambiguous(&pattern, other) {
                let message = format!("{:?} and {:?} match the same destinations", pattern.as_str(), other.as_str());
                problems.add(&key.name("on"), format!("{message}; which of them is meant would be chance"));
            }
        }
        earlier.push((pattern.clone(), config.subscribe));
        let Some(route) = check_route(config, pattern, &key, destinations, &mut problems) else { continue };
        let index = if config.subscribe { &mut checked.subscriptions } else { &mut checked.sends };
        index.insert(&route.pattern, checked.routes.len());
        checked.routes.push(route);
    }
    problems.or_all(checked)
}

/// Whether neither is narrower where both match.
fn ambiguous(a: &Pattern, b: &Pattern) -> bool {
    a.specificity() == b.specificity() && a.overlaps(b)
}

fn check_pattern(
    config: &RouteConfig,
    key: &Key<'_>,
    destinations: &Destinations,
    problems: &mut Problems<'_>,
) -> Option<Pattern> {
    let key = key.name("on");
    let pattern = problems.take(&key, Pattern::parse(&config.on))?;
    let prefix = destinations.application_prefix();
    if !config.on.starts_with(prefix) || config.on.len() == prefix.len() {
        problems.add(&key, format!("{:?} is no application destination; those begin with {prefix}", config.on));
        return None;
    }
    Some(pattern)
}

fn check_route(
    config: &RouteConfig,
    pattern: Pattern,
    key: &Key<'_>,
    destinations: &Destinations,
    problems: &mut Problems<'_>,
) -> Option<Route> {
    let captures: Vec<&str> = pattern.names().collect();
    let scope = Scope { captures, sender: true, frame: true, body: !config.subscribe, ..Scope::default() };
    let member = config.join.is_some() || config.leave.is_some();
    let with_room = Scope { members: member || config.room.is_some(), member, ..scope.clone() };
    check_names(&with_room, &key.name("on"), problems);

    let allow = key.name("allow");
    let guard = config.allow.as_ref().map(|text| problems.take(&allow, Guard::parse(text, &scope)));
    let room = check_room(config, key, &scope, problems);
    let output = OutputConfig {
        to: &config.to,
        json: config.json.as_ref(),
        body: config.body.as_deref(),
        content_type: config.content_type.as_deref(),
    };
    let output = check_output(&output, key, &with_room, destinations, problems);
    let reply = config.subscribe && config.to.is_empty();
    check_purpose(config, reply, key, problems);
    for (number, name) in config.forward_headers.iter().enumerate() {
        if FRAME_HEADERS.contains(&name.as_str()) {
            let key = key.name("forward_headers");
            problems.add(&key.index(number), format!("{name} belongs to the frame it came with"));
        }
    }
    Some(Route {
        guard: guard.map_or(Some(None), |guard| guard.map(Some))?,
        room: room?,
        output: output?,
        reply,
        forward_headers: config.forward_headers.iter().map(|name| name.as_str().into()).collect(),
        pattern,
    })
}

fn check_names(scope: &Scope<'_>, key: &Key<'_>, problems: &mut Problems<'_>) {
    for (number, name) in scope.captures.iter().enumerate() {
        if scope.captures[..number].contains(name) {
            problems.add(key, format!("{{{name}}} stands twice"));
        } else if scope.hides(name) {
            problems.add(key, format!("{{{name}}} has a meaning of its own in a route; choose another name"));
        }
    }
}

/// A route that would do nothing is a mistake.
fn check_purpose(config: &RouteConfig, reply: bool, key: &Key<'_>, problems: &mut Problems<'_>) {
    let content = config.json.is_some() || config.body.is_some();
    if reply && !content {
        problems.add(&key.name("subscribe"), "answers with nothing; give json or body, or a destination in to");
    } else if config.subscribe && !content {
        problems.add(&key.name("to"), "has nothing to send, a SUBSCRIBE has no body; give json or body");
    } else if !config.subscribe && config.to.is_empty() {
        if content || config.room.is_some() {
            problems.add(key, "has no to, so nothing is sent");
        } else if config.join.is_none() && config.leave.is_none() {
            problems.add(key, "does nothing; give to, join or leave");
        }
    }
}

/// The room a route uses: `Some(None)` if none, `None` after a mistake.
fn check_room(
    config: &RouteConfig,
    key: &Key<'_>,
    scope: &Scope<'_>,
    problems: &mut Problems<'_>,
) -> Option<Option<RoomUse>> {
    let uses = [config.join.is_some(), config.leave.is_some(), config.room.is_some()];
    if uses.iter().filter(|used| **used).count() > 1 {
        problems.add(key, "has more than one of join, leave and room; a route uses one room in one way");
        return None;
    }
    let mut read = |key: &Key<'_>, text: &str| {
        if text.is_empty() || (is_pattern(text) && !text.contains('{')) {
            problems.add(key, format!("{text:?} names no room or member"));
            return None;
        }
        problems.take(key, Template::parse(text, scope))
    };
    if let Some(join) = &config.join {
        let key = key.name("join");
        let room = read(&key.name("room"), &join.room);
        let member = join.member.as_ref().map(|member| read(&key.name("member"), member));
        let profile = join.profile.as_ref().map(|json| check_json(json, &key.name("profile"), scope, problems));
        let (member, profile) = (optional(member)?, optional(profile)?);
        return Some(Some(RoomUse::Join { room: room?, member, profile }));
    }
    if let Some(leave) = &config.leave {
        let key = key.name("leave");
        let room = read(&key.name("room"), &leave.room);
        let member = leave.member.as_ref().map(|member| read(&key.name("member"), member));
        return Some(Some(RoomUse::Leave { room: room?, member: optional(member)? }));
    }
    if let Some(room) = &config.room {
        return Some(Some(RoomUse::Read { room: read(&key.name("room"), room)? }));
    }
    Some(None)
}

/// A key that was not given is fine; one that was given and is wrong is not.
#[allow(clippy::option_option, reason = "given or not, and then right or wrong")]
pub(crate) fn optional<T>(checked: Option<Option<T>>) -> Option<Option<T>> {
    checked.map_or(Some(None), |inner| inner.map(Some))
}
