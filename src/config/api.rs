//! Who may operate the node over HTTP.

use serde::{Deserialize, Serialize};

use super::secret::Secret;

/// Shortest token in octets: it is all that stands between the network and the node.
const LEAST: usize = 16;

/// `[api]`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Api {
    /// What requests to `/api/` carry as `Authorization: Bearer …`. None: there is no `/api/`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<Secret>,
}

impl Api {
    /// Whether the values make sense.
    ///
    /// # Errors
    ///
    /// Names the key at fault.
    pub fn check(&self) -> Result<(), String> {
        match &self.token {
            Some(token) if token.reveal().len() < LEAST => Err(format!(
                "token: has {} octets, and {LEAST} are the least that cannot be guessed",
                token.reveal().len()
            )),
            _ => Ok(()),
        }
    }
}
