//! SUBSCRIBE and its end.

use std::sync::Arc;

use stampede_protocol::stomp::session::{Settlement, Subscribe};
use stampede_protocol::stomp::{Fault, FaultKind};

use super::kept::KeptSeat;
use super::topics::{Seat, Subscriber};
use super::{Broker, Handover, SessionHandle};
use crate::destination::{Kind, Pattern, is_pattern};
use crate::outbox::SlotRef;
use crate::permissions::Target;
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

/// What a subscription means, under its canonical name.
enum Wanted<'a> {
    Exact(&'a str),
    Pattern(Pattern),
}

impl<'a> Wanted<'a> {
    fn new(name: &'a str, is_pattern: bool) -> Result<Self, Fault> {
        Ok(if is_pattern { Self::Pattern(pattern(name)?) } else { Self::Exact(name) })
    }

    const fn target(&self) -> Target<'_> {
        match self {
            Self::Exact(name) => Target::Exact(name),
            Self::Pattern(pattern) => Target::Pattern(pattern),
        }
    }
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
        let kind = self.destinations.subscription(destination);
        let placement = match &kind {
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
                    let wanted = Wanted::new(&name, is_pattern(rest))?;
                    self.may_subscribe(session, &kind, wanted.target())?;
                    (self.place(wanted, subscriber(true), handover)?, true)
                }
            },
            Kind::UserExplicit { .. } | Kind::Broker => {
                let wanted = Wanted::new(destination, is_pattern(destination))?;
                self.may_subscribe(session, &kind, wanted.target())?;
                (self.place(wanted, subscriber(false), handover)?, false)
            }
            Kind::Application(_) if let Some(route) = self.routes.find_subscribe(destination) => {
                // What a route answers is one destination, even if it is written like a pattern.
                self.may_subscribe(session, &kind, Target::Exact(destination))?;
                self.answer_subscribe(&route, session, to, subscribe, handover)?;
                (Placement::Answered, false)
            }
            Kind::Application(_) | Kind::Unknown => {
                self.may_subscribe_to_nothing(session, &kind, destination)?;
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
        if let Err(fault) = self.join_by_subscription(session, destination, handover) {
            self.release(&placement.0, &mut Handover::nobody());
            return Err(fault);
        }
        metrics().subscriptions_open.inc();
        Ok(placement)
    }

    /// A subscription that nothing will ever reach has no effect; one that tries to read others is refused all the same.
    fn may_subscribe_to_nothing(
        &self,
        session: &SessionHandle,
        kind: &Kind<'_>,
        destination: &str,
    ) -> Result<(), Fault> {
        match Pattern::parse(destination) {
            Ok(pattern) if is_pattern(destination) => self.may_subscribe(session, kind, Target::Pattern(&pattern)),
            _ => self.may_subscribe(session, kind, Target::Exact(destination)),
        }
    }

    fn place(&self, wanted: Wanted<'_>, subscriber: Subscriber, handover: &mut Handover) -> Result<Placement, Fault> {
        match wanted {
            Wanted::Exact(name) => self.place_exact(name, subscriber, handover),
            Wanted::Pattern(pattern) => {
                let name = Name::Pattern(pattern.as_str().into());
                let placement = Placement::Pattern(self.patterns.subscribe(pattern, subscriber));
                self.tell_cluster(|| Some(name), handover);
                Ok(placement)
            }
        }
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
