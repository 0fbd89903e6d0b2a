//! What a session asks of its server: one [`Request`] per frame.

use std::fmt;

use bytes::Bytes;
use bytestring::ByteString;

use super::super::{FaultKind, Headers, Version};

/// What one client frame means. A receipt is owed exactly once for each `receipt` in here, after the thing was done.
#[derive(Debug, PartialEq, Eq)]
pub enum Request<T> {
    /// CONNECT or STOMP: grant it with [`Session::accept`](super::Session::accept), or refuse it and close.
    Connect(Connect),
    /// Publish a message.
    Send(Send),
    /// Start a subscription; the session already knows it under its slot.
    Subscribe(Subscribe),
    /// End a subscription; the session has forgotten it and the slot may be used again.
    Unsubscribe {
        /// The slot that [`Subscribe`] named.
        slot: u32,
        /// Deliveries that nobody settled, oldest first; a later ACK for them is unknown (clause A24).
        returned: Vec<T>,
        /// The receipt to confirm.
        receipt: Option<ByteString>,
    },
    /// Settle deliveries, oldest first.
    Settle {
        /// Consumed or refused.
        how: Settlement,
        /// The tokens of the deliveries; in `client` mode one frame may settle many.
        tokens: Vec<T>,
        /// The receipt to confirm.
        receipt: Option<ByteString>,
    },
    /// Carry out a transaction: all of it or nothing (clause T15).
    Commit {
        /// What it held, in the order it came. Each has its own receipt, due now (clause R12).
        actions: Vec<Action<T>>,
        /// The receipt of COMMIT itself, after those of the actions.
        receipt: Option<ByteString>,
    },
    /// ABORT of an open transaction: its messages are discarded and its deliveries are open again.
    Abort {
        /// Deliveries that cannot be opened again because their subscription has ended meanwhile, oldest first.
        returned: Vec<T>,
        /// The receipt to confirm.
        receipt: Option<ByteString>,
    },
    /// Nothing to do but to confirm, once everything before is done.
    Confirm {
        /// The receipt to confirm.
        receipt: Option<ByteString>,
    },
    /// The frame has no effect and gets no answer; count it.
    Dropped {
        /// What was wrong with it.
        why: Dropped,
    },
    /// The session is over in order: end its subscriptions, confirm, close.
    Disconnect {
        /// The receipt to confirm before closing.
        receipt: Option<ByteString>,
        /// Deliveries that nobody settled, oldest first, those of open transactions included (clauses T13, A02).
        returned: Vec<T>,
    },
}

/// One step of a committed transaction.
#[derive(Debug, PartialEq, Eq)]
pub enum Action<T> {
    /// Publish a message; [`Send::receipt`] is due at COMMIT (clause R12).
    Send(Send),
    /// Settle deliveries.
    Settle {
        /// Consumed or refused.
        how: Settlement,
        /// The tokens of the deliveries, oldest first.
        tokens: Vec<T>,
        /// The receipt of the ACK or NACK, due at COMMIT.
        receipt: Option<ByteString>,
    },
}

/// A CONNECT or STOMP frame, its version already chosen.
///
/// `Debug` leaves out `passcode` and the headers, so that a log line cannot leak credentials.
#[derive(Clone, PartialEq, Eq)]
pub struct Connect {
    /// The highest version in common.
    pub version: Version,
    /// The `login` header.
    pub login: Option<ByteString>,
    /// The `passcode` header.
    pub passcode: Option<ByteString>,
    /// The `host` header; whether it must be there and known is the server's decision (clauses C09, C10).
    pub host: Option<ByteString>,
    /// Every header as it came.
    pub headers: Headers,
}

impl fmt::Debug for Connect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connect")
            .field("version", &self.version)
            .field("login", &self.login)
            .field("host", &self.host)
            .finish_non_exhaustive()
    }
}

/// A message to publish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Send {
    /// Where to, as it came: nothing folded, trimmed or decoded (clause S03).
    pub destination: ByteString,
    /// Every header as it came, `destination`, `receipt` and `transaction` included; what of them travels on is the
    /// server's decision (clause S08).
    pub headers: Headers,
    /// The body, untouched.
    pub body: Bytes,
    /// The receipt to confirm once the message is taken.
    pub receipt: Option<ByteString>,
}

/// A subscription to start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscribe {
    /// Its index in the session, used again after UNSUBSCRIBE.
    pub slot: u32,
    /// The `id` header; only 1.0 may leave it out (clause U03).
    pub id: Option<ByteString>,
    /// What is subscribed to, as it came.
    pub destination: ByteString,
    /// How deliveries are settled.
    pub ack: AckMode,
    /// Every header as it came.
    pub headers: Headers,
    /// The receipt to confirm once the subscription is active (clause U21).
    pub receipt: Option<ByteString>,
}

/// The `ack` header of SUBSCRIBE.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AckMode {
    /// A message counts as consumed when it is sent.
    #[default]
    Auto,
    /// An ACK covers its message and every earlier one of the same subscription.
    Client,
    /// An ACK covers its message.
    ClientIndividual,
}

impl AckMode {
    /// The mode with exactly this name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "auto" => Some(Self::Auto),
            "client" => Some(Self::Client),
            "client-individual" => Some(Self::ClientIndividual),
            _ => None,
        }
    }
}

/// How a delivery was settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settlement {
    /// ACK: consumed.
    Ack,
    /// NACK: not consumed.
    Nack,
}

/// Why a frame had no effect. Outside strict mode these are silent, as they are in Spring, unless the frame asked for
/// a receipt or stood in a transaction: then they are faults, because a confirmation would be a lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dropped {
    /// SEND or SUBSCRIBE without `destination` (clauses S01, U01).
    MissingDestination,
    /// SUBSCRIBE, UNSUBSCRIBE, ACK or NACK without the header that names its subject (clauses U02, U15, A08 to A10).
    MissingId,
    /// BEGIN, COMMIT or ABORT without `transaction` (clauses T01, T02).
    MissingTransaction,
    /// SUBSCRIBE with an id that a different live subscription has (clause U05).
    IdInUse,
    /// ACK or NACK of a delivery that is not open: never made, settled, automatic, or its subscription has ended
    /// (clauses A11, A13 to A15, A24).
    NothingToSettle,
    /// Any frame after DISCONNECT or after a fault (clauses D05, E07).
    SessionOver,
}

impl Dropped {
    /// A short stable name for metrics and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::MissingDestination => "missing-destination",
            Self::MissingId => "missing-id",
            Self::MissingTransaction => "missing-transaction",
            Self::IdInUse => "id-in-use",
            Self::NothingToSettle => "nothing-to-settle",
            Self::SessionOver => "session-over",
        }
    }

    /// The kind of fault it is when it is one.
    pub(super) const fn kind(self) -> FaultKind {
        match self {
            Self::MissingDestination | Self::MissingId | Self::MissingTransaction => FaultKind::BadHeader,
            Self::IdInUse | Self::NothingToSettle | Self::SessionOver => FaultKind::State,
        }
    }

    /// What the ERROR frame says behind the command.
    pub(super) const fn text(self) -> &'static str {
        match self {
            Self::MissingDestination => "without a destination header",
            Self::MissingId => "without the header that names its subject",
            Self::MissingTransaction => "without a transaction header",
            Self::IdInUse => "with the id of another live subscription",
            Self::NothingToSettle => "of a delivery that is not open",
            Self::SessionOver => "after the end of the session",
        }
    }
}
