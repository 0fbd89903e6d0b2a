//! Who a client is, and how it proves that.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::secret::Secret;
use super::units;

/// Shortest secret of tokens in octets: shorter ones are found by trying.
const LEAST_SECRET: usize = 16;

/// `[identity]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Identity {
    /// Whether a client may come in that proves nothing. Default: while no proof is configured and only this machine can reach
    /// the node.
    pub anonymous: Anonymous,
    /// CONNECT header that names the user as long as no proof is configured. Nothing is proved by it: for development and
    /// trusted networks. Default `login`.
    pub user_header: String,
    /// A SEND to this destination says anew who the client is, in the headers of CONNECT: a session that would end with its
    /// token goes on with the next one. None: sessions end with their tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub renew_destination: Option<String>,
    /// Users with passwords.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub user: Vec<User>,
    /// Tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jwt: Option<Jwt>,
    /// Somebody who is asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub callback: Option<Callback>,
}

/// Whether a client may come in that proves nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Anonymous {
    /// While no proof is configured and the node listens on a loopback address.
    #[default]
    Loopback,
    /// Always; beside a proof such sessions have no user.
    Always,
    /// Never.
    Never,
}

/// `[[identity.user]]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct User {
    /// The `login` of CONNECT, and the user's name.
    pub name: String,
    /// Argon2 hash of the `passcode`, in PHC form, as `stampede hash-password` prints it.
    pub password_hash: Secret,
    /// What else is known of the user, for routes and permissions: `{user.role}`.
    #[serde(default, skip_serializing_if = "toml::Table::is_empty")]
    pub claims: toml::Table,
}

/// `[identity.jwt]`: one of `secret`, `public_key`, `jwks_file` and `jwks_url`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Jwt {
    /// The secret of HS256, HS384 and HS512.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<Secret>,
    /// How the secret is written.
    pub secret_encoding: SecretEncoding,
    /// A public key in PEM form: RSA, EC (P-256, P-384) or Ed25519.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public_key: Option<Secret>,
    /// A JSON Web Key Set; read again when it changes, and on SIGHUP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jwks_file: Option<PathBuf>,
    /// Where there is one: `https://…`, or `http://` on this machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jwks_url: Option<String>,
    /// How often the set is looked at; a key that it does not hold makes it be looked at earlier. Default 5 min.
    #[serde(with = "units::duration")]
    pub jwks_refresh: Duration,
    /// A certificate in PEM form to trust besides the system's, for `jwks_url`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// Algorithms that are accepted, of those that fit the key; empty: all that fit.
    pub algorithms: Vec<String>,
    /// Accepted issuers (`iss`); empty: any.
    pub issuer: Vec<String>,
    /// Accepted audiences (`aud`); empty: any.
    pub audience: Vec<String>,
    /// How far clocks may differ. Default 30 s.
    #[serde(with = "units::duration")]
    pub leeway: Duration,
    /// Whether a token must have an end (`exp`). Default true.
    pub require_expiry: bool,
    /// The claim that names the user. Default `sub`.
    pub user_claim: String,
    /// Claims that routes and permissions see as `{user.…}`; empty: all.
    pub claims: Vec<String>,
    /// Header of CONNECT, and of the handshake, that holds the token, with `Bearer ` before it or without. Default
    /// `Authorization`.
    pub header: String,
    /// Whether the `passcode` of CONNECT may hold it.
    pub passcode: bool,
    /// Cookie of the handshake that may hold it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cookie: Option<String>,
    /// Parameter of the handshake's query that may hold it. It ends up in the logs of proxies: for clients that can do nothing
    /// else.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub query_parameter: Option<String>,
}

/// How a secret is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SecretEncoding {
    /// The octets of the text.
    #[default]
    Text,
    /// Base64.
    Base64,
}

