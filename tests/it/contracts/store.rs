//! What [`SharedStore`] promises.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use stampede::config::mailbox::{Keep, KeepOverflow};
use stampede::ids::Boot;
use stampede::mailbox::Refused;
use stampede::mailbox::shared::{Append, Appended, Contents, SharedStore};

use super::boot;
use crate::simulation::store::MemoryShared;

/// Destinations as clients may choose them.
const QUEUES: [&str; 5] = ["/user/ann/queue/a", "{x}", "}{", "a\nb,c", "\u{e4}\u{1f600}"];

fn keep(max: usize, max_bytes: usize, overflow: KeepOverflow) -> Keep {
    Keep { max, max_bytes, overflow, ..Keep::default() }
}

fn message(queue: &str, text: &str, sent_at: u64, keep: Keep) -> Append {
    Append { queue: queue.into(), record: Bytes::from(text.to_owned()), sent_at, keep }
}

async fn append(store: &dyn SharedStore, append: Append) -> Result<Appended, Refused> {
    store.append(vec![append]).await.pop().unwrap()
}

/// Keeps a text and gives its number.
async fn kept(store: &dyn SharedStore, queue: &str, text: &str) -> u64 {
    append(store, message(queue, text, 1, Keep::default())).await.unwrap().seq
}

/// Numbers and texts, and the number that comes next.
fn told(contents: Contents) -> (Vec<(u64, String)>, u64) {
    let text = |record: &Bytes| String::from_utf8(record.to_vec()).unwrap();
    (contents.entries.iter().map(|(seq, record)| (*seq, text(record))).collect(), contents.next_seq)
}

/// What a destination keeps, without the numbers. Leaves no reader behind.
async fn texts(store: &dyn SharedStore, queue: &str) -> Vec<String> {
    let reader = boot("texts/1");
    let (entries, _) = told(store.open(queue, &reader).await.unwrap());
    store.close(queue, &reader, 0).await.unwrap();
    entries.into_iter().map(|(_, text)| text).collect()
}

/// Every fact about an empty store; nothing is left in it afterwards.
pub(super) async fn check(store: &dyn SharedStore) {
    numbers_follow_one_another(store).await;
    appends_keep_their_order(store).await;
    the_oldest_make_room(store).await;
    what_does_not_fit_is_refused_with_the_numbers(store).await;
    what_is_too_old_is_dropped(store).await;
    what_nobody_reads_ends(store).await;
    what_was_handed_out_is_remembered(store).await;
    a_dead_run_reads_nothing_any_more(store).await;
    a_late_removal_removes_nothing_else(store).await;
}

async fn numbers_follow_one_another(store: &dyn SharedStore) {
    let (one, two) = (boot("one/1"), boot("two/1"));
    for queue in QUEUES {
        let opened = store.open(queue, &one).await.unwrap();
        let first = opened.next_seq;
        assert_eq!(opened.entries, []);
        for number in 0..3 {
            let appended = append(store, message(queue, &number.to_string(), 1, Keep::default())).await.unwrap();
            assert_eq!(appended, Appended { seq: first + number, readers: vec![one.clone()] }, "{queue:?}");
        }
        store.remove(&[(queue.into(), vec![first, first + 1, first + 1, first + 2, first + 7])]).await.unwrap();
        assert_eq!(told(store.open(queue, &two).await.unwrap()), (vec![], first + 3), "it has readers");
        store.open(queue, &two).await.unwrap();
        let appended = append(store, message(queue, "3", 1, Keep::default())).await.unwrap();
        assert_eq!((appended.seq, appended.readers.len()), (first + 3, 2));
        for reader in [&one, &two, &two] {
            store.close(queue, reader, 0).await.unwrap();
        }
        assert_eq!(kept(store, queue, "4").await, first + 4, "it holds a message");
        let all = (vec![(first + 3, "3".to_owned()), (first + 4, "4".to_owned())], first + 5);
        assert_eq!(told(store.open(queue, &one).await.unwrap()), all);
        store.remove(&[(queue.into(), vec![first + 3, first + 4])]).await.unwrap();
        store.close(queue, &one, 0).await.unwrap();
    }
}

