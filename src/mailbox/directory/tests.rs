use std::collections::BTreeSet;
use std::sync::atomic::AtomicUsize;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use stampede_protocol::stomp::Headers;

use super::*;
use crate::config::mailbox::{Keep, KeepOverflow, MESSAGE_OVERHEAD_BYTES};
use crate::mailbox::file::FileStore;
use crate::mailbox::memory::MemoryStore;
use crate::mailbox::queue::{Mode, Removal};

const MAILBOX: Policy = Policy { mode: Mode::Everyone, keep: KEEP };
const WORK: Policy = Policy { mode: Mode::One, keep: KEEP };
const KEEP: Keep = Keep {
    age: Duration::from_secs(60),
    max: 100_000,
    max_bytes: 1 << 30,
    overflow: KeepOverflow::Refuse,
    max_deliveries: 3,
};

#[test]
fn a_message_waits_for_its_receiver_and_leaves_nothing_behind() {
    let kept = in_memory(Mailbox::default());
    let seq = push(&kept, "/queue/a", MAILBOX, "hello").unwrap();
    assert_eq!(gauges(&kept), (1, 1, cost("hello")));
    assert_eq!(subscribe(&kept, "/queue/a", MAILBOX, 1), ["1<-hello"]);
    kept.settle("/queue/a", 1, &[seq], &mut |effect| assert!(matches!(effect, Effect::Removed { .. })));
    assert_eq!(gauges(&kept), (1, 0, 0));
    kept.unsubscribe("/queue/a", 1, &mut |_| {});
    assert_eq!(gauges(&kept), (0, 0, 0));
}

#[test]
fn two_hundred_thousand_names_leave_nothing_behind() {
    let kept = in_memory(Mailbox::default());
    let mut delivered = None;
    for n in 0..50_000 {
        let names = [format!("/queue/pushed-{n}"), format!("/queue/watched-{n}"), format!("/queue/refused-{n}")];
        push(&kept, &names[0], MAILBOX, "x").unwrap();
        kept.subscribe(&names[0], MAILBOX, n, 0, &mut |effect| delivered = Some(effect)).unwrap();
        let Some(Effect::Deliver { seq, .. }) = delivered.take() else { panic!("{delivered:?}") };
        kept.settle(&names[0], n, &[seq], &mut |_| {});
        kept.unsubscribe(&names[0], n, &mut |_| {});
        subscribe(&kept, &names[1], WORK, n);
        kept.unsubscribe(&names[1], n, &mut |_| {});
        let small = Policy { keep: Keep { max_bytes: 1, ..KEEP }, ..WORK };
        assert!(push(&kept, &names[2], small, "x").is_err());
        kept.settle(&format!("/queue/unknown-{n}"), n, &[1], &mut |_| {});
    }
    assert_eq!(gauges(&kept), (0, 0, 0));
    assert!(kept.shards.iter().all(|shard| shard.lock().is_empty()));
}

#[test]
fn the_limits_of_the_node_are_named_and_free_again_afterwards() {
    let bytes = 2 * cost("x");
    let kept = in_memory(Mailbox { max_destinations: 2, max_bytes: bytes, ..Mailbox::default() });
    push(&kept, "/queue/a", WORK, "x").unwrap();
    push(&kept, "/queue/a", WORK, "x").unwrap();
    let error = push(&kept, "/queue/a", WORK, "x").unwrap_err().to_string();
    assert!(error.contains(&format!("{bytes} bytes")) && error.contains("mailbox.max_bytes"), "{error}");
    subscribe(&kept, "/queue/b", WORK, 1);
    let error = kept.subscribe("/queue/c", WORK, 1, 0, &mut |_| {}).unwrap_err().to_string();
    assert!(error.contains("2 kept destinations") && error.contains("mailbox.max_destinations"), "{error}");
    kept.unsubscribe("/queue/b", 1, &mut |_| {});
    subscribe(&kept, "/queue/c", WORK, 1);
    kept.sweep(u64::MAX, 10, &mut |_| {});
    push(&kept, "/queue/c", WORK, "x").unwrap();
    assert_eq!(kept.metrics().refused.load(Ordering::Relaxed), 1);
}

#[test]
fn a_message_that_the_store_refuses_is_neither_kept_nor_delivered() {
    let kept = in_memory(Mailbox::default());
    subscribe(&kept, "/queue/a", MAILBOX, 1);
    kept.store().close().unwrap();
    let refused = kept
        .push("/queue/a", MAILBOX, &message("x"), 0, Box::new(|_| panic!("done")), &mut |effect| panic!("{effect:?}"));
    assert!(matches!(refused, Err(Refused::Store(StoreError::Closed))));
    assert_eq!(gauges(&kept), (1, 0, 0));
}

