//! Open transactions: what they hold until COMMIT.

use bytestring::ByteString;

use super::super::{Fault, FaultKind, Headers};
use super::acks::{self, Delivery};
use super::request::{Action, Send, Settlement};
use super::{SessionLimits, over_limit};

/// The open transactions of one session. Few by limit, so they are found by looking at each.
#[derive(Debug)]
pub(super) struct Transactions<T> {
    open: Vec<Transaction<T>>,
}

#[derive(Debug)]
struct Transaction<T> {
    id: ByteString,
    held: Vec<Held<T>>,
    /// What it is charged for in memory: its id, and of each SEND the headers and the body.
    bytes: usize,
}

/// One frame of a transaction.
#[derive(Debug)]
pub(super) enum Held<T> {
    Send(Send),
    Settle { how: Settlement, deliveries: Vec<Delivery<T>>, receipt: Option<ByteString> },
}

impl<T> Transactions<T> {
    pub(super) const fn new() -> Self {
        Self { open: Vec::new() }
    }

    /// BEGIN.
    ///
    /// # Errors
    ///
    /// The id is open already (clause T08), or a limit is passed.
    pub(super) fn begin(&mut self, id: &str, limits: &SessionLimits) -> Result<(), Fault> {
        if self.position(id).is_some() {
            return Err(Fault::new(FaultKind::State, "BEGIN of a transaction that is open already"));
        }
        over_limit("open transactions", self.open.len() + 1, limits.transactions)?;
        over_limit("octets held by transactions", self.bytes() + id.len(), limits.transaction_bytes)?;
        self.open.push(Transaction { id: ByteString::from(id), held: Vec::new(), bytes: id.len() });
        Ok(())
    }

    /// COMMIT or ABORT: closes the transaction and hands out what it held, in order.
    pub(super) fn close(&mut self, id: &str) -> Option<Vec<Held<T>>> {
        let position = self.position(id)?;
        Some(self.open.remove(position).held)
    }

    /// Whether a frame of `bytes` octets may still be held by the transaction with this id.
    ///
    /// # Errors
    ///
    /// The transaction is unknown (clause T11), or a limit is passed.
    pub(super) fn room(&self, id: &str, bytes: usize, limits: &SessionLimits) -> Result<usize, Fault> {
        let position = self
            .position(id)
            .ok_or_else(|| Fault::new(FaultKind::State, "the frame names a transaction that is not open"))?;
        let frames = self.open.iter().map(|transaction| transaction.held.len()).sum::<usize>();
        over_limit("frames held by transactions", frames + 1, limits.transaction_frames)?;
        over_limit("octets held by transactions", self.bytes() + bytes, limits.transaction_bytes)?;
        Ok(position)
    }

    /// Holds a frame of `bytes` octets in the transaction that [`Transactions::room`] found.
    pub(super) fn hold(&mut self, position: usize, held: Held<T>, bytes: usize) {
        if let Some(transaction) = self.open.get_mut(position) {
            transaction.held.push(held);
            transaction.bytes += bytes;
        }
    }

    /// Every delivery that an open transaction holds; all transactions end.
    pub(super) fn take_deliveries(&mut self) -> Vec<Delivery<T>> {
        self.open.drain(..).flat_map(|transaction| deliveries(transaction.held)).collect()
    }

    fn bytes(&self) -> usize {
        self.open.iter().map(|transaction| transaction.bytes).sum()
    }

    fn position(&self, id: &str) -> Option<usize> {
        self.open.iter().position(|transaction| transaction.id == id)
    }
}

impl<T> Held<T> {
    pub(super) fn into_action(self) -> Action<T> {
        match self {
            Self::Send(send) => Action::Send(send),
            Self::Settle { how, deliveries, receipt } => {
                Action::Settle { how, tokens: acks::tokens(deliveries), receipt }
            }
        }
    }
}

/// The deliveries among what a transaction held.
pub(super) fn deliveries<T>(held: Vec<Held<T>>) -> impl Iterator<Item = Delivery<T>> {
    held.into_iter().flat_map(|held| match held {
        Held::Send(_) => Vec::new(),
        Held::Settle { deliveries, .. } => deliveries,
    })
}

/// What holding a SEND is charged for.
pub(super) fn weight(send: &Send) -> usize {
    send.body.len() + headers_weight(&send.headers)
}

fn headers_weight(headers: &Headers) -> usize {
    headers.iter().map(|(name, value)| name.len() + value.len()).sum()
}
