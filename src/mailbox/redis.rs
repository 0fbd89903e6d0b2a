//! Kept messages in Redis, or Valkey, for all nodes.
//!
//! ```text
//! {prefix}:m:{destination}   hash, gone when it holds no message and has no reader
//!     n   number of the next message          o   no message has a lower number
//!     c   messages                            b   their octets
//!     h   below: handed to somebody           t   how long messages wait, in milliseconds
//!     r   readers, with commas between
//!     {number}   13 digits of Unix milliseconds, then the record
//! {prefix}:open:{boot}       set: destinations that this run reads
//! ```
//!
//! One key per destination: every change is one atomic script, on Redis Cluster as well, and a proved message is removed by its
//! number. Measured with Redis 7.0 and records of 300 octets, octets per destination with 1, 3, 20 and 200 messages:
//! 966, 1504, 7817, 74409; a list with a small hash beside it 705, 1360, 6481, 64161, at the price of a search for every
//! proof; a stream 4300 from the first message on.
//!
//! Numbers begin at the server's clock: those of a destination that is gone do not come again, and a removal that comes late
//! removes nothing else.

use std::sync::Arc;

use bytes::Bytes;
use fred::error::Error;
use fred::interfaces::SetsInterface;
use fred::types::Value;
use fred::types::scripts::Script;
use futures_util::future::{join, join_all, try_join_all};

use super::shared::{Append, Appended, Contents, SharedStore};
use super::{Refused, StoreError};
use crate::config::mailbox::{Keep, KeepOverflow};
use crate::ids::Boot;
use crate::registry::redis::Connection;
use crate::relay::Later;

/// Digits of the time before a record.
const TIME_DIGITS: usize = 13;
/// Destinations closed in one go.
const BATCH: usize = 500;

/// What all scripts begin with.
const COMMON: &str = "
local function number(text) return string.format('%.0f', text) end
local function begin(key)
  local now = redis.call('TIME')
  local n = number(now[1] * 1000000 + now[2])
  redis.call('HSET', key, 'n', n, 'o', n, 'c', 0, 'b', 0, 'h', 0, 't', 0, 'r', '')
end
local function load(key)
  local f = redis.call('HMGET', key, 'n', 'o', 'c', 'b', 'h', 't', 'r')
  if not f[1] then
    begin(key)
    f = redis.call('HMGET', key, 'n', 'o', 'c', 'b', 'h', 't', 'r')
  end
  return {n = tonumber(f[1]), o = tonumber(f[2]), c = tonumber(f[3]), b = tonumber(f[4]), h = tonumber(f[5]),
    t = tonumber(f[6]), r = f[7]}
end
local function save(key, s)
  if s.c == 0 then s.o = s.n end
  redis.call('HSET', key, 'n', number(s.n), 'o', number(s.o), 'c', s.c, 'b', s.b, 'h', number(s.h), 't', number(s.t), 'r', s.r)
end
local function drop(key, s, seq, value)
  redis.call('HDEL', key, number(seq))
  s.c = s.c - 1
  s.b = s.b - (#value - 13)
end
";

/// ARGV: most messages, most octets, 1 to refuse what does not fit, time to wait, now; then time and record of each.
const APPEND: &str = "
local key = KEYS[1]
local s = load(key)
local max, max_bytes, refuse, age, now = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3] == '1', tonumber(ARGV[4]), tonumber(ARGV[5])
s.t = age
local function oldest()
  while s.o < s.n do
    local value = redis.call('HGET', key, number(s.o))
    if value then return value end
    s.o = s.o + 1
  end
