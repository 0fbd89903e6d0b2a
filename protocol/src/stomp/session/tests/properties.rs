//! Whatever a client sends, in whatever order: no panic, no table beyond its limit, no token lost or handed out twice.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

const LIMITS: SessionLimits = SessionLimits {
    subscriptions: 20,
    transactions: 2,
    transaction_frames: 5,
    transaction_bytes: 600,
    subscription_id_bytes: 4,
    destination_bytes: 12,
    receipt_bytes: 4,
};

/// One thing that happens to a session. What is picked is picked from what the session has then, so that most steps
/// fit its state.
#[derive(Debug, Clone)]
enum Step {
    /// Any frame, fitting or not; most of them end the session.
    Wild(Frame),
    Subscribe(Frame),
    Unsubscribe {
        pick: usize,
    },
    /// The broker hands a message to a subscription.
    Deliver {
        pick: usize,
        message: u8,
    },
    /// The client settles one of the deliveries it was given.
    Settle {
        command: Command,
        pick: usize,
        in_transaction: bool,
    },
    Begin,
    Close {
        command: Command,
        pick: usize,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let pick = 0..1000_usize;
    let settling = prop::sample::select(vec![Command::Ack, Command::Nack]);
    let closing = prop::sample::select(vec![Command::Commit, Command::Abort]);
    prop_oneof![
        2 => any_frame().prop_map(Step::Wild),
        20 => subscribe().prop_map(Step::Subscribe),
        6 => pick.clone().prop_map(|pick| Step::Unsubscribe { pick }),
        30 => (pick.clone(), 0..200_u8).prop_map(|(pick, message)| Step::Deliver { pick, message }),
        15 => (settling, pick.clone(), any::<bool>())
            .prop_map(|(command, pick, in_transaction)| Step::Settle { command, pick, in_transaction }),
        6 => Just(Step::Begin),
        4 => (closing, pick).prop_map(|(command, pick)| Step::Close { command, pick }),
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
    let command = prop::sample::select(Command::ALL.to_vec());
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

/// A session together with what its server and its client know.
struct Driven {
    config: SessionConfig,
    session: Session<u32>,
    /// Tokens that the session keeps.
    kept: BTreeSet<u32>,
    next_token: u32,
    /// Deliveries the client has not settled yet: ack id, `message-id`, `subscription`.
    given: Vec<(AckId, String, String)>,
    /// Open transactions.
    open: Vec<String>,
    begun: u32,
}

impl Driven {
    fn connected(version: Version, strict: bool) -> Self {
        let config = SessionConfig { strict, limits: LIMITS, ..SessionConfig::default() };
        let mut session = Session::new();
        let connect = Frame::new(Command::Connect).with("accept-version", version.as_str());
        session.handle(&config, connect).expect("a good CONNECT");
        session.accept(&config, None, "sid");
        let (given, open) = (Vec::new(), Vec::new());
        Self { config, session, kept: BTreeSet::new(), next_token: 0, given, open, begun: 0 }
    }

    fn step(&mut self, step: Step) -> Result<(), TestCaseError> {
        let frame = match step {
            Step::Wild(frame) | Step::Subscribe(frame) => frame,
            Step::Unsubscribe { pick } => {
                let Some(slot) = self.live(pick) else { return Ok(()) };
                let id = self.session.subscription(slot).and_then(|subscription| subscription.id.clone());
                Frame::new(Command::Unsubscribe).with("id", id.unwrap_or_default())
            }
            Step::Deliver { pick, message } => {
                self.deliver(pick, message);
                return Ok(());
            }
            Step::Settle { command, pick, in_transaction } => {
                if self.given.is_empty() {
                    return Ok(());
                }
                let (id, message, subscription) = self.given.swap_remove(pick % self.given.len());
                let frame = Frame::new(command)
                    .with("id", id.to_string())
                    .with("message-id", message)
                    .with("subscription", subscription);
                match self.open.first() {
                    Some(transaction) if in_transaction => frame.with("transaction", transaction.clone()),
                    _ => frame,
                }
            }
            Step::Begin if self.open.len() < LIMITS.transactions => {
                self.begun += 1;
                self.open.push(self.begun.to_string());
                Frame::new(Command::Begin).with("transaction", self.begun.to_string())
            }
            Step::Begin => return Ok(()),
            Step::Close { command, pick } => {
                if self.open.is_empty() {
                    return Ok(());
                }
                Frame::new(command).with("transaction", self.open.swap_remove(pick % self.open.len()))
            }
        };
        let asked = frame.header("receipt").cloned();
        match self.session.handle(&self.config, frame) {
            Ok(request) => self.settle(request),
            Err(fault) => {
                prop_assert_eq!(fault.receipt, asked);
                prop_assert!(!self.session.is_connected());
                Ok(())
            }
        }
    }

    /// The slot of one of the live subscriptions.
    fn live(&self, pick: usize) -> Option<u32> {
        let slots: Vec<u32> = (0..64).filter(|slot| self.session.subscription(*slot).is_some()).collect();
        slots.get(pick % slots.len().max(1)).copied()
    }

    fn deliver(&mut self, pick: usize, message: u8) {
        let Some(slot) = self.live(pick) else { return };
        let Some(Subscription { id, copy, .. }) = self.session.subscription(slot).cloned() else { return };
        let message_id = if copy == 0 { format!("m{message}") } else { format!("m{message}-{copy}") };
        if let Some(ack) = self.session.delivered(slot, &message_id, self.next_token) {
            self.given.push((ack, message_id, id.unwrap_or_default().to_string()));
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
        steps in prop::collection::vec(step(), 0..150),
        version in prop::sample::select(Version::ALL.to_vec()),
        strict in prop::bool::weighted(0.2),
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
            driven.step(Step::Subscribe(subscribe))?;
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
