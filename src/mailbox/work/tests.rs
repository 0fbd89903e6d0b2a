//! Two nodes of the directory with one relay in memory.

use stampede_protocol::stomp::Headers;

use super::*;
use crate::message::Message;
use crate::relay::work::memory::MemoryWork;

type Seen = Arc<Mutex<Vec<(u8, u64, String, bool)>>>;

struct Node {
    kept: WorkKept<u8>,
    seen: Seen,
    given_up: Arc<Mutex<usize>>,
}

fn node(relay: &Arc<MemoryWork>) -> Node {
    let (seen, given_up) = (Seen::default(), Arc::<Mutex<usize>>::default());
    let effects = {
        let (seen, given_up) = (Arc::clone(&seen), Arc::clone(&given_up));
        move |effect| match effect {
            Effect::Deliver { to, seq, message, redelivered } => {
                seen.lock().push((to, seq, message.id.to_string(), redelivered));
            }
            Effect::Removed { why: Removal::TooManyDeliveries, .. } => *given_up.lock() += 1,
            Effect::Removed { .. } | Effect::Lagged { .. } => {}
        }
    };
    let limits = Mailbox { window: 2, ..Mailbox::default() };
    let kept = WorkKept::new(Arc::clone(relay) as _, limits, Arc::default(), || 1_000, effects);
    Node { kept, seen, given_up }
}

impl Node {
    fn subscribe(&self, c: u8) -> Arc<Mutex<Option<bool>>> {
        let told = Arc::<Mutex<Option<bool>>>::default();
        let tell = Arc::clone(&told);
        let waiter: Waiter = Box::new(move |opened| *tell.lock() = Some(opened.is_ok()));
        self.kept.subscribe("/q", keep(), c, waiter).unwrap();
        told
    }

    /// What was delivered since the last call: to whom, which message, whether again.
    fn take(&self) -> Vec<(u8, u64, String, bool)> {
        std::mem::take(&mut *self.seen.lock())
    }

    fn settle_all(&self) -> Vec<String> {
        let taken = self.take();
        taken.iter().for_each(|(c, seq, _, _)| self.kept.settle("/q", *c, *seq));
        taken.into_iter().map(|(_, _, id, _)| id).collect()
    }
}

fn keep() -> Keep {
    Keep { max_deliveries: 3, ..Keep::default() }
}

fn offer(relay: &MemoryWork, ids: &[&str]) {
    for id in ids {
        let message = Message::new((*id).into(), "/q".into(), Headers::new(), Bytes::new(), 900);
        let queue = WorkQueue { destination: "/q".into(), keep: keep() };
        relay.offer(&queue, record::encode(&message), Box::new(|_| {}));
    }
    relay.run();
}

fn ids(taken: &[(u8, u64, String, bool)]) -> Vec<&str> {
    taken.iter().map(|(_, _, id, _)| id.as_str()).collect()
}

#[test]
fn nodes_share_the_work_and_settle_it() {
    let relay = Arc::new(MemoryWork::default());
    let (one, other) = (node(&relay), node(&relay));
    let told = one.subscribe(1);
    assert_eq!(*told.lock(), None, "nobody has answered yet");
    other.subscribe(1);
    relay.run();
    assert_eq!(*told.lock(), Some(true));
    offer(&relay, &["a", "b", "c", "d", "e"]);
    let (mut first, mut second) = (one.settle_all(), other.settle_all());
    relay.run();
    first.extend(one.settle_all());
    second.extend(other.settle_all());
    assert!(!first.is_empty() && !second.is_empty());
    first.extend(second);
    first.sort_unstable();
    assert_eq!(first, ["a", "b", "c", "d", "e"]);
    assert_eq!(relay.messages("/q"), 0);
}