end
local told = {}
for i = 6, #ARGV, 2 do
  local size = #ARGV[i + 1]
  while s.c > 0 do
    local value = oldest()
    if not value or tonumber(string.sub(value, 1, 13)) + age > now then break end
    drop(key, s, s.o, value)
  end
  if size > max_bytes then
    told[#told + 1] = 'large'
  elseif refuse and s.c >= max then
    told[#told + 1] = 'messages ' .. s.c
  elseif refuse and s.b + size > max_bytes then
    told[#told + 1] = 'octets ' .. s.b
  else
    while s.c > 0 and (s.c >= max or s.b + size > max_bytes) do
      local value = oldest()
      if not value then break end
      drop(key, s, s.o, value)
    end
    if s.c == 0 then s.o = s.n end
    redis.call('HSET', key, number(s.n), ARGV[i] .. ARGV[i + 1])
    told[#told + 1] = number(s.n)
    s.n, s.c, s.b = s.n + 1, s.c + 1, s.b + size
  end
end
save(key, s)
if s.r == '' then
  if s.c == 0 then redis.call('DEL', key) else redis.call('PEXPIRE', key, age) end
end
return {s.r, told}";

/// ARGV: the run.
const OPEN: &str = "
local key = KEYS[1]
local s = load(key)
if not string.find(',' .. s.r .. ',', ',' .. ARGV[1] .. ',', 1, true) then
  if s.r == '' then s.r = ARGV[1] else s.r = s.r .. ',' .. ARGV[1] end
  redis.call('HSET', key, 'r', s.r)
end
redis.call('PERSIST', key)
return redis.call('HGETALL', key)";

/// ARGV: the run, below which number messages were handed out, or `all`.
const CLOSE: &str = "
local key = KEYS[1]
if redis.call('EXISTS', key) == 0 then return 0 end
local s = load(key)
local left = {}
for reader in string.gmatch(s.r, '[^,]+') do
  if reader ~= ARGV[1] then left[#left + 1] = reader end
end
s.r = table.concat(left, ',')
if ARGV[2] == 'all' then s.h = s.n else s.h = math.max(s.h, math.min(s.n, tonumber(ARGV[2]))) end
if s.r == '' and s.c == 0 then return redis.call('DEL', key) end
save(key, s)
if s.r == '' and s.t > 0 and redis.call('PTTL', key) < 0 then redis.call('PEXPIRE', key, number(s.t)) end
return 1";

/// ARGV: numbers.
const REMOVE: &str = "
local key = KEYS[1]
if redis.call('EXISTS', key) == 0 then return 0 end
local s = load(key)
local dropped = false
for i = 1, #ARGV do
  local value = redis.call('HGET', key, ARGV[i])
  if value then
    drop(key, s, tonumber(ARGV[i]), value)
    dropped = true
  end
end
if s.r == '' and s.c == 0 then return redis.call('DEL', key) end
-- Not the first thing to be written: a server without memory would refuse it, and never get any back.
if dropped then save(key, s) end
return 1";

/// See the module.
#[derive(Debug)]
pub struct RedisStore {
    connection: Connection,
    append: Script,
    open: Script,
    close: Script,
    remove: Script,
}

impl RedisStore {
    /// A store over this connection.
    #[must_use]
    pub fn new(connection: Connection) -> Self {
        let script = |text: &str| Script::from_lua(format!("{COMMON}{text}"));
        let (append, open, close, remove) = (script(APPEND), script(OPEN), script(CLOSE), script(REMOVE));
        Self { connection, append, open, close, remove }
    }

    fn key(&self, queue: &str) -> String {
        format!("{}:m:{queue}", self.connection.prefix)
    }

    fn open_key(&self, boot: &Boot) -> String {
        format!("{}:open:{boot}", self.connection.prefix)
    }

    async fn append_to(&self, queue: &str, appends: &[&Append]) -> Vec<Result<Appended, Refused>> {
        // A destination has one policy.
        let Keep { max, max_bytes, overflow, age, .. } = appends[0].keep;
        let now = appends.iter().map(|append| append.sent_at).max().unwrap_or_default();
        let numbers = [max as u64, max_bytes as u64, u64::from(overflow == KeepOverflow::Refuse), millis(age), now];
        let mut arguments: Vec<Value> = numbers.iter().map(|number| number.to_string().into()).collect();
        for append in appends {
            let sent_at = append.sent_at;
            arguments.push(format!("{sent_at:0TIME_DIGITS$}").into());
            arguments.push(Value::Bytes(append.record.clone()));
        }
        let told: Result<(String, Vec<String>), Error> =
            self.connection.run(&self.append, vec![self.key(queue)], arguments).await;
        match told {
            Err(error) => appends.iter().map(|_| Err(Refused::Store(failed(&error)))).collect(),
            Ok((readers, told)) => {
                let readers: Vec<Boot> = readers.split(',').filter_map(Boot::parse).collect();
                let answers = appends.iter().zip(told);
                answers.map(|(append, told)| answer(&told, append, &readers)).collect()
            }
        }
    }

    async fn close_one(&self, queue: &str, boot: &Boot, handed: &str) -> Result<(), Error> {
        let arguments = vec![boot.to_string().into(), handed.into()];
        self.connection.run(&self.close, vec![self.key(queue)], arguments).await
    }
}

impl SharedStore for RedisStore {
    fn append(&self, appends: Vec<Append>) -> Later<'_, Vec<Result<Appended, Refused>>> {
        Box::pin(async move {
            // One call per destination; the answers go back to their places.
            let mut queues: Vec<(&str, Vec<usize>)> = Vec::new();
            let mut at = std::collections::HashMap::new();
            for (index, append) in appends.iter().enumerate() {
                let place = *at.entry(&*append.queue).or_insert_with(|| {
                    queues.push((&append.queue, Vec::new()));
                    queues.len() - 1
                });
                queues[place].1.push(index);
            }
            let calls = queues.iter().map(|(queue, indices)| {
                let appends: Vec<&Append> = indices.iter().map(|index| &appends[*index]).collect();
                async move { Box::pin(self.append_to(queue, &appends)).await }
            });
            let told = join_all(calls).await;
            let mut answers: Vec<Option<Result<Appended, Refused>>> = appends.iter().map(|_| None).collect();
            for ((_, indices), told) in queues.iter().zip(told) {
                for (index, answer) in indices.iter().zip(told) {
                    answers[*index] = Some(answer);
                }
            }
            let missing = || Err(Refused::Store(unexpected("less than it was asked")));
            answers.into_iter().map(|answer| answer.unwrap_or_else(missing)).collect()
        })
    }

    fn open<'a>(&'a self, queue: &'a str, boot: &'a Boot) -> Later<'a, Result<Contents, StoreError>> {
        Box::pin(async move {
            let listed = Box::pin(self.connection.client.sadd::<(), _, _>(self.open_key(boot), queue));
            let arguments = vec![boot.to_string().into()];
            let opened = self.connection.run::<Vec<(String, Bytes)>>(&self.open, vec![self.key(queue)], arguments);
            let (listed, opened) = join(listed, opened).await;
            listed.map_err(|error| failed(&error))?;
            opened.map(contents).map_err(|error| failed(&error))
        })
    }

    fn close<'a>(&'a self, queue: &'a str, boot: &'a Boot, handed: u64) -> Later<'a, Result<(), StoreError>> {
        Box::pin(async move {
            let closed = async {
                self.close_one(queue, boot, &handed.to_string()).await?;
                Box::pin(self.connection.client.srem::<(), _, _>(self.open_key(boot), queue)).await
            };
            closed.await.map_err(|error| failed(&error))
        })
    }

    fn remove<'a>(&'a self, removals: &'a [(Box<str>, Vec<u64>)]) -> Later<'a, Result<(), StoreError>> {
        Box::pin(async move {
            let calls = removals.iter().map(|(queue, seqs)| {
                let numbers: Vec<Value> = seqs.iter().map(|seq| seq.to_string().into()).collect();
                self.connection.run::<()>(&self.remove, vec![self.key(queue)], numbers)
            });
            try_join_all(calls).await.map(drop).map_err(|error| failed(&error))
        })
    }

    fn forget<'a>(&'a self, boot: &'a Boot) -> Later<'a, Result<(), StoreError>> {
        Box::pin(async move {
            let (client, open) = (&self.connection.client, self.open_key(boot));
            let forgotten = async {
                loop {
                    let queues: Vec<String> = Box::pin(client.srandmember(&open, Some(BATCH))).await?;
                    if queues.is_empty() {
                        return Ok(());
                    }
                    try_join_all(queues.iter().map(|queue| self.close_one(queue, boot, "all"))).await?;
                    Box::pin(client.srem::<(), _, _>(&open, queues)).await?;
                }
            };
            forgotten.await.map_err(|error: Error| failed(&error))
        })
    }
}

