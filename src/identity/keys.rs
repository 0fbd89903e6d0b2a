//! Keys that signatures are checked with.
//!
//! The key decides which algorithms fit it, never the token: a public key is no secret of HMAC, and "none" is no algorithm.

use jsonwebtoken::jwk::{Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Header};

use super::mint;
use crate::config::identity::Jwt;

/// Most keys of a set; further ones are left out.
const MAX_KEYS: usize = 64;

/// All keys that are good now.
#[derive(Debug, Default)]
pub(super) struct Keys(Vec<Key>);

#[derive(serde::Deserialize)]
struct Set {
    keys: Vec<serde_json::Value>,
}

/// One of them.
#[derive(Debug)]
pub(super) struct Key {
    id: Option<String>,
    pub(super) key: DecodingKey,
    /// Of its kind, and accepted by the configuration.
    pub(super) algorithms: Vec<Algorithm>,
}

impl Keys {
    /// The one key of the configuration, if it is not a set that is elsewhere.
    pub(super) fn fixed(config: &Jwt) -> Result<Option<Self>, String> {
        let accepted = accepted(config)?;
        let key = match (&config.secret, &config.public_key) {
            (Some(secret), _) => {
                let octets = mint::octets(secret.reveal(), config.secret_encoding)?;
                DecodingKey::from_secret(&octets)
            }
            (None, Some(pem)) => public(pem.reveal().as_bytes())?,
            (None, None) => return Ok(None),
        };
        let key = Key::new(None, key, &accepted);
        if key.algorithms.is_empty() {
            return Err("algorithms: none of them fits the key".into());
        }
        Ok(Some(Self(vec![key])))
    }

    /// A JSON Web Key Set (RFC 7517). Keys that are of no use here are left out; secrets too, for a set is public.
    pub(super) fn of_set(text: &[u8], config: &Jwt) -> Result<Self, String> {
        let accepted = accepted(config)?;
        let set: Set = serde_json::from_slice(text).map_err(|error| format!("is no JSON Web Key Set: {error}"))?;
        // One by one: a kind of key that is not known yet must not make the others useless.
        let read = set.keys.into_iter().filter_map(|jwk| serde_json::from_value::<Jwk>(jwk).ok());
        let keys: Vec<Key> = read.filter_map(|jwk| Key::of(&jwk, &accepted)).take(MAX_KEYS).collect();
        if keys.is_empty() {
            return Err("holds no key that could be used".into());
        }
        Ok(Self(keys))
    }

    /// The keys that may have signed a token with this head: the one it names, or all that fit where it or they have no name.
    pub(super) fn of(&self, head: &Header) -> impl Iterator<Item = &Key> {
        let fits = move |key: &&Key| {
            let is_named = match (&head.kid, &key.id) {
                (Some(wanted), Some(id)) => wanted == id,
                _ => true,
            };
            is_named && key.algorithms.contains(&head.alg)
        };
        self.0.iter().filter(fits)
    }
}

impl Key {
    fn new(id: Option<String>, key: DecodingKey, accepted: &[Algorithm]) -> Self {
        let family = key.family();
        let fits = |algorithm: &&Algorithm| accepted.is_empty() || accepted.contains(algorithm);
        let algorithms = family.algorithms().iter().filter(fits).copied().collect();
        Self { id, key, algorithms }
    }

    fn of(jwk: &Jwk, accepted: &[Algorithm]) -> Option<Self> {
        let common = &jwk.common;
        let signs = common.public_key_use.as_ref().is_none_or(|purpose| *purpose == PublicKeyUse::Signature);
        let is_secret = matches!(jwk.algorithm, jsonwebtoken::jwk::AlgorithmParameters::OctetKey(_));
        if !signs || is_secret {
            return None;
        }
        let mut key = Self::new(common.key_id.clone(), DecodingKey::from_jwk(jwk).ok()?, accepted);
        if let Some(algorithm) = common.key_algorithm {
            let algorithm = algorithm.to_string().parse().ok()?;
            key.algorithms.retain(|fits| *fits == algorithm);
        }
        (!key.algorithms.is_empty()).then_some(key)
    }
}

fn accepted(config: &Jwt) -> Result<Vec<Algorithm>, String> {
    let read = |name: &String| name.parse().map_err(|_| format!("algorithms: {name:?} is unknown; known are {KNOWN}"));
    config.algorithms.iter().map(read).collect()
}

/// Names of all algorithms, for people.
const KNOWN: &str = "HS256, HS384, HS512, RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, EdDSA";

/// A public key in PEM form, of whichever kind.
fn public(pem: &[u8]) -> Result<DecodingKey, String> {
    DecodingKey::from_rsa_pem(pem)
        .or_else(|_| DecodingKey::from_ec_pem(pem))
        .or_else(|_| DecodingKey::from_ed_pem(pem))
        .map_err(|_| "public_key: is no public key of RSA, P-256, P-384 or Ed25519 in PEM form".into())
}
