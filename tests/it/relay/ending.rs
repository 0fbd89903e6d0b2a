//! What becomes of queues whose nodes are gone.

use std::time::Duration;

use super::contract::{Node, confirmed, soon, to};
use super::{Broker, until};
use crate::support::proxy::{Mode, Proxy};
use crate::support::rabbit::Rabbit;
use stampede::relay::{AdoptError, Route, Source};

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_returns_finds_what_it_has_not_acknowledged() {
    let broker = Broker::shared();
    let (a, b) = (broker.node("a").await, broker.node("b").await);
    b.inbox.hold(true);
    for text in ["first", "second"] {
        a.confirmed(&[&b], text).await;
    }
    b.inbox.next_are(&["first", "second"]).await;
    let Node { id, relay, .. } = b;
    drop(relay);
    confirmed(a.publish(Route::Nodes(vec![id]), "third")).await;
    let b = soon(broker.node("b")).await;
    b.inbox.next_are(&["first", "second", "third"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_too_long_in_a_queue_becomes_an_orphan() {
    let mut broker = Broker::shared();
    broker.config.message_ttl = Duration::from_millis(500);
    let (a, b) = (broker.node("a").await, broker.node("b").await);
    let Node { id, relay, .. } = b;
    drop(relay);
    confirmed(a.publish(Route::Nodes(vec![id]), "old")).await;
    assert_eq!(a.inbox.next().await, (Source::Orphans, "old".to_owned()));
    until(|| broker.vhost.messages() == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_only_one_adopts() {
    let broker = Broker::shared();
    let (a, b, c) = (broker.node("a").await, broker.node("b").await, broker.node("c").await);
    let Node { id, relay, .. } = c;
    drop(relay);
    let count: usize = 300;
    let publish = |number: usize| a.publish(Route::Nodes(vec![id.clone()]), &number.to_string());
    for published in (0..count).map(publish).collect::<Vec<_>>() {
        confirmed(published).await;
    }
    let adopt = async |node: &Node| loop {
        match node.relay.adopt(id.clone()).await {
            Ok(adopted) => return adopted as usize,
            Err(AdoptError::InUse) => tokio::time::sleep(Duration::from_millis(5)).await,
            Err(error) => panic!("{error}"),
        }
    };
    let (by_a, by_b) = soon(async { tokio::join!(adopt(&a), adopt(&b)) }).await;
    assert_eq!(by_a + by_b, count);
    for (node, adopted) in [(&a, by_a), (&b, by_b)] {
        assert!(adopted == 0 || adopted == count);
        assert_eq!(node.inbox.came().envelopes.len(), adopted);
    }
    assert_eq!(broker.vhost.queues(), ["wx_orphans", "wx_queue_a", "wx_queue_b"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_adoption_that_fails_loses_nothing() {
    let vhost = Rabbit::shared().vhost();
    let proxy = Proxy::to(vhost.port());
    let broker = Broker::on(vhost);
    let (a, c) = (broker.node("a").await, broker.node("c").await);
    let broker = broker.through(proxy.port());
    let b = broker.node("b").await;
    let Node { id, relay, .. } = c;
    drop(relay);
    confirmed(a.publish(Route::Nodes(vec![id.clone()]), "kept")).await;
    b.inbox.hold(true);
    let mut adopting = std::pin::pin!(async {
        loop {
            match b.relay.adopt(id.clone()).await {
                Err(AdoptError::InUse) => tokio::time::sleep(Duration::from_millis(5)).await,
                other => return other,
            }
        }
    });
    let handed = soon(async {
        tokio::select! {
            handed = b.inbox.next() => handed,
            adopted = &mut adopting => panic!("{adopted:?}"),
        }
    });
    assert_eq!(handed.await, (Source::Adopted, "kept".to_owned()));
    proxy.set(Mode::Cut);
    let failed = soon(adopting).await;
    assert!(matches!(failed, Err(AdoptError::Failed(_))), "{failed:?}");
    let failed = soon(b.relay.adopt(id.clone())).await;
    assert!(matches!(failed, Err(AdoptError::Failed(_))), "{failed:?}");
    let adopted = soon(async {
        loop {
            match a.relay.adopt(id.clone()).await {
                Err(AdoptError::InUse) => tokio::time::sleep(Duration::from_millis(20)).await,
                other => return other.unwrap(),
            }
        }
    });
    assert_eq!(adopted.await, 1);
    assert_eq!(a.inbox.next().await, (Source::Adopted, "kept".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn retiring_while_messages_come_loses_none() {
    let broker = Broker::shared();
    let (a, b) = (broker.node("a").await, broker.node("b").await);
    let publishing = async {
        for number in 0..400 {
            a.confirmed(&[&b], &number.to_string()).await;
        }
    };
    let retiring = async {
        b.inbox.until(|came| (came.envelopes.len() >= 50).then_some(())).await;
        b.relay.retire().await;
    };
    soon(async { tokio::join!(publishing, retiring) }).await;
    // The rest are orphans; the retired node reads those no more.
    let mut all: Vec<(Source, String)> = b.inbox.came().envelopes.drain(..).collect();
    while all.len() < 400 {
        all.push(a.inbox.next().await);
    }
    let mut numbers: Vec<usize> = all.iter().map(|(_, text)| text.parse().unwrap()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..400).collect::<Vec<_>>());
    until(|| broker.vhost.messages() == 0).await;
    assert_eq!(broker.vhost.queues(), ["wx_orphans", "wx_queue_a"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_cannot_reach_the_broker_retires_without_it() {
    let vhost = Rabbit::shared().vhost();
    let proxy = Proxy::to(vhost.port());
    let broker = Broker::on(vhost).through(proxy.port());
    let a = broker.node("a").await;
    proxy.set(Mode::Cut);
    let open = a.publish(to(&[&a]), "open");
    soon(a.relay.retire()).await;
    soon(a.relay.close()).await;
    assert!(super::contract::settled(open).await.is_err());
}