fn answer(told: &str, append: &Append, readers: &[Boot]) -> Result<Appended, Refused> {
    let Keep { max, max_bytes, .. } = append.keep;
    let message_bytes = append.record.len();
    match told.split_once(' ') {
        Some(("messages", kept)) => Err(Refused::Messages { kept: kept.parse().unwrap_or(max), max }),
        Some(("octets", kept)) => {
            Err(Refused::Bytes { message_bytes, kept_bytes: kept.parse().unwrap_or(max_bytes), max_bytes })
        }
        _ if told == "large" => Err(Refused::TooLarge { message_bytes, max_bytes }),
        _ => match told.parse() {
            Ok(seq) => Ok(Appended { seq, readers: readers.to_vec() }),
            Err(_) => Err(Refused::Store(unexpected(told))),
        },
    }
}

fn contents(fields: Vec<(String, Bytes)>) -> Contents {
    let mut contents = Contents::default();
    let number = |value: &Bytes| std::str::from_utf8(value).ok().and_then(|text| text.parse().ok()).unwrap_or(0);
    for (field, value) in fields {
        match (field.as_str(), field.parse()) {
            ("n", _) => contents.next_seq = number(&value),
            ("h", _) => contents.handed = number(&value),
            (_, Ok(seq)) if value.len() >= TIME_DIGITS => contents.entries.push((seq, value.slice(TIME_DIGITS..))),
            _ => {}
        }
    }
    contents.entries.sort_unstable_by_key(|(seq, _)| *seq);
    contents
}

fn millis(duration: std::time::Duration) -> u64 {
    // A thousand years, so that the server's own arithmetic stays exact.
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).min(31_536_000_000_000)
}

fn failed(error: &Error) -> StoreError {
    StoreError::Failed(Arc::from(Box::<dyn std::error::Error + Send + Sync>::from(error.details().to_owned())))
}

fn unexpected(told: &str) -> StoreError {
    StoreError::Failed(Arc::from(Box::<dyn std::error::Error + Send + Sync>::from(format!("Redis answered {told:?}"))))
}
