//! What clients may do: every frame of theirs that would have an effect passes here, and nothing that the server publishes.

use std::sync::atomic::Ordering;

use stampede_protocol::stomp::{Fault, FaultKind};

use super::{Broker, SessionHandle};
use crate::destination::Kind;
use crate::permissions::{Asking, Target, Verb};
use crate::telemetry::{Refused, metrics};

impl Broker {
    /// Whether a client may send there.
    pub(super) fn may_send(&self, session: &SessionHandle, kind: &Kind<'_>, destination: &str) -> Result<(), Fault> {
        // All there is to it where every SEND may pass.
        if self.gate.is_open() && !session.own_rules.load(Ordering::Acquire) {
            return Ok(());
        }
        self.may(session, Verb::Send, kind, Target::Exact(destination))
    }

    /// Whether a client may subscribe; `target` is the canonical name.
    pub(super) fn may_subscribe(
        &self,
        session: &SessionHandle,
        kind: &Kind<'_>,
        target: Target<'_>,
    ) -> Result<(), Fault> {
        self.may(session, Verb::Subscribe, kind, target)
    }

    /// Whether a frame that was refused with this fault leaves its session as it was.
    #[must_use]
    pub fn stays_open(&self, fault: &Fault) -> bool {
        fault.kind == FaultKind::Forbidden && !self.gate.closes()
    }

    fn may(&self, session: &SessionHandle, verb: Verb, kind: &Kind<'_>, target: Target<'_>) -> Result<(), Fault> {
        let own = session.identity().and_then(|identity| identity.permissions.clone());
        let claims = || session.claims();
        let asking = Asking::new(session.user().map(|user| &**user), session.id.as_str(), &claims);
        self.gate.ask(own.as_deref(), verb, kind, target, &asking).map_err(|denial| {
            let refused = Refused { verb: verb.key(), by: denial.by };
            metrics().frames_forbidden.get_or_create(&refused).inc();
            Fault::new(FaultKind::Forbidden, denial.message)
        })
    }
}