#[test]
fn a_rejection_goes_round_here_first_and_then_to_other_nodes() {
    let relay = Arc::new(MemoryWork::default());
    let (one, other) = (node(&relay), node(&relay));
    one.subscribe(1);
    one.subscribe(2);
    offer(&relay, &["a"]);
    let first = one.take();
    one.kept.reject("/q", first[0].0, first[0].1);
    let second = one.take();
    assert_ne!(second[0].0, first[0].0);
    assert!(second[0].3, "it was handed out before");
    other.subscribe(1);
    relay.run();
    one.kept.reject("/q", second[0].0, second[0].1);
    relay.run();
    assert_eq!((ids(&one.take()), ids(&other.take())), (vec![], vec!["a"]));
}

#[test]
fn rejections_end() {
    let relay = Arc::new(MemoryWork::default());
    let one = node(&relay);
    one.subscribe(1);
    offer(&relay, &["a"]);
    for round in 1..=3 {
        let taken = one.take();
        assert_eq!(ids(&taken), ["a"], "round {round}");
        one.kept.reject("/q", 1, taken[0].1);
        // A subscription of its own for each attempt changes nothing.
        one.kept.unsubscribe("/q", 1);
        one.subscribe(1);
        relay.run();
    }
    assert_eq!((one.take().len(), relay.messages("/q"), *one.given_up.lock()), (0, 0, 1));
}

#[test]
fn the_last_subscriber_gives_everything_back_in_order() {
    let relay = Arc::new(MemoryWork::default());
    let (one, other) = (node(&relay), node(&relay));
    one.subscribe(1);
    offer(&relay, &["a", "b", "c"]);
    assert_eq!(ids(&one.take()), ["a", "b"]);
    one.kept.unsubscribe("/q", 1);
    assert_eq!(relay.ready("/q"), 3);
    other.subscribe(1);
    relay.run();
    let taken = other.take();
    assert_eq!(ids(&taken), ["a", "b"]);
    assert!(taken.iter().all(|(_, _, _, redelivered)| *redelivered));
}

#[test]
fn a_slow_subscriber_does_not_starve_another_one() {
    let relay = Arc::new(MemoryWork::default());
    let one = node(&relay);
    one.subscribe(1);
    offer(&relay, &["a", "b", "c", "d"]);
    assert_eq!(one.take().len(), 2);
    one.subscribe(2);
    relay.run();
    let taken = one.take();
    assert_eq!(ids(&taken), ["c", "d"]);
    assert!(taken.iter().all(|(to, ..)| *to == 2));
}

#[test]
fn after_an_interruption_nothing_that_is_held_is_handed_out_again_here() {
    let relay = Arc::new(MemoryWork::default());
    let one = node(&relay);
    one.subscribe(1);
    offer(&relay, &["a", "b"]);
    let taken = one.take();
    relay.interrupt();
    // Proved while the queue could not be told, which it is when the message comes again.
    one.kept.settle("/q", 1, taken[0].1);
    relay.run();
    assert_eq!(one.take(), []);
    assert_eq!(relay.messages("/q"), 1);
    one.kept.settle("/q", 1, taken[1].1);
    assert_eq!(relay.messages("/q"), 0);
}

#[test]
fn what_was_offered_twice_is_delivered_once() {
    let relay = Arc::new(MemoryWork::default());
    let one = node(&relay);
    one.subscribe(1);
    offer(&relay, &["a", "a"]);
    assert_eq!(one.settle_all(), ["a"]);
    assert_eq!(relay.messages("/q"), 0);
}

#[test]
fn a_message_that_cannot_be_read_stays_in_the_queue() {
    let relay = Arc::new(MemoryWork::default());
    let one = node(&relay);
    one.subscribe(1);
    let queue = WorkQueue { destination: "/q".into(), keep: keep() };
    relay.offer(&queue, Bytes::from_static(b"\x09"), Box::new(|_| {}));
    offer(&relay, &["a"]);
    assert_eq!(one.settle_all(), ["a"]);
    one.kept.unsubscribe("/q", 1);
    assert_eq!(relay.ready("/q"), 1);
}
