//! The queue by example; `model` checks it against a naive one.

mod model;

use std::time::Duration;

use bytes::Bytes;
use stampede_protocol::stomp::Headers;

use super::*;
use crate::config::mailbox::KeepOverflow;

const WIDE: Window = Window { messages: 100, bytes: usize::MAX };

#[test]
fn a_mailbox_gives_its_backlog_first_and_live_messages_after_it() {
    let mut queue = queue(Mode::Everyone, Keep::default());
    check(&mut queue, &[Push("a"), Push("b"), Subscribe('x', WIDE)], "x<-a x<-b");
    check(&mut queue, &[Push("c")], "x<-c");
}

#[test]
fn what_one_subscriber_proved_is_not_given_to_later_ones() {
    let mut queue = queue(Mode::Everyone, Keep::default());
    check(&mut queue, &[Subscribe('x', WIDE), Push("a"), Push("b")], "x<-a x<-b");
    check(&mut queue, &[Settle('x', &[0])], "-a:Settled");
    check(&mut queue, &[Subscribe('y', WIDE)], "y<-b*");
}

#[test]
fn everyone_who_was_there_gets_a_message_that_others_have_proved() {
    let narrow = Window { messages: 1, bytes: usize::MAX };
    let mut queue = queue(Mode::Everyone, Keep::default());
    check(&mut queue, &[Subscribe('x', WIDE), Subscribe('y', narrow), Push("a"), Push("b")], "x<-a y<-a x<-b");
    check(&mut queue, &[Settle('x', &[0, 1])], "-a:Settled -b:Settled");
    check(&mut queue, &[Settle('y', &[0])], "y<-b");
    assert!(queue.is_empty(), "nobody is owed anything: {queue:?}");
}

#[test]
fn a_subscriber_that_lies_behind_makes_room_and_is_named() {
    let narrow = Window { messages: 1, bytes: usize::MAX };
    let mut queue = queue(Mode::Everyone, Keep { max: 2, overflow: KeepOverflow::Refuse, ..Keep::default() });
    check(&mut queue, &[Subscribe('x', WIDE), Subscribe('y', narrow), Push("a"), Push("b")], "x<-a y<-a x<-b");
    check(&mut queue, &[Settle('x', &[0, 1])], "-a:Settled -b:Settled");
    check(&mut queue, &[Push("c"), Push("d")], "x<-c y!1 x<-d");
}

#[test]
fn an_unproved_message_comes_again_at_the_next_subscription() {
    let mut queue = queue(Mode::Everyone, Keep::default());
    check(&mut queue, &[Subscribe('x', WIDE), Push("a"), Unsubscribe('x'), Push("b")], "x<-a");
    check(&mut queue, &[Settle('x', &[0])], "");
    check(&mut queue, &[Subscribe('y', WIDE)], "y<-a* y<-b");
}

#[test]
fn a_mailbox_hands_a_rejected_message_to_the_next_subscription_until_it_is_given_up() {
    let mut queue = queue(Mode::Everyone, Keep { max_deliveries: 2, ..Keep::default() });
    check(&mut queue, &[Push("a"), Subscribe('x', WIDE), Reject('x', &[0])], "x<-a");
    check(&mut queue, &[Unsubscribe('x'), Subscribe('x', WIDE)], "x<-a*");
    check(&mut queue, &[Reject('x', &[0])], "-a:TooManyDeliveries");
}

#[test]
fn a_work_queue_takes_turns_and_waits_for_room() {
    let one = Window { messages: 1, bytes: usize::MAX };
    let mut queue = queue(Mode::One, Keep::default());
    check(&mut queue, &[Push("a"), Push("b"), Push("c"), Subscribe('x', one)], "x<-a");
    check(&mut queue, &[Subscribe('y', one)], "y<-b");
    check(&mut queue, &[Settle('x', &[0])], "-a:Settled x<-c");
    check(&mut queue, &[Settle('x', &[2]), Settle('y', &[1])], "-c:Settled -b:Settled");
    check(&mut queue, &[Push("d"), Push("e")], "x<-d y<-e");
}

#[test]
fn a_rejected_message_goes_to_another_worker_or_to_the_same_if_it_is_alone() {
    let mut queue = queue(Mode::One, Keep { max_deliveries: 3, ..Keep::default() });
    check(&mut queue, &[Subscribe('x', WIDE), Push("a"), Subscribe('y', WIDE)], "x<-a");
    check(&mut queue, &[Reject('x', &[0])], "y<-a*");
    check(&mut queue, &[Unsubscribe('x'), Reject('y', &[0])], "y<-a*");
    check(&mut queue, &[Reject('y', &[0])], "-a:TooManyDeliveries");
}

#[test]
fn a_lost_worker_gives_back_its_messages_in_their_old_order() {
    let mut queue = queue(Mode::One, Keep::default());
    check(&mut queue, &[Subscribe('x', WIDE), Push("a"), Push("b")], "x<-a x<-b");
    check(&mut queue, &[Unsubscribe('x'), Push("c"), Subscribe('y', WIDE)], "y<-a* y<-b* y<-c");
    check(&mut queue, &[Settle('x', &[0])], "");
    check(&mut queue, &[Settle('y', &[0, 0])], "-a:Settled");
}

