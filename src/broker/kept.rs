//! Kept destinations: mailboxes and work queues, between the queues and the outboxes.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use parking_lot::RwLock;
use slab::Slab;
use stampede_protocol::stomp::session::Settlement;
use stampede_protocol::stomp::{Fault, FaultKind};

use super::policy::Policies;
use super::topics::Subscriber;
use super::{Handover, Pending};
use crate::close::CloseReason;
use crate::cluster::Cluster;
use crate::config::mailbox::Mailbox;
use crate::mailbox;
use crate::mailbox::directory::{Kept, Recovered};
use crate::mailbox::queue::{Effect, Policy, Removal};
use crate::mailbox::shared::SharedKept;
use crate::mailbox::{Completion, KeepStore, Refused, StoreError};
use crate::message::Message;
use crate::outbox::{self, Delivery, Overflow};
use crate::telemetry::{count, metrics};

/// All kept destinations of a node, and the subscriptions to them.
#[derive(Debug)]
pub struct KeptDestinations {
    queues: Queues,
    /// Lock order: queue, then this, then outbox.
    consumers: RwLock<Slab<Subscriber>>,
}

/// Where the messages lie.
#[derive(Debug)]
enum Queues {
    /// On this node.
    Alone(Kept<Consumer>),
    /// Where all nodes find them.
    Shared(SharedKept<Consumer>),
}

/// Names a subscription to a kept destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Consumer(usize);

/// Where a subscription to a kept destination sits.
#[derive(Debug)]
pub struct KeptSeat {
    name: Box<str>,
    consumer: Consumer,
}

impl KeptDestinations {
    pub(super) fn alone(limits: Mailbox, store: Arc<dyn KeepStore>) -> Self {
        Self { queues: Queues::Alone(Kept::new(limits, store)), consumers: RwLock::default() }
    }

    pub(super) fn shared(limits: Mailbox) -> Self {
        Self { queues: Queues::Shared(SharedKept::new(limits)), consumers: RwLock::default() }
    }

    pub(super) fn recover(&self, policies: &Policies) -> Result<Recovered, StoreError> {
        match &self.queues {
            Queues::Alone(queues) => queues.recover(unix_millis(), &|name| policies.of(name).kept),
            Queues::Shared(_) => Ok(Recovered::default()),
        }
    }

    /// Looks after what is shared; never ends.
    pub(super) async fn run(&self, cluster: &Cluster) {
        if let Queues::Shared(queues) = &self.queues {
            let effects = |effect| self.carry_out(effect);
            queues.run(&**cluster.store(), || cluster.boot(), unix_millis, &effects).await;
        }
    }

    /// Waits until the shared store knows what is proved.
    pub async fn told(&self) {
        if let Queues::Shared(queues) = &self.queues {
            queues.told().await;
        }
    }

    /// A message that the shared store keeps under this number.
    pub(super) fn arrive(&self, name: &str, seq: u64, bytes: Bytes, now_ms: u64) {
        let Queues::Shared(queues) = &self.queues else { return };
        if !queues.is_open(name) {
            return;
        }
        match mailbox::record::decode(Bytes::copy_from_slice(&bytes)) {
            Ok(message) => queues.arrive(name, seq, Arc::new(message), now_ms, &mut |effect| self.carry_out(effect)),
            Err(error) => tracing::error!(destination = name, seq, %error, "a kept message cannot be read"),
        }
    }

    pub(super) fn look_again(&self) {
        if let Queues::Shared(queues) = &self.queues {
            queues.look_again();
        }
    }

    pub(super) fn subscribe(
        &self,
        name: &str,
        policy: Policy,
        subscriber: Subscriber,
        handover: &mut Handover,
    ) -> Result<KeptSeat, Refused> {
        let consumer = Consumer(self.consumers.write().insert(subscriber));
        let subscribed = match &self.queues {
            Queues::Alone(queues) => {
                queues.subscribe(name, policy, consumer, unix_millis(), &mut |effect| self.carry_out(effect))
            }
            Queues::Shared(queues) => queues.subscribe(name, policy, consumer, handover.waiter()),
        };
        match subscribed {
            Ok(()) => Ok(KeptSeat { name: name.into(), consumer }),
            Err(refused) => {
                self.consumers.write().try_remove(consumer.0);
                Err(refused)
            }
        }
    }

