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
        let (node, random) = text.split_once('-')?;
        let is_id = !node.is_empty() && random.len() == 32 && random.bytes().all(|octet| octet.is_ascii_hexdigit());
        is_id.then(|| Self(ByteString::from(text)))
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Names one run of one node; new at every start, which makes it the boot id as well.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct NodeId(ByteString);

impl NodeId {
    /// A new random id.
    #[must_use]
    pub fn random() -> Self {
        Self(ByteString::from(base36(random_u64())))
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
