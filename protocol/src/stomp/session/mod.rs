//! The server's side of one STOMP session, from CONNECT to DISCONNECT.

mod acks;
mod connected;
mod request;
mod subscriptions;
#[cfg(test)]
mod tests;
mod transactions;

use std::mem;

use bytestring::ByteString;

use super::heartbeat::{Agreed, HeartBeat, agree};
use super::{Command, Fault, FaultKind, Frame, Version};
use connected::{Connected, Terms};

pub use acks::{AckId, MAX_OPEN_DELIVERIES};
pub use request::{AckMode, Action, Connect, Dropped, Request, Send, Settlement, Subscribe};
pub use subscriptions::Subscription;

/// One session: client frames go in, a [`Request`] for the server comes out of each.
///
/// `T` is the server's handle of one delivery. The session keeps it from [`Session::delivered`] until an ACK or NACK
/// settles it, or until its subscription or the session ends; every token that was kept comes out exactly once.
///
/// ```text
///          CONNECT                accept()               DISCONNECT
/// Fresh ────────────▶ Greeting ─────────────▶ Connected ────────────▶ Over
///   │  any other         │  any frame             │  a fault            │  CONNECT
///   ▼  frame             ▼                        ▼                     ▼
///  Failed ◀──────────────┴────────────────────────┴─────────────────────┘
/// ```
///
/// A fault ends the session: write [`Fault::to_frame`], close, and collect what is open with [`Session::end`]. Frames
/// behind a fault or behind DISCONNECT have no effect.
///
/// Frames that Spring's simple broker drops in silence (a SEND without `destination`, an ACK of nothing, …) become
/// [`Request::Dropped`]. When such a frame asked for a receipt, or stands in a transaction, it is a fault instead,
/// because the client waits for a confirmation that would be a lie. With [`SessionConfig::strict`] it always is.
///
/// In a transaction the receipts of SEND, ACK and NACK wait for COMMIT and never come after ABORT (clause R12).
///
/// ```
/// use stampede_protocol::stomp::session::{Request, Session, SessionConfig};
/// use stampede_protocol::stomp::{Command, Frame};
///
/// # fn main() -> Result<(), stampede_protocol::stomp::Fault> {
/// let config = SessionConfig::default();
/// let mut session = Session::<u64>::new();
///
/// let connect = Frame::new(Command::Connect).with("accept-version", "1.1,1.2").with("host", "example.org");
/// let Request::Connect(connect) = session.handle(&config, connect)? else { panic!("CONNECT is a request") };
/// assert_eq!(connect.host.as_deref(), Some("example.org"));
/// let connected = session.accept(&config, Some("bob"), "session-1");
/// assert_eq!(connected.header("version").map(|v| &**v), Some("1.2"));
///
/// let subscribe = Frame::new(Command::Subscribe).with("id", "0").with("destination", "/queue/a").with("ack", "client");
/// let Request::Subscribe(subscribe) = session.handle(&config, subscribe)? else { panic!("so is SUBSCRIBE") };
///
/// // The broker hands out a message under the token 77; MESSAGE carries the ack id, the client sends it back.
/// let ack = session.delivered(subscribe.slot, "message-1", 77).expect("a client subscription acknowledges");
/// let ack = Frame::new(Command::Ack).with("id", ack.to_string());
/// let Request::Settle { tokens, .. } = session.handle(&config, ack)? else { panic!("so is ACK") };
/// assert_eq!(tokens, [77]);
///
/// let disconnect = Frame::new(Command::Disconnect).with("receipt", "bye");
/// let Request::Disconnect { receipt, returned } = session.handle(&config, disconnect)? else { panic!("and this") };
/// assert_eq!(receipt.as_deref(), Some("bye"));
/// assert!(returned.is_empty());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Session<T> {
    version: Version,
    agreed: Agreed,
    state: State<T>,
}

#[derive(Debug)]
enum State<T> {
    /// Nothing was read yet.
    Fresh,
    /// CONNECT was read; the server decides.
    Greeting { client: HeartBeat },
    /// CONNECTED was written.
    Connected(Connected<T>),
    /// DISCONNECT was read.
    Over,
    /// The client broke a rule.
    Failed { unsettled: Vec<T> },
}

