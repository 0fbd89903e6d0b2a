//! A session with a server.
//!
//! ```text
//! open ── CONNECT ─▶ CONNECTED ── send, next, beating ──▶ leave ── DISCONNECT ─▶ its RECEIPT, or the end
//! ```

use std::fmt;
use std::pin::pin;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use stampede_protocol::Limits;
use stampede_protocol::stomp::heartbeat::agree;
use stampede_protocol::stomp::{Command, Decoder, Fault, Frame, HeartBeat, Item, Pulse, Version, encode};
use tokio::time::{sleep_until, timeout, timeout_at};

use super::Failure;
use super::show::plain;
use crate::client::carrier::Carrier;
use crate::client::entrance::Way;
use crate::client::wire::{Event, Out, Wire};

/// What a session is to be like.
#[derive(Debug)]
pub(super) struct Wish {
    pub(super) carrier: Carrier,
    /// Versions to offer, lowest first.
    pub(super) versions: Vec<Version>,
    pub(super) heart_beat: HeartBeat,
    /// How long CONNECTED, and the receipt of DISCONNECT, may take.
    pub(super) patience: Duration,
    /// What frames of the server may cost.
    pub(super) limits: Limits,
}

/// How a session ended before it was to.
#[derive(Debug)]
pub(super) enum Ended {
    /// The server sent ERROR.
    Refused(Frame),
    /// It closed, with a code where there is one.
    Closed(Option<u16>, String),
    /// The connection is gone, and why.
    Lost(String),
    /// It was silent for so long although it promised heart-beats.
    Silent(Duration),
    /// What it sent is no STOMP, or too much.
    Nonsense(Fault),
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(error) => {
                write!(f, "the server refused: {}", plain(error.header("message").map_or("ERROR", |text| text)))?;
                for line in String::from_utf8_lossy(&error.body).lines() {
                    write!(f, "\n  {}", plain(line))?;
                }
                Ok(())
            }
            Self::Closed(None, _) => f.write_str("the server ended the connection"),
            Self::Closed(Some(code), reason) if reason.is_empty() => {
                write!(f, "the server closed the connection with code {code}")
            }
            Self::Closed(Some(code), reason) => {
                write!(f, "the server closed the connection with code {code}: {}", plain(reason))
            }
            Self::Lost(why) => write!(f, "the connection is gone: {}", plain(why)),
            Self::Silent(time) => {
                let time = humantime::format_duration(*time);
                write!(f, "nothing came for {time}, although the server promised heart-beats")
            }
            Self::Nonsense(fault) => write!(f, "what the server sent cannot be read: {}", plain(&fault.message)),
        }
    }
}

impl From<Ended> for Failure {
    fn from(ended: Ended) -> Self {
        Self::Failed(ended.to_string())
    }
}

/// A session. Dropping it cuts its connection.
#[derive(Debug)]
pub(super) struct Session {
    wire: Wire,
    carrier: Carrier,
    decoder: Decoder,
    /// What was agreed upon.
    pub(super) version: Version,
    pulse: Pulse,
    /// When something came last.
    heard: Instant,
    /// How long an answer may take.
    pub(super) patience: Duration,
}

impl Session {
    /// Connects, and waits for CONNECTED.
    ///
    /// # Errors
    ///
    /// There is no connection, or the server refused the session.
    pub(super) async fn open(way: &Way, wish: &Wish) -> Result<Self, Failure> {
        let names: Vec<&str> = wish.versions.iter().map(|version| version.as_str()).collect();
        let protocols: Vec<String> = names.iter().map(|name| format!("v{}.stomp", name.replace('.', ""))).collect();
        let wire = Wire::open(&way.target, wish.carrier, &way.access, &protocols.join(", ")).await;
        let mut session = Self {
            wire: wire.map_err(Failure::NotAsked)?,
            carrier: wish.carrier,
            decoder: Decoder::for_client(wish.limits),
            version: Version::V1_0,
            pulse: Pulse::new(agree(HeartBeat::NONE, HeartBeat::NONE), Pulse::DEFAULT_PATIENCE, Instant::now()),
            heard: Instant::now(),
            patience: wish.patience,
        };
        session.write(&connect(way, &names.join(","), wish.heart_beat));
        let answer = timeout(wish.patience, session.next()).await.map_err(|_| {
            let time = humantime::format_duration(wish.patience);
            Failure::Failed(format!("no answer to CONNECT within {time}; --patience waits longer"))
        })??;
        session.agree(&answer, wish)?;
        Ok(session)
    }

    /// Takes over what CONNECTED says.
    fn agree(&mut self, answer: &Frame, wish: &Wish) -> Result<(), Failure> {
        if answer.command != Command::Connected {
            return Err(Failure::Failed(format!("CONNECT was answered with {}", answer.command)));
        }
        // STOMP 1.2, "Protocol Negotiation": without the header it is 1.0.
        let chosen = answer.header("version").map_or("1.0", |version| version);
        let version = Version::parse(chosen).filter(|version| wish.versions.contains(version));
        self.version = version.ok_or_else(|| {
            let offered: Vec<&str> = wish.versions.iter().map(|version| version.as_str()).collect();
            Failure::Failed(format!("the server speaks STOMP {}, it was offered {}", plain(chosen), offered.join(", ")))
        })?;
        self.decoder.set_version(self.version);
        let theirs = answer.header("heart-beat").and_then(|text| HeartBeat::parse(text, false).ok());
        // What the protocol has for servers, with the sides exchanged.
        let agreed = agree(theirs.unwrap_or(HeartBeat::NONE), wish.heart_beat);
        self.pulse = Pulse::new(agreed, Pulse::DEFAULT_PATIENCE, Instant::now());
        Ok(())
    }

