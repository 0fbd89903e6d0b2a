//! `[[route]]`: what a SEND (or SUBSCRIBE) to an application destination does.
//!
//! ```toml
//! [[route]]
//! on    = "/app/chat/{from}/{to}/{blogId}"
//! to    = "/user/{to}/{blogId}/queue/chat"
//! json  = { message = "{body}", from = "{from}", to = "{to}", blogId = "{blogId}" }
//! allow = "from == user"
//! ```

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

/// `[[route]]`; templates and patterns are checked by [`crate::routes::check`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RouteConfig {
    /// Pattern of destinations under the application prefix; `{name}` names a segment.
    pub on: String,
    /// Taken by a SUBSCRIBE instead of a SEND: answered at once with one MESSAGE if there is no `to`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub subscribe: bool,
    /// Condition; a frame that does not meet it is answered with ERROR.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow: Option<String>,
    /// Enters a room before anything is sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub join: Option<JoinConfig>,
    /// Leaves a room before anything is sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leave: Option<LeaveConfig>,
    /// The room that `{members}` lists, where the route neither joins nor leaves one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub room: Option<String>,
    /// Where the message goes: one text or a list.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "one_or_many")]
    pub to: Vec<String>,
    /// The new body as a table, list or text that becomes JSON; without it and `body` the body passes as it came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub json: Option<Value>,
    /// The new body as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// The content type, if not the usual one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// Headers of the frame that go along; none do otherwise.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub forward_headers: Vec<String>,
}

/// `join = { … }` of a route.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JoinConfig {
    /// Name of the room.
    pub room: String,
    /// Who joins: the user by default, or the session if it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub member: Option<String>,
    /// What the others are shown: `{ "id": member }` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<Value>,
}

/// `leave = { … }` of a route.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeaveConfig {
    /// Name of the room.
    pub room: String,
    /// Who leaves, by default whoever this session joined as. A session takes back only its own joins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub member: Option<String>,
}

/// Reads one text or a list of texts.
pub(super) fn one_or_many<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "a text or a list of texts")]
    enum Written {
        One(String),
        Many(Vec<String>),
    }
    Ok(match Written::deserialize(deserializer)? {
        Written::One(text) => vec![text],
        Written::Many(texts) => texts,
    })
}