/// `[identity.callback]`: an HTTP service that knows the users.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Callback {
    /// Where it is: `https://…`, or `http://` on this machine.
    pub url: String,
    /// `http://` also to other machines: whoever can listen in between reads passwords and may say who anybody is.
    pub allow_http: bool,
    /// How long an answer may take; afterwards the client is refused. Default 5 s.
    #[serde(with = "units::duration")]
    pub timeout: Duration,
    /// Most questions at a time; further clients wait. Default 64.
    pub concurrency: usize,
    /// Sent with every question as `Authorization`, so that the service knows who asks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authorization: Option<Secret>,
    /// A certificate in PEM form to trust besides the system's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
}

impl Default for Identity {
    fn default() -> Self {
        Self {
            anonymous: Anonymous::Loopback,
            user_header: "login".into(),
            renew_destination: None,
            user: Vec::new(),
            jwt: None,
            callback: None,
        }
    }
}

impl Default for Jwt {
    fn default() -> Self {
        Self {
            secret: None,
            secret_encoding: SecretEncoding::Text,
            public_key: None,
            jwks_file: None,
            jwks_url: None,
            jwks_refresh: Duration::from_secs(300),
            ca_file: None,
            algorithms: Vec::new(),
            issuer: Vec::new(),
            audience: Vec::new(),
            leeway: Duration::from_secs(30),
            require_expiry: true,
            user_claim: "sub".into(),
            claims: Vec::new(),
            header: "Authorization".into(),
            passcode: false,
            cookie: None,
            query_parameter: None,
        }
    }
}

impl Default for Callback {
    fn default() -> Self {
        Self {
            url: String::new(),
            allow_http: false,
            timeout: Duration::from_secs(5),
            concurrency: 64,
            authorization: None,
            ca_file: None,
        }
    }
}

impl Identity {
    /// Whether clients have to prove who they are.
    #[must_use]
    pub const fn has_proof(&self) -> bool {
        !self.user.is_empty() || self.jwt.is_some() || self.callback.is_some()
    }

    /// Whether the values make sense together.
    ///
    /// # Errors
    ///
    /// Names the key at fault and what it may be.
    pub fn check(&self) -> Result<(), String> {
        if self.anonymous == Anonymous::Never && !self.has_proof() {
            return Err(format!("anonymous: \"never\" leaves nobody who may come in; {WAYS}"));
        }
        for (number, user) in self.user.iter().enumerate() {
            if user.name.is_empty() {
                return Err("user: a name is empty".into());
            }
            if self.user[..number].iter().any(|other| other.name == user.name) {
                return Err(format!("user: {:?} stands twice", user.name));
            }
        }
        if !self.user.is_empty() && self.jwt.as_ref().is_some_and(|jwt| jwt.passcode) {
            return Err("jwt.passcode: beside [[identity.user]] every password would be taken for a token".into());
        }
        self.jwt.as_ref().map_or(Ok(()), |jwt| jwt.check().map_err(|what| format!("jwt.{what}")))?;
        self.callback.as_ref().map_or(Ok(()), |callback| callback.check().map_err(|what| format!("callback.{what}")))
    }

    /// Whether a node that listens on this address lets in nobody whom it should not.
    ///
    /// # Errors
    ///
    /// Says what to configure.
    pub fn check_reach(&self, address: IpAddr) -> Result<(), String> {
        if address.is_loopback() || self.has_proof() || self.anonymous == Anonymous::Always {
            return Ok(());
        }
        Err(format!(
            "{address} can be reached by other machines, and nobody would have to prove who he is; {WAYS}, or say \
             identity.anonymous = \"always\" where everybody may be anybody"
        ))
    }
}

/// What an operator can do.
const WAYS: &str = "configure [identity.jwt], [[identity.user]] or [identity.callback]";

