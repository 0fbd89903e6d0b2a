//! The three published versions.

use std::fmt;

/// A version of STOMP that a session runs at. Ordered: later versions are greater.
///
/// ```
/// use stampede_protocol::stomp::Version;
///
/// assert_eq!(Version::highest_in("1.0,1.1,2.0"), Some(Version::V1_1));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// STOMP 1.0: no escapes, no heart-beats, no NACK.
    V1_0,
    /// STOMP 1.1: escapes without `\r`, heart-beats, `ACK` by `message-id` and `subscription`.
    V1_1,
    /// STOMP 1.2: `\r` as an escape, CR LF line ends, `ACK` by `id`.
    V1_2,
}

impl Version {
    /// All versions, lowest first.
    pub const ALL: [Self; 3] = [Self::V1_0, Self::V1_1, Self::V1_2];

    /// The text of the `version` header.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V1_0 => "1.0",
            Self::V1_1 => "1.1",
            Self::V1_2 => "1.2",
        }
    }

    /// The version with exactly this text.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|version| version.as_str() == text)
    }

    /// The highest version in an `accept-version` list; blanks around entries are skipped, unknown entries too
    /// (STOMP 1.2, "Protocol Negotiation").
    #[must_use]
    pub fn highest_in(accept_version: &str) -> Option<Self> {
        accept_version.split(',').filter_map(|entry| Self::parse(entry.trim())).max()
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn negotiation_picks_the_highest_known_entry() {
        for (list, expected) in [
            ("1.2,1.1,1.0", Some(Version::V1_2)),
            ("1.0,1.1,2.0", Some(Version::V1_1)),
            ("1.1, 1.2", Some(Version::V1_2)),
            ("1.20", None),
            ("1", None),
            ("", None),
        ] {
            assert_eq!(Version::highest_in(list), expected, "{list}");
        }
    }
}
