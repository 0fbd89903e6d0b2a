//! A TCP connection on which anything may be written.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};

use super::PATIENCE;

/// One connection; every read ends within [`PATIENCE`].
#[derive(Debug)]
pub(crate) struct Tcp(TcpStream);

impl Tcp {
    pub(crate) fn connect(to: SocketAddr) -> Self {
        let stream = TcpStream::connect(to).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self(stream)
    }

    /// Writes octets; that the server has closed meanwhile shows when it is read.
    pub(crate) fn write(&mut self, octets: &[u8]) {
        let _closed = self.0.write_all(octets);
    }

    /// Everything up to the end that the server makes.
    #[track_caller]
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        let mut octets = Vec::new();
        match self.0.read_to_end(&mut octets) {
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                panic!("the server does not end it after {:?}", String::from_utf8_lossy(&octets));
            }
            // A reset is an end as well.
            _ => octets,
        }
    }

    /// What comes up to this, which it ends with.
    #[track_caller]
    pub(crate) fn until(&mut self, end: &str) -> String {
        let (mut octets, mut octet) = (Vec::new(), [0]);
        while !octets.ends_with(end.as_bytes()) {
            self.0.read_exact(&mut octet).unwrap_or_else(|error| panic!("{error} after {octets:?}"));
            octets.extend(octet);
        }
        String::from_utf8(octets).unwrap()
    }

    /// Says that nothing more comes.
    pub(crate) fn finish(&mut self) {
        let _closed = self.0.shutdown(std::net::Shutdown::Write);
    }
}

/// Keeps one HTTP connection open and asks on it whether the node is ready.
#[derive(Debug)]
pub(crate) struct Watcher(TcpStream);

impl Watcher {
    pub(crate) fn new(to: SocketAddr) -> Self {
        let stream = TcpStream::connect(to).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(stream)
    }

    /// The status; `None` when the node has closed the connection.
    pub(crate) fn ready(&mut self) -> Option<u16> {
        self.0.write_all(b"GET /ready HTTP/1.1\r\nHost: a\r\n\r\n").ok()?;
        let mut answer = Vec::new();
        while !answer.ends_with(b"y\n") && !answer.ends_with(b"draining\n") {
            let mut octet = [0];
            match self.0.read(&mut octet) {
                Ok(1) => answer.push(octet[0]),
                _ => return None,
            }
        }
        String::from_utf8(answer).ok()?.split(' ').nth(1)?.parse().ok()
    }
}