async fn appends_keep_their_order(store: &dyn SharedStore) {
    let queue = |number: usize| QUEUES[number % QUEUES.len()];
    let appends = (0..500).map(|number| message(queue(number), &number.to_string(), 1, Keep::default()));
    let told: Vec<_> = store.append(appends.collect()).await;
    assert_eq!(told.len(), 500);
    let mut next = BTreeMap::new();
    for (number, told) in told.into_iter().enumerate() {
        let seq = told.unwrap().seq;
        assert_eq!(*next.entry(queue(number)).or_insert(seq), seq);
        next.insert(queue(number), seq + 1);
    }
    for (first, name) in QUEUES.into_iter().enumerate() {
        let expected: Vec<String> = (first..500).step_by(QUEUES.len()).map(|number| number.to_string()).collect();
        assert_eq!(texts(store, name).await, expected);
        let next = next[name];
        store.remove(&[(name.into(), (next - 100..next).collect())]).await.unwrap();
        assert_eq!(texts(store, name).await, [""; 0]);
    }
    assert_eq!(store.append(Vec::new()).await.len(), 0);
}

async fn the_oldest_make_room(store: &dyn SharedStore) {
    let queue = "/oldest";
    let keep = keep(3, 10, KeepOverflow::DropOldest);
    for (text, expected) in [
        ("1", vec!["1"]),
        ("2", vec!["1", "2"]),
        ("3", vec!["1", "2", "3"]),
        ("4", vec!["2", "3", "4"]),
        ("555555555", vec!["4", "555555555"]),
        ("6666666666", vec!["6666666666"]),
        ("7", vec!["7"]),
    ] {
        append(store, message(queue, text, 1, keep)).await.unwrap();
        assert_eq!(texts(store, queue).await, expected);
    }
    let refused = append(store, message(queue, "88888888888", 1, keep)).await;
    assert!(matches!(refused, Err(Refused::TooLarge { message_bytes: 11, max_bytes: 10 })), "{refused:?}");
    let (entries, _) = told(store.open(queue, &boot("one/1")).await.unwrap());
    assert_eq!(entries.len(), 1);
    // One that was proved in the middle makes room as well.
    let second = append(store, message(queue, "8", 1, keep)).await.unwrap().seq;
    append(store, message(queue, "9", 1, keep)).await.unwrap();
    store.remove(&[(queue.into(), vec![second])]).await.unwrap();
    append(store, message(queue, "a", 1, keep)).await.unwrap();
    assert_eq!(texts(store, queue).await, ["7", "9", "a"]);
    store.remove(&[(queue.into(), (second - 1..second + 3).collect())]).await.unwrap();
    store.close(queue, &boot("one/1"), 0).await.unwrap();
}

async fn what_does_not_fit_is_refused_with_the_numbers(store: &dyn SharedStore) {
    let queue = "/refuse";
    let keep = keep(2, 10, KeepOverflow::Refuse);
    let first = append(store, message(queue, "1234567", 1, keep)).await.unwrap().seq;
    let refused = append(store, message(queue, "1234", 1, keep)).await;
    let Err(Refused::Bytes { message_bytes: 4, kept_bytes: 7, max_bytes: 10 }) = refused else { panic!("{refused:?}") };
    let batch = ["12", "3", "4"].map(|text| message(queue, text, 1, keep));
    let told = store.append(batch.into()).await;
    assert!(matches!(told[0], Ok(Appended { seq, .. }) if seq == first + 1), "{told:?}");
    for refused in &told[1..] {
        assert!(matches!(refused, Err(Refused::Messages { kept: 2, max: 2 })), "{told:?}");
    }
    assert_eq!(texts(store, queue).await, ["1234567", "12"]);
    let refused = append(store, message("/none", "12345678901", 1, keep)).await;
    assert!(matches!(refused, Err(Refused::TooLarge { message_bytes: 11, max_bytes: 10 })), "{refused:?}");
    store.remove(&[(queue.into(), vec![first, first + 1])]).await.unwrap();
}

