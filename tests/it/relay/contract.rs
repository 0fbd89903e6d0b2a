//! What every relay must do; each implementation's tests run it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use stampede::ids::NodeId;
use stampede::relay::{AdoptError, Inbox, Later, Relay, RelayError, Route, Source, Token};
use tokio::sync::{Notify, oneshot};

/// How long something may take that must happen.
const PATIENCE: Duration = Duration::from_secs(30);

/// Relays that reach each other, and nothing else.
pub(crate) trait World {
    /// Starts a node. When the relay is dropped, the node has vanished.
    fn join(&self, node: NodeId, inbox: Arc<dyn Inbox>) -> Later<'_, Arc<dyn Relay>>;
}

/// A node, and what came to it.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) id: NodeId,
    pub(crate) relay: Arc<dyn Relay>,
    pub(crate) inbox: Arc<Collector>,
}

/// Keeps what comes.
#[derive(Debug, Default)]
pub(crate) struct Collector {
    came: Mutex<Came>,
    changed: Notify,
}

#[derive(Debug, Default)]
pub(crate) struct Came {
    pub(crate) envelopes: VecDeque<(Source, String)>,
    pub(crate) resumed: u32,
    holding: bool,
    held: Vec<Token>,
}

/// The result of one publish.
pub(crate) type Published = oneshot::Receiver<Result<(), RelayError>>;

impl Node {
    pub(crate) async fn start(world: &dyn World, name: &str) -> Self {
        let (id, inbox) = (NodeId::named(name).unwrap(), Arc::<Collector>::default());
        let relay = world.join(id.clone(), Arc::clone(&inbox) as _).await;
        Self { id, relay, inbox }
    }

    pub(crate) fn publish(&self, route: Route, text: &str) -> Published {
        let (done, published) = oneshot::channel();
        let done = Box::new(move |result| done.send(result).expect("the test waits for it"));
        self.relay.publish(route, Bytes::copy_from_slice(text.as_bytes()), done);
        published
    }

    /// Publishes for some nodes, and waits until it is confirmed.
    pub(crate) async fn confirmed(&self, nodes: &[&Self], text: &str) {
        confirmed(self.publish(to(nodes), text)).await;
    }
}

/// The route to these nodes.
pub(crate) fn to(nodes: &[&Node]) -> Route {
    Route::Nodes(nodes.iter().map(|node| node.id.clone()).collect())
}

/// Waits for what must happen.
pub(crate) async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what).await.expect("it does not happen")
}

/// Waits for the confirm.
pub(crate) async fn confirmed(published: Published) {
    settled(published).await.unwrap();
}

/// Waits for the result; each has exactly one.
pub(crate) async fn settled(published: Published) -> Result<(), RelayError> {
    soon(published).await.expect("a result")
}

impl Collector {
    pub(crate) fn came(&self) -> MutexGuard<'_, Came> {
        self.came.lock().unwrap()
    }

    /// From now on nothing is acknowledged, or everything is.
    pub(crate) fn hold(&self, holding: bool) {
        let mut came = self.came();
        came.holding = holding;
        if !holding {
            let held = std::mem::take(&mut came.held);
            drop(came);
            drop(held);
        }
    }

    /// Waits until something is so.
    pub(crate) async fn until<T>(&self, mut is: impl FnMut(&mut Came) -> Option<T>) -> T {
        soon(async {
            loop {
                let changed = self.changed.notified();
                if let Some(found) = is(&mut self.came()) {
                    return found;
                }
                changed.await;
            }
        })
        .await
    }

    /// The next envelope.
    pub(crate) async fn next(&self) -> (Source, String) {
        self.until(|came| came.envelopes.pop_front()).await
    }

    /// The next envelopes are these, from the node's own queue.
    pub(crate) async fn next_are(&self, texts: &[&str]) {
        for text in texts {
            assert_eq!(self.next().await, (Source::Own, (*text).to_owned()));
        }
    }
}

