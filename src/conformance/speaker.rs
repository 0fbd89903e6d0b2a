//! A client in a transcript: what it reads, with a bound on the time.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, timeout, timeout_at};

use super::form::show;
use super::frames::{Cutter, Seen};
use crate::client::wire::{Event, Out, Wire};

/// What asks whether a connection still works begins with this.
const FENCE: &str = "fence-";

/// What came.
#[derive(Debug)]
pub(super) enum Read {
    Frame(Seen),
    /// Octets that are no frame, and why.
    Nonsense(String),
    /// The server ended the connection.
    Ended(Event),
    /// Nothing, in this time.
    Nothing(Duration),
}

impl Read {
    /// In words.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::Frame(seen) => show(&seen.octets),
            Self::Nonsense(why) => format!("no frame: {why}"),
            Self::Ended(event) => ended(event),
            Self::Nothing(time) => format!("nothing within {}", humantime::format_duration(*time)),
        }
    }
}

/// How a connection ended, in words.
pub(super) fn ended(event: &Event) -> String {
    match event {
        Event::Closed { code: Some(code), reason } if reason.is_empty() => format!("closed with {code}"),
        Event::Closed { code: Some(code), reason } => format!("closed with {code} {reason:?}"),
        Event::Closed { code: None, .. } => "closed".to_owned(),
        Event::Lost(why) => format!("the connection is gone: {why}"),
        Event::Text(text) => format!("a message {}", show(text)),
        Event::Binary(octets) => format!("a binary message {}", show(octets)),
    }
}

/// A client.
#[derive(Debug)]
pub(super) struct Speaker {
    wire: Wire,
    cutter: Cutter,
    end: Option<Event>,
    fences: usize,
    /// What came in front of something that was waited for.
    ahead: VecDeque<Seen>,
    /// What CONNECTED said of heart-beats: the period the server can keep and the one it wants, 0 for none.
    pub(super) heart_beat: (Duration, Duration),
}

impl Speaker {
    pub(super) fn new(wire: Wire) -> Self {
        Self {
            wire,
            cutter: Cutter::default(),
            end: None,
            fences: 0,
            ahead: VecDeque::new(),
            heart_beat: (Duration::ZERO, Duration::ZERO),
        }
    }

    /// The sub-protocol that the server chose.
    pub(super) fn protocol(&self) -> Option<&str> {
        self.wire.protocol.as_deref()
    }

    pub(super) fn write(&self, out: Out) {
        self.wire.write(out);
    }

    pub(super) fn say(&self, octets: impl Into<Bytes>) {
        self.wire.write(Out::Text(octets.into()));
    }

    /// The next frame, answers to fences aside.
    pub(super) async fn read(&mut self, patience: Duration) -> Read {
        if let Some(seen) = self.ahead.pop_front() {
            return Read::Frame(seen);
        }
        let until = Instant::now() + patience;
        loop {
            match self.any_frame(until).await {
                Ok(Some(seen)) if fence_of(&seen).is_some() => {}
                Ok(Some(seen)) => return Read::Frame(seen),
                Ok(None) => return Read::Nothing(patience),
                Err(read) => return read,
            }
        }
    }

    /// The next frame that is no MESSAGE; those in front of it are read later.
    pub(super) async fn read_answer(&mut self, patience: Duration) -> Read {
        let mut ahead = std::mem::take(&mut self.ahead);
        let read = loop {
            match self.read(patience).await {
                Read::Frame(seen) if seen.command == b"MESSAGE" => ahead.push_back(seen),
                read => break read,
            }
        };
        self.ahead = ahead;
        read
    }

    async fn any_frame(&mut self, until: Instant) -> Result<Option<Seen>, Read> {
        loop {
            match self.cutter.cut() {
                Ok(Some(seen)) => return Ok(Some(seen)),
                Ok(None) => {}
                Err(why) => return Err(Read::Nonsense(why)),
            }
            if let Some(end) = &self.end {
                return Err(Read::Ended(end.clone()));
            }
            match timeout_at(until, self.wire.next()).await {
                Ok(Event::Text(octets) | Event::Binary(octets)) => self.cutter.feed(&octets),
                Ok(end) => self.end = Some(end),
                Err(_) if self.cutter.pending().is_empty() => return Ok(None),
                Err(_) => {
                    return Err(Read::Nonsense(format!("the rest does not come of {}", show(self.cutter.pending()))));
                }
            }
        }
    }

    /// The next message of the carrier as a whole, where nothing of an earlier one is left.
    pub(super) async fn message(&mut self, patience: Duration) -> Result<Event, Read> {
        if let Some(end) = &self.end {
            return Err(Read::Ended(end.clone()));
        }
        match timeout(patience, self.wire.next()).await {
            Ok(message @ (Event::Text(_) | Event::Binary(_))) => Ok(message),
            Ok(end) => {
                self.end = Some(end.clone());
                Err(Read::Ended(end))
            }
            Err(_) => Err(Read::Nothing(patience)),
        }
    }

    /// Whether a message of its own comes back or gets its RECEIPT; otherwise what came instead.
    pub(super) async fn works(&mut self, topic: &str, patience: Duration) -> Result<(), Read> {
        self.fences += 1;
        let fence = format!("{FENCE}{}", self.fences);
        self.say(format!("SUBSCRIBE\nid:{fence}\ndestination:{topic}\n\n\0"));
        let until = Instant::now() + patience;
        let mut again = Instant::now();
        loop {
            // A server without order may see it before the SUBSCRIBE.
            if again <= Instant::now() {
                self.say(format!("SEND\ndestination:{topic}\nreceipt:{fence}\n\n{fence}\0"));
                again += Duration::from_millis(200);
            }
            match self.any_frame(until.min(again)).await? {
                Some(seen) if fence_of(&seen).as_deref() == Some(fence.as_bytes()) => return Ok(()),
                Some(seen) if fence_of(&seen).is_some() => {}
                Some(seen) => return Err(Read::Frame(seen)),
                None if Instant::now() >= until => return Err(Read::Nothing(patience)),
                None => {}
            }
        }
    }
}

/// The fence that a frame answers.
fn fence_of(seen: &Seen) -> Option<Vec<u8>> {
    let text = match &*seen.command {
        b"RECEIPT" => seen.header(b"receipt-id")?,
        b"MESSAGE" => &seen.body,
        _ => return None,
    };
    text.starts_with(FENCE.as_bytes()).then(|| text.to_vec())
}
