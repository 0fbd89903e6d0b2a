//! A WebSocket as a [`Link`]: tungstenite reads, this file writes.
//!
//! Reading, unmasking, UTF-8 checks, control frames and the close handshake are tungstenite's. What goes out is encoded
//! here, straight into one buffer per link that exists only while bytes wait: a server frame is not masked, so its head
//! is 2 to 10 octets in front of a payload that is already shared. Tungstenite's own replies (pong, close) go through
//! the same buffer, so there is one writer and one order. An idle link keeps neither a read nor a write buffer.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::Future;
use std::io::{self, Read, Write};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;
use tokio_tungstenite::tungstenite::error::{CapacityError, Error, ProtocolError};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig, WebSocketContext};
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

use super::Stream;
use crate::session::link::{Gone, Input, Link, OutFrame};

mod output;

use output::{OpCode, Output};

/// Bounds of one WebSocket.
#[derive(Debug, Clone, Copy)]
pub struct WsSettings {
    /// Largest message in octets, fragments joined.
    pub message_bytes: usize,
    /// How long the peer may take to answer our close frame, or to take what is still queued, before the socket is
    /// dropped.
    pub close_timeout: Duration,
    /// What the log and the metrics call this link.
    pub transport: &'static str,
}

impl Default for WsSettings {
    fn default() -> Self {
        Self { message_bytes: 1024 * 1024, close_timeout: Duration::from_millis(800), transport: "websocket" }
    }
}

/// Octets taken from a socket by one read; one buffer per thread, not per connection.
const READ_CHUNK: usize = 64 * 1024;

/// What tungstenite reserves for a link at once; small, because READ_CHUNK does the reading.
const READ_RESERVE: usize = 256;

thread_local! {
    static CHUNK: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_CHUNK]);
}

/// A WebSocket connection after its handshake.
pub struct WsLink {
    io: Stream,
    codec: WebSocketContext,
    inputs: VecDeque<Input>,
    /// Octets that came with the handshake request.
    early: Bytes,
    out: Output,
    state: State,
    settings: WsSettings,
}

enum State {
    Open,
    /// The peer broke the rules: nothing it sends counts any more, but its application may still tell it why before
    /// [`Link::close`] sends this verdict.
    Deaf(CloseCode, Utf8Bytes),
    /// A close frame is queued or answered.
    Closing(Option<Pin<Box<Sleep>>>),
    Dead,
}

impl WsLink {
    /// Takes over `io` after a `101`; `early` are octets read past the request head.
    #[must_use]
    pub fn new(io: Stream, early: &[u8], settings: WsSettings) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_RESERVE)
            .write_buffer_size(0)
            .max_message_size(Some(settings.message_bytes))
            .max_frame_size(Some(settings.message_bytes));
        Self {
            io,
            codec: WebSocketContext::new(Role::Server, Some(config)),
            inputs: VecDeque::new(),
            // Copied: even an empty slice would keep hyper's whole read buffer for as long as the connection lives.
            early: Bytes::copy_from_slice(early),
            out: Output::default(),
            state: State::Open,
            settings,
        }
    }

    /// Sends a ping with this payload (at most 125 octets); its pong comes as [`Input::Proved`] when it was a fence.
    fn ping(&mut self, payload: [u8; 9]) {
        self.out.frame(OpCode::Ping, &payload, &Bytes::new(), &[]);
    }

    /// Decodes what one read brought; everything is taken, so the shared chunk is free again when this returns.
    fn decode(&mut self, octets: &[u8]) {
        let mut stage = Stage { octets, out: &mut self.out };
        loop {
            match self.codec.read(&mut stage) {
                Ok(Message::Text(text)) => push_data(&mut self.inputs, text.into()),
                Ok(Message::Binary(octets)) => push_data(&mut self.inputs, octets),
                Ok(Message::Pong(payload)) => {
                    if let Some(mark) = fence_mark(&payload) {
                        self.inputs.push_back(Input::Proved(mark));
                    }
                }
                Ok(Message::Ping(_) | Message::Frame(_)) => {}
                Ok(Message::Close(_)) | Err(Error::ConnectionClosed | Error::AlreadyClosed) => {
                    // Tungstenite owes the echo of the close frame, unless this is the answer to ours; it is told to write
                    // it because nothing is read any more. The stage takes every octet.
                    let _owed = self.codec.flush(&mut stage);
                    return self.end(Gone::Closed);
                }
                Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => {
                    let (gone, code, reason) = blame(&error);
                    self.inputs.push_back(Input::Gone(gone));
                    self.state = State::Deaf(code, reason);
                    return;
                }
            }
        }
    }

    fn end(&mut self, gone: Gone) {
        if matches!(self.state, State::Open) {
            self.inputs.push_back(Input::Gone(gone));
            self.state = State::Closing(None);
        }
    }

    fn poll_read_chunk(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.early.is_empty() {
            let early = std::mem::take(&mut self.early);
            self.decode(&early);
            return Poll::Ready(());
        }
        CHUNK.with_borrow_mut(|chunk| {
            let mut buffer = ReadBuf::new(chunk);
            match ready!(Pin::new(&mut self.io).poll_read(cx, &mut buffer)) {
                Ok(()) if buffer.filled().is_empty() => self.end(Gone::Lost),
                Ok(()) => self.decode(buffer.filled()),
                Err(_) => {
                    self.end(Gone::Lost);
                    self.state = State::Dead;
                }
            }
            Poll::Ready(())
        })
    }
}

