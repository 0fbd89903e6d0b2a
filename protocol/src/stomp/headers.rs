//! Decoded headers in the order they stood; of equal names the first entry counts (STOMP 1.2, "Repeated Header Entries").

use bytestring::ByteString;

/// Header entries of one frame: names and values decoded, order and repetitions kept.
///
/// ```
/// use stampede_protocol::stomp::Headers;
///
/// let headers: Headers = [("foo", "World"), ("bar", "1"), ("foo", "Hello")].into_iter().collect();
/// assert_eq!(headers.get("foo").map(|value| &**value), Some("World"));
/// assert_eq!(headers.len(), 3);
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Headers {
    entries: Vec<(ByteString, ByteString)>,
}

impl Headers {
    /// No entries; allocates nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self { entries: Vec::new() }
    }

    /// No entries yet, room for this many.
    #[must_use]
    pub fn with_capacity(entries: usize) -> Self {
        Self { entries: Vec::with_capacity(entries) }
    }

    /// Adds an entry behind all others.
    pub fn push(&mut self, name: impl Into<ByteString>, value: impl Into<ByteString>) {
        self.entries.push((name.into(), value.into()));
    }

    /// Removes every entry with one of these names.
    pub fn remove_all(&mut self, names: &[&str]) {
        self.entries.retain(|(name, _)| !names.contains(&&**name));
    }

    /// Drops the spaces in front of every value, as sessions at 1.0 read them.
    pub(super) fn trim_values_start(&mut self) {
        for (_, value) in &mut self.entries {
            if value.starts_with(' ') {
                *value = value.slice_ref(value.trim_start_matches(' '));
            }
        }
    }

    /// The value of the first entry with this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&ByteString> {
        self.entries.iter().find(|(entry, _)| *entry == name).map(|(_, value)| value)
    }

    /// All entries in order, repetitions included.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&ByteString, &ByteString)> {
        self.entries.iter().map(|(name, value)| (name, value))
    }

    /// Number of entries, repetitions included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

impl<N: Into<ByteString>, V: Into<ByteString>> FromIterator<(N, V)> for Headers {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(entries: I) -> Self {
        Self { entries: entries.into_iter().map(|(name, value)| (name.into(), value.into())).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_equal_names_counts() {
        let headers: Headers = [("foo", "World"), ("foo", "Hello")].into_iter().collect();
        assert_eq!(headers.get("foo").map(|v| &**v), Some("World"));
        assert_eq!(headers.len(), 2);
    }
}
