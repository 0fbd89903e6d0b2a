//! A WebSocket client at the level of octets: it can write what no library would, and shows everything it reads.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::PATIENCE;
use super::client::unique;

pub(crate) const TEXT: u8 = 1;
pub(crate) const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// An open WebSocket.
#[derive(Debug)]
pub(crate) struct Socket {
    stream: TcpStream,
    read: Vec<u8>,
    /// The sub-protocol that the server named.
    pub(crate) protocol: Option<String>,
    /// Answers neither pings nor a close.
    pub(crate) mute: bool,
    /// Over SockJS: messages that came in one frame and wait their turn.
    sockjs: Option<VecDeque<Event>>,
}

/// The answer to a handshake, as far as the tests look at it.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: String,
}

/// What the server wrote next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    Text(Vec<u8>),
    Binary(Vec<u8>),
    Pong(Vec<u8>),
    /// A close frame.
    Closed(u16, String),
    /// The end of the connection without one.
    Lost,
}

impl Response {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

/// Sends a request head as it stands and reads the answer; the connection comes along if it was upgraded.
pub(crate) fn request(to: SocketAddr, head: &str) -> (Response, Socket) {
    let mut stream = TcpStream::connect(to).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.write_all(head.as_bytes()).unwrap();
    let mut socket = Socket { stream, read: Vec::new(), protocol: None, mute: false, sockjs: None };
    let deadline = Instant::now() + PATIENCE;
    let end = loop {
        if let Some(at) = socket.read.windows(4).position(|window| window == b"\r\n\r\n") {
            break at;
        }
        assert!(socket.more(deadline), "no answer to the handshake");
    };
    let rest = socket.read.split_off(end + 4);
    let head = String::from_utf8(std::mem::replace(&mut socket.read, rest)).unwrap();
    let mut lines = head.trim_end().split("\r\n");
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers: Vec<(String, String)> =
        lines.filter_map(|line| line.split_once(": ")).map(|(name, value)| (name.into(), value.into())).collect();
    let mut response = Response { status, headers, body: String::new() };
    if let Some(length) = response.header("content-length") {
        let length = length.parse().unwrap();
        while socket.read.len() < length {
            assert!(socket.more(deadline), "the body of the answer is missing");
        }
        let rest = socket.read.split_off(length);
        response.body = String::from_utf8(std::mem::replace(&mut socket.read, rest)).unwrap();
    }
    (response, socket)
}

/// The head of a handshake; a header given here replaces the usual one, an empty value leaves it out.
pub(crate) fn handshake(method: &str, path: &str, headers: &[(&str, &str)]) -> String {
    let usual = [
        ("Host", "localhost"),
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("Sec-WebSocket-Version", "13"),
    ];
    let mut head = format!("{method} {path} HTTP/1.1\r\n");
    let usual = usual.iter().filter(|(name, _)| !headers.iter().any(|(given, _)| given == name));
    for (name, value) in usual.chain(headers).filter(|(_, value)| !value.is_empty()) {
        write!(head, "{name}: {value}\r\n").unwrap();
    }
    head + "\r\n"
}

impl Socket {
    /// Opens a WebSocket, offering these sub-protocols.
    pub(crate) fn open(to: SocketAddr, path: &str, offer: &str) -> Self {
        Self::open_with(to, path, &[("Sec-WebSocket-Protocol", offer)])
    }

