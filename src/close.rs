//! Every way a session can end. One list feeds the log field, the metric label, the WebSocket code and the ERROR text.

use stampede_protocol::stomp::{Fault, FaultKind};

/// Why a session ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CloseReason {
    /// The client sent DISCONNECT and left.
    Disconnected,
    /// The client closed the transport without DISCONNECT.
    ClosedByPeer,
    /// The connection broke.
    Lost,
    /// The client broke the transport's rules.
    TransportViolation,
    /// One transport message was larger than allowed.
    MessageTooBig,
    /// The client broke the rules of STOMP, or may not do what it asked.
    Fault(FaultKind),
    /// Nothing came within three heart-beat periods.
    HeartBeatMissed,
    /// CONNECT did not come in time.
    ConnectTimeout,
    /// The client read too slowly: its outbox was full, or the socket took nothing for `send_time_limit`.
    SlowConsumer,
    /// What proved who the client is has expired, and nothing newer came.
    Expired,
    /// The user or the token was revoked.
    Revoked,
    /// The node is shutting down.
    Drain,
}

impl CloseReason {
    /// Every label of [`CloseReason::label`], for the metric.
    pub const LABELS: [&'static str; 19] = [
        "disconnected",
        "closed-by-peer",
        "lost",
        "transport-violation",
        "message-too-big",
        "malformed",
        "limit",
        "unknown-command",
        "bad-header",
        "state",
        "version",
        "forbidden",
        "failed",
        "heart-beat-missed",
        "connect-timeout",
        "slow-consumer",
        "expired",
        "revoked",
        "drain",
    ];

    /// A short stable name.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Disconnected => "disconnected",
            Self::ClosedByPeer => "closed-by-peer",
            Self::Lost => "lost",
            Self::TransportViolation => "transport-violation",
            Self::MessageTooBig => "message-too-big",
            Self::Fault(kind) => kind.as_str(),
            Self::HeartBeatMissed => "heart-beat-missed",
            Self::ConnectTimeout => "connect-timeout",
            Self::SlowConsumer => "slow-consumer",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
            Self::Drain => "drain",
        }
    }

    /// The WebSocket or SockJS close code. 1002 after any ERROR and 4500 for slow readers are Spring's;
    /// 1013 asks a client to come back later (registry of RFC 6455).
    #[must_use]
    pub const fn code(&self) -> u16 {
        match self {
            Self::Disconnected | Self::ClosedByPeer | Self::Lost => 1000,
            Self::Fault(_)
            | Self::HeartBeatMissed
            | Self::ConnectTimeout
            | Self::TransportViolation
            | Self::Expired
            | Self::Revoked => 1002,
            Self::MessageTooBig => 1009,
            Self::SlowConsumer => 4500,
            Self::Drain => 1001,
        }
    }

    /// The reason text of the close frame.
    #[must_use]
    pub const fn text(&self) -> &'static str {
        match self {
            Self::SlowConsumer => "Failed to send message within the configured send limit",
            Self::ConnectTimeout => "No CONNECT within the configured time",
            _ => "",
        }
    }
}

impl From<&Fault> for CloseReason {
    fn from(fault: &Fault) -> Self {
        Self::Fault(fault.kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_a_listed_label() {
        use CloseReason as R;
        let kinds = [
            FaultKind::Malformed,
            FaultKind::Limit,
            FaultKind::UnknownCommand,
            FaultKind::BadHeader,
            FaultKind::State,
            FaultKind::Version,
            FaultKind::Forbidden,
            FaultKind::Failed,
        ];
        let reasons = [
            R::Disconnected,
            R::ClosedByPeer,
            R::Lost,
            R::TransportViolation,
            R::MessageTooBig,
            R::HeartBeatMissed,
            R::ConnectTimeout,
            R::SlowConsumer,
            R::Expired,
            R::Revoked,
            R::Drain,
        ];
        let all: Vec<_> = kinds.into_iter().map(R::Fault).chain(reasons).collect();
        assert_eq!(all.len(), R::LABELS.len());
        for reason in all {
            assert!(R::LABELS.contains(&reason.label()), "{reason:?}");
        }
    }
}
