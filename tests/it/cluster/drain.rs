//! A full node is told to end: its sessions leave one group after the other, and find on another node what they missed.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use super::{KEEP, LONG, receipts, send_asking, send_confirmed};
use crate::support::client::{Client, body, header};
use crate::support::cluster::{Cluster, Setup};
use crate::support::ws::Event;

const SESSIONS: usize = 2000;
/// So many of them acknowledge nothing.
const SLOPPY: usize = 100;
/// Time that the node has, and the half of it during which sessions are closed.
const GRACE: &str = "16s";
const WINDOW: Duration = Duration::from_secs(8);
/// Parts into which that is cut, to count the closes in each.
const PARTS: usize = 4;

const ID: &str = "the-one-that-drains";

/// A user, by number, with what came: the number in it, and the message.
struct User {
    number: usize,
    client: Client,
    came: BTreeMap<usize, String>,
}

fn name(number: usize) -> String {
    format!("user{number}")
}

fn destination(number: usize) -> String {
    format!("/user/{}/queue/chat", name(number))
}

impl User {
    /// Subscribes; what is kept comes before the receipt.
    fn come(cluster: &Cluster, node: usize, number: usize) -> Self {
        let mut user = Self { number, client: cluster.user(node, &name(number)), came: BTreeMap::new() };
        let ack = if number < SLOPPY { "client-individual" } else { "auto" };
        user.client.send(&format!("SUBSCRIBE\nid:0\nack:{ack}\nreceipt:live\ndestination:/user/queue/chat\n\n\0"));
        loop {
            let frame = user.client.next();
            if frame.starts_with("RECEIPT") {
                return user;
            }
            user.takes(frame);
        }
    }

    fn takes(&mut self, frame: String) {
        assert!(frame.starts_with("MESSAGE"), "{frame}");
        // Nobody gets what is for another: the first number in it is the user's.
        let (whose, which) = body(&frame).split_once(' ').unwrap();
        assert_eq!(whose, self.number.to_string(), "{frame}");
        let before = self.came.insert(which.parse().unwrap(), frame);
        assert_eq!(before, None, "twice in one session");
    }

    /// Reads to the close, which must be the one of a node that drains; when it came.
    fn until_closed(&mut self) -> Instant {
        loop {
            match self.client.socket.next_within(LONG).expect("the session is not closed") {
                Event::Text(frame) => self.takes(String::from_utf8(frame).unwrap()),
                Event::Closed(1001, _) => return Instant::now(),
                other => panic!("{other:?} instead of a close with 1001"),
            }
        }
    }
}

/// All users on one node, a few at a time.
fn all(cluster: &Cluster, node: usize) -> Vec<User> {
    const AT_A_TIME: usize = 8;
    thread::scope(|scope| {
        let come = |first: usize| {
            let numbers = (first..SESSIONS).step_by(AT_A_TIME);
            numbers.map(|number| User::come(cluster, node, number)).collect::<Vec<_>>()
        };
        let coming: Vec<_> = (0..AT_A_TIME).map(|first| scope.spawn(move || come(first))).collect();
        let mut users: Vec<User> = coming.into_iter().flat_map(|users| users.join().unwrap()).collect();
        users.sort_by_key(|user| user.number);
        users
    })
}

#[test]
fn a_full_node_sends_its_sessions_away_little_by_little_and_nothing_kept_is_lost() {
    let setup = Setup::new().config(KEEP).set("STAMPEDE__SERVER__SHUTDOWN_GRACE", GRACE);
    let mut cluster = setup.start(1);
    let draining = cluster.add_node_with(&[("STAMPEDE__SERVER__NODE_ID", ID)]);
    let mut users = all(&cluster, draining);
    let mut sender = cluster.user(0, "sender");
    // Those who acknowledge nothing have these on their hands when the node is told to end.
    (0..SLOPPY).for_each(|number| send_confirmed(&mut sender, &destination(number), &format!("{number} 0")));
    for user in &mut users[..SLOPPY] {
        let frame = user.client.next();
        user.takes(frame);
    }
    let began = Instant::now();
    cluster.node(draining).signal("TERM");
    let closes = thread::scope(|scope| {
        let leaving: Vec<_> = users
            .iter_mut()
            .map(|user| thread::Builder::new().stack_size(256 << 10).spawn_scoped(scope, || user.until_closed()))
            .collect();
        for number in 0..SESSIONS {
            let frame = format!("SEND\ndestination:{}\nreceipt:{number}\n\n{number} 1\0", destination(number));
            sender.send(&frame);
        }
        receipts(&mut sender, 0..SESSIONS);
        leaving.into_iter().map(|user| user.unwrap().join().unwrap()).collect::<Vec<_>>()
    });
    are_spread(began, closes);
    let (status, errors) = cluster.ended(draining);
    assert_eq!(status.code(), Some(0), "{errors}");
    assert!(!errors.contains("ERROR") && !errors.contains("the time to drain is over"), "{errors}");
    // At once: nobody else had to clean up.
    assert!(!cluster.vhost().queues().contains(&format!("wx_queue_{ID}")), "{:?}", cluster.vhost().queues());
    assert!(!cluster.redis().text().contains(ID), "Redis still knows of it: {:?}", cluster.redis().keys("*:lease:*"));

    let again = all(&cluster, 0);
    for (before, now) in users.iter().zip(&again) {
        let number = before.number;
        let expected = if number < SLOPPY { 0..2 } else { 1..2 };
        for which in expected {
            let (first, second) = (before.came.get(&which), now.came.get(&which));
            assert!(first.is_some() || second.is_some(), "{number} {which} is lost");
            if let (Some(first), Some(second)) = (first, second) {
                assert_eq!(header(first, "message-id"), header(second, "message-id"));
                assert_eq!(header(second, "redelivered"), Some("true"), "{second}");
            }
            assert!(second.is_some() || number >= SLOPPY, "{number} {which} was not acknowledged");
        }
    }
    // And live on.
    let (last, mut again) = (SESSIONS - 1, again);
    send_asking(&mut sender, &destination(last), 2);
    assert_eq!(body(&again[last].client.expect("MESSAGE")), "2");
    receipts(&mut sender, 2..3);
    cluster.is_well();
}

/// Every part of the time has its share, and none has most of them. Whoever leaves later than planned counts for the last.
fn are_spread(began: Instant, closes: Vec<Instant>) {
    let mut counts = [0; PARTS];
    for close in closes {
        let part = (close - began).as_nanos() / (WINDOW / PARTS as u32).as_nanos();
        counts[(part as usize).min(PARTS - 1)] += 1;
    }
    assert!(counts.iter().all(|&count| count > 0 && count < SESSIONS * 3 / 4), "{counts:?}");
}