async fn what_is_too_old_is_dropped(store: &dyn SharedStore) {
    let queue = "/old";
    let keep = Keep { age: Duration::from_secs(100), max: 2, overflow: KeepOverflow::Refuse, ..Keep::default() };
    let reader = boot("one/1");
    store.open(queue, &reader).await.unwrap();
    for (text, sent_at, expected) in [
        ("a", 1_000, vec!["a"]),
        ("b", 2_000, vec!["a", "b"]),
        ("c", 101_000, vec!["b", "c"]),
        ("d", 500_000, vec!["d"]),
    ] {
        append(store, message(queue, text, sent_at, keep)).await.unwrap();
        assert_eq!(texts(store, queue).await, expected);
    }
    let (entries, _) = told(store.open(queue, &reader).await.unwrap());
    store.remove(&[(queue.into(), entries.iter().map(|(seq, _)| *seq).collect())]).await.unwrap();
    store.close(queue, &reader, 0).await.unwrap();
}

async fn what_nobody_reads_ends(store: &dyn SharedStore) {
    let queue = "/unread";
    let keep = Keep { age: Duration::from_millis(200), ..Keep::default() };
    let reader = boot("one/1");
    let first = append(store, message(queue, "a", 1, keep)).await.unwrap().seq;
    tokio::time::sleep(keep.age * 2).await;
    assert_eq!(texts(store, queue).await, [""; 0]);
    // With a reader it stays, until the reader gives it up or goes.
    let opened = store.open(queue, &reader).await.unwrap();
    assert!(opened.next_seq > first, "no number twice");
    let second = append(store, message(queue, "b", 1, keep)).await.unwrap().seq;
    tokio::time::sleep(keep.age * 2).await;
    assert_eq!(told(store.open(queue, &reader).await.unwrap()).0, [(second, "b".to_owned())]);
    store.close(queue, &reader, 0).await.unwrap();
    tokio::time::sleep(keep.age * 2).await;
    assert_eq!(texts(store, queue).await, [""; 0]);
}

async fn what_was_handed_out_is_remembered(store: &dyn SharedStore) {
    let queue = "/handed";
    let (one, two) = (boot("one/1"), boot("two/1"));
    store.open(queue, &one).await.unwrap();
    let first = kept(store, queue, "a").await;
    kept(store, queue, "b").await;
    store.close(queue, &one, first + 1).await.unwrap();
    assert_eq!(store.open(queue, &two).await.unwrap().handed, first + 1);
    store.close(queue, &two, 0).await.unwrap();
    store.close(queue, &one, first + 1).await.unwrap();
    assert_eq!(store.open(queue, &two).await.unwrap().handed, first + 1, "it does not go back");
    store.remove(&[(queue.into(), vec![first, first + 1])]).await.unwrap();
    store.close(queue, &two, first + 2).await.unwrap();
    let opened = store.open(queue, &one).await.unwrap();
    assert!(opened.handed <= opened.next_seq && opened.next_seq >= first + 2, "{opened:?}");
    store.close(queue, &one, 0).await.unwrap();
}

async fn a_dead_run_reads_nothing_any_more(store: &dyn SharedStore) {
    let (dead, alive) = (boot("one/1"), boot("two/1"));
    let queue = |number: usize| format!("/dead/{number}");
    for number in 0..1200 {
        store.open(&queue(number), &dead).await.unwrap();
    }
    store.open(&queue(0), &alive).await.unwrap();
    let (first, second) = (kept(store, &queue(0), "a").await, kept(store, &queue(1), "b").await);
    for _ in 0..2 {
        store.forget(&dead).await.unwrap();
        let appended = append(store, message(&queue(0), "c", 1, Keep::default())).await.unwrap();
        assert_eq!(appended.readers, std::slice::from_ref(&alive));
    }
    let opened = store.open(&queue(1), &alive).await.unwrap();
    assert_eq!(opened.handed, second + 1, "what it may have handed out");
    for (number, seq) in [(0, first), (1, second)] {
        store.remove(&[(queue(number).into(), (seq..seq + 3).collect())]).await.unwrap();
        store.close(&queue(number), &alive, 0).await.unwrap();
    }
}