#[test]
fn a_message_larger_than_the_window_passes_alone() {
    let tight = Window { messages: 10, bytes: 10 };
    let mut queue = queue(Mode::Everyone, Keep::default());
    check(&mut queue, &[Push("a"), Push("larger than the window"), Push("c"), Subscribe('x', tight)], "x<-a");
    check(&mut queue, &[Settle('x', &[0])], "-a:Settled x<-larger than the window");
    check(&mut queue, &[Settle('x', &[1])], "-larger than the window:Settled x<-c");
}

#[test]
fn the_oldest_makes_room() {
    let mut queue = queue(Mode::Everyone, Keep { max: 2, ..Keep::default() });
    check(&mut queue, &[Push("a"), Push("b"), Push("c")], "-a:DroppedOldest");
    check(&mut queue, &[Subscribe('x', WIDE)], "x<-b x<-c");
}

#[test]
fn a_refusal_names_the_limit_and_the_actual_value() {
    let keep = Keep { max: 2, max_bytes: 40, overflow: KeepOverflow::Refuse, ..Keep::default() };
    let mut queue = queue(Mode::One, keep);
    let refusal =
        |queue: &mut KeptQueue<char>, size: usize| queue.push(message(&"x".repeat(size)), 0).unwrap_err().to_string();
    let text = refusal(&mut queue, 50);
    assert!(text.contains("53 bytes") && text.contains("40 (keep.max_bytes)"), "{text}");
    queue.push(message(&"x".repeat(20)), 0).unwrap();
    let text = refusal(&mut queue, 20);
    assert!(text.contains("keeps 23 bytes") && text.contains("40 (keep.max_bytes)"), "{text}");
    queue.push(message("x"), 0).unwrap();
    let text = refusal(&mut queue, 1);
    assert!(text.contains("keeps 2 messages") && text.contains("2 (keep.max)"), "{text}");
}

#[test]
fn a_clock_that_goes_back_makes_nothing_expire_out_of_order() {
    let mut queue = queue(Mode::Everyone, Keep { age: Duration::from_millis(10), ..Keep::default() });
    queue.push(message("a"), 100).unwrap();
    queue.push(message("b"), 50).unwrap();
    queue.expire(109);
    check(&mut queue, &[], "");
    queue.expire(110);
    check(&mut queue, &[], "-a:Expired -b:Expired");
}

#[test]
fn what_was_accepted_before_a_restart_is_not_refused_after_it() {
    let mut queue = queue(Mode::One, Keep { max: 1, overflow: KeepOverflow::Refuse, ..Keep::default() });
    assert!(queue.restore(7, message("a"), 0) && queue.restore(9, message("b"), 0));
    assert!(!queue.restore(9, message("b"), 0), "a number is used once");
    assert_eq!(queue.next_seq(), 10);
    check(&mut queue, &[Subscribe('x', WIDE)], "x<-a x<-b");
}

enum Step {
    Push(&'static str),
    Subscribe(char, Window),
    Unsubscribe(char),
    Settle(char, &'static [u64]),
    Reject(char, &'static [u64]),
}
use Step::{Push, Reject, Settle, Subscribe, Unsubscribe};

/// Takes the steps, with a pump after each, and compares what is to be done: `x<-a` delivers a to x (`*`: again),
/// `-a:Why` removes it, `x!1` tells that x will not get number 1.
#[track_caller]
fn check(queue: &mut KeptQueue<char>, steps: &[Step], expected: &str) {
    let mut out = Vec::new();
    queue.pump(&mut out);
    for step in steps {
        match *step {
            Push(body) => assert!(queue.push(message(body), 0).is_ok()),
            Subscribe(c, window) => assert!(queue.subscribe(c, window)),
            Unsubscribe(c) => queue.unsubscribe(c),
            Settle(c, seqs) => queue.settle(c, seqs),
            Reject(c, seqs) => queue.reject(c, seqs),
        }
        queue.pump(&mut out);
    }
    let text = |message: &Message| String::from_utf8_lossy(&message.body).into_owned();
    let told: Vec<_> = out
        .iter()
        .map(|effect| match effect {
            Effect::Deliver { to, message, redelivered, .. } => {
                format!("{to}<-{}{}", text(message), if *redelivered { "*" } else { "" })
            }
            Effect::Removed { why, message, .. } => format!("-{}:{why:?}", text(message)),
            Effect::Lagged { by, seq } => format!("{by}!{seq}"),
        })
        .collect();
    assert_eq!(told.join(" "), expected);
}

fn queue(mode: Mode, keep: Keep) -> KeptQueue<char> {
    KeptQueue::new(Policy { mode, keep }, 0)
}

/// A message whose size is that of its body and 3 bytes more.
fn message(body: &str) -> Arc<Message> {
    let body = Bytes::copy_from_slice(body.as_bytes());
    Arc::new(Message::new("i".into(), "/q".into(), Headers::new(), body, 0))
}
