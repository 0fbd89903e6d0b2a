//! Routes: what a frame to an application destination does, by configuration alone.
//!
//! ```text
//! SEND /app/chat/alice/bob/34 -> Routes::find -> Matched::run -+-> guard          -> Refusal (an ERROR that says why)
//!                                                              +-> join or leave  -> RoomsView
//!                                                              +-> Action::Send …    what the broker publishes
//! ```
//!
//! This room reads texts and makes texts. It knows no session, no socket and no clock; who stands in a room it asks through
//! [`RoomsView`], and what it wants published it hands back. All mistakes in the configuration are found by [`check()`],
//! so at run time only what the peer sent can be wrong.

mod check;
mod context;
mod guard;
mod json;
mod output;
mod template;
mod variable;

use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value;
use stampede_protocol::stomp::Headers;

use self::context::Context;
use self::variable::quote;
use crate::destination::{Captures, Pattern, PatternIndex};
use crate::message::ListVersion;

pub use check::check;
pub(crate) use check::optional;
pub(crate) use context::{member, members};
pub(crate) use guard::Guard;
pub(crate) use json::JsonTemplate;
pub(crate) use output::{Output, OutputConfig, check_json, check_output};
pub(crate) use template::Template;
pub(crate) use variable::{Found, Lookup, Scope, Variable, follow};

/// All checked routes.
#[derive(Debug, Clone, Default)]
pub struct Routes {
    routes: Vec<Route>,
    sends: PatternIndex<usize>,
    subscriptions: PatternIndex<usize>,
}

/// The route for one destination.
#[derive(Debug, Clone)]
pub struct Matched<'r, 'd> {
    route: &'r Route,
    captures: Captures<'d>,
}

/// Who sent a frame.
#[derive(Debug, Clone, Default)]
pub struct Who<'a> {
    /// The name of the user, if the session has one.
    pub user: Option<&'a str>,
    /// What the user's token says.
    pub claims: Option<Arc<Value>>,
    /// The id of the session.
    pub session: &'a str,
}

impl<'a> Who<'a> {
    /// The node that the session is connected to, and on which routes run: ids of sessions begin with it.
    pub(crate) fn node(&self) -> Option<&'a str> {
        self.session.rsplit_once('-').map(|(node, _)| node)
    }
}

/// A SEND to an application destination, or a SUBSCRIBE, which has no body.
#[derive(Debug, Clone)]
pub struct SendInput<'a> {
    /// Who sent it.
    pub who: Who<'a>,
    /// Where to.
    pub destination: &'a str,
    /// All headers of the frame.
    pub headers: &'a Headers,
    /// The body.
    pub body: &'a Bytes,
    /// The content type the frame names.
    pub content_type: Option<&'a str>,
    /// When the node took it, as Unix time in milliseconds.
    pub sent_at: u64,
}

/// What the broker is to do, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Publish a message.
    Send {
        /// A broker or user destination.
        destination: String,
        /// The content type, if known.
        content_type: Option<String>,
        /// The body.
        body: Bytes,
        /// Headers beside those above.
        headers: Headers,
        /// If the message is nothing but a list of members that several nodes change: which.
        list: Option<ListVersion>,
    },
    /// Answer the subscriber with one MESSAGE on the destination it subscribed to.
    Reply {
        /// The content type, if known.
        content_type: Option<String>,
        /// The body.
        body: Bytes,
        /// Headers beside those above.
        headers: Headers,
    },
}

/// Why a frame does nothing; the text is for the one who sent it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The guard of the route does not hold.
    #[error("not allowed to use {destination}: it needs {allow}")]
    Guard {
        /// Where the frame went.
        destination: String,
        /// The guard.
        allow: String,
    },
    /// The route needs a JSON body.
    #[error("the body is not JSON: {reason}")]
    NotJson {
        /// What the parser says.
        reason: String,
    },
    /// The route needs a text body.
    #[error("the body is not UTF-8 text")]
    NotText,
    /// A name or destination would have a hole.
    #[error("{variable} is empty or missing, and {template} needs it")]
    Missing {
        /// The variable.
        variable: String,
        /// What it belongs to.
        template: String,
    },
    /// A name or destination would hold a control character.
    #[error("{variable} holds a control character, which no destination or name may")]
    ControlCharacter {
        /// The variable.
        variable: String,
    },
    /// The room does not take the member.
    #[error("{0}")]
    Room(String),
}

/// The rooms as routes see them.
///
/// One call per frame, and a value in and out, so that a store on another machine can stand behind it as well: join and
/// leave are idempotent, and the state that comes back is that right after the change.
pub trait RoomsView {
    /// Does what is asked on behalf of `session`.
    ///
    /// # Errors
    ///
    /// If a bound is reached; then nothing has changed.
    fn apply(&mut self, session: &str, request: RoomRequest) -> Result<RoomState, Refusal>;
}

/// What a route asks of a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RoomRequest {
    /// Join as this member.
    Join {
        /// Name of the room.
        room: String,
        /// Id of the member.
        member: String,
        /// What the others are shown, as JSON.
        profile: String,
    },
    /// Take back this session's joins: of one member, or of all.
    Leave {
        /// Name of the room.
        room: String,
        /// Id of the member.
        member: Option<String>,
    },
    /// Say who is there.
    Read {
        /// Name of the room.
        room: String,
    },
}

/// A room after a [`RoomRequest`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RoomState {
    /// Profile of the one who joined or left, as JSON.
    pub member: Option<Arc<str>>,
    /// Profiles of all members in the order they joined, as JSON.
    pub members: Vec<Arc<str>>,
    /// What the configuration of the room says about this change.
    pub announcements: Vec<Action>,
    /// Which list `members` is, where several nodes change it.
    pub version: Option<ListVersion>,
}