impl Jwt {
    fn check(&self) -> Result<(), String> {
        let sources =
            [self.secret.is_some(), self.public_key.is_some(), self.jwks_file.is_some(), self.jwks_url.is_some()];
        if sources.iter().filter(|given| **given).count() != 1 {
            return Err("secret: exactly one of secret, public_key, jwks_file and jwks_url is needed".into());
        }
        if let Some(secret) = &self.secret
            && secret.reveal().len() < LEAST_SECRET
        {
            let actual = secret.reveal().len();
            return Err(format!(
                "secret: has {actual} octets, and fewer than {LEAST_SECRET} are found by trying; RFC 7518 asks for 32"
            ));
        }
        if let Some(url) = &self.jwks_url {
            check_url(url, false).map_err(|what| format!("jwks_url: {what}"))?;
        }
        if self.user_claim.is_empty() {
            return Err("user_claim: is empty".into());
        }
        if self.header.is_empty() && !self.passcode && self.cookie.is_none() && self.query_parameter.is_none() {
            return Err("header: is empty, and there is no other place for a token".into());
        }
        if self.jwks_refresh < Duration::from_secs(1) {
            return Err(format!("jwks_refresh: {:?} is below the least of 1s", self.jwks_refresh));
        }
        Ok(())
    }
}

impl Callback {
    fn check(&self) -> Result<(), String> {
        check_url(&self.url, self.allow_http).map_err(|what| format!("url: {what}"))?;
        if self.timeout.is_zero() {
            return Err("timeout: must not be 0".into());
        }
        if self.concurrency == 0 {
            return Err("concurrency: must be 1 at least".into());
        }
        Ok(())
    }
}

fn check_url(url: &str, allow_http: bool) -> Result<(), String> {
    let url: http::Uri = url.parse().map_err(|_| "is no address".to_owned())?;
    let host = url.host().unwrap_or_default();
    let is_here =
        host == "localhost" || host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    match url.scheme_str() {
        Some("https") => Ok(()),
        Some("http") if is_here || allow_http => Ok(()),
        Some("http") => Err("http:// is for this machine alone: others could answer in its place".into()),
        _ => Err("must begin with https:// (or http:// on this machine)".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Result<(), String> {
        toml::from_str::<Identity>(text).unwrap().check()
    }

    #[track_caller]
    fn refused(text: &str, reason: &str) {
        let found = check(text).unwrap_err();
        assert!(found.contains(reason), "{text}: {found}");
    }

    #[test]
    fn mistakes_are_named() {
        assert_eq!(check("[jwt]\nsecret = '0123456789abcdef'"), Ok(()));
        assert_eq!(check("[callback]\nurl = 'http://127.0.0.1:1/x'"), Ok(()));
        assert_eq!(check("[callback]\nurl = 'http://[::1]:1/x'"), Ok(()));
        assert_eq!(check("[callback]\nurl = 'http://users.internal/x'\nallow_http = true"), Ok(()));
        refused("anonymous = 'never'", "leaves nobody");
        refused("[jwt]", "jwt.secret: exactly one");
        refused("[jwt]\nsecret = 'x'\njwks_file = 'x'", "jwt.secret: exactly one");
        refused("[jwt]\nsecret = 'short'", "jwt.secret: has 5 octets");
        refused("[jwt]\njwks_url = 'http://example.com/keys'", "jwt.jwks_url: http:// is for this machine");
        refused("[jwt]\njwks_url = 'ftp://example.com/keys'", "jwt.jwks_url: must begin");
        refused("[jwt]\nsecret = '0123456789abcdef'\nheader = ''", "no other place");
        refused("[callback]\nurl = 'http://users.internal/x'", "callback.url: http:// is for this machine");
        refused("[[user]]\nname = 'a'\npassword_hash = ''\n[[user]]\nname = 'a'\npassword_hash = ''", "stands twice");
    }

    #[test]
    fn whoever_can_be_reached_asks_for_a_proof() {
        let (here, there): (IpAddr, IpAddr) = ([127, 0, 0, 1].into(), [0, 0, 0, 0].into());
        let open = Identity::default();
        assert_eq!(open.check_reach(here), Ok(()));
        assert!(open.check_reach(there).unwrap_err().contains("[identity.jwt]"));
        assert_eq!(Identity { anonymous: Anonymous::Always, ..Identity::default() }.check_reach(there), Ok(()));
        assert_eq!(Identity { jwt: Some(Jwt::default()), ..Identity::default() }.check_reach(there), Ok(()));
    }
}