impl Inbox for Collector {
    fn deliver(&self, envelope: Bytes, source: Source, token: Token) {
        let mut came = self.came();
        came.envelopes.push_back((source, String::from_utf8(envelope.to_vec()).unwrap()));
        let token = if came.holding {
            came.held.push(token);
            None
        } else {
            Some(token)
        };
        drop(came);
        self.changed.notify_one();
        drop(token);
    }

    fn resumed(&self) {
        self.came().resumed += 1;
        self.changed.notify_one();
    }
}

/// Envelopes of one node come in the order of the calls, whatever their routes.
pub(crate) async fn order_is_kept(world: &dyn World) {
    let (a, b) = (Node::start(world, "a").await, Node::start(world, "b").await);
    let routes = [to(&[&b]), Route::Everyone, to(&[&a, &b])];
    let open: Vec<Published> =
        (0..600).map(|number| a.publish(routes[number % 3].clone(), &number.to_string())).collect();
    for number in 0..600 {
        assert_eq!(b.inbox.next().await, (Source::Own, number.to_string()));
    }
    for published in open {
        confirmed(published).await;
    }
    for number in (0..600).filter(|number| number % 3 > 0) {
        assert_eq!(a.inbox.next().await, (Source::Own, number.to_string()));
    }
}

/// Each route reaches those it names, each once, and nobody else.
pub(crate) async fn routes_lead_where_they_say(world: &dyn World) {
    let (a, b) = (Node::start(world, "a").await, Node::start(world, "b").await);
    let c = Node::start(world, "c").await;
    a.confirmed(&[&b, &c], "two").await;
    a.confirmed(&[&b], "one").await;
    a.confirmed(&[&a, &c, &c], "itself").await;
    confirmed(a.publish(Route::Everyone, "all")).await;
    a.inbox.next_are(&["itself", "all"]).await;
    b.inbox.next_are(&["two", "one", "all"]).await;
    c.inbox.next_are(&["two", "itself", "all"]).await;
}

/// What no queue takes comes to some node; what one of several takes does not.
pub(crate) async fn what_finds_no_queue_is_an_orphan(world: &dyn World) {
    let (a, b) = (Node::start(world, "a").await, Node::start(world, "b").await);
    let nobody = NodeId::named("nobody").unwrap();
    confirmed(a.publish(Route::Nodes(vec![nobody.clone(), b.id.clone()]), "half")).await;
    b.inbox.next_are(&["half"]).await;
    confirmed(a.publish(Route::Nodes(vec![nobody]), "lost")).await;
    let found = soon(async {
        tokio::select! {
            found = a.inbox.next() => found,
            found = b.inbox.next() => found,
        }
    });
    assert_eq!(found.await, (Source::Orphans, "lost".to_owned()));
}

/// The queue of a node that lives is its own; that of one that has vanished is read by another to its end, from the first
/// envelope that was not acknowledged on.
pub(crate) async fn what_a_dead_node_leaves_is_adopted(world: &dyn World) {
    let (a, b) = (Node::start(world, "a").await, Node::start(world, "b").await);
    a.confirmed(&[&b], "done").await;
    b.inbox.next_are(&["done"]).await;
    // Acknowledged together with what comes later, at the latest.
    tokio::time::sleep(Duration::from_millis(200)).await;
    b.inbox.hold(true);
    a.confirmed(&[&b], "begun").await;
    a.confirmed(&[&b], "too").await;
    b.inbox.next_are(&["begun", "too"]).await;
    let in_use = a.relay.adopt(b.id.clone()).await;
    assert!(matches!(in_use, Err(AdoptError::InUse)), "{in_use:?}");

    let Node { id, relay, .. } = b;
    drop(relay);
    confirmed(a.publish(Route::Nodes(vec![id.clone()]), "late")).await;
    let adopted = soon(async {
        loop {
            match a.relay.adopt(id.clone()).await {
                // Its connection takes a moment to end.
                Err(AdoptError::InUse) => tokio::time::sleep(Duration::from_millis(20)).await,
                other => break other.unwrap(),
            }
        }
    });
    assert_eq!(adopted.await, 3);
    for text in ["begun", "too", "late"] {
        assert_eq!(a.inbox.next().await, (Source::Adopted, text.to_owned()));
    }
    assert_eq!(soon(a.relay.adopt(id.clone())).await.unwrap(), 0);
    confirmed(a.publish(Route::Nodes(vec![id]), "orphan")).await;
    assert_eq!(a.inbox.next().await, (Source::Orphans, "orphan".to_owned()));
}

