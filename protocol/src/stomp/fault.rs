//! What a peer did wrong, and the ERROR frame that tells it.

use bytestring::ByteString;

use super::{Command, Frame, Version};

/// One mistake of the peer. After a fault the session answers with [`Fault::to_frame`] and ends.
///
/// ```
/// use stampede_protocol::stomp::{Fault, FaultKind};
///
/// let fault = Fault::new(FaultKind::BadHeader, "SEND without destination").with_receipt(Some("r1".into()));
/// let error = fault.to_frame();
/// assert_eq!(error.header("message").map(|text| &**text), Some("SEND without destination"));
/// assert_eq!(error.header("receipt-id").map(|id| &**id), Some("r1"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Fault {
    /// What sort of mistake; the label of the metric.
    pub kind: FaultKind,
    /// One short line for the `message` header: what was refused and, for limits, the limit and the actual value.
    pub message: ByteString,
    /// The `receipt` the bad frame carried, if its head could be read.
    pub receipt: Option<ByteString>,
}

/// The sorts of mistakes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FaultKind {
    /// Octets that are not a frame: no boundary is known any more.
    Malformed,
    /// A bound of [`crate::Limits`] or of the session was passed.
    Limit,
    /// A command that does not exist, or that clients may not send.
    UnknownCommand,
    /// A required header is missing or has no meaning.
    BadHeader,
    /// A frame that does not fit the state: before CONNECT, a second CONNECT, an unknown id.
    State,
    /// No version in common.
    Version,
    /// The peer may not do this.
    Forbidden,
    /// The frame was right but could not be carried out.
    Failed,
}

impl FaultKind {
    /// A short stable name for metrics and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Limit => "limit",
            Self::UnknownCommand => "unknown-command",
            Self::BadHeader => "bad-header",
            Self::State => "state",
            Self::Version => "version",
            Self::Forbidden => "forbidden",
            Self::Failed => "failed",
        }
    }
}

impl Fault {
    /// A fault of this kind with this one-line text.
    pub fn new(kind: FaultKind, message: impl Into<ByteString>) -> Self {
        Self { kind, message: message.into(), receipt: None }
    }

    /// The same fault, naming the `receipt` that the bad frame asked for.
    #[must_use]
    pub fn with_receipt(mut self, receipt: Option<ByteString>) -> Self {
        self.receipt = self.receipt.or(receipt);
        self
    }

    /// The ERROR frame: `message`, `receipt-id` when a receipt was asked, `version` with the supported list when
    /// there was no version in common (STOMP 1.2, "ERROR" and "Protocol Negotiation").
    #[must_use]
    pub fn to_frame(&self) -> Frame {
        let mut frame = Frame::new(Command::Error).with("message", self.message.clone());
        if let Some(receipt) = &self.receipt {
            frame.headers.push("receipt-id", receipt.clone());
        }
        if self.kind == FaultKind::Version {
            frame.headers.push("version", Version::ALL.map(Version::as_str).join(","));
            frame.headers.push("content-type", "text/plain");
            frame.body =
                format!("Supported protocol versions are {}", Version::ALL.map(Version::as_str).join(", ")).into();
        }
        frame
    }
}
