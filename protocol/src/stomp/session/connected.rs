//! What a connected session does with each frame.

use bytestring::ByteString;

use super::super::{Command, Fault, FaultKind, Frame, Version};
use super::acks::{self, AckId, Delivery, Ledger};
use super::request::{AckMode, Dropped, Request, Send, Settlement, Subscribe};
use super::subscriptions::{Subscription, Subscriptions};
use super::transactions::{self, Held, Transactions};
use super::{SessionLimits, exceeds, over_limit};

/// What the session keeps between CONNECTED and its end. Empty, it owns nothing on the heap.
#[derive(Debug)]
pub(super) struct Connected<T> {
    subscriptions: Subscriptions,
    /// There from the first delivery in an acknowledging mode or the first BEGIN on; most sessions see neither.
    rare: Option<Box<Rare<T>>>,
}

#[derive(Debug)]
struct Rare<T> {
    ledger: Ledger<T>,
    transactions: Transactions<T>,
}

/// What a frame is judged by.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms<'a> {
    pub(super) version: Version,
    pub(super) strict: bool,
    pub(super) limits: &'a SessionLimits,
}

impl Terms<'_> {
    /// The answer to a frame that Spring drops in silence: silence, unless the text of STOMP counts, or the client has
    /// `asked` for a confirmation of the frame or of the transaction it stands in.
    fn refuse<T>(&self, command: Command, why: Dropped, asked: bool) -> Result<Request<T>, Fault> {
        if self.strict || asked {
            return Err(Fault::new(why.kind(), format!("{command} {}", why.text())));
        }
        Ok(Request::Dropped { why })
    }
}

impl<T> Connected<T> {
    pub(super) fn new() -> Self {
        Self { subscriptions: Subscriptions::default(), rare: None }
    }

    /// Takes any frame of a client but CONNECT, STOMP and DISCONNECT, which change the state of the session.
    pub(super) fn handle(&mut self, terms: Terms<'_>, frame: Frame) -> Result<Request<T>, Fault> {
        let receipt = frame.header("receipt").cloned();
        match frame.command {
            Command::Send => self.send(terms, frame, receipt),
            Command::Subscribe => self.subscribe(terms, frame, receipt),
            Command::Unsubscribe => self.unsubscribe(terms, &frame, receipt),
            Command::Ack => self.settle(terms, Settlement::Ack, &frame, receipt),
            Command::Nack if terms.strict && terms.version == Version::V1_0 => {
                Err(Fault::new(FaultKind::UnknownCommand, "NACK is not a command of STOMP 1.0"))
            }
            Command::Nack => self.settle(terms, Settlement::Nack, &frame, receipt),
            Command::Begin | Command::Commit | Command::Abort => self.transaction(terms, &frame, receipt),
            other => Err(Fault::new(FaultKind::UnknownCommand, format!("{other} is not a command of clients"))),
        }
    }

    /// Opens a delivery, if its subscription wants it settled.
    pub(super) fn delivered(&mut self, version: Version, slot: u32, message_id: &str, token: T) -> Option<AckId> {
        let subscription = self.subscriptions.get(slot)?;
        if subscription.ack == AckMode::Auto {
            return None;
        }
        let handle = (version < Version::V1_2).then(|| ByteString::from(message_id));
        Some(self.rare().ledger.record(slot, handle, token))
    }

    /// Everything that nobody settled, oldest first.
    pub(super) fn into_unsettled(self) -> Vec<T> {
        let Some(mut rare) = self.rare else { return Vec::new() };
        let mut deliveries = rare.ledger.take_all();
        deliveries.extend(rare.transactions.take_deliveries());
        acks::tokens(deliveries)
    }

    pub(super) fn subscription(&self, slot: u32) -> Option<&Subscription> {
        self.subscriptions.get(slot)
    }

    /// Frees a slot to which nothing was delivered.
    pub(super) fn refuse(&mut self, slot: u32) {
        self.subscriptions.remove(slot);
    }

    fn send(&mut self, terms: Terms<'_>, frame: Frame, receipt: Option<ByteString>) -> Result<Request<T>, Fault> {
        let transaction = frame.header("transaction").cloned();
        let Some(destination) = destination(terms, &frame)? else {
            let asked = receipt.is_some() || transaction.is_some();
            return terms.refuse(Command::Send, Dropped::MissingDestination, asked);
        };
        let send = Send { destination, headers: frame.headers, body: frame.body, receipt };
        let Some(transaction) = transaction else { return Ok(Request::Send(send)) };
        let weight = transactions::weight(&send);
        let open = &mut self.rare().transactions;
        let position = open.room(&transaction, weight, terms.limits)?;
        open.hold(position, Held::Send(transactions::owned(&send)), weight);
        Ok(Request::Confirm { receipt: None })
    }

