//! A service that knows who is who.
//!
//! ```text
//! POST {url}
//! {"connect": {"login": "ann", …}, "handshake": {"path": "/ws", "query": "…", "peer": "192.0.2.1", "headers": {…}}}
//!
//! 200 {"user": "ann", "claims": {…}, "expires": 1767225600, "token": "…", "permissions": […]}
//! 401, 403                                                                    refused
//! ```
//!
//! `permissions` are rules as in `[[permissions.rule]]`, asked before those of the node. Without `user` the session is anonymous,
//! which `identity.anonymous = "always"` must allow.
//!
//! Any other answer, or none in time, refuses as well.

use std::sync::Arc;
use std::time::{Duration, Instant, UNIX_EPOCH};

use ::http::{HeaderValue, StatusCode};
use bytestring::ByteString;
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use stampede_protocol::stomp::session::Connect;
use tokio::sync::Semaphore;

use super::Refusal;
use super::http::Client;
use crate::broker::Identity;
use crate::config::identity::Callback as Config;
use crate::config::permissions::RuleConfig;
use crate::destination::Destinations;
use crate::permissions::Permissions;
use crate::session::link::Handshake;

/// Least time between two complaints about the service.
const TELL_EVERY: Duration = Duration::from_secs(1);
/// Largest answer in octets.
const MAX_ANSWER: usize = 64 << 10;

/// See the module.
#[derive(Debug)]
pub(super) struct Callback {
    client: Client,
    url: String,
    authorization: Option<HeaderValue>,
    timeout: Duration,
    turns: Semaphore,
    destinations: Destinations,
    /// When it was last said that the service fails.
    told: Mutex<Option<Instant>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Said {
    #[serde(default)]
    user: Option<String>,
    #[serde(default)]
    claims: Option<Map<String, Value>>,
    /// Seconds since 1970.
    #[serde(default)]
    expires: Option<u64>,
    #[serde(default)]
    token: Option<String>,
    #[serde(default)]
    permissions: Vec<RuleConfig>,
}

impl Callback {
    pub(super) fn new(config: &Config, destinations: &Destinations) -> Result<Self, String> {
        let authorization = config.authorization.as_ref().map(|secret| {
            let mut value = HeaderValue::from_str(secret.reveal()).map_err(|_| "authorization: is no header value")?;
            value.set_sensitive(true);
            Ok::<_, String>(value)
        });
        Ok(Self {
            client: Client::new(config.ca_file.as_deref()).map_err(|what| format!("ca_file: {what}"))?,
            url: config.url.clone(),
            authorization: authorization.transpose()?,
            timeout: config.timeout,
            turns: Semaphore::new(config.concurrency),
            destinations: destinations.clone(),
            told: Mutex::default(),
        })
    }

    /// What the service is asked.
    pub(super) fn question(connect: &Connect, handshake: &Handshake) -> Vec<u8> {
        // The first of several counts, as everywhere in STOMP.
        let mut said = Map::new();
        for (name, value) in connect.headers.iter() {
            said.entry(&**name).or_insert_with(|| (&**value).into());
        }
        let mut headers = Map::new();
        for name in handshake.headers.keys() {
            let values = handshake.headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
            headers.insert(name.as_str().into(), values.collect::<Vec<_>>().join(", ").into());
        }
        let question = json!({
            "connect": said,
            "handshake": {
                "path": handshake.endpoint,
                "query": handshake.query,
                "peer": handshake.peer.map(|peer| peer.ip().to_string()),
                "headers": headers,
            },
        });
        question.to_string().into_bytes()
    }

    pub(super) async fn ask(&self, question: Vec<u8>) -> Result<Identity, Refusal> {
        let Ok(_turn) = self.turns.acquire().await else { return Err(Refusal::Away) };
        let asked = self.client.post(&self.url, self.authorization.as_ref(), question, MAX_ANSWER, self.timeout).await;
        let answer = match asked {
            Ok((StatusCode::OK, answer)) => answer,
            Ok((StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, _)) => return Err(Refusal::Service),
            Ok((status, _)) => return self.away(&format!("its answer is {status}")),
            Err(error) => return self.away(&error),
        };
        // What stands there is not shown: it is about a user.
        let Ok(said) = serde_json::from_slice::<Said>(&answer) else { return self.away("its answer cannot be read") };
        let expires = said.expires.and_then(|seconds| UNIX_EPOCH.checked_add(Duration::from_secs(seconds)));
        if said.expires.is_some() && expires.is_none() {
            return self.away("\"expires\" is no time");
        }
        let permissions = match Permissions::of_user(&said.permissions, &self.destinations) {
            Ok(permissions) => (!permissions.is_empty()).then(|| Arc::new(permissions)),
            Err(error) => return self.away(&format!("\"permissions\": {error}")),
        };
        Ok(Identity {
            permissions,
            name: said.user.filter(|user| !user.is_empty()).map(ByteString::from),
            claims: said.claims.map(|claims| Arc::new(Value::Object(claims))),
            issued: None,
            expires,
            token: said.token.map(ByteString::from),
        })
    }

    /// Says why, though not for each of a thousand clients that come back at once.
    fn away(&self, why: &str) -> Result<Identity, Refusal> {
        let mut told = self.told.lock();
        if told.is_none_or(|told| told.elapsed() >= TELL_EVERY) {
            *told = Some(Instant::now());
            tracing::warn!(why, "identity.callback cannot say who somebody is; refused");
        }
        Err(Refusal::Away)
    }
}
