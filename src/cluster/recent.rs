//! Message ids that were delivered lately: what is sent again after a node died reaches nobody twice, as far as this
//! remembers.

use std::collections::{HashSet, VecDeque};
use std::hash::{BuildHasher, RandomState};

use parking_lot::Mutex;

/// Ids remembered; at a thousand user messages a second that is a quarter of a minute, longer than a node takes to be
/// found dead.
const REMEMBERED: usize = 16_384;

/// The last [`REMEMBERED`] ids, as hashes: two ids with one hash would cost a repeated message, once in many years.
#[derive(Debug, Default)]
pub(super) struct Recent {
    window: Mutex<Window>,
    hasher: RandomState,
}

#[derive(Debug, Default)]
struct Window {
    known: HashSet<u64>,
    order: VecDeque<u64>,
}

impl Recent {
    pub(super) fn knows(&self, id: &str) -> bool {
        self.window.lock().known.contains(&self.hasher.hash_one(id))
    }

    pub(super) fn insert(&self, id: &str) {
        let hash = self.hasher.hash_one(id);
        let mut window = self.window.lock();
        if !window.known.insert(hash) {
            return;
        }
        window.order.push_back(hash);
        if window.order.len() > REMEMBERED
            && let Some(oldest) = window.order.pop_front()
        {
            window.known.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_known_until_many_newer_ones_came() {
        let recent = Recent::default();
        assert!(!recent.knows("a"));
        recent.insert("a");
        recent.insert("a");
        assert!(recent.knows("a"));
        for number in 0..REMEMBERED {
            recent.insert(&number.to_string());
        }
        assert!(!recent.knows("a"));
    }
}