    fn subscribe(&mut self, terms: Terms<'_>, frame: Frame, receipt: Option<ByteString>) -> Result<Request<T>, Fault> {
        let asked = receipt.is_some();
        let refuse = |why| terms.refuse(Command::Subscribe, why, asked);
        let Some(destination) = destination(terms, &frame)? else { return refuse(Dropped::MissingDestination) };
        let id = frame.header("id").cloned();
        if id.is_none() && terms.version != Version::V1_0 {
            return refuse(Dropped::MissingId);
        }
        let id_bytes = id.as_deref().map_or(0, str::len);
        over_limit("octets of a subscription id", id_bytes, terms.limits.subscription_id_bytes)?;
        let ack = ack_mode(terms, &frame)?;
        if let Some(slot) = self.same_name(id.as_deref(), &destination) {
            let same =
                self.subscriptions.get(slot).is_some_and(|first| first.destination == destination && first.ack == ack);
            // Q08: the first wins, as in Spring. A client that repeats itself gets what it asked for.
            let repeated = same && (id.is_none() || !terms.strict);
            return if repeated { Ok(Request::Confirm { receipt }) } else { refuse(Dropped::IdInUse) };
        }
        let live = self.subscriptions.len() + 1;
        over_limit("live subscriptions", live, terms.limits.subscriptions)?;
        let since = self.rare.as_ref().map_or(0, |rare| rare.ledger.next_number());
        let subscription = Subscription::new(terms.version, id.as_deref(), &destination, ack, since);
        let Some(slot) = self.subscriptions.insert(subscription) else {
            return Err(exceeds("overlapping subscriptions", live, usize::from(u16::MAX) + 1));
        };
        Ok(Request::Subscribe(Subscribe { slot, id, destination, ack, headers: frame.headers, receipt }))
    }

    fn unsubscribe(
        &mut self,
        terms: Terms<'_>,
        frame: &Frame,
        receipt: Option<ByteString>,
    ) -> Result<Request<T>, Fault> {
        let slot = match (frame.header("id"), frame.header("destination")) {
            (Some(id), _) => self.subscriptions.with_id(id),
            (None, Some(destination)) if terms.version == Version::V1_0 => {
                self.subscriptions.nameless(destination).or_else(|| self.subscriptions.with_destination(destination))
            }
            _ => return terms.refuse(Command::Unsubscribe, Dropped::MissingId, receipt.is_some()),
        };
        let Some(slot) = slot.filter(|slot| self.subscriptions.remove(*slot).is_some()) else {
            if terms.strict {
                return Err(Fault::new(FaultKind::State, "UNSUBSCRIBE of a subscription that is not live"));
            }
            // Q09: what the client wants is so, nothing more comes under this id.
            return Ok(Request::Confirm { receipt });
        };
        let returned = self.rare.as_mut().map_or_else(Vec::new, |rare| acks::tokens(rare.ledger.take_slot(slot)));
        Ok(Request::Unsubscribe { slot, returned, receipt })
    }

    fn settle(
        &mut self,
        terms: Terms<'_>,
        how: Settlement,
        frame: &Frame,
        receipt: Option<ByteString>,
    ) -> Result<Request<T>, Fault> {
        let asked = receipt.is_some() || frame.header("transaction").is_some();
        let refuse = |why| terms.refuse(frame.command, why, asked);
        let weight = receipt.as_deref().map_or(0, str::len);
        let position = match frame.header("transaction") {
            Some(id) => Some(self.rare().transactions.room(id, weight, terms.limits)?),
            None => None,
        };
        if !names_a_delivery(terms, frame) {
            return refuse(Dropped::MissingId);
        }
        let deliveries = self.take_named(terms.version, frame);
        if deliveries.is_empty() && !self.is_forgotten(terms.version, frame) {
            return refuse(Dropped::NothingToSettle);
        }
        let Some(position) = position else {
            return Ok(Request::Settle { how, tokens: acks::tokens(deliveries), receipt });
        };
        let receipt = receipt.as_deref().map(ByteString::from);
        self.rare().transactions.hold(position, Held::Settle { how, deliveries, receipt }, weight);
        Ok(Request::Confirm { receipt: None })
    }

    fn transaction(
        &mut self,
        terms: Terms<'_>,
        frame: &Frame,
        receipt: Option<ByteString>,
    ) -> Result<Request<T>, Fault> {
        let Some(id) = frame.header("transaction") else {
            return terms.refuse(frame.command, Dropped::MissingTransaction, receipt.is_some());
        };
        let transactions = &mut self.rare().transactions;
        if frame.command == Command::Begin {
            transactions.begin(id, terms.limits)?;
            return Ok(Request::Confirm { receipt });
        }
        match (transactions.close(id), frame.command) {
            (Some(held), Command::Commit) => {
                Ok(Request::Commit { actions: held.into_iter().map(Held::into_action).collect(), receipt })
            }
            (Some(held), _) => Ok(Request::Abort { returned: self.reopen(held), receipt }),
            // What the client wants is so: nothing of that transaction takes effect.
            (None, Command::Abort) if !terms.strict => Ok(Request::Confirm { receipt }),
            (None, command) => {
                Err(Fault::new(FaultKind::State, format!("{command} of a transaction that is not open")))
            }
        }
    }

