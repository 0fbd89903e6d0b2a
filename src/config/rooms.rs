//! `[[room]]`: what happens when members come and go; `[rooms]`: how many there may be.
//!
//! ```toml
//! [[room]]
//! match    = "*"
//! on_leave = [
//!   { to = "/user/{room}/topic/popUser", json = "{member}" },
//!   { to = "/user/{room}/topic/users", json = "{members}" },
//! ]
//! ```

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::routes::one_or_many;
use super::units;

/// `[[room]]`; templates and patterns are checked by [`crate::rooms::check`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoomConfig {
    /// Pattern of room names, `*` for all; of several that match the narrowest counts.
    #[serde(rename = "match")]
    pub pattern: String,
    /// A subscription to this destination joins the room it names as `{room}`; its end leaves it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subscribe: Option<String>,
    /// With `subscribe`: who joins, by default the user, or the session if it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub member: Option<String>,
    /// With `subscribe`: what the others are shown, by default `{ "id": member }`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<Value>,
    /// Sent when a member joins with its first session.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub on_join: Vec<AnnouncementConfig>,
    /// Sent when a member leaves with its last session, for whatever reason.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub on_leave: Vec<AnnouncementConfig>,
}

/// One message of `on_join` or `on_leave`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AnnouncementConfig {
    /// Where it goes: one text or a list.
    #[serde(deserialize_with = "one_or_many")]
    pub to: Vec<String>,
    /// The body as a table, list or text that becomes JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub json: Option<Value>,
    /// The body as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// The content type, if not the usual one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
}

/// `[rooms]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RoomsConfig {
    /// Rooms with at least one member; in a cluster, on this node.
    pub max_rooms: usize,
    /// Members of one room: each join and leave may send the whole list to all of them.
    pub max_members: usize,
    /// Rooms one session is in.
    pub max_rooms_per_session: usize,
    /// Size of one member's profile as JSON.
    #[serde(with = "units::bytes")]
    pub profile_size_limit: usize,
    /// In a cluster: the key of Redis under which a room is a hash of profiles by member, with `{room}` where its name
    /// stands. For services that look there; by default `{key_prefix}:room:{room}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redis_key: Option<String>,
}

impl RoomsConfig {
    /// # Errors
    ///
    /// What is wrong.
    pub fn check(&self) -> Result<(), String> {
        let Some(key) = &self.redis_key else { return Ok(()) };
        match key.split_once("{room}") {
            Some((before, after)) if !before.is_empty() && !format!("{before}{after}").contains(['{', '}']) => Ok(()),
            _ => Err(format!(
                "redis_key: {key:?} must begin with a text of its own and hold {{room}} once, and no other brace"
            )),
        }
    }
}

impl Default for RoomsConfig {
    fn default() -> Self {
        Self {
            max_rooms: 10_000,
            max_members: 1_000,
            max_rooms_per_session: 64,
            profile_size_limit: 4096,
            redis_key: None,
        }
    }
}