#[test]
fn a_sweep_goes_on_where_the_last_one_stopped() {
    let kept = in_memory(Mailbox::default());
    for n in 0..1000 {
        push(&kept, &format!("/queue/{n}"), MAILBOX, "x").unwrap();
    }
    for left in (0..1000).rev().step_by(100) {
        let mut expired = 0;
        kept.sweep(KEEP.age.as_millis() as u64, 100, &mut |effect| {
            assert!(matches!(effect, Effect::Removed { why: Removal::Expired, .. }));
            expired += 1;
        });
        assert_eq!((expired, gauges(&kept).0), (100, left - 99));
    }
}

#[test]
fn what_waited_too_long_is_not_delivered_even_before_a_sweep() {
    let kept = in_memory(Mailbox::default());
    push(&kept, "/queue/a", MAILBOX, "x").unwrap();
    let mut told = Vec::new();
    kept.subscribe("/queue/a", MAILBOX, 1, KEEP.age.as_millis() as u64, &mut |effect| told.push(effect)).unwrap();
    assert!(matches!(told[..], [Effect::Removed { why: Removal::Expired, .. }]), "{told:?}");
}

#[test]
fn a_kept_message_does_not_hold_the_buffer_it_was_read_from() {
    let kept = in_memory(Mailbox::default());
    let buffer = Bytes::from(vec![b'x'; 64 << 10]);
    let sent = Message::new("i".into(), "/queue/a".into(), Headers::new(), buffer.slice(..10), 0);
    kept.push("/queue/a", MAILBOX, &sent, 0, Box::new(|_| {}), &mut |_| {}).unwrap();
    drop(sent);
    assert!(buffer.is_unique());
}

#[test]
fn a_restart_finds_what_was_not_proved() {
    let dir = tempfile::tempdir().unwrap();
    let start = || Kept::<u32>::new(Mailbox::default(), Arc::new(FileStore::open(dir.path(), 1 << 20).unwrap()));
    let kept = start();
    let (told, durable) = mpsc::channel();
    for (name, body) in [("/queue/a", "one"), ("/queue/a", "two"), ("/queue/gone", "three"), ("/queue/a", "four")] {
        let told = told.clone();
        let done = Box::new(move |result: Result<(), StoreError>| told.send(result.is_ok()).unwrap());
        kept.push(name, MAILBOX, &message(body), 0, done, &mut |_| {}).unwrap();
    }
    assert!(durable.iter().take(4).all(|durable| durable));
    subscribe(&kept, "/queue/a", MAILBOX, 1);
    kept.settle("/queue/a", 1, &[0], &mut |_| {});
    kept.store().close().unwrap();

    let kept = start();
    let policy = |name: &str| (name == "/queue/a").then_some(MAILBOX);
    assert_eq!(kept.recover(0, &policy).unwrap(), Recovered { messages: 2, orphaned: 1 });
    assert_eq!(gauges(&kept).1, 2);
    push(&kept, "/queue/a", MAILBOX, "five").unwrap();
    push(&kept, "/queue/gone", MAILBOX, "six").unwrap();
    assert_eq!(subscribe(&kept, "/queue/a", MAILBOX, 1), ["1<-two", "1<-four", "1<-five"]);
    kept.store().close().unwrap();

    let kept = start();
    assert_eq!(kept.recover(0, &|_| Some(WORK)).unwrap(), Recovered { messages: 5, orphaned: 0 });
    assert_eq!(subscribe(&kept, "/queue/gone", WORK, 1), ["1<-three", "1<-six"]);
    kept.store().close().unwrap();

    // All have waited too long by the next start: the store forgets them too.
    let kept = start();
    kept.recover(u64::MAX, &|_| Some(WORK)).unwrap();
    assert_eq!(gauges(&kept), (0, 0, 0));
    kept.store().close().unwrap();
    assert_eq!(start().recover(0, &|_| Some(WORK)).unwrap(), Recovered::default());
}

#[test]
fn a_record_that_is_no_message_stops_the_start_and_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let store = FileStore::open(dir.path(), 1 << 20).unwrap();
    store.append("/queue/a", 3, "\x09from the future".into(), Box::new(|_| {})).unwrap();
    let kept = Kept::<u32>::new(Mailbox::default(), Arc::new(store));
    let error = kept.recover(0, &|_| Some(WORK)).unwrap_err();
    assert!(matches!(&error, StoreError::Unreadable { queue, seq: 3, .. } if queue == "/queue/a"), "{error}");
}

