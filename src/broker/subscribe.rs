//! SUBSCRIBE and its end.

use std::sync::Arc;

use stampede_protocol::stomp::session::{Settlement, Subscribe};
use stampede_protocol::stomp::{Fault, FaultKind};

use super::topics::{Seat, Subscriber};
use super::{Broker, SessionHandle};
use crate::destination::{Kind, Pattern, is_pattern};
use crate::outbox::SlotRef;
use crate::telemetry::{count, metrics};

/// Where a subscription sits; given back to [`Broker::unsubscribe`].
#[derive(Debug)]
pub enum Placement {
    /// Among the subscribers of one destination.
    Exact(Seat),
    /// Among the patterns.
    Pattern(usize),
    /// Only the session itself knows it: an anonymous session's own queue.
    Session,
    /// Nowhere: a destination that belongs to nobody, as in Spring.
    Nowhere,
}

impl Broker {
    /// Makes a subscription live. The second part of the result says that messages show the destination as
    /// `/user/queue/…`.
    ///
    /// # Errors
    ///
    /// When the destination cannot be subscribed to.
    pub fn subscribe(
        &self,
        session: &Arc<SessionHandle>,
        to: SlotRef,
        subscribe: &Subscribe,
        strict: bool,
    ) -> Result<(Placement, bool), Fault> {
        let destination = &*subscribe.destination;
        let subscriber = |own| Subscriber { session: Arc::clone(session), to, own };
        let placement = match self.destinations.subscription(destination) {
            Kind::UserOwn(rest) => match session.user() {
                None if is_pattern(rest) => {
                    pattern(rest)?;
                    (Placement::Session, true)
                }
                None => (Placement::Session, true),
                Some(user) if is_pattern(rest) && is_pattern(user) => {
                    return Err(Fault::new(
                        FaultKind::Failed,
                        "a user whose name holds wildcards cannot subscribe to a pattern of user destinations",
                    ));
                }
                Some(user) => (self.place(&self.destinations.user_destination(user, rest), subscriber(true))?, true),
            },
            Kind::UserExplicit { .. } | Kind::Broker => (self.place(destination, subscriber(false))?, false),
            Kind::Application(_) | Kind::Unknown => {
                count(&metrics().frames_dropped, "no-such-destination");
                // Spring ignores it in silence; who asked for a receipt is told the truth.
                if strict || subscribe.receipt.is_some() {
                    return Err(Fault::new(
                        FaultKind::Failed,
                        format!("SUBSCRIBE to {destination:?}: no such destination is configured"),
                    ));
                }
                (Placement::Nowhere, false)
            }
        };
        metrics().subscriptions_open.inc();
        Ok(placement)
    }

    fn place(&self, name: &str, subscriber: Subscriber) -> Result<Placement, Fault> {
        if is_pattern(name) {
            return Ok(Placement::Pattern(self.patterns.subscribe(pattern(name)?, subscriber)));
        }
        Ok(Placement::Exact(self.topics.subscribe(name, subscriber, || self.policies.of(name))))
    }

    /// Ends a subscription: nothing is delivered to it any more.
    pub fn unsubscribe(&self, placement: &Placement) {
        match placement {
            Placement::Exact(seat) => self.topics.unsubscribe(seat),
            Placement::Pattern(key) => self.patterns.unsubscribe(*key),
            Placement::Session | Placement::Nowhere => {}
        }
        metrics().subscriptions_open.dec();
    }
}

impl Broker {
    /// A delivery of this subscription was consumed or refused.
    pub fn settle(&self, _placement: &Placement, _how: Settlement, _seq: u64) {}
}

/// A broken pattern is refused here, so that it can never hurt anybody else (`spring-parity.md` 13.2).
fn pattern(text: &str) -> Result<Pattern, Fault> {
    Pattern::parse(text)
        .map_err(|error| Fault::new(FaultKind::Failed, format!("SUBSCRIBE to {text:?}: no usable pattern: {error}")))
}