async fn a_late_removal_removes_nothing_else(store: &dyn SharedStore) {
    let queue = "/late";
    let first = kept(store, queue, "a").await;
    store.remove(&[(queue.into(), vec![first])]).await.unwrap();
    let second = kept(store, queue, "b").await;
    assert!(second > first);
    store.remove(&[(queue.into(), vec![first])]).await.unwrap();
    assert_eq!(texts(store, queue).await, ["b"]);
    store.remove(&[(queue.into(), vec![second])]).await.unwrap();
    store.remove(&[]).await.unwrap();
}

/// Some append while others come and go: nobody who reads misses a message.
pub(super) async fn no_reader_misses_a_message(store: &dyn SharedStore) {
    const SENDERS: usize = 4;
    const MESSAGES: usize = 50;
    let queue = "/race";
    let keep = Keep { max: 10_000, ..Keep::default() };
    // So that the numbers go on.
    let first = store.open(queue, &boot("always/1")).await.unwrap().next_seq;
    let senders = (0..SENDERS).map(|_| async {
        let mut told = Vec::new();
        for _ in 0..MESSAGES {
            told.push(append(store, message(queue, "x", 1, keep)).await.unwrap());
        }
        told
    });
    let readers = (0..3).map(|number| async move {
        let reader = boot(&format!("reader-{number}/1"));
        // From when to when it read, by the numbers that it was told.
        let mut read = Vec::new();
        for _ in 0..20 {
            let opened = store.open(queue, &reader).await.unwrap();
            assert_eq!(opened.entries.len() as u64, opened.next_seq - first, "all that came before");
            let from = opened.next_seq;
            let until = store.open(queue, &reader).await.unwrap().next_seq;
            store.close(queue, &reader, 0).await.unwrap();
            read.push(from..until);
        }
        (reader, read)
    });
    let sent = futures_util::future::join_all(senders);
    let read = futures_util::future::join_all(readers);
    let (sent, read) = futures_util::future::join(sent, read).await;
    let mut sent: Vec<Appended> = sent.into_iter().flatten().collect();
    sent.sort_by_key(|appended| appended.seq);
    let numbers: Vec<u64> = sent.iter().map(|appended| appended.seq).collect();
    assert_eq!(numbers, (first..first + (SENDERS * MESSAGES) as u64).collect::<Vec<_>>());
    for (reader, read) in read {
        for seq in read.into_iter().flatten() {
            assert!(sent[(seq - first) as usize].readers.contains(&reader), "{reader} missed {seq}");
        }
    }
    store.remove(&[(queue.into(), numbers)]).await.unwrap();
    store.close(queue, &boot("always/1"), 0).await.unwrap();
}

/// What may be done to a store.
#[derive(Debug, Clone)]
pub(super) enum Step {
    Append(Vec<(usize, usize, u64)>),
    Open(usize, usize),
    Close(usize, usize, u64),
    Remove(usize, Vec<u64>),
    Forget(usize),
}

/// Sequences of steps of two runs with two destinations.
pub(super) fn steps() -> impl Strategy<Value = Vec<Step>> {
    let one_append = (0..2_usize, 0..8_usize, 0..20_000_u64);
    let step = prop_oneof![
        4 => prop::collection::vec(one_append, 1..6).prop_map(Step::Append),
        2 => (0..2_usize, 0..2_usize).prop_map(|(queue, run)| Step::Open(queue, run)),
        2 => (0..2_usize, 0..2_usize, 0..8_u64).prop_map(|(queue, run, handed)| Step::Close(queue, run, handed)),
        2 => (0..2_usize, prop::collection::vec(0..12_u64, 0..5)).prop_map(|(queue, seqs)| Step::Remove(queue, seqs)),
        1 => (0..2_usize).prop_map(Step::Forget),
    ];
    prop::collection::vec(step, 1..40)
}