/// How the server wants its sessions.
#[derive(Debug, Clone, Default)]
pub struct SessionConfig {
    /// Whether the text of the STOMP specifications wins over the habits of Spring's simple broker.
    pub strict: bool,
    /// What the server can do and wants.
    pub heart_beat: HeartBeat,
    /// The `server` header of CONNECTED, written in strict mode only. CONNECTED knows no escapes and some clients
    /// misread a colon in it, so a value with one is left out.
    pub server: Option<ByteString>,
    /// What one session may hold.
    pub limits: SessionLimits,
}

/// What one session may hold; beyond it the session ends with a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionLimits {
    /// Live subscriptions. Default 1000.
    pub subscriptions: usize,
    /// Open transactions. Default 16.
    pub transactions: usize,
    /// SEND, ACK and NACK frames held by all open transactions together. Default 1000.
    pub transaction_frames: usize,
    /// Octets held by all open transactions together: bodies, headers with 64 octets for each, ids. Default 4 MiB.
    pub transaction_bytes: usize,
    /// The `id` of a subscription in octets. Default 256.
    pub subscription_id_bytes: usize,
    /// The `destination` of SEND and SUBSCRIBE in octets. Default 1024.
    pub destination_bytes: usize,
    /// A `receipt` in octets. Default 1024.
    pub receipt_bytes: usize,
}

impl Default for SessionLimits {
    fn default() -> Self {
        Self {
            subscriptions: 1000,
            transactions: 16,
            transaction_frames: 1000,
            transaction_bytes: 4 * 1024 * 1024,
            subscription_id_bytes: 256,
            destination_bytes: 1024,
            receipt_bytes: 1024,
        }
    }
}

impl<T> Session<T> {
    /// A session before its first frame; allocates nothing.
    #[must_use]
    pub fn new() -> Self {
        Self { version: Version::V1_2, agreed: Agreed::default(), state: State::Fresh }
    }

    /// Takes the next frame of the client. Between [`Request::Connect`] and [`Session::accept`] the caller holds further
    /// frames back: they are served after CONNECTED (clause C15).
    ///
    /// # Errors
    ///
    /// The frame broke a rule or a limit; the session is over. The fault names the frame's receipt (clause E04).
    pub fn handle(&mut self, config: &SessionConfig, frame: Frame) -> Result<Request<T>, Fault> {
        let receipt = frame.header("receipt").cloned();
        self.dispatch(config, frame).map_err(|fault| {
            self.state = State::Failed { unsettled: self.end() };
            fault.with_receipt(receipt)
        })
    }

    /// Forms CONNECTED and lets the session begin; call it once, after [`Request::Connect`] was granted.
    ///
    /// The headers are Spring's: `version`, `heart-beat` with the server's own pair, `user-name` if there is a user.
    /// `session` follows in 1.0, which shows it (clause C06), and with `server` in strict mode.
    pub fn accept(&mut self, config: &SessionConfig, user_name: Option<&str>, session_id: &str) -> Frame {
        if let State::Greeting { client } = self.state {
            self.agreed = agree(client, config.heart_beat);
            self.state = State::Connected(Connected::new());
        }
        let mut frame = Frame::new(Command::Connected)
            .with("version", self.version.as_str())
            .with("heart-beat", config.heart_beat.to_string());
        if let Some(user_name) = user_name {
            frame = frame.with("user-name", user_name);
        }
        if config.strict || self.version == Version::V1_0 {
            frame = frame.with("session", session_id);
        }
        match &config.server {
            Some(server) if config.strict && !server.contains(':') => frame.with("server", server.clone()),
            _ => frame,
        }
    }

    /// Records that a message goes to a subscription. `None`: nothing will settle it, because the subscription is
    /// `auto` (a message counts as consumed when it is sent, clause A01) or not live; the token is not kept.
    ///
    /// In 1.2 the text of the id is the `ack` header of MESSAGE. 1.0 and 1.1 acknowledge by `message_id`: the
    /// `message-id` of MESSAGE as the client sees it, with the subscription's `copy` behind it.
    pub fn delivered(&mut self, slot: u32, message_id: &str, token: T) -> Option<AckId> {
        match &mut self.state {
            State::Connected(connected) => connected.delivered(self.version, slot, message_id, token),
            _ => None,
        }
    }

