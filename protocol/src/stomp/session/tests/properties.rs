//! Whatever a client sends, in whatever order: no panic, no table beyond its limit, no token lost or handed out twice.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

const LIMITS: SessionLimits = SessionLimits {
    subscriptions: 20,
    transactions: 2,
    transaction_frames: 5,
    transaction_bytes: 400,
    subscription_id_bytes: 4,
    destination_bytes: 12,
    receipt_bytes: 4,
};

/// One thing that happens to a session.
#[derive(Debug, Clone)]
enum Step {
    Frame(Frame),
    /// The broker hands a message to a slot.
    Deliver(u32, u8),
    /// The client settles one of the ids it was given.
    Ack {
        nack: bool,
        pick: usize,
        transaction: Option<String>,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let transaction = prop::option::weighted(0.4, "[xyz]");
    prop_oneof![
        6 => any_frame().prop_map(Step::Frame),
        3 => subscribe().prop_map(Step::Frame),
        6 => (0..22_u32, 0..4_u8).prop_map(|(slot, message)| Step::Deliver(slot, message)),
        4 => (any::<bool>(), 0..64_usize, transaction)
            .prop_map(|(nack, pick, transaction)| Step::Ack { nack, pick, transaction }),
    ]
}

fn subscribe() -> impl Strategy<Value = Frame> {
    ("[a-z]{1,2}", "/[ab*]", prop::sample::select(vec!["auto", "client", "client-individual"])).prop_map(
        |(id, destination, ack)| {
            Frame::new(Command::Subscribe).with("id", id).with("destination", destination).with("ack", ack)
        },
    )
}

fn any_frame() -> impl Strategy<Value = Frame> {
    let command = prop_oneof![
        1 => prop::sample::select(Command::ALL.to_vec()),
        // Most of what ends a session has to be rare, or nothing else happens in it.
        30 => prop::sample::select(vec![
            Command::Send,
            Command::Unsubscribe,
            Command::Begin,
            Command::Commit,
            Command::Abort,
        ]),
    ];
    let header = prop_oneof![
        "[a-z]{1,2}".prop_map(|id| ("id", id)),
        "(/user)?/[ab*]".prop_map(|destination| ("destination", destination)),
        "[xyz]".prop_map(|id| ("transaction", id)),
        "m[0-3](-1)?".prop_map(|id| ("message-id", id)),
        "[a-z]{1,2}".prop_map(|id| ("subscription", id)),
        Just(("accept-version", "1.2".to_owned())),
    ];
    let receipt = prop::option::weighted(0.1, "[a-z]{0,5}");
    (command, prop::collection::vec(header, 0..5), receipt).prop_map(|(command, headers, receipt)| {
        let mut frame = Frame::new(command);
        for (name, value) in headers {
            frame.headers.push(name, value);
        }
        if let Some(receipt) = receipt {
            frame.headers.push("receipt", receipt);
        }
        frame
    })
}

/// A session together with what its server knows.
struct Driven {
    config: SessionConfig,
    session: Session<u32>,
    /// Tokens that the session keeps.
    kept: BTreeSet<u32>,
    next_token: u32,
    /// Every ack id that was ever written, with the `message-id` of its MESSAGE.
    written: Vec<(AckId, String)>,
}

impl Driven {
    fn connected(version: Version, strict: bool) -> Self {
        let config = SessionConfig { strict, limits: LIMITS, ..SessionConfig::default() };
        let mut session = Session::new();
        let connect = Frame::new(Command::Connect).with("accept-version", version.as_str());
        session.handle(&config, connect).expect("a good CONNECT");
        session.accept(&config, None, "sid");
        Self { config, session, kept: BTreeSet::new(), next_token: 0, written: Vec::new() }
    }

