//! Lists of members in their order.

use std::collections::HashMap;

use bytestring::ByteString;
use parking_lot::Mutex;

use crate::message::ListVersion;
use crate::telemetry::{count, metrics};

/// Rooms and destinations remembered at most; then all are forgotten, at the price that an older list may pass once.
const MAX: usize = 100_000;

/// The newest list that was delivered here, by room and destination.
///
/// Two nodes can change a room at the same time, and their lists travel on ways of their own: whoever has the newer one has
/// no use for the older.
#[derive(Debug, Default)]
pub(super) struct Lists {
    newest: Mutex<HashMap<(ByteString, ByteString), u64>>,
}

impl Lists {
    /// Delivers, unless a newer list has been delivered there. No other list is delivered meanwhile.
    pub(super) fn unless_older(&self, list: &ListVersion, to: &ByteString, deliver: impl FnOnce() -> u64) -> u64 {
        let mut newest = self.newest.lock();
        if newest.len() >= MAX {
            newest.clear();
        }
        let newest = newest.entry((list.room.clone(), to.clone())).or_default();
        if list.version < *newest {
            count(&metrics().messages_dropped, "older-list");
            return 0;
        }
        *newest = list.version;
        deliver()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_list_does_not_follow_a_newer_one() {
        let lists = Lists::default();
        let offer = |room: &str, version, to: &str| {
            lists.unless_older(&ListVersion { room: room.into(), version }, &to.into(), || 1)
        };
        let offered = [offer("r", 2, "/a"), offer("r", 1, "/a"), offer("r", 2, "/a"), offer("r", 3, "/a")];
        assert_eq!(offered, [1, 0, 1, 1], "the same list may be sent again");
        assert_eq!([offer("r", 1, "/b"), offer("s", 1, "/a")], [1, 1], "each room and destination for itself");
    }
}