/// An adoption ends when everything is done, not when everything is handed out.
pub(crate) async fn adoption_waits_for_what_it_hands_out(world: &dyn World) {
    let (a, b) = (Node::start(world, "a").await, Node::start(world, "b").await);
    b.inbox.hold(true);
    a.confirmed(&[&b], "begun").await;
    b.inbox.next_are(&["begun"]).await;
    let Node { id, relay, .. } = b;
    drop(relay);
    a.inbox.hold(true);
    let adopting = async {
        loop {
            match a.relay.adopt(id.clone()).await {
                Err(AdoptError::InUse) => tokio::time::sleep(Duration::from_millis(20)).await,
                other => break other.unwrap(),
            }
        }
    };
    let mut adopting = std::pin::pin!(adopting);
    let came = soon(async {
        tokio::select! {
            came = a.inbox.next() => came,
            adopted = &mut adopting => panic!("{adopted} were adopted and none came"),
        }
    });
    assert_eq!(came.await, (Source::Adopted, "begun".to_owned()));
    let early = tokio::time::timeout(Duration::from_millis(300), &mut adopting).await;
    assert!(early.is_err(), "{early:?}");
    a.inbox.hold(false);
    assert_eq!(soon(adopting).await, 1);
}

/// A node that retires gets everything that was confirmed before, and nothing afterwards.
pub(crate) async fn a_node_that_retires_leaves_nothing(world: &dyn World) {
    let (a, b) = (Node::start(world, "a").await, Node::start(world, "b").await);
    let _open: Vec<Published> = (0..50).map(|number| a.publish(to(&[&b]), &number.to_string())).collect();
    a.confirmed(&[&b], "last").await;
    soon(b.relay.retire()).await;
    for number in 0..50 {
        assert_eq!(b.inbox.next().await, (Source::Own, number.to_string()));
    }
    b.inbox.next_are(&["last"]).await;
    a.confirmed(&[&b], "late").await;
    assert_eq!(a.inbox.next().await, (Source::Orphans, "late".to_owned()));
    assert_eq!(soon(a.relay.adopt(b.id.clone())).await.unwrap(), 0);
    soon(b.relay.retire()).await;
    // It still publishes, as long as it is not closed.
    b.confirmed(&[&a], "farewell").await;
    a.inbox.next_are(&["farewell"]).await;
    soon(b.relay.close()).await;
    assert!(b.inbox.came().envelopes.is_empty());
}

/// The end waits for confirms; what comes later is refused.
pub(crate) async fn after_the_end_everything_is_refused(world: &dyn World) {
    let (a, b) = (Node::start(world, "a").await, Node::start(world, "b").await);
    let open: Vec<Published> = (0..50).map(|number| a.publish(to(&[&b]), &number.to_string())).collect();
    soon(a.relay.close()).await;
    assert!(!a.relay.is_up());
    for published in open {
        confirmed(published).await;
    }
    let late = settled(a.publish(to(&[&b]), "late")).await;
    assert!(matches!(late, Err(RelayError::Closed)), "{late:?}");
    for number in 0..50 {
        assert_eq!(b.inbox.next().await, (Source::Own, number.to_string()));
    }
    soon(a.relay.close()).await;
}
