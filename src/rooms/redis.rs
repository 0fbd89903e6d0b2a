//! Rooms in Redis, or Valkey, for all nodes.
//!
//! ```text
//! {rooms.redis_key}            hash: member -> profile, with the node as its last field, "serverIpHost"
//! {prefix}:state:{that key}    hash, gone when nobody is in the room and nobody has to be told
//!     v           version of the list
//!     m{member}   when it came, the stay it came with, all its stays, with line ends between
//!     p{stay}     it was the member's last: who has to tell it, and the profile
//! {prefix}:stays:{boot}        set: number, room and member of each stay of this run, with line ends between
//! ```
//!
//! The first key is for services that look there where a member is connected; nothing but its profiles is read back. It is
//! the hash tag of the second, so that both are changed in one step on Redis Cluster as well. A stay is listed before it
//! begins, and taken from the list after its end was told, so that what a dead run has left is always found.
//!
//! Versions begin at the server's clock: those of a room that was empty in between go on growing.

use std::collections::HashMap;
use std::sync::Arc;

use fred::error::Error;
use fred::interfaces::SetsInterface;
use fred::types::scripts::Script;

use super::Member;
use super::shared::{Away, Joined, Left, Listed, SharedRooms, Stay};
use crate::ids::Boot;
use crate::registry::redis::Connection;
use crate::relay::Later;

/// What all scripts begin with.
const COMMON: &str = r"
local room, state = KEYS[1], KEYS[2]
local function answer(what, text)
  return {what, text, redis.call('HGET', state, 'v') or '0', redis.call('HGETALL', room), redis.call('HGETALL', state)}
end
local function bump()
  local v = redis.call('HGET', state, 'v')
  if v then
    v = tonumber(v) + 1
  else
    local now = redis.call('TIME')
    v = now[1] * 1000000 + now[2]
  end
  v = string.format('%.0f', v)
  redis.call('HSET', state, 'v', v)
  return v
end
";

/// ARGV: stay, member, profile, most members.
const JOIN: &str = r"
local stay, member, profile = ARGV[1], ARGV[2], ARGV[3]
local entry = redis.call('HGET', state, 'm' .. member)
if not entry then
  if redis.call('HLEN', room) >= tonumber(ARGV[4]) then return answer('full', '') end
  redis.call('HSET', state, 'm' .. member, bump() .. '\n' .. stay .. '\n' .. stay)
  redis.call('HSET', room, member, profile)
  return answer('created', '')
end
local came, first, stays = string.match(entry, '^(.-)\n(.-)\n(.*)$')
if not string.find('\n' .. stays .. '\n', '\n' .. stay .. '\n', 1, true) then
  redis.call('HSET', state, 'm' .. member, entry .. '\n' .. stay)
end
if redis.call('HGET', room, member) ~= profile then
  redis.call('HSET', room, member, profile)
  bump()
end
return answer(first == stay and 'first' or 'there', '')";

/// ARGV: stay, member, who asks, instead of whom.
const LEAVE: &str = r#"
local stay, member, by, instead = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local untold = redis.call('HGET', state, 'p' .. stay)
if untold then
  local owner, profile = string.match(untold, '^(.-)\n(.*)$')
  if owner ~= by and owner ~= instead then return answer('told', owner) end
  redis.call('HSET', state, 'p' .. stay, by .. '\n' .. profile)
  return answer('gone', profile)
