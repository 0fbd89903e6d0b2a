//! What happened, in order, and whether it was allowed to.

use std::collections::BTreeMap;

use stampede::destination::Pattern;

/// Everything that clients asked for and got.
#[derive(Default)]
pub(super) struct History {
    clock: u64,
    pub(super) sent: Vec<Sent>,
    pub(super) subscriptions: Vec<Subscription>,
    /// Whether connections broke, confirms got lost or nodes died: then something may come twice.
    pub(super) had_faults: bool,
}

/// A message.
#[derive(Debug)]
pub(super) struct Sent {
    destination: String,
    by: String,
    at: u64,
    pub(super) confirmed: bool,
    pub(super) failed: bool,
    id: Option<String>,
}

/// A subscription, as long as it lasted.
#[derive(Debug)]
pub(super) struct Subscription {
    pub(super) destination: String,
    user: Option<String>,
    /// When its receipt came.
    confirmed: Option<u64>,
    ended: bool,
    pub(super) received: Vec<usize>,
}

impl Sent {
    pub(super) fn new(destination: &str, by: String) -> Self {
        Self { destination: destination.to_owned(), by, at: 0, confirmed: false, failed: false, id: None }
    }

    fn is_kept(&self) -> bool {
        self.destination.ends_with("/kept")
    }
}

impl Subscription {
    pub(super) fn new(destination: String, user: Option<String>) -> Self {
        Self { destination, user, confirmed: None, ended: false, received: Vec::new() }
    }

    pub(super) const fn is_confirmed(&self) -> bool {
        self.confirmed.is_some()
    }

    fn wants(&self, sent: &Sent) -> bool {
        self.destination == sent.destination
            || Pattern::parse(&self.destination).is_ok_and(|pattern| pattern.matches(&sent.destination))
    }
}

impl History {
    fn now(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    pub(super) fn send(&mut self, sent: Sent) -> usize {
        let at = self.now();
        self.sent.push(Sent { at, ..sent });
        self.sent.len() - 1
    }

    pub(super) fn subscribe(&mut self, subscription: Subscription) -> usize {
        self.subscriptions.push(subscription);
        self.subscriptions.len() - 1
    }

    pub(super) fn subscribed(&mut self, subscription: usize) {
        let now = self.now();
        self.subscriptions[subscription].confirmed = Some(now);
    }

    pub(super) fn confirmed(&mut self, sent: usize) {
        self.sent[sent].confirmed = true;
    }

    pub(super) fn failed(&mut self, sent: usize) {
        self.sent[sent].failed = true;
    }

    pub(super) fn end(&mut self, subscriptions: impl IntoIterator<Item = usize>) {
        for subscription in subscriptions {
            self.subscriptions[subscription].ended = true;
        }
    }

    pub(super) fn receive(&mut self, subscription: usize, number: usize, id: &str) {
        let known = self.sent[number].id.get_or_insert_with(|| id.to_owned());
        assert_eq!(known, id, "message {number} came with two ids");
        self.subscriptions[subscription].received.push(number);
    }

    /// Fails the test when something happened that must not, or did not happen that must.
    pub(super) fn check(&self) {
        for (number, subscription) in self.subscriptions.iter().enumerate() {
            self.check_received(number, subscription);
            if !subscription.ended {
                self.check_complete(number, subscription);
            }
        }
        self.check_kept();
    }

    fn check_received(&self, number: usize, subscription: &Subscription) {
        let mut last: BTreeMap<(&str, &str), usize> = BTreeMap::new();
        let mut seen = std::collections::BTreeSet::new();
        for &message in &subscription.received {
            let sent = &self.sent[message];
            assert!(subscription.wants(sent), "subscription {number} {subscription:?} got {sent:?}");
            if !seen.insert(message) {
                assert!(self.had_faults, "subscription {number} got message {message} twice: {subscription:?}");
                continue;
            }
            // What was sent before it began may come late, from the queue of a dead node.
            let is_owed = sent.is_kept() || subscription.confirmed.is_some_and(|at| at < sent.at);
            if is_owed && let Some(before) = last.insert((&sent.by, &sent.destination), message) {
                assert!(before < message, "subscription {number} got {message} after {before}: {subscription:?}");
            }
        }
    }

    fn check_complete(&self, number: usize, subscription: &Subscription) {
        assert!(subscription.is_confirmed(), "subscription {number} never got its receipt: {subscription:?}");
        for (message, sent) in self.sent.iter().enumerate() {
            let is_owed = sent.confirmed && subscription.confirmed.is_some_and(|at| at < sent.at);
            if is_owed && subscription.wants(sent) {
                // What another subscription has proved is gone when this one comes late to it.
                let elsewhere = self.had_faults && sent.is_kept() && self.was_received(message);
                let got = elsewhere || subscription.received.contains(&message);
                assert!(got, "message {message} {sent:?} never reached subscription {number} {subscription:?}");
            }
        }
    }

    fn was_received(&self, message: usize) -> bool {
        self.subscriptions.iter().any(|subscription| subscription.received.contains(&message))
    }

    /// What was confirmed came to the user, on one subscription or another.
    fn check_kept(&self) {
        for (message, sent) in self.sent.iter().enumerate().filter(|(_, sent)| sent.confirmed && sent.is_kept()) {
            let mut there =
                self.subscriptions.iter().filter(|subscription| subscription.destination == sent.destination);
            let (mut asked, mut got) = (false, false);
            for subscription in there.by_ref() {
                asked |= !subscription.ended && subscription.user.is_some();
                got |= subscription.received.contains(&message);
            }
            assert!(got || !asked, "kept message {message} {sent:?} was lost");
        }
    }
}