impl Link for WsLink {
    fn poll_input(&mut self, cx: &mut Context<'_>) -> Poll<Input> {
        loop {
            if let Some(input) = self.inputs.pop_front() {
                if self.inputs.is_empty() {
                    self.inputs = VecDeque::new();
                }
                return Poll::Ready(input);
            }
            if !matches!(self.state, State::Open) {
                return Poll::Pending;
            }
            // Pongs of a peer that takes none of them: nothing more is read until some have left.
            if self.out.is_full_of_replies() && self.poll_flush(cx).is_pending() {
                return Poll::Pending;
            }
            if self.poll_read_chunk(cx).is_pending() {
                // The pong that a ping brought must not wait for the application to say something.
                if self.out.len() > 0 {
                    let _later = self.poll_flush(cx);
                }
                if self.inputs.is_empty() {
                    return Poll::Pending;
                }
            }
        }
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.out.has_room() { Poll::Ready(()) } else { self.poll_flush(cx) }
    }

    fn write(&mut self, frame: OutFrame<'_>) -> bool {
        if matches!(self.state, State::Open | State::Deaf(..)) {
            let opcode = if frame.binary { OpCode::Binary } else { OpCode::Text };
            self.out.frame(opcode, frame.head, frame.body, frame.tail);
        }
        true
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if matches!(self.state, State::Dead) {
            self.out.clear();
            return Poll::Ready(());
        }
        match ready!(self.out.poll_drain(&mut self.io, cx)) {
            Ok(()) => {}
            Err(_) => {
                self.out.clear();
                self.end(Gone::Lost);
                self.state = State::Dead;
            }
        }
        Poll::Ready(())
    }

    fn fence(&mut self, mark: u64) {
        let mut payload = [FENCE; 9];
        payload[1..].copy_from_slice(&mark.to_be_bytes());
        self.ping(payload);
    }

    fn close(&mut self, code: u16, reason: &str) {
        let mut end = reason.len().min(MAX_REASON);
        while !reason.is_char_boundary(end) {
            end -= 1;
        }
        let frame = match std::mem::replace(&mut self.state, State::Closing(None)) {
            State::Open => CloseFrame { code: CloseCode::from(code), reason: Utf8Bytes::from(&reason[..end]) },
            State::Deaf(code, reason) => CloseFrame { code, reason },
            state @ (State::Closing(_) | State::Dead) => {
                self.state = state;
                return;
            }
        };
        // Cannot fail: the stage takes every octet and never blocks.
        let _queued = self.codec.close(&mut Stage { octets: &[], out: &mut self.out }, Some(frame));
        self.inputs = VecDeque::new();
    }

    fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let timeout = self.settings.close_timeout;
        match &mut self.state {
            State::Dead => return Poll::Ready(()),
            State::Open | State::Deaf(..) => self.close(u16::from(CloseCode::Normal), ""),
            State::Closing(_) => {}
        }
        if let State::Closing(deadline) = &mut self.state {
            let deadline = deadline.get_or_insert_with(|| Box::pin(tokio::time::sleep(timeout)));
            if deadline.as_mut().poll(cx).is_ready() {
                self.state = State::Dead;
                return Poll::Ready(());
            }
        }
        let flushed = self.poll_flush(cx).is_ready();
        if matches!(self.state, State::Dead) {
            return Poll::Ready(());
        }
        if flushed && Pin::new(&mut self.io).poll_shutdown(cx).is_ready() {
            // Reads go on until the peer's end: closing a socket with unread input resets it, and the reset would
            // overtake the ERROR and the close frame on their way to the peer.
        }
        loop {
            let read = CHUNK.with_borrow_mut(|chunk| {
                let mut buffer = ReadBuf::new(chunk);
                ready!(Pin::new(&mut self.io).poll_read(cx, &mut buffer))
                    .map_or(Poll::Ready(0), |()| Poll::Ready(buffer.filled().len()))
            });
            if ready!(read) == 0 {
                self.state = State::Dead;
                return Poll::Ready(());
            }
        }
    }

    fn transport(&self) -> &'static str {
        self.settings.transport
    }

    fn limit_input(&mut self, message_bytes: usize) {
        self.codec.set_config(|config| {
            config.max_message_size = Some(message_bytes);
            config.max_frame_size = Some(message_bytes);
        });
    }
}

impl std::fmt::Debug for WsLink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WsLink")
            .field("settings", &self.settings)
            .field("queued", &self.out.len())
            .finish_non_exhaustive()
    }
}

/// First octet of a ping payload that is a fence.
const FENCE: u8 = b'F';

/// A close reason may have 123 octets (RFC 6455, 5.5).
const MAX_REASON: usize = 123;

fn push_data(inputs: &mut VecDeque<Input>, octets: Bytes) {
    inputs.push_back(Input::Data(octets));
}

fn fence_mark(payload: &[u8]) -> Option<u64> {
    let (&tag, mark) = payload.split_first()?;
    (tag == FENCE).then_some(())?;
    Some(u64::from_be_bytes(mark.try_into().ok()?))
}

/// Whose fault an error is, and how the peer is told.
fn blame(error: &Error) -> (Gone, CloseCode, Utf8Bytes) {
    match error {
        Error::Capacity(CapacityError::MessageTooLong { size, max_size }) => (
            Gone::TooBig { size: *size, limit: *max_size },
            CloseCode::Size,
            format!("message of {size} octets is over the limit of {max_size}").into(),
        ),
        Error::Utf8(_) => (Gone::Broken, CloseCode::Invalid, Utf8Bytes::from_static("text message is not UTF-8")),
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) | Error::Io(_) => {
            (Gone::Lost, CloseCode::Away, Utf8Bytes::from_static(""))
        }
        _ => (Gone::Broken, CloseCode::Protocol, Utf8Bytes::from_static("WebSocket protocol error")),
    }
}

/// What tungstenite sees as its stream: the octets of one read, and the link's output.
struct Stage<'a> {
    octets: &'a [u8],
    out: &'a mut Output,
}

impl Read for Stage<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.octets.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.octets.read(buffer)
    }
}

impl Write for Stage<'_> {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.out.append(octets);
        Ok(octets.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fence_is_told_from_other_pongs() {
        assert_eq!(fence_mark(b"F\0\0\0\0\0\0\x01\x02"), Some(258));
        assert_eq!(fence_mark(b""), None);
        assert_eq!(fence_mark(b"Fxx"), None);
        assert_eq!(fence_mark(b"G\0\0\0\0\0\0\0\0"), None);
    }
}
