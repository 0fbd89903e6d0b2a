//! The relay over RabbitMQ, against a broker that is killed, frozen, cut off and short of memory.

pub(crate) mod contract;
mod encrypted;
mod ending;
mod failures;
mod start;

use std::sync::Arc;
use std::time::Duration;

use stampede::config::cluster::RabbitMq;
use stampede::ids::NodeId;
use stampede::relay::amqp::AmqpRelay;
use stampede::relay::{Inbox, Later, Relay};

use crate::support::rabbit::{Rabbit, Vhost};

use contract::{Node, World};

/// Nodes on a virtual host of their own.
struct Broker {
    config: RabbitMq,
    send_timeout: Duration,
    vhost: Vhost,
}

impl Broker {
    fn shared() -> Self {
        Self::on(Rabbit::shared().vhost())
    }

    fn on(vhost: Vhost) -> Self {
        let config = RabbitMq { url: vhost.url().into(), heartbeat: Duration::from_secs(1), ..RabbitMq::default() };
        Self { config, send_timeout: Duration::from_secs(60), vhost }
    }

    /// Nodes reach it through this port.
    fn through(mut self, port: u16) -> Self {
        self.config.url = self.vhost.url_through(port).into();
        self
    }

    async fn node(&self, name: &str) -> Node {
        Node::start(self, name).await
    }
}

impl World for Broker {
    fn join(&self, node: NodeId, inbox: Arc<dyn Inbox>) -> Later<'_, Arc<dyn Relay>> {
        Box::pin(async move {
            let relay = AmqpRelay::start(&self.config, self.send_timeout, node, inbox).await;
            Arc::new(relay.unwrap()) as _
        })
    }
}

/// Waits until something is so.
async fn until(mut is: impl FnMut() -> bool) {
    contract::soon(async {
        while !is() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn order_is_kept() {
    contract::order_is_kept(&Broker::shared()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn routes_lead_where_they_say() {
    contract::routes_lead_where_they_say(&Broker::shared()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_finds_no_queue_is_an_orphan() {
    contract::what_finds_no_queue_is_an_orphan(&Broker::shared()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_dead_node_leaves_is_adopted() {
    let broker = Broker::shared();
    contract::what_a_dead_node_leaves_is_adopted(&broker).await;
    assert!(!broker.vhost.queues().contains(&"wx_queue_b".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn adoption_waits_for_what_it_hands_out() {
    contract::adoption_waits_for_what_it_hands_out(&Broker::shared()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_retires_leaves_nothing() {
    contract::a_node_that_retires_leaves_nothing(&Broker::shared()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_the_end_everything_is_refused() {
    contract::after_the_end_everything_is_refused(&Broker::shared()).await;
}
