//! Kept destinations: mailboxes and work queues, between the queues and the outboxes.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use parking_lot::RwLock;
use slab::Slab;
use stampede_protocol::stomp::session::Settlement;
use stampede_protocol::stomp::{Fault, FaultKind};

use super::policy::Policies;
use super::topics::Subscriber;
use super::{Handover, Pending};
use crate::close::CloseReason;
use crate::config::mailbox::Mailbox;
use crate::mailbox;
use crate::mailbox::directory::{Kept, Recovered};
use crate::mailbox::queue::{Effect, Policy, Removal};
use crate::mailbox::{Completion, KeepStore, Refused, StoreError};
use crate::message::Message;
use crate::outbox::{self, Delivery, Overflow};
use crate::telemetry::{count, metrics};

/// All kept destinations of a node, and the subscriptions to them.
#[derive(Debug)]
pub struct KeptDestinations {
    queues: Kept<Consumer>,
    /// Lock order: queue, then this, then outbox.
    consumers: RwLock<Slab<Subscriber>>,
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
    pub(super) fn new(limits: Mailbox, store: Arc<dyn KeepStore>) -> Self {
        Self { queues: Kept::new(limits, store), consumers: RwLock::default() }
    }

    pub(super) fn recover(&self, policies: &Policies) -> Result<Recovered, StoreError> {
        self.queues.recover(unix_millis(), &|name| policies.of(name).kept)
    }

    pub(super) fn subscribe(&self, name: &str, policy: Policy, subscriber: Subscriber) -> Result<KeptSeat, Refused> {
        let consumer = Consumer(self.consumers.write().insert(subscriber));
        match self.queues.subscribe(name, policy, consumer, unix_millis(), &mut |effect| self.carry_out(effect)) {
            Ok(()) => Ok(KeptSeat { name: name.into(), consumer }),
            Err(refused) => {
                self.consumers.write().try_remove(consumer.0);
                Err(refused)
            }
        }
    }

    pub(super) fn unsubscribe(&self, seat: &KeptSeat) {
        self.queues.unsubscribe(&seat.name, seat.consumer, &mut |effect| self.carry_out(effect));
        let mut consumers = self.consumers.write();
        consumers.try_remove(seat.consumer.0);
        if consumers.is_empty() {
            consumers.shrink_to_fit();
        }
    }

    pub(super) fn settle(&self, seat: &KeptSeat, how: Settlement, seq: u64) {
        let mut effects = |effect| self.carry_out(effect);
        match how {
            Settlement::Ack => self.queues.settle(&seat.name, seat.consumer, &[seq], &mut effects),
            Settlement::Nack => self.queues.reject(&seat.name, seat.consumer, &[seq], &mut effects),
        }
    }

    /// Keeps a message and delivers it to whoever is there; the frame is done when it is durable.
    pub(super) fn push(&self, policy: Policy, message: &Message, handover: &mut Handover) {
        let pending = handover.later();
        let done = completion(pending);
        let mut effects = |effect| self.carry_out(effect);
        if let Err(refused) =
            self.queues.push(&message.destination, policy, message, message.sent_at, done, &mut effects)
        {
            count(&metrics().messages_dropped, "kept-refused");
            handover.fail(Fault::new(FaultKind::Failed, format!("SEND to {:?}: {refused}", message.destination)));
        }
    }

    /// Gives up what has waited too long, in a part of the destinations.
    pub fn sweep(&self) {
        self.queues.sweep(unix_millis(), SWEEP_BUDGET, &mut |effect| self.carry_out(effect));
    }

    /// What happens to kept messages, in numbers.
    #[must_use]
    pub fn metrics(&self) -> &mailbox::directory::Metrics {
        self.queues.metrics()
    }

    /// The store, to be closed when the node ends.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn KeepStore> {
        self.queues.store()
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
