//! One message to many outboxes.

use std::sync::Arc;

use super::topics::Subscriber;
use super::{Broker, Handover, SessionHandle};
use crate::message::Message;
use crate::outbox::{Delivery, Overflow};
use crate::telemetry::{count, metrics};

impl Broker {
    /// Puts a message into the outbox of everyone who wants it, and keeps it where the policy says so; never waits. With `only_own_of`, subscriptions of the
    /// form `/user/queue/…` count only if they are that session's.
    pub(super) fn deliver(
        &self,
        message: Arc<Message>,
        only_own_of: Option<&Arc<SessionHandle>>,
        handover: &mut Handover,
    ) {
        let topic = self.topics.find(&message.destination);
        let policy = match &topic {
            Some(topic) => topic.policy,
            None => self.policies.of(&message.destination),
        };
        if let (Some(kept), None) = (policy.kept, &self.cluster) {
            self.kept.push(kept, &message, handover);
        }
        let to_all = || {
            let mut delivered = 0;
            let mut offer = |subscriber: &Subscriber| {
                if subscriber.own && only_own_of.is_some_and(|session| !Arc::ptr_eq(session, &subscriber.session)) {
                    return;
                }
                delivered += self.offer(subscriber, &message, policy.overflow);
            };
            if let Some(topic) = &topic {
                topic.for_each(&mut offer);
            }
            self.patterns.for_each_match(&message.destination, &mut offer);
            delivered
        };
        let delivered = self.in_order(&message, to_all);
        metrics().messages_published.inc();
        metrics().messages_delivered.inc_by(delivered);
        if let Some(cluster) = &self.cluster {
            self.relay(cluster, &message, policy, only_own_of.is_some(), delivered > 0, handover);
        }
    }

    /// Puts a message of another node into the outbox of everyone here who wants it; gives their number.
    pub(super) fn deliver_here(&self, message: &Arc<Message>, by_name_only: bool) -> u64 {
        let topic = self.topics.find(&message.destination);
        let overflow =
            topic.as_ref().map_or_else(|| self.policies.of(&message.destination), |topic| topic.policy).overflow;
        let to_all = || {
            let mut delivered = 0;
            let mut offer = |subscriber: &Subscriber| {
                if !(subscriber.own && by_name_only) {
                    delivered += self.offer(subscriber, message, overflow);
                }
            };
            if let Some(topic) = &topic {
                topic.for_each(&mut offer);
            }
            self.patterns.for_each_match(&message.destination, &mut offer);
            delivered
        };
        let delivered = self.in_order(message, to_all);
        metrics().messages_delivered.inc_by(delivered);
        delivered
    }

    /// Delivers, but for a list of members that is older than one that was delivered.
    fn in_order(&self, message: &Message, deliver: impl FnOnce() -> u64) -> u64 {
        match &message.list {
            Some(list) => self.lists.unless_older(list, &message.destination, deliver),
            None => deliver(),
        }
    }

    /// Puts a message into one outbox; says whether it is there.
    fn offer(&self, subscriber: &Subscriber, message: &Arc<Message>, overflow: Overflow) -> u64 {
        let delivery = Delivery { message: Arc::clone(message), to: subscriber.to, kept: None, overflow };
        match subscriber.session.outbox.offer(delivery, self.outbox_limit) {
            Ok(0) => 1,
            Ok(dropped) => {
                metrics()
                    .messages_dropped
                    .get_or_create(&crate::telemetry::Label { reason: "overflow" })
                    .inc_by(dropped);
                1
            }
            Err(_) => {
                count(&metrics().messages_dropped, "slow-consumer");
                0
            }
        }
    }
}
