//! Makes what others check: password hashes, and tokens for development.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use argon2::Argon2;
use argon2::password_hash::PasswordHasher as _;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Map, Value};

use crate::config::identity::{Jwt, SecretEncoding};

/// The Argon2id hash of a password in PHC form, with a salt of its own.
///
/// # Errors
///
/// When the system has no random numbers.
pub fn hash(password: &str) -> Result<String, String> {
    Argon2::default().hash_password(password.as_bytes()).map(|hash| hash.to_string()).map_err(|error| error.to_string())
}

/// What a token is to say.
#[derive(Debug, Clone, Default)]
pub struct Wish {
    /// Whom it names.
    pub user: String,
    /// Further claims.
    pub claims: Map<String, Value>,
    /// How long it is good from now on.
    pub lasts: Duration,
}

/// A token that this configuration accepts, signed with its secret.
///
/// # Errors
///
/// When it has none: private keys belong to whoever issues tokens in earnest.
pub fn token(config: &Jwt, wish: Wish) -> Result<String, String> {
    let secret =
        config.secret.as_ref().ok_or("identity.jwt.secret: only where there is one can a token be made here")?;
    let octets = octets(secret.reveal(), config.secret_encoding)?;
    let algorithm = match config.algorithms.first() {
        None => Algorithm::HS256,
        Some(name) => name.parse().map_err(|_| format!("identity.jwt.algorithms: {name:?} is unknown"))?,
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let end = now.checked_add(wish.lasts).ok_or("it would be good for longer than any clock can show")?;
    let mut claims = wish.claims;
    claims.insert(config.user_claim.clone(), wish.user.into());
    claims.entry("iat").or_insert_with(|| now.as_secs().into());
    claims.entry("exp").or_insert_with(|| end.as_secs().into());
    for (claim, accepted) in [("iss", &config.issuer), ("aud", &config.audience)] {
        if let Some(first) = accepted.first() {
            claims.entry(claim).or_insert_with(|| first.as_str().into());
        }
    }
    jsonwebtoken::encode(&Header::new(algorithm), &claims, &EncodingKey::from_secret(&octets))
        .map_err(|error| error.to_string())
}

/// The octets of a secret.
pub(super) fn octets(secret: &str, encoding: SecretEncoding) -> Result<Vec<u8>, String> {
    use base64::Engine as _;
    use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
    match encoding {
        SecretEncoding::Text => Ok(secret.as_bytes().to_vec()),
        SecretEncoding::Base64 => {
            let either = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
            let secret = secret.trim().replace('-', "+").replace('_', "/");
            GeneralPurpose::new(&base64::alphabet::STANDARD, either)
                .decode(secret)
                .map_err(|_| "secret: is not Base64, as secret_encoding says".to_owned())
        }
    }
}
