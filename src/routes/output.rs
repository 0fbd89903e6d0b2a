//! What is published: destinations and content, shared by routes and announcements of rooms.

use bytes::Bytes;
use serde_json::Value;
use stampede_protocol::stomp::Headers;

use super::json::{JsonTemplate, Step};
use super::template::Template;
use super::variable::{Lookup, Scope, Variable};
use super::{Action, Refusal, SendInput};
use crate::config::problem::{Key, Problems};
use crate::destination::{Destinations, Kind, is_pattern};

/// One content for any number of destinations.
#[derive(Debug, Clone)]
pub(crate) struct Output {
    to: Box<[Template]>,
    content: Content,
    content_type: Option<Box<str>>,
    /// Whether the content follows from the list of members alone, so that a newer list makes an older one useless.
    is_list: bool,
}

#[derive(Debug, Clone)]
enum Content {
    /// The body of the frame, as it came.
    Unchanged,
    Json(JsonTemplate),
    Text(Template),
}

/// The keys that a route and an announcement have in common.
pub(crate) struct OutputConfig<'c> {
    pub(crate) to: &'c [String],
    pub(crate) json: Option<&'c Value>,
    pub(crate) body: Option<&'c str>,
    pub(crate) content_type: Option<&'c str>,
}

impl Output {
    /// One message for each destination, all with the same body.
    pub(crate) fn sends(
        &self,
        lookup: &dyn Lookup,
        frame: Option<&SendInput<'_>>,
        headers: &Headers,
    ) -> Result<Vec<Action>, Refusal> {
        if self.to.is_empty() {
            return Ok(Vec::new());
        }
        let (body, content_type) = self.content(lookup, frame)?;
        let list = lookup.list().filter(|_| self.is_list);
        let send = |to: &Template| {
            Ok(Action::Send {
                destination: to.destination(lookup)?,
                content_type: content_type.clone(),
                body: body.clone(),
                headers: headers.clone(),
                list: list.cloned(),
            })
        };
        self.to.iter().map(send).collect()
    }

    /// Body and content type.
    pub(crate) fn content(
        &self,
        lookup: &dyn Lookup,
        frame: Option<&SendInput<'_>>,
    ) -> Result<(Bytes, Option<String>), Refusal> {
        let (body, usual) = match &self.content {
            Content::Unchanged => {
                (frame.map(|frame| frame.body.clone()).unwrap_or_default(), frame.and_then(|frame| frame.content_type))
            }
            Content::Json(json) => (json.render(lookup)?.into(), Some("application/json")),
            // What Spring names for a text of the application.
            Content::Text(text) => (text.text(lookup)?.into(), Some("text/plain;charset=UTF-8")),
        };
        Ok((body, self.content_type.as_deref().or(usual).map(str::to_owned)))
    }
}

impl Content {
    fn is_list(&self) -> bool {
        let (mut members, mut others) = (false, false);
        let mut see = |variable: &Variable| match variable {
            Variable::Members => members = true,
            Variable::Room => {}
            _ => others = true,
        };
        match self {
            Self::Unchanged => {}
            Self::Json(json) => json.for_each_variable(&mut see),
            Self::Text(text) => text.for_each_variable(&mut see),
        }
        members && !others
    }
}

/// Reads destinations and content; mistakes go to `problems`.
pub(crate) fn check_output(
    config: &OutputConfig<'_>,
    key: &Key<'_>,
    scope: &Scope<'_>,
    destinations: &Destinations,
    problems: &mut Problems<'_>,
) -> Option<Output> {
    let list = key.name("to");
    let mut to = Vec::new();
    for (number, text) in config.to.iter().enumerate() {
        let key = list.index(number);
        let template = problems.take(&key, Template::parse(text, scope))?;
        if let Err(message) = target(text, &template, destinations) {
            problems.add(&key, message);
        }
        to.push(template);
    }
    if config.content_type.is_some_and(|text| !text.contains('/') || text.contains(char::is_control)) {
        problems.add(&key.name("content_type"), "is no content type such as \"application/json\"");
    }
    let content = match (config.json, config.body) {
        (Some(_), Some(_)) => {
            problems.add(&key.name("body"), "stands beside json; a message has one body");
            return None;
        }
        (Some(json), None) => Content::Json(check_json(json, &key.name("json"), scope, problems)?),
        (None, Some(body)) => Content::Text(problems.take(&key.name("body"), Template::parse(body, scope))?),
        (None, None) => Content::Unchanged,
    };
    let is_list = content.is_list();
    Some(Output { to: to.into(), content, content_type: config.content_type.map(Box::from), is_list })
}

/// Reads a JSON template; a mistake goes to `problems`.
pub(crate) fn check_json(
    json: &Value,
    key: &Key<'_>,
    scope: &Scope<'_>,
    problems: &mut Problems<'_>,
) -> Option<JsonTemplate> {
    JsonTemplate::parse(json, scope).map_err(|(way, message)| report(&way, key, message, problems)).ok()
}

fn report(way: &[Step], key: &Key<'_>, message: String, problems: &mut Problems<'_>) {
    match way.split_first() {
        Some((Step::Field(name), way)) => report(way, &key.name(name), message, problems),
        Some((Step::Item(number), way)) => report(way, &key.index(*number), message, problems),
        None => problems.add(key, message),
    }
}

/// Whether messages to this destination can reach anybody, whatever the variables stand for.
fn target(text: &str, template: &Template, destinations: &Destinations) -> Result<(), String> {
    let sample = template.sample("x");
    if is_pattern(&sample) {
        return Err(format!("{text:?} is a pattern; a message goes to one destination"));
    }
    match destinations.send_target(&sample) {
        Kind::Broker | Kind::UserExplicit { .. } => Ok(()),
        Kind::Application(_) => Err(format!("{text:?} is an application destination; a route does not call another")),
        Kind::UserOwn(_) | Kind::Unknown => {
            let prefixes: Vec<String> = destinations.broker_prefixes().map(|prefix| format!("{prefix}/…")).collect();
            let prefixes = prefixes.join(", ");
            let user = destinations.user_prefix();
            Err(format!("messages to {text:?} reach nobody; known are {prefixes} and {user}{{addressee}}/…"))
        }
    }
}