/// Carries out a step and tells the outcome, with numbers counted from the first of each destination's life.
async fn outcome(store: &dyn SharedStore, step: &Step, first: &mut [Option<u64>; 2]) -> String {
    const RUNS: [&str; 2] = ["a/1", "b/1"];
    let name = |queue: usize| format!("/model/{queue}");
    let limits = [keep(4, 1000, KeepOverflow::DropOldest), keep(3, 12, KeepOverflow::Refuse)];
    let limits = limits.map(|keep| Keep { age: Duration::from_secs(10), ..keep });
    match step {
        Step::Append(appends) => {
            // Of one moment: the clocks of nodes agree.
            let now = appends.iter().map(|(_, _, sent_at)| *sent_at).max().unwrap_or_default();
            let messages =
                appends.iter().map(|(queue, size, _)| message(&name(*queue), &"x".repeat(*size), now, limits[*queue]));
            let told = store.append(messages.collect()).await;
            let told = told.into_iter().zip(appends).map(|(told, (queue, ..))| match told {
                Ok(Appended { seq, mut readers }) => {
                    readers.sort();
                    format!("{} for {readers:?}", seq - *first[*queue].get_or_insert(seq))
                }
                Err(refused) => refused.to_string(),
            });
            told.collect::<Vec<_>>().join(", ")
        }
        Step::Open(queue, run) => {
            let Contents { next_seq, handed, entries } = store.open(&name(*queue), &boot(RUNS[*run])).await.unwrap();
            let oldest = entries.first().map_or(next_seq, |(seq, _)| *seq);
            let first = *first[*queue].get_or_insert(oldest);
            let entries = entries.iter().map(|(seq, record)| (seq - first, record.len()));
            format!("{} {} {:?}", next_seq - first, handed.saturating_sub(first), entries.collect::<Vec<_>>())
        }
        Step::Close(queue, run, handed) => {
            let handed = first[*queue].map_or(0, |first| first + handed);
            format!("{:?}", store.close(&name(*queue), &boot(RUNS[*run]), handed).await.is_ok())
        }
        Step::Remove(queue, seqs) => {
            let seqs = first[*queue].map_or(Vec::new(), |first| seqs.iter().map(|seq| first + seq).collect());
            format!("{:?}", store.remove(&[(name(*queue).into(), seqs)]).await.is_ok())
        }
        Step::Forget(run) => format!("{:?}", store.forget(&boot(RUNS[*run])).await.is_ok()),
    }
}

/// In each of these steps the store does what one in memory does.
pub(super) async fn agrees_with_memory(store: &dyn SharedStore, steps: &[Step]) {
    let memory = MemoryShared::default();
    // Holds every number while this lasts, so that those of both can be compared.
    let holder: Boot = boot("holder/1");
    let (mut first, mut expected_first) = ([None; 2], [None; 2]);
    for queue in 0..2 {
        let name = format!("/model/{queue}");
        first[queue] = Some(store.open(&name, &holder).await.unwrap().next_seq);
        expected_first[queue] = Some(memory.open(&name, &holder).await.unwrap().next_seq);
    }
    for step in steps {
        let found = outcome(store, step, &mut first).await;
        let expected = outcome(&memory, step, &mut expected_first).await;
        assert_eq!(found, expected, "{step:?}");
    }
}

#[tokio::test]
async fn the_shared_store_in_memory_keeps_the_contract() {
    let store = MemoryShared::default();
    check(&store).await;
    no_reader_misses_a_message(&store).await;
    assert_eq!(store.destinations(), 0);
}
