//! A server of STOMP over TCP that does as it is told.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::thread::{self, JoinHandle};

use crate::support::PATIENCE;

/// The server's side of a conversation.
#[derive(Debug)]
pub(super) struct Conversation(BufReader<TcpStream>);

/// Listens, and plays its part with the first who comes.
pub(super) fn peer<T: Send + 'static>(
    part: impl FnOnce(Conversation) -> T + Send + 'static,
) -> (String, JoinHandle<T>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("tcp://{}", listener.local_addr().unwrap());
    let playing = thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        part(Conversation(BufReader::new(stream)))
    });
    (url, playing)
}

impl Conversation {
    /// The next frame, without heart-beats in front of it; `None` at the end.
    pub(super) fn frame(&mut self) -> Option<String> {
        let mut octets = Vec::new();
        self.0.read_until(0, &mut octets).unwrap();
        octets.pop_if(|last| *last == 0)?;
        Some(String::from_utf8(octets).unwrap().trim_start_matches('\n').to_owned())
    }

    /// Waits for a line end between frames.
    pub(super) fn heart_beat(&mut self) {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        assert_eq!(line, "\n");
    }

    /// The same one, for whoever writes while another one reads.
    pub(super) fn writer(&self) -> Self {
        Self(BufReader::new(self.0.get_ref().try_clone().unwrap()))
    }

    /// Says that it lives.
    pub(super) fn beat(&mut self) {
        self.0.get_mut().write_all(b"\n").unwrap();
    }

    /// Says this, and the end of a frame.
    pub(super) fn say(&mut self, frame: &str) {
        self.0.get_mut().write_all(format!("{frame}\0").as_bytes()).unwrap();
    }

    /// Answers CONNECT with these header lines.
    pub(super) fn connected(&mut self, headers: &str) -> String {
        let connect = self.frame().unwrap();
        assert!(connect.starts_with("CONNECT\n"), "{connect}");
        self.say(&format!("CONNECTED\n{headers}\n"));
        connect
    }
}

/// The value of a header as it stands.
pub(super) fn header<'a>(frame: &'a str, name: &str) -> Option<&'a str> {
    frame.lines().take_while(|line| !line.is_empty()).find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
}
