//! Connections that end, fall silent or are blocked: nothing that was confirmed is lost, and the order holds.
#![allow(clippy::await_holding_lock, reason = "who breaks a broker has it alone; each test has a runtime of its own")]

use std::time::Duration;

use super::contract::{Node, Published, confirmed, settled, soon, to};
use super::{Broker, until};
use crate::support::proxy::{Mode, Proxy};
use crate::support::rabbit::Rabbit;
use stampede::relay::{RelayError, Route};

/// Publishes with a bounded number of open confirms, to the other and to both in turn, while something happens; then
/// everything was confirmed, and has come for the first time in order.
async fn nothing_is_lost(from: &Node, to_: &Node, meanwhile: impl Future<Output = ()>) -> usize {
    const OPEN: usize = 16;
    let stop = std::cell::Cell::new(false);
    let publishing = async {
        let mut open = std::collections::VecDeque::<Published>::new();
        let mut count: usize = 0;
        while !stop.get() {
            while open.len() < OPEN {
                let route = if count.is_multiple_of(2) { to(&[to_]) } else { Route::Everyone };
                open.push_back(from.publish(route, &count.to_string()));
                count += 1;
            }
            confirmed(open.pop_front().unwrap()).await;
        }
        for published in open {
            confirmed(published).await;
        }
        count
    };
    let (count, ()) = tokio::join!(publishing, async {
        meanwhile.await;
        stop.set(true);
    });
    let mut next = 0;
    while next < count {
        let (_, text) = to_.inbox.next().await;
        let number: usize = text.parse().unwrap();
        assert!(number <= next, "{number} came, {next} did not");
        next += usize::from(number == next);
    }
    count
}

/// Envelopes pass, before and after.
async fn passes(from: &Node, to_: &Node) {
    let seen = to_.inbox.came().envelopes.len();
    from.confirmed(&[to_], "0").await;
    to_.inbox.until(|came| (came.envelopes.len() > seen).then(|| came.envelopes.clear())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_killed() {
    let mut rabbit = Rabbit::own();
    let broker = Broker::on(rabbit.vhost());
    let (a, b) = (broker.node("a").await, broker.node("b").await);
    passes(&a, &b).await;
    let killed = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        tokio::task::block_in_place(|| rabbit.restart());
        until(|| a.relay.is_up() && b.relay.is_up()).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
    };
    let count = nothing_is_lost(&a, &b, killed).await;
    assert!(count > 50, "{count}");
    assert!(b.inbox.came().resumed > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_stops_and_starts() {
    let rabbit = Rabbit::own();
    let broker = Broker::on(rabbit.vhost());
    let (a, b) = (broker.node("a").await, broker.node("b").await);
    let stopped = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        tokio::task::block_in_place(|| {
            rabbit.stop_app();
            rabbit.start_app();
        });
        until(|| a.relay.is_up() && b.relay.is_up()).await;
    };
    nothing_is_lost(&a, &b, stopped).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_are_closed_by_force() {
    let broker = Broker::shared();
    let (a, b) = (broker.node("a").await, broker.node("b").await);
    let closed = async {
        for round in 1..=3 {
            tokio::time::sleep(Duration::from_millis(200)).await;
            tokio::task::block_in_place(|| broker.vhost.close_connections());
            b.inbox.until(|came| (came.resumed >= round).then_some(())).await;
        }
        until(|| a.relay.is_up() && b.relay.is_up()).await;
    };
    nothing_is_lost(&a, &b, closed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_that_is_cut_and_one_that_falls_silent() {
    let vhost = Rabbit::shared().vhost();
    let proxy = Proxy::to(vhost.port());
    let broker = Broker::on(vhost).through(proxy.port());
    let (a, b) = (broker.node("a").await, broker.node("b").await);
    let broken = async {
        for mode in [Mode::Cut, Mode::HangUp, Mode::Silent, Mode::SilentToClient] {
            tokio::time::sleep(Duration::from_millis(300)).await;
            proxy.set(mode);
            // Silence is noticed by the missing heartbeat, on one connection earlier than on the other.
            until(|| !a.relay.is_up() && !b.relay.is_up()).await;
            proxy.set(Mode::Forward);
            until(|| a.relay.is_up() && b.relay.is_up()).await;
        }
        b.inbox.until(|came| (came.resumed > 1).then_some(())).await;
    };
    nothing_is_lost(&a, &b, broken).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_is_deleted_is_there_again() {
    let broker = Broker::shared();
    let (a, b) = (broker.node("a").await, broker.node("b").await);
    passes(&a, &b).await;
    broker.vhost.delete_queue("wx_queue_b");
    b.inbox.until(|came| (came.resumed == 1).then_some(())).await;
    passes(&a, &b).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_blocked_broker_does_not_take_waits() {
    let rabbit = Rabbit::own();
    let broker = Broker::on(rabbit.vhost());
    let (a, b) = (broker.node("a").await, broker.node("b").await);
    passes(&a, &b).await;
    tokio::task::block_in_place(|| rabbit.alarm(true));
    let open: Vec<Published> = (0..100).map(|number| a.publish(to(&[&b]), &number.to_string())).collect();
    until(|| !a.relay.is_up()).await;
    assert!(b.relay.is_up());
    assert!(b.inbox.came().envelopes.is_empty());
    tokio::task::block_in_place(|| rabbit.alarm(false));
    for published in open {
        confirmed(published).await;
    }
    for number in 0..100 {
        b.inbox.next_are(&[&number.to_string()]).await;
    }
    until(|| a.relay.is_up()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_confirmed_in_time_fails() {
    let vhost = Rabbit::shared().vhost();
    let proxy = Proxy::to(vhost.port());
    let mut broker = Broker::on(vhost).through(proxy.port());
    broker.send_timeout = Duration::from_secs(1);
    let a = broker.node("a").await;
    for mode in [Mode::Silent, Mode::Cut] {
        proxy.set(mode);
        let begun = std::time::Instant::now();
        let late = settled(a.publish(to(&[&a]), "late")).await;
        assert!(matches!(late, Err(RelayError::Timeout(_))), "{late:?}");
        let took = begun.elapsed();
        assert!(took >= Duration::from_secs(1) && took < Duration::from_secs(3), "{took:?}");
    }
    proxy.set(Mode::Forward);
    until(|| a.relay.is_up()).await;
    soon(a.confirmed(&[&a], "in time")).await;
    // The first may have arrived all the same.
    a.inbox.until(|came| came.envelopes.pop_front().filter(|(_, text)| text == "in time")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_fails() {
    let broker = Broker::shared();
    let (a, b) = (broker.node("a").await, broker.node("b").await);
    broker.vhost.refuse_all("wx_queue_b");
    let refused = soon(async {
        loop {
            match settled(a.publish(to(&[&b]), "refused")).await {
                // The policy takes a moment to reach the queue.
                Ok(()) => tokio::time::sleep(Duration::from_millis(20)).await,
                Err(error) => return error,
            }
        }
    });
    let refused = refused.await;
    assert!(matches!(refused, RelayError::Refused), "{refused:?}");
    a.confirmed(&[&a], "taken").await;
}
