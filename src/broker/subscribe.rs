//! SUBSCRIBE and its end.

use std::sync::Arc;

use stampede_protocol::stomp::session::{Settlement, Subscribe};
use stampede_protocol::stomp::{Fault, FaultKind};

use super::kept::KeptSeat;
use super::topics::{Seat, Subscriber};
use super::{Broker, Handover, SessionHandle};
use crate::destination::{Kind, Pattern, is_pattern};
use crate::outbox::SlotRef;
use crate::registry::Name;
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
    /// At a kept destination.
    Kept(KeptSeat),
    /// Answered once by a route, and never again.
    Answered,
    /// Nowhere: a destination that belongs to nobody, as in Spring.
    Nowhere,
}

impl Broker {
    /// Makes a subscription live; `handover` ends when every node knows. The second part of the result says that messages show the destination as
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
        handover: &mut Handover,
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
                // As in Spring: it would be the name of the user whose name has a slash there.
                Some(user) if user.contains("%2F") => {
                    return Err(Fault::new(
                        FaultKind::Failed,
                        "a user whose name holds %2F has no user destinations of its own",
                    ));
                }
                Some(user) => {
                    let name = self.destinations.user_destination(user, rest);
                    // Only what the client wrote makes a pattern: somebody called `*` is not everybody.
                    let place = if is_pattern(rest) { Self::place } else { Self::place_exact };
                    (place(self, &name, subscriber(true), handover)?, true)
                }
            },
            Kind::UserExplicit { .. } | Kind::Broker => (self.place(destination, subscriber(false), handover)?, false),
            Kind::Application(_) if let Some(route) = self.routes.find_subscribe(destination) => {
                self.answer_subscribe(&route, session, to, subscribe)?;
                (Placement::Answered, false)
            }
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
        if let Err(fault) = self.join_by_subscription(session, destination) {
            self.release(&placement.0, &mut Handover::nobody());
            return Err(fault);
        }
        metrics().subscriptions_open.inc();
        Ok(placement)
    }

    fn place(&self, name: &str, subscriber: Subscriber, handover: &mut Handover) -> Result<Placement, Fault> {
        if is_pattern(name) {
            let placement = Placement::Pattern(self.patterns.subscribe(pattern(name)?, subscriber));
            self.tell_cluster(|| Some(Name::Pattern(name.into())), handover);
            return Ok(placement);
        }
        self.place_exact(name, subscriber, handover)
    }

    fn place_exact(&self, name: &str, subscriber: Subscriber, handover: &mut Handover) -> Result<Placement, Fault> {
        let policy = self.policies.of(name);
        if let Some(kept) = policy.kept {
            let seat = self.kept.subscribe(name, kept, subscriber, handover);
            return seat
                .map(Placement::Kept)
                .map_err(|refused| Fault::new(FaultKind::Limit, format!("SUBSCRIBE to {name:?}: {refused}")));
        }
        let placement = Placement::Exact(self.topics.subscribe(name, subscriber, policy));
        self.tell_cluster(|| self.name_of(name), handover);
        Ok(placement)
    }

    /// Ends a subscription: nothing is delivered to it any more, and what it was handed without proof is kept again.
    /// `handover` ends when other nodes can see that.
    pub fn unsubscribe(&self, placement: &Placement, handover: &mut Handover) {
        self.release(placement, handover);
        metrics().subscriptions_open.dec();
    }

    /// A delivery of this subscription was consumed or refused.
    /// `handover` ends when other nodes can see that.
    pub fn settle(&self, placement: &Placement, how: Settlement, seq: u64, handover: &mut Handover) {
        if let Placement::Kept(seat) = placement {
            self.kept.settle(seat, how, seq, handover);
        }
    }

    fn release(&self, placement: &Placement, handover: &mut Handover) {
        match placement {
            Placement::Exact(seat) => {
                self.topics.unsubscribe(seat);
                self.untell_cluster(|| self.name_of(seat.name()));
            }
            Placement::Pattern(key) => {
                let pattern = self.patterns.unsubscribe(*key);
                self.untell_cluster(|| pattern.map(|pattern| Name::Pattern(pattern.as_str().into())));
            }
            Placement::Kept(seat) => self.kept.unsubscribe(seat, handover),
            Placement::Session | Placement::Answered | Placement::Nowhere => {}
        }
    }
}

/// A broken pattern is refused here, so that it can never hurt anybody else (`docs/differences.md`, P38).
fn pattern(text: &str) -> Result<Pattern, Fault> {
    Pattern::parse(text)
        .map_err(|error| Fault::new(FaultKind::Failed, format!("SUBSCRIBE to {text:?}: no usable pattern: {error}")))
}