    /// Sends a frame.
    ///
    /// # Errors
    ///
    /// Neither the carrier nor the version may change what it says, and one of them would have to.
    pub(super) fn send(&mut self, frame: &Frame) -> Result<(), String> {
        self.carries(frame)?;
        self.write(frame);
        Ok(())
    }

    fn carries(&self, frame: &Frame) -> Result<(), String> {
        if !self.carrier.carries_octets() && std::str::from_utf8(&frame.body).is_err() {
            return Err(
                "the body is no UTF-8, and SockJS carries nothing else; a WebSocket does: --over websocket".into()
            );
        }
        let lost = |name: &str, value: &str| match self.version {
            Version::V1_0 => name.contains([':', '\r', '\n']) || value.contains(['\r', '\n']),
            Version::V1_1 => name.contains('\r') || value.contains('\r'),
            Version::V1_2 => false,
        };
        match frame.headers.iter().find(|(name, value)| lost(name, value)) {
            None => Ok(()),
            Some((name, _)) => {
                Err(format!("the header {:?} has a line end for which STOMP {} has no form", &**name, self.version))
            }
        }
    }

    fn write(&mut self, frame: &Frame) {
        let mut octets = BytesMut::with_capacity(frame.body.len() + 256);
        encode(frame, self.version, &mut octets);
        self.put(octets.freeze());
    }

    fn put(&mut self, octets: Bytes) {
        // A body that is no text makes a binary message of it.
        self.wire.write(Out::Text(octets));
        self.pulse.sent(Instant::now());
    }

    /// Waits until little is left of what was sent.
    pub(super) fn room(&self) -> impl Future<Output = ()> + use<> {
        self.wire.room()
    }

    /// The next frame. Keeps up heart-beats while it waits.
    ///
    /// # Errors
    ///
    /// How the session ended; ERROR ends it.
    ///
    /// # Cancel safety
    ///
    /// Whoever stops waiting loses nothing.
    pub(super) async fn next(&mut self) -> Result<Frame, Ended> {
        loop {
            if self.pulse.is_due(Instant::now()) {
                self.put(Bytes::from_static(b"\n"));
            }
            match self.decoder.next().map_err(Ended::Nonsense)? {
                Some(Item::Frame(frame)) if frame.command == Command::Error => return Err(Ended::Refused(frame)),
                Some(Item::Frame(frame)) => return Ok(frame),
                Some(Item::HeartBeat) => continue,
                None => {}
            }
            let event = tokio::select! {
                // What came counts, however late it is looked at.
                biased;
                event = self.wire.next() => event,
                () = until(self.pulse.next_timeout()) => {
                    let now = Instant::now();
                    if self.pulse.is_dead(now) {
                        return Err(Ended::Silent(Duration::from_millis((now - self.heard).as_millis() as u64)));
                    }
                    continue;
                }
            };
            match event {
                Event::Text(octets) | Event::Binary(octets) => {
                    self.heard = Instant::now();
                    self.pulse.received(self.heard);
                    self.decoder.feed(octets);
                }
                Event::Closed { code, reason } => return Err(Ended::Closed(code, reason)),
                Event::Lost(why) => return Err(Ended::Lost(why)),
            }
        }
    }

    /// Does some work, and keeps up heart-beats meanwhile.
    pub(super) async fn beating<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        loop {
            tokio::select! {
                biased;
                done = &mut work => return done,
                () = until(self.pulse.beat_at()) => self.put(Bytes::from_static(b"\n")),
            }
        }
    }

    /// Leaves. Whether the server confirmed that it had everything.
    ///
    /// # Errors
    ///
    /// The ERROR that came instead.
    pub(super) async fn leave(mut self) -> Result<bool, Ended> {
        self.write(&Frame::new(Command::Disconnect).with("receipt", BYE));
        let until = tokio::time::Instant::now() + self.patience;
        loop {
            match timeout_at(until, self.next()).await {
                Ok(Ok(frame)) if is_receipt_of(&frame, BYE) => break,
                Ok(Ok(_)) => {}
                Ok(Err(refused @ Ended::Refused(_))) => return Err(refused),
                Ok(Err(_)) | Err(_) => return Ok(false),
            }
        }
        // SockJS over HTTP has no way to say it, and needs none: the server knows that the session is over.
        if matches!(self.carrier, Carrier::Tcp | Carrier::WebSocket | Carrier::SockJs) {
            self.wire.write(Out::Close(1000));
            let _ = timeout(CLOSING, async { while self.next().await.is_ok() {} }).await;
        }
        Ok(true)
    }
}

fn connect(way: &Way, versions: &str, heart_beat: HeartBeat) -> Frame {
    let mut frame = Frame::new(Command::Connect)
        .with("accept-version", versions)
        .with("host", &*way.host)
        .with("heart-beat", heart_beat.to_string());
    if let Some((login, passcode)) = &way.login {
        frame = frame.with("login", &**login).with("passcode", &**passcode);
    }
    for line in &way.connect {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        frame = frame.with(name, value);
    }
    frame
}

/// Whether the frame confirms what asked for this receipt.
pub(super) fn is_receipt_of(frame: &Frame, receipt: &str) -> bool {
    frame.command == Command::Receipt && frame.header("receipt-id").is_some_and(|id| *id == receipt)
}

async fn until(instant: Option<Instant>) {
    match instant {
        Some(instant) => sleep_until(instant.into()).await,
        None => std::future::pending().await,
    }
}

/// The receipt of DISCONNECT.
const BYE: &str = "bye";

/// How long the end of the connection may take once DISCONNECT is confirmed.
const CLOSING: Duration = Duration::from_secs(1);
