//! JSON Web Tokens (RFC 7519).

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytestring::ByteString;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Header, Validation};
use serde_json::{Map, Value};
use stampede_protocol::stomp::session::Connect;

use super::Refusal;
use super::keys::{Key, Keys};
use super::place::Places;
use super::sets::KeySource;
use crate::broker::Identity;
use crate::config::identity::Jwt;
use crate::session::link::Handshake;

/// See the module.
#[derive(Debug)]
pub(super) struct Tokens {
    places: Places,
    source: Arc<KeySource>,
    /// All but the algorithms, which the key decides.
    validation: Validation,
    leeway: Duration,
    user_claim: String,
    kept_claims: Vec<String>,
}

impl Tokens {
    pub(super) fn new(config: &Jwt) -> Result<Self, String> {
        let mut validation = Validation::default();
        validation.algorithms.clear();
        validation.leeway = config.leeway.as_secs();
        validation.validate_nbf = true;
        validation.required_spec_claims.clear();
        if config.require_expiry {
            validation.required_spec_claims.insert("exp".into());
        }
        validation.validate_aud = !config.audience.is_empty();
        if !config.audience.is_empty() {
            validation.set_audience(&config.audience);
            validation.required_spec_claims.insert("aud".into());
        }
        if !config.issuer.is_empty() {
            validation.set_issuer(&config.issuer);
            validation.required_spec_claims.insert("iss".into());
        }
        Ok(Self {
            places: Places::new(config),
            source: KeySource::new(config)?,
            validation,
            leeway: config.leeway,
            user_claim: config.user_claim.clone(),
            kept_claims: config.claims.clone(),
        })
    }

    pub(super) fn find(&self, connect: &Connect, handshake: &Handshake) -> Option<ByteString> {
        self.places.find(connect, handshake)
    }

    /// Whom a token names.
    pub(super) async fn check(&self, token: &str) -> Result<Identity, Refusal> {
        let head = jsonwebtoken::decode_header(token).map_err(|_| Refusal::Token)?;
        // What must be understood and is not makes a token void (RFC 7515, 4.1.11); nothing of it is understood here.
        if head.crit.is_some() {
            return Err(Refusal::Token);
        }
        let first = self.keys();
        let found = first.as_ref().is_some_and(|keys| keys.of(&head).next().is_some());
        let keys = match first {
            Some(keys) if found => keys,
            // A key may have come since the set was read.
            known => match self.source.look_again().await {
                true => self.keys().ok_or(Refusal::Away)?,
                false => known.ok_or(Refusal::Away)?,
            },
        };
        self.check_with(token, &head, &keys)
    }

    fn keys(&self) -> Option<Arc<Keys>> {
        self.source.keys()
    }

    fn check_with(&self, token: &str, head: &Header, keys: &Keys) -> Result<Identity, Refusal> {
        let mut refusal = Refusal::Token;
        for key in keys.of(head) {
            match self.decode(token, key) {
                Ok(claims) => return self.identity(token, claims),
                Err(found) if found != Refusal::Token => refusal = found,
                Err(_) => {}
            }
        }
        Err(refusal)
    }

    fn decode(&self, token: &str, key: &Key) -> Result<Map<String, Value>, Refusal> {
        let validation = Validation { algorithms: key.algorithms.clone(), ..self.validation.clone() };
        match jsonwebtoken::decode::<Map<String, Value>>(token, &key.key, &validation) {
            Ok(decoded) => Ok(decoded.claims),
            // Told only after the signature was found good.
            Err(error) => Err(match error.kind() {
                ErrorKind::ExpiredSignature => Refusal::Expired,
                ErrorKind::ImmatureSignature => Refusal::Early,
                _ => Refusal::Token,
            }),
        }
    }

    fn identity(&self, token: &str, mut claims: Map<String, Value>) -> Result<Identity, Refusal> {
        let name = match claims.get(&self.user_claim) {
            Some(Value::String(name)) if !name.is_empty() => ByteString::from(name.as_str()),
            Some(Value::Number(number)) => ByteString::from(number.to_string()),
            // A token that names nobody is no proof of anybody.
            _ => return Err(Refusal::Token),
        };
        let time = |claim: &str| claims.get(claim).and_then(Value::as_f64).and_then(instant);
        let (issued, expires) = (time("iat"), time("exp").and_then(|end| end.checked_add(self.leeway)));
        // To the instant: whole seconds would let a token in again that has just ended its session.
        if expires.is_some_and(|end| end <= SystemTime::now()) {
            return Err(Refusal::Expired);
        }
        let id = match claims.get("jti") {
            Some(Value::String(id)) if !id.is_empty() => ByteString::from(id.as_str()),
            _ => fingerprint(token),
        };
        if !self.kept_claims.is_empty() {
            claims.retain(|claim, _| self.kept_claims.contains(claim));
        }
        let claims = (!claims.is_empty()).then(|| Arc::new(Value::Object(claims)));
        Ok(Identity { name: Some(name), claims, issued, expires, token: Some(id), permissions: None })
    }
}

/// Seconds since 1970, with a fraction if need be (RFC 7519, 2); none for what no clock can show.
fn instant(seconds: f64) -> Option<SystemTime> {
    UNIX_EPOCH.checked_add(Duration::try_from_secs_f64(seconds).ok()?)
}

/// What a token without a name of its own can be revoked by: the Base64url of the SHA-256 of all that is signed. Not of the
/// signature, of which there can be two for the same text (ECDSA).
fn fingerprint(token: &str) -> ByteString {
    use base64::Engine as _;
    use sha2::Digest as _;
    let signed = token.rsplit_once('.').map_or(token, |(signed, _)| signed);
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(sha2::Sha256::digest(signed)).into()
}

#[cfg(test)]
mod tests;
