//! What the variables of a route stand for, given one frame.

use std::cell::OnceCell;
use std::str;

use serde_json::Value;

use super::variable::{Found, Lookup, Variable, follow};
use super::{Captures, Refusal, RoomState, SendInput};
use crate::message::ListVersion;

/// One frame, the names its destination gives, and the room once it has been asked.
pub(crate) struct Context<'a> {
    captures: &'a Captures<'a>,
    pub(super) input: &'a SendInput<'a>,
    /// The body as JSON, read when first asked for.
    json: OnceCell<Result<Value, Refusal>>,
    /// None before the room was asked; then its variables stand for a dash, which serves to see whether all others exist.
    pub(super) room: Option<RoomState>,
}

impl<'a> Context<'a> {
    pub(super) fn new(captures: &'a Captures<'a>, input: &'a SendInput<'a>) -> Self {
        Self { captures, input, json: OnceCell::new(), room: None }
    }

    fn body(&self) -> Result<&'a str, Refusal> {
        str::from_utf8(self.input.body).map_err(|_| Refusal::NotText)
    }

    fn json(&self) -> Result<&Value, Refusal> {
        let read = || {
            let text = self.body()?;
            // The parser's own bound on depth (128) keeps a body of brackets from exhausting any stack.
            serde_json::from_str(text).map_err(|error| Refusal::NotJson { reason: error.to_string() })
        };
        self.json.get_or_init(read).as_ref().map_err(Clone::clone)
    }
}

impl Lookup for Context<'_> {
    fn find(&self, variable: &Variable) -> Result<Found<'_>, Refusal> {
        let who = &self.input.who;
        let room = self.room.as_ref();
        Ok(match variable {
            Variable::Capture(name) => self.captures.get(name).into(),
            Variable::Body => Found::Text(self.body()?.into()),
            Variable::BodyJson(path) if path.is_empty() => {
                Found::Json(std::borrow::Cow::Borrowed(self.json()?), Some(self.body()?.trim()))
            }
            Variable::BodyJson(path) => follow(self.json()?, path).into(),
            Variable::User => who.user.into(),
            Variable::Claim(path) => who.claims.as_deref().and_then(|claims| follow(claims, path)).into(),
            Variable::Session => Found::Text(who.session.into()),
            Variable::Node => who.node().into(),
            Variable::Header(name) => self.input.headers.get(name).map(|value| &**value).into(),
            Variable::Destination => Found::Text(self.input.destination.into()),
            Variable::Timestamp => Found::Number(self.input.sent_at),
            Variable::Member(_) | Variable::Members if room.is_none() => Found::Text("-".into()),
            Variable::Member(path) => member(room.and_then(|room| room.member.as_deref()), path),
            Variable::Members => members(room.map_or(&[], |room| &room.members)),
            // Announcements of rooms alone know these; no route is read with them in its scope.
            Variable::Room | Variable::MemberId => Found::Missing,
        })
    }

    fn list(&self) -> Option<&ListVersion> {
        self.room.as_ref()?.version.as_ref()
    }
}

/// `{member}` or `{member.field}` of a profile.
pub(crate) fn member<'a>(profile: Option<&'a str>, path: &[Box<str>]) -> Found<'a> {
    match profile {
        Some(profile) if path.is_empty() => Found::Raw(profile.into()),
        Some(profile) => serde_json::from_str::<Value>(profile)
            .ok()
            .and_then(|profile| follow(&profile, path).cloned())
            .map_or(Found::Missing, |value| Found::Json(std::borrow::Cow::Owned(value), None)),
        None => Found::Missing,
    }
}

/// `{members}`: the profiles as a JSON list.
pub(crate) fn members<'a>(profiles: &[std::sync::Arc<str>]) -> Found<'a> {
    let mut list = String::with_capacity(2 + profiles.iter().map(|profile| profile.len() + 1).sum::<usize>());
    list.push('[');
    for (number, profile) in profiles.iter().enumerate() {
        list.push_str(if number == 0 { "" } else { "," });
        list.push_str(profile);
    }
    list.push(']');
    Found::Raw(list.into())
}