    /// Opens the deliveries of an aborted transaction again (clause T07); those whose subscription has ended are
    /// handed out.
    fn reopen(&mut self, held: Vec<Held<T>>) -> Vec<T> {
        let mut returned = Vec::new();
        for delivery in transactions::deliveries(held) {
            match self.subscriptions.get(delivery.id.slot()) {
                Some(subscription) if subscription.delivers(delivery.id.number()) => {
                    self.rare().ledger.give_back(delivery);
                }
                _ => returned.push(delivery),
            }
        }
        acks::tokens(returned)
    }

    /// Takes the deliveries that an ACK or NACK names at this version; none if they are not open.
    fn take_named(&mut self, version: Version, frame: &Frame) -> Vec<Delivery<T>> {
        let slot = self.named_slot(version, frame);
        let (Some(rare), Some(slot)) = (&mut self.rare, slot) else { return Vec::new() };
        let id = if version == Version::V1_2 {
            frame.header("id").and_then(|id| AckId::parse(id))
        } else {
            frame.header("message-id").and_then(|message_id| rare.ledger.of_message(message_id, slot))
        };
        let Some(id) = id else { return Vec::new() };
        let mode = self.subscriptions.get(id.slot()).map(|subscription| subscription.ack);
        rare.ledger.take(id, mode == Some(AckMode::Client))
    }

    /// Whether an ACK or NACK names a delivery that was open and is forgotten: there is nothing left to settle, but its
    /// client did no wrong.
    fn is_forgotten(&self, version: Version, frame: &Frame) -> bool {
        let Some(rare) = &self.rare else { return false };
        if version == Version::V1_2 {
            return frame.header("id").and_then(|id| AckId::parse(id)).is_some_and(|id| {
                let own = self.subscriptions.get(id.slot()).is_some_and(|own| own.delivers(id.number()));
                own && rare.ledger.may_have_forgotten(id)
            });
        }
        self.named_slot(version, frame).is_some_and(|slot| rare.ledger.has_forgotten(slot))
    }

    /// The slot that an ACK or NACK of 1.1 is for, `Some(None)` where it may be any; `None` when it is for none.
    fn named_slot(&self, version: Version, frame: &Frame) -> Option<Option<u32>> {
        match frame.header("subscription") {
            Some(id) if version == Version::V1_1 => self.subscriptions.with_id(id).map(Some),
            _ => Some(None),
        }
    }

    /// The live subscription that a SUBSCRIBE with this id would collide with. Without ids (1.0) it is the destination
    /// that tells subscriptions apart.
    fn same_name(&self, id: Option<&str>, destination: &str) -> Option<u32> {
        match id {
            Some(id) => self.subscriptions.with_id(id),
            None => self.subscriptions.nameless(destination),
        }
    }

    fn rare(&mut self) -> &mut Rare<T> {
        self.rare.get_or_insert_with(|| Box::new(Rare { ledger: Ledger::new(), transactions: Transactions::new() }))
    }
}

/// The destination of SEND or SUBSCRIBE; none if the header is missing or empty.
fn destination(terms: Terms<'_>, frame: &Frame) -> Result<Option<ByteString>, Fault> {
    let Some(destination) = frame.header("destination").filter(|destination| !destination.is_empty()) else {
        return Ok(None);
    };
    over_limit("octets of a destination", destination.len(), terms.limits.destination_bytes)?;
    Ok(Some(destination.clone()))
}

/// The `ack` header of SUBSCRIBE. Spring does not look at it, so outside strict mode a value without meaning is none.
fn ack_mode(terms: Terms<'_>, frame: &Frame) -> Result<AckMode, Fault> {
    let Some(text) = frame.header("ack") else { return Ok(AckMode::Auto) };
    match AckMode::parse(text) {
        Some(mode) => Ok(mode),
        None if terms.strict => Err(Fault::new(FaultKind::BadHeader, "ack must be auto, client or client-individual")),
        None => Ok(AckMode::Auto),
    }
}

/// Whether an ACK or NACK carries the headers that its version wants. The `subscription` of 1.1 is left out by a
/// common client (Q10), so only strict mode insists on it.
fn names_a_delivery(terms: Terms<'_>, frame: &Frame) -> bool {
    let has = |name| frame.header(name).is_some();
    match terms.version {
        Version::V1_0 => has("message-id"),
        Version::V1_1 => has("message-id") && (!terms.strict || has("subscription")),
        Version::V1_2 => has("id"),
    }
}
