//! Revocations of all nodes, in Redis or Valkey.
//!
//! ```text
//! {prefix}:revoked   hash: u:{user} or t:{token} -> since and until when, in milliseconds, with a space between
//! ```

use std::time::SystemTime;

use fred::error::Error;
use fred::interfaces::HashesInterface;
use fred::types::scripts::Script;

use super::{Change, MAX_REVOCATIONS, Revocation, RevocationError, RevocationStore, Subject, unix_millis};
use crate::registry::redis::Connection;
use crate::relay::Later;

/// Enters one, unless there are too many after those that are over are gone; how many there are in that case. ARGV: field,
/// value, now, limit.
const ENTER: &str = "
local key = KEYS[1]
if redis.call('HEXISTS', key, ARGV[1]) == 0 and redis.call('HLEN', key) >= tonumber(ARGV[4]) then
  local all = redis.call('HGETALL', key)
  for i = 1, #all, 2 do
    local over = tonumber(string.match(all[i + 1], ' (%d+)$'))
    if not over or over <= tonumber(ARGV[3]) then redis.call('HDEL', key, all[i]) end
  end
  local left = redis.call('HLEN', key)
  if left >= tonumber(ARGV[4]) then return left end
end
redis.call('HSET', key, ARGV[1], ARGV[2])
return 0";

/// See the module.
#[derive(Debug)]
pub struct RedisRevocations {
    connection: Connection,
    key: String,
    enter: Script,
}

impl RedisRevocations {
    /// Over this connection.
    #[must_use]
    pub fn new(connection: Connection) -> Self {
        let key = format!("{}:revoked", connection.prefix);
        Self { connection, key, enter: Script::from_lua(ENTER) }
    }
}

impl RevocationStore for RedisRevocations {
    fn all(&self) -> Later<'_, Result<Vec<Revocation>, RevocationError>> {
        Box::pin(async move {
            let all: Vec<(String, String)> =
                Box::pin(self.connection.client.hgetall(&self.key)).await.map_err(|error| failed(&error))?;
            Ok(all.iter().filter_map(|(field, value)| revocation(field, value)).collect())
        })
    }

    fn change<'a>(&'a self, change: &'a Change) -> Later<'a, Result<(), RevocationError>> {
        Box::pin(async move {
            let Revocation { subject, at, until } = match change {
                Change::Lift(subject) => {
                    let gone = Box::pin(self.connection.client.hdel::<(), _, _>(&self.key, field(subject))).await;
                    return gone.map_err(|error| failed(&error));
                }
                Change::Revoke(revocation) => revocation,
            };
            let now = unix_millis(SystemTime::now());
            let arguments = [field(subject), format!("{at} {until}"), now.to_string(), MAX_REVOCATIONS.to_string()];
            let arguments = arguments.into_iter().map(Into::into).collect();
            let entered = self.connection.run::<usize>(&self.enter, vec![self.key.clone()], arguments).await;
            match entered.map_err(|error| failed(&error))? {
                0 => Ok(()),
                actual => Err(RevocationError::Full { actual, limit: MAX_REVOCATIONS }),
            }
        })
    }
}

fn field(subject: &Subject) -> String {
    match subject {
        Subject::User(name) => format!("u:{name}"),
        Subject::Token(name) => format!("t:{name}"),
    }
}

fn revocation(field: &str, value: &str) -> Option<Revocation> {
    let subject = match field.split_at_checked(2)? {
        ("u:", name) => Subject::User(name.into()),
        ("t:", name) => Subject::Token(name.into()),
        _ => return None,
    };
    let (at, until) = value.split_once(' ')?;
    Some(Revocation { subject, at: at.parse().ok()?, until: until.parse().ok()? })
}

/// Without what was asked: it holds names of users.
fn failed(error: &Error) -> RevocationError {
    RevocationError::Failed(error.details().to_owned())
}