#[derive(Debug, Clone)]
struct Route {
    pattern: Pattern,
    guard: Option<Guard>,
    room: Option<RoomUse>,
    output: Output,
    /// Answers the subscriber instead of sending.
    reply: bool,
    forward_headers: Box<[Box<str>]>,
}

#[derive(Debug, Clone)]
enum RoomUse {
    Join { room: Template, member: Option<Template>, profile: Option<JsonTemplate> },
    Leave { room: Template, member: Option<Template> },
    Read { room: Template },
}

impl Routes {
    /// The route that a SEND to this destination takes: of several that match, the narrowest.
    #[must_use]
    pub fn find<'d>(&self, destination: &'d str) -> Option<Matched<'_, 'd>> {
        self.best(&self.sends, destination)
    }

    /// The route that a SUBSCRIBE to this destination takes.
    #[must_use]
    pub fn find_subscribe<'d>(&self, destination: &'d str) -> Option<Matched<'_, 'd>> {
        self.best(&self.subscriptions, destination)
    }

    /// How many there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.routes.len()
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.routes.is_empty()
    }

    fn best<'d>(&self, index: &PatternIndex<usize>, destination: &'d str) -> Option<Matched<'_, 'd>> {
        let mut best: Option<&Route> = None;
        index.for_each_match(destination, |&number| {
            let route = &self.routes[number];
            if best.is_none_or(|best| route.pattern.specificity() < best.pattern.specificity()) {
                best = Some(route);
            }
        });
        let route = best?;
        Some(Matched { route, captures: route.pattern.captures(destination)? })
    }
}

impl Matched<'_, '_> {
    /// Carries the route out: guard, then join or leave, then what is to be published. Everything the peer can get wrong
    /// is found before a room changes.
    ///
    /// # Errors
    ///
    /// If the guard does not hold, the body is not what the route needs, or the room refuses.
    pub fn run(&self, input: &SendInput<'_>, rooms: &mut dyn RoomsView) -> Result<Vec<Action>, Refusal> {
        let mut context = Context::new(&self.captures, input);
        self.route.admit(&context)?;
        let actions = self.route.actions(&context)?;
        let Some(request) = self.route.request(&context)? else { return Ok(actions) };
        let mut state = rooms.apply(input.who.session, request)?;
        let mut actions = std::mem::take(&mut state.announcements);
        context.room = Some(state);
        actions.extend(self.route.actions(&context)?);
        Ok(actions)
    }

    /// What the route asks of a room, without doing it; everything else the peer can get wrong is found.
    ///
    /// # Errors
    ///
    /// As [`Matched::run`], but for what the room refuses.
    pub fn request(&self, input: &SendInput<'_>) -> Result<Option<RoomRequest>, Refusal> {
        if self.route.room.is_none() {
            return Ok(None);
        }
        let context = Context::new(&self.captures, input);
        self.route.admit(&context)?;
        self.route.actions(&context)?;
        self.route.request(&context)
    }

    /// The pattern of the route, e.g. for a log.
    #[must_use]
    pub fn pattern(&self) -> &str {
        self.route.pattern.as_str()
    }
}

impl Route {
    fn admit(&self, context: &Context<'_>) -> Result<(), Refusal> {
        match &self.guard {
            Some(guard) if !guard.holds(context)? => Err(Refusal::Guard {
                destination: context.input.destination.to_owned(),
                allow: guard.as_str().to_owned(),
            }),
            _ => Ok(()),
        }
    }

    fn request(&self, context: &Context<'_>) -> Result<Option<RoomRequest>, Refusal> {
        let Some(room) = &self.room else { return Ok(None) };
        Ok(Some(match room {
            RoomUse::Join { room, member, profile } => {
                let member = member_id(member.as_ref(), context, &context.input.who)?;
                let profile = member_profile(profile.as_ref(), context, &member)?;
                RoomRequest::Join { room: room.identifier(context)?, member, profile }
            }
            RoomUse::Leave { room, member } => {
                let member = member.as_ref().map(|member| member.identifier(context)).transpose()?;
                RoomRequest::Leave { room: room.identifier(context)?, member }
            }
            RoomUse::Read { room } => RoomRequest::Read { room: room.identifier(context)? },
        }))
    }

    fn actions(&self, context: &Context<'_>) -> Result<Vec<Action>, Refusal> {
        let mut headers = Headers::new();
        for (name, value) in context.input.headers.iter() {
            if self.forward_headers.iter().any(|forwarded| **forwarded == **name) {
                headers.push(name.clone(), value.clone());
            }
        }
        if self.reply {
            let (body, content_type) = self.output.content(context, Some(context.input))?;
            return Ok(vec![Action::Reply { content_type, body, headers }]);
        }
        self.output.sends(context, Some(context.input), &headers)
    }
}

/// Who joins: as configured, or the user, or the session.
pub(crate) fn member_id(member: Option<&Template>, lookup: &dyn Lookup, who: &Who<'_>) -> Result<String, Refusal> {
    member.map_or_else(|| Ok(who.user.unwrap_or(who.session).to_owned()), |member| member.identifier(lookup))
}

/// What the others are shown: as configured, or `{"id": member}`.
pub(crate) fn member_profile(
    profile: Option<&JsonTemplate>,
    lookup: &dyn Lookup,
    member: &str,
) -> Result<String, Refusal> {
    profile.map_or_else(
        || {
            let mut own = String::from("{\"id\":");
            quote(member, &mut own);
            own.push('}');
            Ok(own)
        },
        |profile| profile.render(lookup),
    )
}

#[cfg(test)]
mod tests;
