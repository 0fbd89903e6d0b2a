//! The registry in Redis, or Valkey.
//!
//! ```text
//! {prefix}:lease:{boot}         what the run says about itself; ends with the lease
//! {prefix}:nodes                hash: boot -> the same; every run that was not removed
//! {prefix}:u:{addressee}        hash: boot -> ""; runs with receivers for an addressee
//! {prefix}:d:{destination}      hash: boot -> ""; runs with receivers for a broker destination
//! {prefix}:{patterns}           hash: boot, a line end, pattern -> ""
//! {prefix}:{patterns}:version   grows when that changes
//! {prefix}:names:{boot}         set: the keys that hold an entry of this run
//! ```
//!
//! Every command concerns one key, or keys with one hash tag, so that Redis Cluster works. An entry is listed in `names`
//! before it is made, and taken from there after it is gone, so that what a dead run has entered is always found.

mod connect;

use std::collections::HashMap;
use std::sync::Arc;

use fred::clients::Client;
use fred::error::Error;
use fred::interfaces::{HashesInterface, KeysInterface, SetsInterface};
use fred::types::scripts::Script;
use futures_util::future::{join, join_all, try_join_all};

use super::{Change, Lease, Located, Name, NodeState, Patterns, Registry, RegistryError};
use crate::config::cluster::Redis;
use crate::ids::Boot;
use crate::relay::Later;

pub use connect::{Connection, connect};

/// Entries removed in one go.
const BATCH: usize = 1000;

/// Extends a lease; 1 when it was there.
const RENEW: &str = "
local there = redis.call('EXISTS', KEYS[1])
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return there";

/// Enters or removes one pattern; the version changes only when something else did. It is the time at least, so that a server
/// which lost changes does not come to a version again that somebody remembers.
const PATTERN: &str = "
local changed
if ARGV[2] == '1' then
  changed = redis.call('HSET', KEYS[1], ARGV[1], '')
else
  changed = redis.call('HDEL', KEYS[1], ARGV[1])
end
if changed == 1 then
  local now = redis.call('TIME')
  local version = math.max((redis.call('GET', KEYS[2]) or 0) + 1, now[1] * 1000 + math.floor(now[2] / 1000))
  redis.call('SET', KEYS[2], string.format('%.0f', version))
end
return changed";

/// See the module.
#[derive(Debug)]
pub struct RedisRegistry {
    connection: Connection,
    lease_ms: u64,
    renew: Script,
    pattern: Script,
}

impl RedisRegistry {
    /// A registry over this connection.
    #[must_use]
    pub fn new(connection: Connection, config: &Redis) -> Self {
        Self {
            connection,
            lease_ms: u64::try_from(config.lease.as_millis()).unwrap_or(u64::MAX),
            renew: Script::from_lua(RENEW),
            pattern: Script::from_lua(PATTERN),
        }
    }

    fn client(&self) -> &Client {
        &self.connection.client
    }

    fn key(&self, rest: &str) -> String {
        format!("{}:{rest}", self.connection.prefix)
    }

    fn entry_key(&self, name: &Name) -> String {
        match name {
            Name::User(addressee) => self.key(&format!("u:{addressee}")),
            Name::Destination(destination) => self.key(&format!("d:{destination}")),
            Name::Pattern(_) => self.patterns_key(),
        }
    }

    fn patterns_key(&self) -> String {
        self.key("{patterns}")
    }

    fn version_key(&self) -> String {
        self.key("{patterns}:version")
    }

    /// What stands in `names` for a name: the key of its entry, or a pattern, whose key is always the same.
    fn listed(&self, name: &Name) -> String {
        match name {
            Name::Pattern(pattern) => format!("p{pattern}"),
            name => format!("k{}", self.entry_key(name)),
        }
    }

    /// Changes names that are all different.
    async fn change_these(&self, boot: &Boot, changes: &[&Change]) -> Result<(), Error> {
        let names = self.key(&format!("names:{boot}"));
        let listed = |present: bool| -> Vec<String> {
            let concerned = changes.iter().filter(|change| change.present == present);
            concerned.map(|change| self.listed(&change.name)).collect()
        };
        let (come, gone) = (listed(true), listed(false));
        let enlisted = async {
            if come.is_empty() { Ok(()) } else { Box::pin(self.client().sadd::<(), _, _>(&names, come)).await }
        };
        // All is sent at once, in this order.
        let (enlisted, changed) =
            join(enlisted, join_all(changes.iter().map(|change| self.change_one(boot, change)))).await;
        enlisted?;
        changed.into_iter().collect::<Result<(), Error>>()?;
        if gone.is_empty() { Ok(()) } else { Box::pin(self.client().srem(&names, gone)).await }
    }

    async fn change_one(&self, boot: &Boot, change: &Change) -> Result<(), Error> {
        match (&change.name, change.present) {
            (Name::Pattern(pattern), present) => self.change_pattern(boot, pattern, present).await,
            (name, true) => Box::pin(self.client().hset(self.entry_key(name), (boot.as_str(), ""))).await,
            (name, false) => Box::pin(self.client().hdel(self.entry_key(name), boot.as_str())).await,
        }
    }

