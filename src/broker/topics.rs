//! Who subscribed to which exact destination, found by one hash look-up and read without a global lock.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use bytestring::ByteString;
use parking_lot::RwLock;
use slab::Slab;

use super::SessionHandle;
use super::policy::Policy;
use crate::outbox::SlotRef;

/// Locks that the destinations are spread over; enough that cores rarely meet.
const SHARDS: usize = 64;

/// All exact subscriptions of a node.
#[derive(Debug)]
pub(crate) struct Topics {
    shards: Box<[RwLock<Shard>]>,
    /// Keyed, so that nobody can choose destinations that all fall into one place.
    hasher: RandomState,
}

type Shard = HashMap<ByteString, Arc<Topic>>;

/// The subscribers of one destination.
#[derive(Debug)]
pub(crate) struct Topic {
    name: ByteString,
    pub(crate) policy: Policy,
    subscribers: RwLock<Subscribers>,
}

#[derive(Debug, Default)]
struct Subscribers {
    slab: Slab<Subscriber>,
    /// Taken out of the map: whoever still holds the topic must look it up again.
    gone: bool,
}

/// One subscription, as those who deliver see it.
#[derive(Debug, Clone)]
pub(crate) struct Subscriber {
    pub(crate) session: Arc<SessionHandle>,
    pub(crate) to: SlotRef,
    /// Subscribed as `/user/queue/…`, not by name.
    pub(crate) own: bool,
}

/// Where a subscription sits, for its end.
#[derive(Debug)]
pub struct Seat {
    topic: Arc<Topic>,
    key: usize,
}

impl Seat {
    /// The destination.
    pub(crate) fn name(&self) -> &str {
        &self.topic.name
    }
}

impl Topics {
    pub(crate) fn new() -> Self {
        let shards = (0..SHARDS).map(|_| RwLock::new(HashMap::new())).collect();
        Self { shards, hasher: RandomState::new() }
    }

    /// Adds a subscriber; `policy` counts for a destination that had none.
    pub(crate) fn subscribe(&self, name: &str, subscriber: Subscriber, policy: Policy) -> Seat {
        loop {
            let topic = self.find(name).unwrap_or_else(|| {
                let mut shard = self.shard(name).write();
                if let Some(topic) = shard.get(name) {
                    return Arc::clone(topic);
                }
                // The text is copied: a decoded header may be a slice of a large read buffer.
                let name = ByteString::from(name);
                let topic = Topic { name: name.clone(), policy, subscribers: RwLock::default() };
                let topic = Arc::new(topic);
                shard.insert(name, Arc::clone(&topic));
                topic
            });
            let mut subscribers = topic.subscribers.write();
            if subscribers.gone {
                continue;
            }
            let key = subscribers.slab.insert(subscriber);
            drop(subscribers);
            return Seat { topic, key };
        }
    }

    pub(crate) fn unsubscribe(&self, seat: &Seat) {
        let mut subscribers = seat.topic.subscribers.write();
        subscribers.slab.try_remove(seat.key);
        if !subscribers.slab.is_empty() || subscribers.gone {
            return;
        }
        subscribers.gone = true;
        drop(subscribers);
        self.shard(&seat.topic.name).write().remove(&seat.topic.name);
    }

    pub(crate) fn find(&self, name: &str) -> Option<Arc<Topic>> {
        self.shard(name).read().get(name).cloned()
    }

    /// Destinations with subscribers.
    pub(crate) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.read().len()).sum()
    }

    fn shard(&self, name: &str) -> &RwLock<Shard> {
        &self.shards[(self.hasher.hash_one(name) as usize) % SHARDS]
    }
}

impl Topic {
    /// Calls `f` for every subscriber; `f` must not wait.
    pub(crate) fn for_each(&self, mut f: impl FnMut(&Subscriber)) {
        for (_, subscriber) in &self.subscribers.read().slab {
            f(subscriber);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subscriber(slot: u32) -> Subscriber {
        Subscriber { session: SessionHandle::for_test(), to: SlotRef { slot, generation: 0 }, own: false }
    }

    #[test]
    fn a_destination_lives_as_long_as_it_has_subscribers() {
        let topics = Topics::new();
        let first = topics.subscribe("/topic/a", subscriber(1), Policy::default());
        let second = topics.subscribe("/topic/a", subscriber(2), Policy::default());
        assert_eq!(topics.len(), 1);
        topics.unsubscribe(&first);
        let mut seen = Vec::new();
        topics.find("/topic/a").unwrap().for_each(|subscriber| seen.push(subscriber.to.slot));
        assert_eq!(seen, [2]);
        topics.unsubscribe(&second);
        assert_eq!(topics.len(), 0);
        let third = topics.subscribe("/topic/a", subscriber(3), Policy::default());
        topics.unsubscribe(&second);
        assert_eq!(topics.len(), 1, "a seat given back twice takes nobody else's");
        topics.unsubscribe(&third);
    }
}