    pub(super) fn unsubscribe(&self, seat: &KeptSeat, handover: &mut Handover) {
        let mut effects = |effect| self.carry_out(effect);
        match &self.queues {
            Queues::Alone(queues) => queues.unsubscribe(&seat.name, seat.consumer, &mut effects),
            Queues::Shared(queues) => {
                queues.unsubscribe(&seat.name, seat.consumer, handover.waiter(), &mut effects);
            }
        }
        let mut consumers = self.consumers.write();
        consumers.try_remove(seat.consumer.0);
        if consumers.is_empty() {
            consumers.shrink_to_fit();
        }
    }

    pub(super) fn settle(&self, seat: &KeptSeat, how: Settlement, seq: u64, handover: &mut Handover) {
        let mut effects = |effect| self.carry_out(effect);
        let (name, consumer) = (&*seat.name, seat.consumer);
        match (&self.queues, how) {
            (Queues::Alone(queues), Settlement::Ack) => queues.settle(name, consumer, &[seq], &mut effects),
            (Queues::Alone(queues), Settlement::Nack) => queues.reject(name, consumer, &[seq], &mut effects),
            (Queues::Shared(queues), Settlement::Ack) => {
                queues.settle(name, consumer, &[seq], handover.waiter(), &mut effects);
            }
            (Queues::Shared(queues), Settlement::Nack) => queues.reject(name, consumer, &[seq], &mut effects),
        }
    }

    /// Keeps a message on this node and delivers it to whoever is there; the frame is done when it is durable.
    pub(super) fn push(&self, policy: Policy, message: &Message, handover: &mut Handover) {
        let Queues::Alone(queues) = &self.queues else { return };
        let pending = handover.later();
        let done = completion(pending);
        let mut effects = |effect| self.carry_out(effect);
        if let Err(refused) = queues.push(&message.destination, policy, message, message.sent_at, done, &mut effects) {
            count(&metrics().messages_dropped, "kept-refused");
            handover.fail(Fault::new(FaultKind::Failed, format!("SEND to {:?}: {refused}", message.destination)));
        }
    }

    /// Gives up what has waited too long, in a part of the destinations.
    pub fn sweep(&self) {
        let mut effects = |effect| self.carry_out(effect);
        match &self.queues {
            Queues::Alone(queues) => queues.sweep(unix_millis(), SWEEP_BUDGET, &mut effects),
            Queues::Shared(queues) => queues.sweep(unix_millis(), &mut effects),
        }
    }

    /// What happens to kept messages, in numbers.
    #[must_use]
    pub const fn metrics(&self) -> &mailbox::directory::Metrics {
        match &self.queues {
            Queues::Alone(queues) => queues.metrics(),
            Queues::Shared(queues) => queues.metrics(),
        }
    }

    /// The store of this node alone, to be closed when the node ends.
    #[must_use]
    pub const fn store(&self) -> Option<&Arc<dyn KeepStore>> {
        match &self.queues {
            Queues::Alone(queues) => Some(queues.store()),
            Queues::Shared(_) => None,
        }
    }

    /// Runs under the lock of a queue.
    fn carry_out(&self, effect: Effect<Consumer>) {
        match effect {
            Effect::Deliver { to, seq, message, redelivered } => {
                let consumers = self.consumers.read();
                let Some(subscriber) = consumers.get(to.0) else { return };
                let kept = Some(outbox::Kept { seq, redelivered });
                let delivery = Delivery { message, to: subscriber.to, kept, overflow: Overflow::Close };
                // The window bounds what is handed out, so the outbox limit is not applied here; what cannot be
                // written stays kept.
                let _kept_anyway = subscriber.session.outbox.offer(delivery, usize::MAX);
                metrics().messages_delivered.inc();
            }
            Effect::Removed { why, .. } => match why {
                Removal::Settled => {}
                Removal::Expired => count(&metrics().messages_dropped, "kept-expired"),
                Removal::DroppedOldest => count(&metrics().messages_dropped, "kept-overflow"),
                Removal::TooManyDeliveries => count(&metrics().messages_dropped, "kept-rejected"),
            },
            Effect::Lagged { by, .. } => {
                if let Some(subscriber) = self.consumers.read().get(by.0) {
                    subscriber.session.outbox.close(CloseReason::SlowConsumer);
                }
            }
        }
    }
}

/// Kept destinations looked at in one sweep.
const SWEEP_BUDGET: usize = 1000;

fn completion(pending: Arc<Pending>) -> Completion {
    Box::new(move |stored| {
        if let Err(error) = stored {
            pending.fail_with(format!("the message could not be kept: {error}"));
        }
    })
}

/// Unix time in milliseconds.
pub(super) fn unix_millis() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