end
local entry = redis.call('HGET', state, 'm' .. member)
if not entry then return answer('stays', '') end
local came, first, stays = string.match(entry, '^(.-)\n(.-)\n(.*)$')
local left, found = {}, false
for other in string.gmatch(stays, '[^\n]+') do
  if other == stay then found = true else left[#left + 1] = other end
end
if not found then return answer('stays', '') end
local profile = redis.call('HGET', room, member) or 'null'
if #left > 0 then
  redis.call('HSET', state, 'm' .. member, came .. '\n' .. first .. '\n' .. table.concat(left, '\n'))
  local node = string.match(left[#left], '^[^/]*')
  profile = string.gsub(profile, '"serverIpHost":"[^"]*"}$', '"serverIpHost":"' .. node .. '"}')
  redis.call('HSET', room, member, profile)
  return answer('stays', '')
end
redis.call('HDEL', room, member)
redis.call('HDEL', state, 'm' .. member)
redis.call('HSET', state, 'p' .. stay, by .. '\n' .. profile)
bump()
return answer('gone', profile)"#;

/// ARGV: stay.
const TOLD: &str = r"
redis.call('HDEL', state, 'p' .. ARGV[1])
if redis.call('HLEN', state) == 1 and redis.call('HEXISTS', state, 'v') == 1 then redis.call('DEL', state) end
return 1";

const READ: &str = "return answer('read', '')";

/// See the module.
#[derive(Debug)]
pub struct RedisRooms {
    connection: Connection,
    /// Before and after the room's name.
    key: (Box<str>, Box<str>),
    join: Script,
    leave: Script,
    told: Script,
    read: Script,
}

/// What, a text, version, the room, its state.
type Answer = (String, String, u64, Vec<String>, Vec<String>);

impl RedisRooms {
    /// Rooms over this connection; `key` is `rooms.redis_key`, with `{room}` where the name stands.
    #[must_use]
    pub fn new(connection: Connection, key: Option<&str>) -> Self {
        let own = format!("{}:room:{{room}}", connection.prefix);
        let (before, after) = key.unwrap_or(&own).split_once("{room}").unwrap_or_default();
        let key = (before.into(), after.into());
        let script = |text: &str| Script::from_lua(format!("{COMMON}{text}"));
        let (join, leave, told, read) = (script(JOIN), script(LEAVE), script(TOLD), script(READ));
        Self { connection, key, join, leave, told, read }
    }

    /// Both keys of a room.
    fn keys(&self, room: &str) -> Vec<String> {
        // Braces would end the hash tag.
        let name = room.replace('%', "%25").replace('{', "%7B").replace('}', "%7D");
        let key = format!("{}{name}{}", self.key.0, self.key.1);
        let state = format!("{}:state:{{{key}}}", self.connection.prefix);
        vec![key, state]
    }

    fn stays_key(&self, boot: &Boot) -> String {
        format!("{}:stays:{boot}", self.connection.prefix)
    }

    async fn unlist(&self, stay: &Stay) -> Result<(), Error> {
        Box::pin(self.connection.client.srem(self.stays_key(&stay.boot), entry(stay))).await
    }

    async fn join_now(&self, stay: &Stay, profile: &str, max_members: usize) -> Result<Joined, Error> {
        let key = self.stays_key(&stay.boot);
        Box::pin(self.connection.client.sadd::<(), _, _>(key, entry(stay))).await?;
        let profile = with_node(profile, stay.boot.node().as_str());
        let arguments =
            vec![stay.holder().into(), (&*stay.member).into(), profile.into(), max_members.to_string().into()];
        let answer: Answer = self.connection.run(&self.join, self.keys(&stay.room), arguments).await?;
        if answer.0 == "full" {
            self.unlist(stay).await?;
            return Ok(Joined::Full);
        }
        let created = answer.0 == "created";
        Ok(Joined::In { first: created || answer.0 == "first", created, listed: listed(answer) })
    }

    async fn leave_now(&self, stay: &Stay, by: &Boot, instead_of: Option<&Boot>) -> Result<(Left, Listed), Error> {
        let instead_of = instead_of.map_or("", Boot::as_str);
        let arguments = vec![stay.holder().into(), (&*stay.member).into(), by.as_str().into(), instead_of.into()];
        let answer: Answer = self.connection.run(&self.leave, self.keys(&stay.room), arguments).await?;
        let left = match (&*answer.0, Boot::parse(&answer.1)) {
            ("gone", _) => Left::Gone { profile: without_node(&answer.1).into() },
            ("told", Some(owner)) => Left::ToldBy(owner),
            _ => {
                self.unlist(stay).await?;
                Left::Stays
            }
        };
        Ok((left, listed(answer)))
    }
}

impl SharedRooms for RedisRooms {
    fn join<'a>(&'a self, stay: &'a Stay, profile: &'a str, max_members: usize) -> Later<'a, Result<Joined, Away>> {
        Box::pin(async move { self.join_now(stay, profile, max_members).await.map_err(failed) })
    }

    fn leave<'a>(
        &'a self,
        stay: &'a Stay,
        by: &'a Boot,
        instead_of: Option<&'a Boot>,
    ) -> Later<'a, Result<(Left, Listed), Away>> {
        Box::pin(async move { self.leave_now(stay, by, instead_of).await.map_err(failed) })
    }

    fn told<'a>(&'a self, stay: &'a Stay) -> Later<'a, Result<(), Away>> {
        Box::pin(async move {
            let arguments = vec![stay.holder().into()];
            self.connection.run::<()>(&self.told, self.keys(&stay.room), arguments).await.map_err(failed)?;
            self.unlist(stay).await.map_err(failed)
        })
    }

    fn members<'a>(&'a self, room: &'a str) -> Later<'a, Result<Listed, Away>> {
        Box::pin(async move {
            self.connection.run(&self.read, self.keys(room), Vec::new()).await.map(listed).map_err(failed)
        })
    }

    fn stays<'a>(&'a self, boot: &'a Boot) -> Later<'a, Result<Vec<Stay>, Away>> {
        Box::pin(async move {
            let entries: Vec<String> =
                Box::pin(self.connection.client.smembers(self.stays_key(boot))).await.map_err(failed)?;
            let mut stays: Vec<Stay> = entries.iter().filter_map(|entry| stay(entry, boot)).collect();
            stays.sort_unstable_by_key(|stay| stay.number);
            Ok(stays)
        })
    }
}

