//! What `[[room]]` says: which subscriptions join a room, and what is sent when somebody comes or goes.

use std::sync::Arc;

use stampede_protocol::stomp::Headers;

use super::Member;
use crate::destination::{Captures, Pattern, is_pattern};
use crate::message::ListVersion;
use crate::routes::{
    Action, Found, JsonTemplate, Lookup, Output, Refusal, Template, Variable, Who, follow, member, member_id,
    member_profile, members,
};

/// The checked `[[room]]` sections.
#[derive(Debug, Clone, Default)]
pub struct RoomRules {
    /// The narrowest pattern first.
    pub(super) rules: Vec<Rule>,
}

#[derive(Debug, Clone)]
pub(super) struct Rule {
    pub(super) pattern: Pattern,
    pub(super) joining: Option<JoinRule>,
    pub(super) on_join: Vec<Output>,
    pub(super) on_leave: Vec<Output>,
}

#[derive(Debug, Clone)]
pub(super) struct JoinRule {
    pub(super) destination: Pattern,
    pub(super) member: Option<Template>,
    pub(super) profile: Option<JsonTemplate>,
}

/// What a subscription joins.
#[derive(Debug)]
pub(super) struct Joining {
    pub(super) room: String,
    pub(super) member: String,
    pub(super) profile: String,
}

impl RoomRules {
    /// Whether any subscription joins a room.
    #[must_use]
    pub fn follow_subscriptions(&self) -> bool {
        self.rules.iter().any(|rule| rule.joining.is_some())
    }

    pub(super) fn joining(&self, destination: &str, who: &Who<'_>) -> Result<Option<Joining>, Refusal> {
        // A pattern is not the destination of one room, although it reads like one: `/topic/content/*`.
        if is_pattern(destination) {
            return Ok(None);
        }
        for rule in &self.rules {
            let Some(joining) = &rule.joining else { continue };
            let Some(captures) = joining.destination.captures(destination) else { continue };
            let Some(room) = captures.get("room").filter(|room| rule.pattern.matches(room)) else { continue };
            let room = room.to_owned();
            let lookup = Subscriber { destination, captures, who };
            let member = member_id(joining.member.as_ref(), &lookup, who)?;
            let profile = member_profile(joining.profile.as_ref(), &lookup, &member)?;
            return Ok(Some(Joining { room, member, profile }));
        }
        Ok(None)
    }

    pub(super) fn announce_join(
        &self,
        room: &str,
        member: &Member,
        members: &[Arc<str>],
        version: Option<&ListVersion>,
    ) -> Vec<Action> {
        self.announce(room, member, |rule| &rule.on_join, || members.to_vec(), version)
    }

    pub(super) fn announce_leave(
        &self,
        room: &str,
        member: &Member,
        members: impl FnOnce() -> Vec<Arc<str>>,
        version: Option<&ListVersion>,
    ) -> Vec<Action> {
        self.announce(room, member, |rule| &rule.on_leave, members, version)
    }

    fn announce(
        &self,
        room: &str,
        member: &Member,
        outputs: impl Fn(&Rule) -> &[Output],
        members: impl FnOnce() -> Vec<Arc<str>>,
        version: Option<&ListVersion>,
    ) -> Vec<Action> {
        let matching = |rule: &Rule| rule.pattern.captures(room);
        let found = self.rules.iter().find_map(|rule| matching(rule).map(|captures| (rule, captures)));
        let Some((rule, captures)) = found.filter(|(rule, _)| !outputs(rule).is_empty()) else { return Vec::new() };
        let lookup = Announcement { room, captures, member, members: members(), version };
        // Nobody waits for an answer here: what cannot be addressed, because a part of its destination is empty, has no
        // receiver.
        let sends = |output: &Output| output.sends(&lookup, None, &Headers::new()).unwrap_or_default();
        outputs(rule).iter().flat_map(sends).collect()
    }
}

/// Variables of `member` and `profile`.
struct Subscriber<'a> {
    destination: &'a str,
    captures: Captures<'a>,
    who: &'a Who<'a>,
}

impl Lookup for Subscriber<'_> {
    fn find(&self, variable: &Variable) -> Result<Found<'_>, Refusal> {
        Ok(match variable {
            Variable::Capture(name) => self.captures.get(name).into(),
            Variable::User => self.who.user.into(),
            Variable::Claim(path) => self.who.claims.as_deref().and_then(|claims| follow(claims, path)).into(),
            Variable::Session => Found::Text(self.who.session.into()),
            Variable::Node => self.who.node().into(),
            Variable::Destination => Found::Text(self.destination.into()),
            // Not in the scope with which these templates are read.
            _ => Found::Missing,
        })
    }
}

/// Variables of `on_join` and `on_leave`.
struct Announcement<'a> {
    room: &'a str,
    captures: Captures<'a>,
    member: &'a Member,
    members: Vec<Arc<str>>,
    version: Option<&'a ListVersion>,
}

impl Lookup for Announcement<'_> {
    fn find(&self, variable: &Variable) -> Result<Found<'_>, Refusal> {
        Ok(match variable {
            Variable::Capture(name) => self.captures.get(name).into(),
            Variable::Room => Found::Text(self.room.into()),
            Variable::MemberId => Found::Text((&*self.member.id).into()),
            Variable::Member(path) => member(Some(&self.member.profile), path),
            Variable::Members => members(&self.members),
            // Not in the scope with which these templates are read.
            _ => Found::Missing,
        })
    }

    fn list(&self) -> Option<&ListVersion> {
        self.version
    }
}
