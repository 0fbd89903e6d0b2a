//! Who a client is, proved: tokens, passwords, or a service that is asked.
//!
//! ```text
//! CONNECT + handshake --> a token?     --> jwt
//!                     --> a login?     --> users
//!                     --> a service?   --> callback
//!                     --> nothing      --> anonymous, where that is allowed
//! ```
//!
//! The first that finds something of its kind decides, and what it refuses nobody else lets in. What a client is told helps
//! no attacker: a wrong key and a broken signature read the same.

mod callback;
mod http;
mod jwt;
mod keys;
pub mod mint;
mod place;
mod sets;
mod users;

use std::sync::Arc;

use stampede_protocol::stomp::session::Connect;
use stampede_protocol::stomp::{Fault, FaultKind};

use crate::broker::Identity as Identified;
use crate::config::identity::{Anonymous, Identity};
use crate::destination::Destinations;
use crate::session::identify::{Authenticator, Identified as Answer, Trusting};
use crate::session::link::Handshake;
use crate::telemetry::{count, metrics};

use callback::Callback;
use jwt::Tokens;
use users::Users;

/// Why somebody is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// There is nothing that could prove anything.
    Nothing,
    /// The token had its time.
    Expired,
    /// The token has its time still before it.
    Early,
    /// The token is not good, whatever the reason.
    Token,
    /// Login or passcode is wrong.
    Password,
    /// The service said no.
    Service,
    /// The service, or where keys come from, did not answer.
    Away,
}

impl Refusal {
    /// Label of the metric.
    const fn label(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Expired => "expired",
            Self::Early => "early",
            Self::Token => "token",
            Self::Password => "password",
            Self::Service => "service",
            Self::Away => "away",
        }
    }

    const fn text(self) -> &'static str {
        match self {
            Self::Nothing => {
                "CONNECT has nothing that proves who you are, such as an Authorization header with a token"
            }
            Self::Expired => "the token has expired: connect again with a new one",
            Self::Early => "the token is not good yet",
            Self::Token => "the token is not accepted",
            Self::Password => "login or passcode is wrong",
            Self::Service => "who you are is not accepted",
            Self::Away => "who you are cannot be found out now; try again later",
        }
    }
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        Self::new(FaultKind::Forbidden, refusal.text())
    }
}

/// Asks for a proof.
#[derive(Debug)]
pub struct Gate {
    tokens: Option<Arc<Tokens>>,
    users: Option<Arc<Users>>,
    callback: Option<Arc<Callback>>,
    anonymous: bool,
}

/// What decides who clients are.
///
/// # Errors
///
/// Names the key at fault: a hash that is none, a key that cannot be read.
pub fn authenticator(config: &Identity, destinations: &Destinations) -> Result<Arc<dyn Authenticator>, String> {
    if !config.has_proof() {
        return Ok(Arc::new(Trusting { user_header: config.user_header.clone() }));
    }
    let tokens = config.jwt.as_ref().map(Tokens::new).transpose().map_err(|what| format!("identity.jwt.{what}"))?;
    let users = match &*config.user {
        [] => None,
        users => Some(Users::new(users).map_err(|what| format!("identity.user: {what}"))?),
    };
    let callback = config.callback.as_ref().map(|callback| Callback::new(callback, destinations)).transpose();
    let callback = callback.map_err(|what| format!("identity.callback.{what}"))?;
    Ok(Arc::new(Gate {
        tokens: tokens.map(Arc::new),
        users: users.map(Arc::new),
        callback: callback.map(Arc::new),
        anonymous: config.anonymous == Anonymous::Always,
    }))
}

impl Authenticator for Gate {
    fn identify(&self, connect: &Connect, handshake: &Handshake) -> Answer {
        let login = connect.login.clone().filter(|login| !login.is_empty());
        if let Some(tokens) = &self.tokens
            && let Some(token) = tokens.find(connect, handshake)
        {
            let tokens = Arc::clone(tokens);
            return answer("token", async move { tokens.check(&token).await });
        }
        if let (Some(users), Some(login)) = (&self.users, login)
            && (self.callback.is_none() || users.knows(&login))
        {
            let (users, passcode) = (Arc::clone(users), connect.passcode.clone().unwrap_or_default());
            return answer("password", async move { users.check(&login, passcode).await });
        }
        if let Some(callback) = &self.callback {
            let (callback, question) = (Arc::clone(callback), Callback::question(connect, handshake));
            let anonymous = self.anonymous;
            return answer("service", async move {
                let identity = callback.ask(question).await?;
                if identity.name.is_some() || anonymous { Ok(identity) } else { Err(Refusal::Service) }
            });
        }
        let anonymous = self.anonymous;
        answer("anonymous", async move { if anonymous { Ok(Identified::default()) } else { Err(Refusal::Nothing) } })
    }
}

fn answer(way: &'static str, deciding: impl Future<Output = Result<Identified, Refusal>> + Send + 'static) -> Answer {
    Box::pin(async move {
        let decided = deciding.await;
        count(&metrics().identified, decided.as_ref().map_or_else(|refusal| refusal.label(), |_| way));
        decided.map_err(|refusal| {
            tracing::debug!(why = refusal.label(), way, "CONNECT refused");
            refusal.into()
        })
    })
}