    /// Takes back a subscription that was not granted: its id is free again. Call it instead of delivering anything to the
    /// slot of a [`Request::Subscribe`].
    pub fn refuse(&mut self, slot: u32) {
        if let State::Connected(connected) = &mut self.state {
            connected.refuse(slot);
        }
    }

    /// Ends the session whatever its state, for lost connections and faults: the tokens of every delivery that nobody
    /// settled, oldest first.
    pub fn end(&mut self) -> Vec<T> {
        match mem::replace(&mut self.state, State::Over) {
            State::Connected(connected) => connected.into_unsettled(),
            State::Failed { unsettled } => unsettled,
            State::Fresh | State::Greeting { .. } | State::Over => Vec::new(),
        }
    }

    /// The version that was agreed on. Before CONNECT it is 1.2, the version that an ERROR is then written in.
    #[must_use]
    pub const fn version(&self) -> Version {
        self.version
    }

    /// Whether CONNECTED was written and the session has not ended.
    #[must_use]
    pub const fn is_connected(&self) -> bool {
        matches!(self.state, State::Connected(_))
    }

    /// The heart-beats that were agreed on; none before CONNECTED.
    #[must_use]
    pub const fn agreed(&self) -> Agreed {
        self.agreed
    }

    /// The live subscription in this slot.
    #[must_use]
    pub fn subscription(&self, slot: u32) -> Option<&Subscription> {
        match &self.state {
            State::Connected(connected) => connected.subscription(slot),
            _ => None,
        }
    }

    fn dispatch(&mut self, config: &SessionConfig, frame: Frame) -> Result<Request<T>, Fault> {
        let is_connect = matches!(frame.command, Command::Connect | Command::Stomp);
        match &mut self.state {
            State::Failed { .. } => Ok(Request::Dropped { why: Dropped::SessionOver }),
            State::Fresh if is_connect => self.connect(config, frame),
            State::Fresh => Err(Fault::new(FaultKind::State, format!("{} before CONNECT", frame.command))),
            _ if is_connect => Err(Fault::new(FaultKind::State, "Session already exists")),
            State::Greeting { .. } => Err(Fault::new(FaultKind::State, format!("{} before CONNECTED", frame.command))),
            // Spring still serves a SEND here; STOMP says that nothing may follow, and one client sends UNSUBSCRIBE.
            State::Over => Ok(Request::Dropped { why: Dropped::SessionOver }),
            State::Connected(connected) => {
                let receipt = frame.header("receipt");
                over_limit(
                    "octets of a receipt",
                    receipt.map_or(0, |receipt| receipt.len()),
                    config.limits.receipt_bytes,
                )?;
                if frame.command == Command::Disconnect {
                    let receipt = receipt.cloned();
                    return Ok(Request::Disconnect { receipt, returned: self.end() });
                }
                let terms = Terms { version: self.version, strict: config.strict, limits: &config.limits };
                connected.handle(terms, frame)
            }
        }
    }

    fn connect(&mut self, config: &SessionConfig, frame: Frame) -> Result<Request<T>, Fault> {
        let version = match frame.header("accept-version") {
            None => Version::V1_0,
            Some(list) => Version::highest_in(list)
                .ok_or_else(|| Fault::new(FaultKind::Version, "no version of accept-version is supported"))?,
        };
        // 1.0 has no heart-beats, but a client that sends the header of 1.1 wants them (clause B15).
        let client = match frame.header("heart-beat") {
            None => HeartBeat::NONE,
            Some(pair) => HeartBeat::parse(pair, config.strict)?,
        };
        self.version = version;
        self.state = State::Greeting { client };
        Ok(Request::Connect(Connect {
            version,
            login: frame.header("login").cloned(),
            passcode: frame.header("passcode").cloned(),
            host: frame.header("host").cloned(),
            headers: frame.headers,
        }))
    }
}

impl<T> Default for Session<T> {
    fn default() -> Self {
        Self::new()
    }
}

fn over_limit(what: &str, actual: usize, allowed: usize) -> Result<(), Fault> {
    if actual > allowed { Err(exceeds(what, actual, allowed)) } else { Ok(()) }
}

fn exceeds(what: &str, actual: usize, allowed: usize) -> Fault {
    Fault::new(FaultKind::Limit, format!("{actual} {what} exceed the limit of {allowed}"))
}
