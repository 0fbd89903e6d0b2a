//! What is wrong for good is said at once; what passes is waited for.

use std::sync::Arc;
use std::time::Duration;

use stampede::config::cluster::RabbitMq;
use stampede::ids::NodeId;
use stampede::relay::amqp::AmqpRelay;

use super::Broker;
use super::contract::{Collector, Node, soon};
use crate::support::proxy::{Mode, Proxy};
use crate::support::rabbit::Rabbit;

/// Why a node cannot start.
pub(super) async fn refused(config: &RabbitMq) -> String {
    let inbox = Arc::<Collector>::default();
    let starting = AmqpRelay::start(config, Duration::from_secs(1), NodeId::random(), inbox);
    soon(starting).await.expect_err("it starts")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_and_an_unknown_virtual_host_are_told_at_once() {
    let broker = Broker::shared();
    let wrong = broker.config.url.reveal().replace("guest:guest", "guest:secret-word");
    let error = refused(&RabbitMq { url: wrong.into(), ..broker.config.clone() }).await;
    assert!(error.contains("user and password in rabbitmq.url"), "{error}");
    assert!(!error.contains("secret-word"), "{error}");

    let wrong = broker.config.url.reveal().replace("%2ftest", "%2fnobody");
    let error = refused(&RabbitMq { url: wrong.into(), ..broker.config.clone() }).await;
    assert!(error.contains("virtual host in rabbitmq.url") && error.contains("nobody"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_declared_otherwise_is_told_by_name() {
    let broker = Broker::shared();
    let node = broker.node("a").await;
    let exchange = RabbitMq { orphan_exchange: "other".into(), ..broker.config.clone() };
    let error = refused(&exchange).await;
    assert!(error.contains("wx_topic_exchange") && error.contains("declared otherwise"), "{error}");
    drop(node);
    let queue = RabbitMq { message_ttl: Duration::from_secs(1), ..broker.config.clone() };
    let inbox = Arc::<Collector>::default();
    let starting = AmqpRelay::start(&queue, Duration::from_secs(1), NodeId::named("a").unwrap(), inbox);
    let error = soon(starting).await.expect_err("it starts");
    assert!(error.contains("wx_queue_a") && error.contains("declared otherwise"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_waits_for_a_broker_that_is_not_there_yet() {
    let vhost = Rabbit::shared().vhost();
    let proxy = Proxy::to(vhost.port());
    proxy.set(Mode::Cut);
    let broker = Broker::on(vhost).through(proxy.port());
    let mut starting = std::pin::pin!(broker.node("a"));
    for mode in [Mode::Cut, Mode::HangUp] {
        proxy.set(mode);
        let early = tokio::time::timeout(Duration::from_millis(700), &mut starting).await;
        assert!(early.is_err(), "{mode:?}");
    }
    proxy.set(Mode::Forward);
    let node = soon(starting).await;
    node.confirmed(&[&node], "at last").await;
    node.inbox.next_are(&["at last"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namesake_waits_until_the_queue_is_free() {
    let broker = Broker::shared();
    let first = broker.node("a").await;
    let mut second = std::pin::pin!(broker.node("a"));
    assert!(tokio::time::timeout(Duration::from_millis(700), &mut second).await.is_err());
    first.confirmed(&[&first], "to the first").await;
    first.inbox.next_are(&["to the first"]).await;
    drop(first);
    let second: Node = soon(second).await;
    second.confirmed(&[&second], "to the second").await;
    // What the first had not acknowledged yet comes again.
    second.inbox.until(|came| came.envelopes.pop_front().filter(|(_, text)| text == "to the second")).await;
}