    fn step(&mut self, step: Step) -> Result<(), TestCaseError> {
        let frame = match step {
            Step::Frame(frame) => frame,
            Step::Deliver(slot, message) => {
                self.deliver(slot, message);
                return Ok(());
            }
            Step::Ack { nack, pick, transaction } => {
                let mut frame = Frame::new(if nack { Command::Nack } else { Command::Ack });
                if let Some((id, message_id)) = self.written.get(pick % self.written.len().max(1)) {
                    frame = frame.with("id", id.to_string()).with("message-id", message_id.clone());
                }
                match transaction {
                    Some(transaction) => frame.with("transaction", transaction),
                    None => frame,
                }
            }
        };
        let had_receipt = frame.header("receipt").cloned();
        match self.session.handle(&self.config, frame) {
            Ok(request) => self.settle(request),
            Err(fault) => {
                prop_assert_eq!(fault.receipt, had_receipt);
                prop_assert!(!self.session.is_connected());
                Ok(())
            }
        }
    }

    fn deliver(&mut self, slot: u32, message: u8) {
        let message_id = format!("m{message}");
        let copy = self.session.subscription(slot).map_or(0, |subscription| subscription.copy);
        if let Some(id) = self.session.delivered(slot, &message_id, self.next_token) {
            let on_the_wire = if copy == 0 { message_id } else { format!("{message_id}-{copy}") };
            self.written.push((id, on_the_wire));
            self.kept.insert(self.next_token);
        }
        self.next_token += 1;
    }

    fn settle(&mut self, request: Request<u32>) -> Result<(), TestCaseError> {
        match request {
            Request::Settle { tokens, .. }
            | Request::Unsubscribe { returned: tokens, .. }
            | Request::Abort { returned: tokens, .. }
            | Request::Disconnect { returned: tokens, .. } => self.take(tokens),
            Request::Commit { actions, .. } => {
                prop_assert!(actions.len() <= LIMITS.transaction_frames);
                for action in actions {
                    if let Action::Settle { tokens, .. } = action {
                        self.take(tokens)?;
                    }
                }
                Ok(())
            }
            Request::Subscribe(Subscribe { slot, .. }) => {
                prop_assert!((slot as usize) < LIMITS.subscriptions);
                Ok(())
            }
            Request::Connect(_) => Err(TestCaseError::fail("a second CONNECT was granted")),
            Request::Send(_) | Request::Confirm { .. } | Request::Dropped { .. } => Ok(()),
        }
    }

    fn take(&mut self, tokens: Vec<u32>) -> Result<(), TestCaseError> {
        prop_assert!(tokens.is_sorted(), "{tokens:?} are not oldest first");
        for token in tokens {
            prop_assert!(self.kept.remove(&token), "{token} was not kept");
        }
        Ok(())
    }
}

proptest! {
    #[test]
    fn every_token_comes_out_exactly_once(
        steps in prop::collection::vec(step(), 0..120),
        version in prop::sample::select(Version::ALL.to_vec()),
        strict in any::<bool>(),
    ) {
        let mut driven = Driven::connected(version, strict);
        for step in steps {
            driven.step(step)?;
        }
        let rest = driven.session.end();
        driven.take(rest)?;
        prop_assert!(driven.kept.is_empty(), "{:?} are lost", driven.kept);
        prop_assert!(driven.session.end().is_empty());
    }

    #[test]
    fn copies_of_one_message_differ(subscribes in prop::collection::vec(subscribe(), 0..40)) {
        let mut driven = Driven::connected(Version::V1_2, false);
        for subscribe in subscribes {
            driven.step(Step::Frame(subscribe))?;
        }
        for destination in ["/a", "/b"] {
            let mut copies = BTreeSet::new();
            for slot in 0..LIMITS.subscriptions as u32 {
                let Some(subscription) = driven.session.subscription(slot) else { continue };
                if subscription.destination == destination || subscription.destination == "/*" {
                    prop_assert!(copies.insert(subscription.copy), "{:?} twice", subscription);
                }
            }
        }
    }
}
