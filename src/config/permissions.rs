//! `[permissions]`: what clients may send to and subscribe to.
//!
//! ```toml
//! [permissions]
//! profile = "guarded"
//!
//! [[permissions.rule]]
//! match     = "/topic/chat/{room}"
//! send      = "allow"
//! subscribe = "allow"
//! when      = "room in user.rooms"
//! ```

use serde::{Deserialize, Serialize};

/// `[permissions]`; patterns and conditions are checked by [`crate::permissions::check`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PermissionsConfig {
    /// What holds where no rule speaks.
    pub profile: ProfileChoice,
    /// Whether a refused frame ends its session with an ERROR; otherwise it has no effect and the session goes on.
    pub close: bool,
    /// Rules by destination; the first that matches and speaks about the verb counts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rule: Vec<RuleConfig>,
}

/// Which profile holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProfileChoice {
    /// `spring` while nobody proves who they are and only this machine reaches the node; otherwise `guarded`.
    #[default]
    Auto,
    /// Clients send through routes and subscribe to what is public or their own.
    Guarded,
    /// What Spring's simple broker opens.
    Spring,
}

/// `[[permissions.rule]]`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleConfig {
    /// Ant pattern of the destinations it is for, user destinations in the form `/user/{id}/…`; the segment `{user}`
    /// stands for the name of the session's own user.
    #[serde(rename = "match")]
    pub pattern: String,
    /// Named in the ERROR; by default the pattern.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What it says about SEND.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub send: Option<Effect>,
    /// What it says about SUBSCRIBE.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subscribe: Option<Effect>,
    /// Condition in the language of the guards of routes; where it does not hold the rule does not match.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
}

/// What a rule says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Effect {
    /// The client may.
    Allow,
    /// It may not.
    Deny,
}

impl Default for PermissionsConfig {
    fn default() -> Self {
        Self { profile: ProfileChoice::Auto, close: true, rule: Vec::new() }
    }
}