    pub(crate) fn open_with(to: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Self {
        let (response, mut socket) = request(to, &handshake("GET", path, headers));
        assert_eq!(response.status, 101, "{response:?}");
        socket.protocol = response.header("sec-websocket-protocol").map(str::to_owned);
        socket
    }

    /// Opens a SockJS session over WebSocket; from here on only messages are seen, as over a bare socket.
    pub(crate) fn open_sockjs(to: SocketAddr, path: &str) -> Self {
        let mut socket = Self::open(to, &format!("{path}/000/s{}/websocket", unique()), "");
        assert_eq!(socket.next(), Event::Text(b"o".to_vec()));
        socket.sockjs = Some(VecDeque::new());
        socket
    }

    pub(crate) fn text(&mut self, payload: impl AsRef<[u8]>) {
        let payload = payload.as_ref();
        if self.sockjs.is_none() {
            return self.frame(true, TEXT, payload);
        }
        let payload = std::str::from_utf8(payload).expect("SockJS carries text");
        self.frame(true, TEXT, &serde_json::to_vec(&[payload]).unwrap());
    }

    pub(crate) fn binary(&mut self, payload: impl AsRef<[u8]>) {
        self.frame(true, BINARY, payload.as_ref());
    }

    /// Writes one frame; an opcode of 0 continues a message.
    pub(crate) fn frame(&mut self, last: bool, opcode: u8, payload: &[u8]) {
        let octets = encode(last, opcode, payload);
        // The server may have closed meanwhile; the test sees that when it reads.
        let _closed = self.stream.write_all(&octets);
    }

    /// Writes one text message in pieces of one octet.
    pub(crate) fn trickle(&mut self, payload: &[u8]) {
        for octet in encode(true, TEXT, payload) {
            self.stream.write_all(&[octet]).unwrap();
        }
    }

    /// Writes octets as they stand, framed or not.
    pub(crate) fn write(&mut self, octets: &[u8]) {
        let _closed = self.stream.write_all(octets);
    }

    /// How long a write may wait for the server to read.
    pub(crate) fn patience(&mut self, time: Duration) {
        self.stream.set_write_timeout(Some(time)).unwrap();
    }

    /// Writes a text message; whether all of it was taken.
    pub(crate) fn try_text(&mut self, payload: &str) -> bool {
        self.try_write(&encode(true, TEXT, payload.as_bytes()))
    }

    /// Writes octets as they stand; whether all of them were taken.
    pub(crate) fn try_write(&mut self, octets: &[u8]) -> bool {
        self.stream.write_all(octets).is_ok()
    }

    /// Sends a close frame.
    pub(crate) fn close(&mut self, code: u16) {
        self.frame(true, CLOSE, &code.to_be_bytes());
    }

    /// What comes next; it must come in time.
    #[track_caller]
    pub(crate) fn next(&mut self) -> Event {
        self.next_within(PATIENCE).expect("the server wrote nothing")
    }

    /// What comes next, if it comes within this time.
    pub(crate) fn next_within(&mut self, time: Duration) -> Option<Event> {
        let deadline = Instant::now() + time;
        if self.sockjs.is_none() {
            return self.next_message(deadline);
        }
        loop {
            if let Some(event) = self.sockjs.as_mut().and_then(VecDeque::pop_front) {
                return Some(event);
            }
            let event = self.next_message(deadline)?;
            let Event::Text(frame) = &event else { return Some(event) };
            let (kind, payload) = frame.split_first().unwrap();
            let events: Vec<Event> = match kind {
                b'h' => continue,
                b'a' => {
                    let messages: Vec<String> = serde_json::from_slice(payload).unwrap();
                    messages.into_iter().map(|message| Event::Text(message.into_bytes())).collect()
                }
                b'c' => {
                    let (code, reason) = serde_json::from_slice(payload).unwrap();
                    vec![Event::Closed(code, reason)]
                }
                _ => return Some(event),
            };
            self.sockjs.as_mut().unwrap().extend(events);
        }
    }

    /// The next message of the WebSocket itself.
    fn next_message(&mut self, deadline: Instant) -> Option<Event> {
        let mut whole = Vec::new();
        let mut kind = TEXT;
        loop {
            let Some((last, opcode, payload)) = self.next_frame() else {
                match self.try_more(deadline) {
                    Some(true) => continue,
                    Some(false) => return Some(Event::Lost),
                    None => return None,
                }
            };
            match opcode {
                PING if !self.mute => self.frame(true, PONG, &payload),
                PING => {}
                PONG => return Some(Event::Pong(payload)),
                CLOSE => {
                    let (code, reason) = payload.split_at(payload.len().min(2));
                    let code = <[u8; 2]>::try_from(code).map_or(1005, u16::from_be_bytes);
                    if !self.mute {
                        self.close(code);
                    }
                    return Some(Event::Closed(code, String::from_utf8_lossy(reason).into_owned()));
                }
                _ => {
                    if opcode != 0 {
                        kind = opcode;
                    }
                    whole.extend(payload);
                    if last {
                        return Some(if kind == BINARY { Event::Binary(whole) } else { Event::Text(whole) });
                    }
                }
            }
        }
    }

    /// Whether the server ends the TCP connection although this side does not.
    pub(crate) fn is_ended_within(&mut self, time: Duration) -> bool {
        let deadline = Instant::now() + time;
        loop {
            match self.try_more(deadline) {
                Some(true) => {}
                Some(false) => return true,
                None => return false,
            }
        }
    }

    /// One frame out of what was read.
    fn next_frame(&mut self) -> Option<(bool, u8, Vec<u8>)> {
        let (first, second) = (*self.read.first()?, *self.read.get(1)?);
        assert_eq!(second & 0x80, 0, "a server does not mask");
        let (start, length) = match second & 0x7f {
            126 => (4, u16::from_be_bytes(self.read.get(2..4)?.try_into().unwrap()).into()),
            127 => (10, u64::from_be_bytes(self.read.get(2..10)?.try_into().unwrap()) as usize),
            length => (2, length.into()),
        };
        let payload = self.read.get(start..start + length)?.to_vec();
        self.read.drain(..start + length);
        Some((first & 0x80 != 0, first & 0x0f, payload))
    }

    fn more(&mut self, deadline: Instant) -> bool {
        self.try_more(deadline) == Some(true)
    }

    /// Reads what is there: `Some(false)` at the end of the connection, `None` when the time is up.
    fn try_more(&mut self, deadline: Instant) -> Option<bool> {
        let mut chunk = [0; 16 * 1024];
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            self.stream.set_read_timeout(Some(left)).unwrap();
            match self.stream.read(&mut chunk) {
                Ok(0) => return Some(false),
                Ok(count) => {
                    self.read.extend_from_slice(&chunk[..count]);
                    return Some(true);
                }
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => return None,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Some(false),
            }
        }
    }
}

/// One masked frame; the mask is fixed, as nobody listens.
fn encode(last: bool, opcode: u8, payload: &[u8]) -> Vec<u8> {
    const MASK: [u8; 4] = [0x5a, 0x13, 0xc7, 0x88];
    let mut octets = vec![u8::from(last) << 7 | opcode];
    match payload.len() {
        length @ 0..126 => octets.push(0x80 | length as u8),
        length @ 126..0x1_0000 => {
            octets.push(0x80 | 126);
            octets.extend((length as u16).to_be_bytes());
        }
        length => {
            octets.push(0x80 | 127);
            octets.extend((length as u64).to_be_bytes());
        }
    }
    octets.extend(MASK);
    octets.extend(payload.iter().zip(MASK.iter().cycle()).map(|(octet, mask)| octet ^ mask));
    octets
}
