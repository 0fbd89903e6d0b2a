//! Open transactions: what they hold until COMMIT.

use bytes::Bytes;
use bytestring::ByteString;

use super::super::{Fault, FaultKind};
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
    /// What it is charged for in memory: its id, and of each frame what has to be kept.
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

/// What holding a SEND is charged for: octets and the table of its headers.
pub(super) fn weight(send: &Send) -> usize {
    let headers: usize = send.headers.iter().map(|(name, value)| HEADER_ENTRY + name.len() + value.len()).sum();
    headers + send.body.len()
}

/// The same message in memory of its own. What was decoded are slices of read buffers, and a small message that waits
/// for COMMIT would keep the whole buffer that it came in.
pub(super) fn owned(send: &Send) -> Send {
    let text: String = send.headers.iter().flat_map(|(name, value)| [&**name, &**value]).collect();
    let text = ByteString::from(text);
    let mut rest = &*text;
    let mut next = |len: usize| {
        let (head, tail) = rest.split_at(len);
        rest = tail;
        text.slice_ref(head)
    };
    let headers = send.headers.iter().map(|(name, value)| (next(name.len()), next(value.len()))).collect();
    Send {
        destination: ByteString::from(&*send.destination),
        headers,
        body: Bytes::copy_from_slice(&send.body),
        receipt: send.receipt.as_deref().map(ByteString::from),
    }
}

/// What one entry of a header table takes besides its text.
const HEADER_ENTRY: usize = size_of::<(ByteString, ByteString)>();

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_held_message_keeps_no_read_buffer() {
        let chunk = Bytes::from(vec![b'x'; 4096]);
        let text = ByteString::try_from(chunk.slice(..3)).expect("it is text");
        let send = Send {
            destination: text.clone(),
            headers: [("destination", text.clone()), ("", ByteString::new()), ("é", text.clone())]
                .into_iter()
                .collect(),
            body: chunk.slice(..2),
            receipt: Some(text.clone()),
        };
        let held = owned(&send);
        assert_eq!(held, send);
        drop((send, text));
        assert!(chunk.is_unique());
    }
}