    async fn change_pattern(&self, boot: &Boot, pattern: &str, present: bool) -> Result<(), Error> {
        let keys = vec![self.patterns_key(), self.version_key()];
        let arguments = vec![format!("{boot}\n{pattern}").into(), if present { "1" } else { "0" }.into()];
        self.connection.run(&self.pattern, keys, arguments).await
    }

    async fn remove_entries(&self, boot: &Boot) -> Result<(), Error> {
        let names = self.key(&format!("names:{boot}"));
        loop {
            // Popped only after the entries are gone: whoever fails in between leaves them for the next attempt.
            let listed: Vec<String> = Box::pin(self.client().srandmember(&names, Some(BATCH))).await?;
            if listed.is_empty() {
                return Ok(());
            }
            let removals = listed.iter().map(|entry| async {
                match entry.split_at_checked(1) {
                    Some(("p", pattern)) => self.change_pattern(boot, pattern, false).await,
                    Some((_, key)) => Box::pin(self.client().hdel::<(), _, _>(key, boot.as_str())).await,
                    None => Ok(()),
                }
            });
            try_join_all(removals).await?;
            Box::pin(self.client().srem::<(), _, _>(&names, listed)).await?;
        }
    }
}

impl Registry for RedisRegistry {
    fn renew<'a>(&'a self, boot: &'a Boot, info: &'a str) -> Later<'a, Result<Lease, RegistryError>> {
        Box::pin(async move {
            let lease = self.key(&format!("lease:{boot}"));
            let arguments = vec![info.into(), self.lease_ms.to_string().into()];
            let renewed = self.connection.run::<u64>(&self.renew, vec![lease], arguments).await.map_err(failed)?;
            Box::pin(self.client().hset::<(), _, _>(self.key("nodes"), (boot.as_str(), info))).await.map_err(failed)?;
            Ok(if renewed == 1 { Lease::Renewed } else { Lease::New })
        })
    }

    fn nodes(&self) -> Later<'_, Result<Vec<NodeState>, RegistryError>> {
        Box::pin(async move {
            let listed: Vec<(String, String)> =
                Box::pin(self.client().hgetall(self.key("nodes"))).await.map_err(failed)?;
            let states = listed.into_iter().filter_map(|(boot, info)| Some((Boot::parse(&boot)?, info)));
            let states = states.map(|(boot, info)| async move {
                let lease = self.key(&format!("lease:{boot}"));
                let leases: u64 = Box::pin(self.client().exists(lease)).await?;
                Ok(NodeState { alive: leases > 0, boot, info })
            });
            try_join_all(states).await.map_err(failed)
        })
    }

    fn change<'a>(&'a self, boot: &'a Boot, changes: &'a [Change]) -> Later<'a, Result<(), RegistryError>> {
        Box::pin(async move {
            // What a name is in the end; so each is changed once, and all at the same time.
            let last: HashMap<&Name, &Change> = changes.iter().map(|change| (&change.name, change)).collect();
            self.change_these(boot, &last.into_values().collect::<Vec<_>>()).await.map_err(failed)
        })
    }

    fn locate<'a>(&'a self, names: &'a [Name]) -> Later<'a, Result<Located, RegistryError>> {
        Box::pin(async move {
            // Sent together. Measured and found worse: a pipeline of the client's, which writes its commands to the socket one
            // by one, and a script for all names, which costs the server more than it saves here.
            let runs = names.iter().map(|name| async {
                let boots: Vec<String> = Box::pin(self.client().hkeys(self.entry_key(name))).await?;
                Ok::<_, Error>(boots.iter().filter_map(|boot| Boot::parse(boot)).collect())
            });
            let version = Box::pin(self.client().get::<Option<u64>, _>(self.version_key()));
            let (nodes, version) = join(join_all(runs), version).await;
            let nodes = nodes.into_iter().collect::<Result<Vec<Vec<Boot>>, Error>>().map_err(failed)?;
            Ok(Located { nodes, patterns_version: version.map_err(failed)?.unwrap_or(0) })
        })
    }

    fn patterns(&self) -> Later<'_, Result<Patterns, RegistryError>> {
        Box::pin(async move {
            // In turn, so that the entries are not older than the version.
            let version: Option<u64> = Box::pin(self.client().get(self.version_key())).await.map_err(failed)?;
            let fields: Vec<String> = Box::pin(self.client().hkeys(self.patterns_key())).await.map_err(failed)?;
            let entries = fields.iter().filter_map(|field| {
                let (boot, pattern) = field.split_once('\n')?;
                Some((Box::from(pattern), Boot::parse(boot)?))
            });
            Ok(Patterns { version: version.unwrap_or(0), entries: entries.collect() })
        })
    }

    fn interruptions(&self) -> u64 {
        self.connection.interruptions()
    }

    fn remove<'a>(&'a self, boot: &'a Boot) -> Later<'a, Result<(), RegistryError>> {
        Box::pin(async move {
            let removed = async {
                self.remove_entries(boot).await?;
                Box::pin(self.client().del::<(), _>(self.key(&format!("lease:{boot}")))).await?;
                Box::pin(self.client().hdel::<(), _, _>(self.key("nodes"), boot.as_str())).await
            };
            Box::pin(removed).await.map_err(failed)
        })
    }
}

/// An error of the client without what it was asked: keys hold names of users.
fn failed(error: Error) -> RegistryError {
    RegistryError(Arc::from(error.details()))
}