/// Senders and workers that come and go, on few names, so that queues appear and retire all the time.
#[test]
fn nothing_is_lost_or_doubled_between_threads() {
    const SENDERS: usize = 3;
    const EACH: usize = 2000;
    let kept = in_memory(Mailbox::default());
    let name = |n: usize| format!("/queue/{}", n % 5);
    let sending = AtomicUsize::new(SENDERS);
    let mut bodies = thread::scope(|scope| {
        let (kept, sending) = (&kept, &sending);
        let workers: Vec<_> = (0..SENDERS)
            .map(|worker| {
                scope.spawn(move || {
                    let rounds = (worker..).take_while(|_| sending.load(Ordering::SeqCst) > 0);
                    rounds.flat_map(|round| visit(kept, &name(round), (round * 8 + worker) as u32)).collect::<Vec<_>>()
                })
            })
            .collect();
        for sender in 0..SENDERS {
            scope.spawn(move || {
                for n in 0..EACH {
                    push(kept, &name(n), WORK, &format!("{sender} {n}")).unwrap();
                }
                sending.fetch_sub(1, Ordering::SeqCst);
            });
        }
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect::<Vec<_>>()
    });
    for n in 0..5 {
        while let more = visit(&kept, &name(n), u32::MAX)
            && !more.is_empty()
        {
            bodies.extend(more);
        }
    }
    assert_eq!(bodies.len(), SENDERS * EACH);
    assert_eq!(bodies.iter().collect::<BTreeSet<_>>().len(), SENDERS * EACH);
    assert_eq!(gauges(&kept), (0, 0, 0));
}

/// Subscribes, settles what comes at once, and leaves; gives the bodies settled. What others send meanwhile is handed over
/// by their threads and not settled here, so it goes to the next who comes.
fn visit(kept: &Kept<u32>, name: &str, me: u32) -> Vec<Bytes> {
    let (mut seqs, mut bodies) = (Vec::new(), Vec::new());
    let mut receive = |effect| match effect {
        Effect::Deliver { to, seq, .. } if to == me => seqs.push(seq),
        other => panic!("{other:?}"),
    };
    kept.subscribe(name, WORK, me, 0, &mut receive).unwrap();
    assert!(seqs.is_sorted());
    kept.settle(name, me, &seqs, &mut |effect| {
        if let Effect::Removed { why: Removal::Settled, message, .. } = effect {
            bodies.push(message.body.clone());
        }
    });
    assert_eq!(bodies.len(), seqs.len());
    kept.unsubscribe(name, me, &mut |_| {});
    bodies
}

/// The effects of one queue reach each subscriber in the order of the messages, whoever sends them.
#[test]
fn deliveries_of_two_senders_come_in_the_order_of_the_queue() {
    let kept = in_memory(Mailbox { window: usize::MAX, window_bytes: usize::MAX, ..Mailbox::default() });
    subscribe(&kept, "/queue/a", MAILBOX, 1);
    let outbox = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                for _ in 0..2000 {
                    let mut offer = |effect| match effect {
                        Effect::Deliver { seq, .. } => outbox.lock().push(seq),
                        other => panic!("{other:?}"),
                    };
                    kept.push("/queue/a", MAILBOX, &message("x"), 0, Box::new(|_| {}), &mut offer).unwrap();
                }
            });
        }
    });
    assert_eq!(outbox.into_inner(), (0..4000).collect::<Vec<_>>());
}

fn in_memory(limits: Mailbox) -> Kept<u32> {
    Kept::new(limits, Arc::new(MemoryStore::default()))
}

fn push(kept: &Kept<u32>, name: &str, policy: Policy, body: &str) -> Result<u64, Refused> {
    kept.push(name, policy, &message(body), 0, Box::new(|_| {}), &mut |_| {})
}

/// What is delivered at once.
fn subscribe(kept: &Kept<u32>, name: &str, policy: Policy, c: u32) -> Vec<String> {
    let mut told = Vec::new();
    let mut tell = |effect| match effect {
        Effect::Deliver { to, message, .. } => told.push(format!("{to}<-{}", String::from_utf8_lossy(&message.body))),
        other => panic!("{other:?}"),
    };
    kept.subscribe(name, policy, c, 0, &mut tell).unwrap();
    told
}

/// Destinations, messages, bytes.
fn gauges(kept: &Kept<u32>) -> (usize, usize, usize) {
    let Metrics { destinations, messages, bytes, .. } = kept.metrics();
    (destinations.load(Ordering::Relaxed), messages.load(Ordering::Relaxed), bytes.load(Ordering::Relaxed))
}

fn message(body: &str) -> Message {
    let body = Bytes::copy_from_slice(body.as_bytes());
    Message::new("i".into(), "/queue/a".into(), Headers::new(), body, 0)
}

/// What it counts towards the limit of the node.
fn cost(body: &str) -> usize {
    message_bytes(&message(body)) + MESSAGE_OVERHEAD_BYTES
}
