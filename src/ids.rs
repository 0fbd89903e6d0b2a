//! Names of things that live as long as a connection or a node.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use bytestring::ByteString;

/// Names one connection, on whatever transport. Random, so that nobody can guess another session's; a SockJS session
/// id, which the client chooses, is something else and gives no authority (`docs/differences.md`, P58).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SessionId(ByteString);

impl SessionId {
    /// A new random id of 128 bits that starts with the node's id, so that any node knows where the session lives.
    #[must_use]
    pub fn random(node: &NodeId) -> Self {
        Self(ByteString::from(format!("{node}-{}", random_hex())))
    }

    /// The id with this text, if it can be one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (node, random) = text.rsplit_once('-')?;
        let is_id = !node.is_empty() && random.len() == 32 && random.bytes().all(|octet| octet.is_ascii_hexdigit());
        is_id.then(|| Self(ByteString::from(text)))
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The node that the session is connected to.
    #[must_use]
    pub fn node(&self) -> &str {
        self.0.rsplit_once('-').map_or("", |(node, _)| node)
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Names one node. New at every start, unless the operator gives one that stays; then the [`Boot`] tells its runs apart.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(ByteString);

impl NodeId {
    /// A new random id.
    #[must_use]
    pub fn random() -> Self {
        Self(ByteString::from(base36(random_u64())))
    }

    /// The id that an operator gave, or that another node has.
    ///
    /// # Errors
    ///
    /// Says what an id may consist of.
    pub fn named(text: &str) -> Result<Self, String> {
        let allowed = |octet: u8| octet.is_ascii_alphanumeric() || b"._-".contains(&octet);
        if text.is_empty() || text.len() > Self::MAX_BYTES || !text.bytes().all(allowed) {
            let limit = Self::MAX_BYTES;
            return Err(format!("{text:?} must be 1 to {limit} letters, digits, dots, hyphens or underscores"));
        }
        Ok(Self(ByteString::from(text)))
    }

    /// Longest id in octets.
    const MAX_BYTES: usize = 64;

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Names one run of a node, as others see it: entries of an older run count for nothing.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Boot(ByteString);

impl Boot {
    /// A new run of this node.
    #[must_use]
    pub fn new(node: &NodeId) -> Self {
        Self(ByteString::from(format!("{node}/{}", base36(random_u64()))))
    }

    /// The run with this text, `node/run`, if it can be one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (node, run) = text.split_once('/')?;
        let is_run = !run.is_empty() && run.len() <= 13 && run.bytes().all(|octet| octet.is_ascii_alphanumeric());
        (is_run && NodeId::named(node).is_ok()).then(|| Self(ByteString::from(text)))
    }

    /// The node that runs.
    #[must_use]
    pub fn node(&self) -> NodeId {
        let end = self.0.find('/').unwrap_or(self.0.len());
        NodeId(ByteString::from(&self.0[..end]))
    }

    /// The run as text, `node/run`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Boot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Makes message ids: the node's id and a counter, unique over nodes and restarts.
#[derive(Debug)]
pub struct MessageIds {
    prefix: String,
    next: AtomicU64,
}

impl MessageIds {
    /// Ids of this run of this node.
    #[must_use]
    pub fn new(node: &NodeId) -> Self {
        Self { prefix: format!("{node}-"), next: AtomicU64::new(0) }
    }

    /// An id that was never given before.
    #[must_use]
    pub fn next(&self) -> ByteString {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let mut text = String::with_capacity(self.prefix.len() + 13);
        text.push_str(&self.prefix);
        push_base36(&mut text, number);
        text.into()
    }
}

fn random_hex() -> String {
    format!("{:016x}{:016x}", random_u64(), random_u64())
}

/// A random number from the operating system.
#[must_use]
pub fn random_u64() -> u64 {
    // The system's source fails only where the platform has none; the standard library's own hash keys, which come
    // from the same source, stand in so that a server that runs keeps running.
    getrandom::u64().unwrap_or_else(|_| {
        use std::hash::{BuildHasher, Hasher, RandomState};
        RandomState::new().build_hasher().finish()
    })
}

fn base36(number: u64) -> String {
    let mut text = String::with_capacity(13);
    push_base36(&mut text, number);
    text
}

fn push_base36(text: &mut String, mut number: u64) {
    const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
    let mut digits = [0_u8; 13];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = DIGITS[(number % 36) as usize];
        number /= 36;
        if number == 0 {
            break;
        }
    }
    text.extend(digits[at..].iter().map(|&digit| char::from(digit)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base36_covers_the_whole_range() {
        for (number, text) in [(0, "0"), (35, "z"), (36, "10"), (u64::MAX, "3w5e11264sgsf")] {
            assert_eq!(base36(number), text);
        }
    }

    #[test]
    fn message_ids_differ() {
        let ids = MessageIds::new(&NodeId::random());
        assert_ne!(ids.next(), ids.next());
    }
}
