//! The relay in memory keeps the contract, also while connections break all the time.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, sleep};

use super::{Calm, MemoryBus, Weather};
use crate::relay::contract::{self, Node, Published, World, confirmed, settled, to};
use stampede::ids::NodeId;
use stampede::relay::{Inbox, Later, Relay, RelayError, Source};

impl World for MemoryBus {
    fn join(&self, node: NodeId, inbox: Arc<dyn Inbox>) -> Later<'_, Arc<dyn Relay>> {
        Box::pin(async move { self.node(node, inbox) as _ })
    }
}

/// Slow, and every tenth step breaks a connection; the same again with the same seed.
#[derive(Debug)]
struct Storm(Mutex<u64>);

impl Storm {
    /// Below `below`; SplitMix64.
    fn random(&self, below: u64) -> u64 {
        let mut state = self.0.lock();
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = *state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % below
    }
}

impl Weather for Storm {
    fn delay(&self) -> Duration {
        Duration::from_micros(100 + self.random(3000))
    }

    fn breaks(&self) -> bool {
        self.random(10) == 0
    }
}

#[derive(Debug)]
struct Refusing;

impl Weather for Refusing {
    fn refuses(&self) -> bool {
        true
    }
}

fn bus(weather: impl Weather + 'static) -> MemoryBus {
    MemoryBus::new(Arc::new(weather), Duration::from_secs(10))
}

#[tokio::test(start_paused = true)]
async fn it_keeps_the_contract() {
    contract::order_is_kept(&bus(Calm)).await;
    contract::routes_lead_where_they_say(&bus(Calm)).await;
    contract::what_finds_no_queue_is_an_orphan(&bus(Calm)).await;
    contract::what_a_dead_node_leaves_is_adopted(&bus(Calm)).await;
    contract::adoption_waits_for_what_it_hands_out(&bus(Calm)).await;
    contract::a_node_that_retires_leaves_nothing(&bus(Calm)).await;
    contract::after_the_end_everything_is_refused(&bus(Calm)).await;
}

/// Envelopes in a storm: for the first time each comes in order. Gives how many came again, and how long it took.
async fn storm(seed: u64) -> (usize, Duration) {
    let bus = bus(Storm(Mutex::new(seed)));
    let (a, b) = (Node::start(&bus, "a").await, Node::start(&bus, "b").await);
    let begun = Instant::now();
    let open: Vec<Published> = (0..300).map(|number| a.publish(to(&[&b]), &number.to_string())).collect();
    for published in open {
        confirmed(published).await;
    }
    let (mut next, mut repeated) = (0, 0);
    while next < 300 {
        let (_, text) = b.inbox.next().await;
        let number: usize = text.parse().unwrap();
        assert!(number <= next, "{number} came before {next}");
        if number == next { next += 1 } else { repeated += 1 }
    }
    assert!(b.inbox.came().resumed > 0);
    (repeated, begun.elapsed())
}

#[tokio::test(start_paused = true)]
async fn broken_connections_repeat_and_lose_nothing() {
    for seed in 0..20 {
        let (repeated, took) = storm(seed).await;
        assert!(repeated > 0);
        assert_eq!(storm(seed).await, (repeated, took), "the same again with the same seed");
    }
}

#[tokio::test(start_paused = true)]
async fn who_is_cut_off_publishes_and_reads_when_it_is_back() {
    let bus = bus(Calm);
    let (a, b) = (Node::start(&bus, "a").await, Node::start(&bus, "b").await);
    bus.set_cut(&b.id, true);
    assert!(a.relay.is_up() && !b.relay.is_up());
    a.confirmed(&[&b], "to").await;
    let from = b.publish(to(&[&a]), "from");
    sleep(Duration::from_secs(5)).await;
    assert!(a.inbox.came().envelopes.is_empty() && b.inbox.came().envelopes.is_empty());
    bus.set_cut(&b.id, false);
    confirmed(from).await;
    a.inbox.next_are(&["from"]).await;
    b.inbox.next_are(&["to"]).await;
    assert_eq!(b.inbox.came().resumed, 1);
    bus.set_down(true);
    assert!(!a.relay.is_up());
    let waits = a.publish(to(&[&b]), "waits");
    sleep(Duration::from_secs(5)).await;
    bus.set_down(false);
    confirmed(waits).await;
    b.inbox.next_are(&["waits"]).await;
}

#[tokio::test(start_paused = true)]
async fn what_waits_too_long_fails_or_becomes_an_orphan() {
    let bus = bus(Calm);
    let (a, b) = (Node::start(&bus, "a").await, Node::start(&bus, "b").await);
    bus.set_cut(&b.id, true);
    a.confirmed(&[&b], "old").await;
    assert_eq!(bus.queues()[&b.id], 1);
    bus.expire(&b.id);
    assert_eq!(a.inbox.next().await, (Source::Orphans, "old".to_owned()));
    assert_eq!((bus.queues()[&b.id], bus.orphans()), (0, 0));
    bus.set_blocked(true);
    let late = settled(a.publish(to(&[&a]), "late")).await;
    assert!(matches!(late, Err(RelayError::Timeout(_))), "{late:?}");
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_told() {
    let a = Node::start(&bus(Refusing), "a").await;
    let refused = settled(a.publish(to(&[&a]), "refused")).await;
    assert!(matches!(refused, Err(RelayError::Refused)), "{refused:?}");
}