/// How a stay is listed. Neither name holds a line end: no name of a room or member holds a control character.
fn entry(stay: &Stay) -> String {
    format!("{}\n{}\n{}", stay.number, stay.room, stay.member)
}

fn stay(entry: &str, boot: &Boot) -> Option<Stay> {
    let mut parts = entry.split('\n');
    let (number, room, member) = (parts.next()?.parse().ok()?, parts.next()?, parts.next()?);
    Some(Stay { room: room.into(), member: member.into(), boot: boot.clone(), number })
}

/// Members in the order in which they came.
fn listed((_, _, version, profiles, state): Answer) -> Listed {
    let pairs = |flat: Vec<String>| {
        let mut flat = flat.into_iter();
        std::iter::from_fn(move || Some((flat.next()?, flat.next()?)))
    };
    let profiles: HashMap<String, String> = pairs(profiles).collect();
    let came = pairs(state).filter_map(|(field, value)| {
        let member = field.strip_prefix('m')?;
        let came: u64 = value.split('\n').next()?.parse().ok()?;
        let profile = without_node(profiles.get(member)?).into();
        Some((came, Member { id: member.into(), profile }))
    });
    let mut members: Vec<(u64, Member)> = came.collect();
    members.sort_unstable_by_key(|(came, _)| *came);
    Listed { version, members: members.into_iter().map(|(_, member)| member).collect() }
}

/// What the other services look for in a profile.
const NODE: &str = "\"serverIpHost\":\"";

/// The profile, if it is an object, with the node as its last field.
fn with_node(profile: &str, node: &str) -> String {
    let profile = profile.trim();
    match profile.strip_suffix('}').map(str::trim_end) {
        Some(open) => format!("{open}{}{NODE}{node}\"}}", if open.ends_with('{') { "" } else { "," }),
        None => profile.to_owned(),
    }
}

/// The profile as it was: no id of a node holds quotes, so the last such field is the one added.
fn without_node(stored: &str) -> String {
    match stored.rfind(NODE).filter(|_| stored.ends_with('}')) {
        Some(at) => format!("{}}}", stored[..at].strip_suffix(',').unwrap_or(&stored[..at])),
        None => stored.to_owned(),
    }
}

/// An error of the client without what it was asked: keys hold names of users.
fn failed(error: Error) -> Away {
    Away(Arc::from(error.details()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_node_is_in_the_stored_profile_alone() {
        for (profile, stored) in [
            (r#"{"id":"1"}"#, r#"{"id":"1","serverIpHost":"n-1"}"#),
            ("{}", r#"{"serverIpHost":"n-1"}"#),
            (r#"{"serverIpHost":"x"}"#, r#"{"serverIpHost":"x","serverIpHost":"n-1"}"#),
            ("[1]", "[1]"),
            ("\"}\"", "\"}\""),
        ] {
            assert_eq!(with_node(profile, "n-1"), stored);
            assert_eq!(without_node(stored), profile);
        }
    }
}
