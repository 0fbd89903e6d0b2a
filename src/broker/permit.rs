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
        let own = if session.own_rules.load(Ordering::Acquire) { session.identity() } else { None };
        let own = own.as_ref().and_then(|identity| identity.permissions.as_deref());
        let claims = || session.claims();
        let asking = Asking::new(session.user().map(|user| &**user), session.id.as_str(), &claims);
        self.gate.ask(own, verb, kind, target, &asking).map_err(|denial| {
            let refused = Refused { verb: verb.key(), by: denial.by };
            metrics().frames_forbidden.get_or_create(&refused).inc();
            Fault::new(FaultKind::Forbidden, denial.message)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use stampede_protocol::stomp::Headers;
    use stampede_protocol::stomp::session::{AckMode, Send, Subscribe};

    use super::*;
    use crate::broker::{Behind, BrokerConfig, Handover, Identity, Policies};
    use crate::config::permissions::{Effect, RuleConfig};
    use crate::config::{mailbox, rooms as rooms_config};
    use crate::destination::Destinations;
    use crate::ids::{MessageIds, NodeId};
    use crate::mailbox::memory::MemoryStore;
    use crate::outbox::{Overflow, SlotRef};
    use crate::permissions::{Gate, Permissions, Profile};
    use crate::rooms::{MemoryRooms, RoomRules, Rooms};
    use crate::routes::Routes;

    fn broker(profile: Profile) -> Broker {
        let node = NodeId::random();
        let config = BrokerConfig {
            destinations: Destinations::default(),
            policies: Policies::new(&[], Overflow::Close, "", "").unwrap(),
            outbox_limit: 1 << 20,
            gate: Gate::new(Permissions::default(), profile, true, &Destinations::default()),
            routes: Routes::default(),
            rooms: Rooms::new(RoomRules::default(), MemoryRooms::new(rooms_config::RoomsConfig::default())),
            mailbox: mailbox::Mailbox::default(),
            ids: MessageIds::new(&node),
            revocations: Arc::new(crate::revocation::file::FileRevocations::default()),
        };
        Broker::new(node, config, Behind::Store(Arc::new(MemoryStore::default()))).unwrap()
    }

    fn user(name: &str, rules: &[(&str, Effect)]) -> Arc<SessionHandle> {
        let rules: Vec<RuleConfig> = rules
            .iter()
            .map(|(pattern, effect)| RuleConfig {
                pattern: (*pattern).to_owned(),
                send: Some(*effect),
                subscribe: Some(*effect),
                ..RuleConfig::default()
            })
            .collect();
        let permissions = Permissions::of_user(&rules, &Destinations::default()).unwrap();
        let permissions = (!permissions.is_empty()).then(|| Arc::new(permissions));
        let session = SessionHandle::for_test();
        session.identify(Identity { name: Some(name.into()), permissions, ..Identity::default() });
        session
    }

    fn send(to: &str) -> Send {
        Send { destination: to.into(), headers: Headers::new(), body: Bytes::new(), receipt: None }
    }

    #[test]
    fn rules_of_a_user_hold_for_its_sessions_alone() {
        let broker = broker(Profile::Guarded);
        let bot = user("bot", &[("/topic/prices/**", Effect::Allow)]);
        let ann = user("ann", &[]);
        assert!(broker.send(&bot, send("/topic/prices/a"), false, None).is_ok());
        assert!(broker.check(&bot, &send("/topic/prices/a")).is_ok());
        for refused in [
            broker.send(&bot, send("/topic/other"), false, None),
            broker.send(&ann, send("/topic/prices/a"), false, None),
            broker.check(&ann, &send("/topic/prices/a")),
        ] {
            assert_eq!(refused.unwrap_err().kind, FaultKind::Forbidden);
        }
    }

    /// Also where every other SEND passes without being looked at.
    #[test]
    fn rules_of_a_user_close_what_the_profile_opens() {
        let broker = broker(Profile::Spring);
        let kiosk = user("kiosk", &[("/**", Effect::Deny)]);
        assert!(broker.send(&user("ann", &[]), send("/topic/a"), false, None).is_ok());
        let fault = broker.send(&kiosk, send("/topic/a"), false, None).unwrap_err();
        assert_eq!(&*fault.message, "SEND to \"/topic/a\": forbidden by a rule of this user \"/**\"");
        let subscribe = Subscribe {
            slot: 0,
            id: None,
            destination: "/user/queue/x".into(),
            ack: AckMode::Auto,
            headers: Headers::new(),
            receipt: None,
        };
        let to = SlotRef { slot: 0, generation: 0 };
        let refused = broker.subscribe(&kiosk, to, &subscribe, false, &mut Handover::nobody());
        assert_eq!(refused.unwrap_err().kind, FaultKind::Forbidden);
        // What is known of the user may be renewed, and its rules with it.
        kiosk.identify(Identity::default());
        assert!(broker.send(&kiosk, send("/topic/a"), false, None).is_ok());
    }
}
