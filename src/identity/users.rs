//! Users with passwords, from the configuration.

use std::collections::HashMap;
use std::sync::Arc;

use argon2::Argon2;
use argon2::password_hash::PasswordVerifier as _;
use argon2::password_hash::phc::PasswordHash;
use bytestring::ByteString;
use tokio::sync::Semaphore;

use super::{Refusal, mint};
use crate::broker::Identity;
use crate::config::identity::User;

/// Passwords looked at side by side: each takes tens of milliseconds and some 20 MiB. Further clients wait their turn, and
/// those who wait longer than `limits.time_to_first_message` are gone.
const AT_ONCE: usize = 2;

/// See the module.
#[derive(Debug)]
pub(super) struct Users {
    known: HashMap<Box<str>, Known>,
    /// Looked at for those who are not known, so that the time says nothing about who is.
    nobody: PasswordHash,
    turns: Arc<Semaphore>,
}

#[derive(Debug)]
struct Known {
    hash: PasswordHash,
    claims: Option<Arc<serde_json::Value>>,
}

impl Users {
    pub(super) fn new(users: &[User]) -> Result<Self, String> {
        let known = users.iter().map(|user| Ok((user.name.as_str().into(), known(user)?)));
        let nobody = mint::hash("").and_then(|hash| PasswordHash::new(&hash).map_err(|error| error.to_string()))?;
        Ok(Self { known: known.collect::<Result<_, String>>()?, nobody, turns: Arc::new(Semaphore::new(AT_ONCE)) })
    }

    pub(super) fn knows(&self, login: &str) -> bool {
        self.known.contains_key(login)
    }

    pub(super) async fn check(&self, login: &ByteString, passcode: ByteString) -> Result<Identity, Refusal> {
        let Ok(turn) = Arc::clone(&self.turns).acquire_owned().await else { return Err(Refusal::Password) };
        let found = self.known.get(&**login);
        let hash = found.map_or(&self.nobody, |known| &known.hash).clone();
        let check = move || {
            // Held by the work itself, which goes on when the client has gone.
            let _turn = turn;
            Argon2::default().verify_password(passcode.as_bytes(), &hash).is_ok()
        };
        let is_right = tokio::task::spawn_blocking(check).await.unwrap_or(false);
        match found {
            Some(known) if is_right => {
                // Copied: the header is a slice of the read buffer.
                let name = Some(ByteString::from(&**login));
                Ok(Identity { name, claims: known.claims.clone(), ..Identity::default() })
            }
            _ => Err(Refusal::Password),
        }
    }
}

fn known(user: &User) -> Result<Known, String> {
    let hash = PasswordHash::new(user.password_hash.reveal())
        .ok()
        .filter(|hash| hash.algorithm.as_str().starts_with("argon2"))
        .ok_or_else(|| {
            format!("password_hash of {:?} is no argon2 hash; stampede hash-password makes one", user.name)
        })?;
    let claims = match user.claims.is_empty() {
        true => None,
        false => Some(Arc::new(serde_json::to_value(&user.claims).map_err(|error| error.to_string())?)),
    };
    Ok(Known { hash, claims })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn users() -> Users {
        let hash = mint::hash("s3cret").unwrap();
        let user = format!("name = 'ann'\npassword_hash = '{hash}'\nclaims = {{ role = 'editor' }}");
        Users::new(&[toml::from_str(&user).unwrap()]).unwrap()
    }

    #[tokio::test]
    async fn only_the_right_password_is_let_in() {
        let users = users();
        let ann = users.check(&"ann".into(), "s3cret".into()).await.unwrap();
        assert_eq!(ann.name.as_deref(), Some("ann"));
        assert_eq!(ann.claims.unwrap()["role"], "editor");
        for (login, passcode) in [("ann", "secret"), ("ann", ""), ("ben", "s3cret"), ("ben", ""), ("", "")] {
            let refused = users.check(&login.into(), passcode.into()).await.unwrap_err();
            assert_eq!(refused, Refusal::Password, "{login} {passcode}");
        }
    }

    #[test]
    fn a_hash_that_is_none_is_named_and_not_shown() {
        for hash in ["", "s3cret", "$2b$12$abcdefghijklmnopqrstuv", "$pbkdf2-sha256$i=1000$c2FsdHNhbHQ$aGFzaA"] {
            let user = toml::from_str(&format!("name = 'ann'\npassword_hash = '{hash}'")).unwrap();
            let error = Users::new(&[user]).unwrap_err();
            assert!(error.contains("\"ann\"") && error.contains("hash-password"), "{error}");
            assert!(hash.is_empty() || !error.contains(hash), "{error}");
        }
    }
}
