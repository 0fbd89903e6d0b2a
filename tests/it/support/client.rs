//! A STOMP client for tests: frames as text, answers one by one.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::ws::{Event, Socket};

/// One connection.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) socket: Socket,
    /// The CONNECTED frame, if it was read.
    pub(crate) connected: String,
}

/// A number that no other caller in this run gets.
pub(crate) fn unique() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// A destination that no other test uses.
pub(crate) fn topic() -> String {
    format!("/topic/t{}", unique())
}

/// The value of a header line in a frame, as it is written.
pub(crate) fn header<'a>(frame: &'a str, name: &str) -> Option<&'a str> {
    let head = frame.split_once("\n\n").map_or(frame, |(head, _)| head);
    head.lines()
        .skip(1)
        .filter_map(|line| line.split_once(':'))
        .find(|(found, _)| *found == name)
        .map(|(_, value)| value)
}

/// The body of a frame.
pub(crate) fn body(frame: &str) -> &str {
    frame.split_once("\n\n").map_or("", |(_, body)| body.strip_suffix('\0').unwrap_or(body))
}

impl Client {
    /// A WebSocket without CONNECT.
    pub(crate) fn open(to: SocketAddr, path: &str) -> Self {
        Self { socket: Socket::open(to, path, ""), connected: String::new() }
    }

    /// The same, with further headers in the handshake.
    pub(crate) fn open_with(to: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Self {
        Self { socket: Socket::open_with(to, path, headers), connected: String::new() }
    }

    /// A session; `headers` are further lines of CONNECT.
    pub(crate) fn connect(to: SocketAddr, path: &str, version: &str, headers: &[&str]) -> Self {
        Self::open(to, path).greet(version, headers)
    }

    /// CONNECT, and its answer.
    pub(crate) fn greet(mut self, version: &str, headers: &[&str]) -> Self {
        let mut frame = format!("CONNECT\naccept-version:{version}\nhost:localhost\n");
        for header in headers {
            frame.push_str(header);
            frame.push('\n');
        }
        self.send(&(frame + "\n\0"));
        self.connected = self.expect("CONNECTED");
        self
    }

    /// Writes octets as one text message.
    pub(crate) fn send(&mut self, octets: &str) {
        self.socket.text(octets);
    }

    /// Writes a frame that asks for a receipt and reads it; nothing else may come before.
    #[track_caller]
    pub(crate) fn confirmed(&mut self, head: &str, body: &str) {
        let receipt = format!("r{}", unique());
        self.send(&format!("{head}\nreceipt:{receipt}\n\n{body}\0"));
        let answer = self.expect("RECEIPT");
        assert_eq!(header(&answer, "receipt-id"), Some(&*receipt), "{answer:?}");
    }

    #[track_caller]
    pub(crate) fn subscribe(&mut self, id: &str, destination: &str) {
        self.confirmed(&format!("SUBSCRIBE\nid:{id}\ndestination:{destination}"), "");
    }

    /// The next frame, in a text message.
    #[track_caller]
    pub(crate) fn next(&mut self) -> String {
        match self.socket.next() {
            Event::Text(octets) => String::from_utf8(octets).unwrap(),
            other => panic!("{other:?} instead of a text message"),
        }
    }

    /// The next frame, which must have this command.
    #[track_caller]
    pub(crate) fn expect(&mut self, command: &str) -> String {
        let frame = self.next();
        assert_eq!(frame.lines().next(), Some(command), "{frame:?}");
        frame
    }

    /// The next frame must be a MESSAGE with this body.
    #[track_caller]
    pub(crate) fn message(&mut self, expected: &str) -> String {
        let frame = self.expect("MESSAGE");
        assert_eq!(body(&frame), expected, "{frame:?}");
        frame
    }

    /// The next frame must be an ERROR, and the server must close with this code.
    #[track_caller]
    pub(crate) fn error(&mut self, code: u16) -> String {
        let frame = self.expect("ERROR");
        assert!(header(&frame, "message").is_some_and(|text| !text.is_empty()), "{frame:?}");
        self.closed(code);
        frame
    }

    /// The server must close with this code.
    #[track_caller]
    pub(crate) fn closed(&mut self, code: u16) {
        match self.socket.next() {
            Event::Closed(found, _) if found == code => {}
            other => panic!("{other:?} instead of a close with {code}"),
        }
    }

    /// Nothing waits and the session lives: a confirmed frame is answered before anything else.
    #[track_caller]
    pub(crate) fn is_quiet(&mut self) {
        self.confirmed("SEND\ndestination:/topic/nobody-listens-here", "");
    }

    /// Every event within this time; for what is about time itself.
    pub(crate) fn during(&mut self, time: Duration) -> Vec<Event> {
        let end = std::time::Instant::now() + time;
        let mut events = Vec::new();
        while let Some(event) = self.socket.next_within(end.saturating_duration_since(std::time::Instant::now())) {
            let ended = event == Event::Lost;
            events.push(event);
            if ended {
                break;
            }
        }
        events
    }
}
