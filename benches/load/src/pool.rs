//! Many clients on one thread: sockets, readiness, and nothing of what a scenario means.
//!
//! Sockets are registered once, edge-triggered; a read that fills less than the buffer has emptied the socket unless its
//! end has come too (epoll(7)), so a turn costs one `read` per readable socket.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    rc::Rc,
    time::{Duration, Instant},
};

use mio::{Events, Interest, Poll, Token, net::TcpStream};
use slab::Slab;
use socket2::{Domain, Protocol, Socket, Type};

use crate::{
    Error, Result,
    client::{self, Event, Phase, Script},
};

/// Index of a connection in its pool.
pub type Id = usize;

/// What a [`Pool::turn`] tells: a connection, and what it did or why it ended.
#[derive(Debug)]
pub enum Notice<'a> {
    /// Something came from the server.
    Event(Event<'a>),
    /// The connection is gone; its id may be given away again.
    Ended(String),
}

/// A set of connections, each to the server of its plan.
#[derive(Debug)]
pub struct Pool {
    poll: Poll,
    events: Events,
    conns: Slab<Conn>,
    buf: Vec<u8>,
}

/// How one connection is made.
#[derive(Debug, Clone)]
pub struct Plan {
    /// What it says until it is ready.
    pub script: Rc<Script>,
    /// Size of its receive buffer in the kernel, where it shall not be the default.
    pub receive_buffer: Option<usize>,
}

#[derive(Debug)]
struct Conn {
    stream: TcpStream,
    script: Rc<Script>,
    phase: Phase,
    /// Does not read once it is ready.
    deaf: bool,
    /// The beginning of a frame whose rest has not come yet.
    partial: Vec<u8>,
    /// What the socket did not take yet.
    out: Vec<u8>,
}

impl Pool {
    /// A pool without connections.
    ///
    /// # Errors
    ///
    /// Where the system has no epoll instance to give.
    pub fn new() -> Result<Self> {
        let poll = Poll::new().map_err(Error::system("creating an epoll instance"))?;
        let events = Events::with_capacity(1024);
        Ok(Self { poll, events, conns: Slab::new(), buf: vec![0; READ_ROOM] })
    }

    /// Begins to connect; a later [`turn`](Self::turn) tells when it is ready.
    ///
    /// # Errors
    ///
    /// Where the system refuses another socket.
    pub fn open(&mut self, plan: &Plan) -> Result<Id> {
        let server = plan.script.server();
        let source = source_address(server, self.conns.len());
        let stream = start_connect(server, source, plan.receive_buffer)
            .map_err(Error::system(format!("connecting number {} to {server}", self.conns.len() + 1)))?;
        let entry = self.conns.vacant_entry();
        let id = entry.key();
        let conn = entry.insert(Conn {
            stream,
            script: Rc::clone(&plan.script),
            phase: Phase::Upgrading,
            deaf: false,
            partial: Vec::new(),
            out: plan.script.upgrade().to_vec(),
        });
        self.poll
            .registry()
            .register(&mut conn.stream, Token(id), Interest::READABLE | Interest::WRITABLE)
            .map_err(Error::system("registering a socket"))?;
        Ok(id)
    }

    /// Stops reading this connection, or reads it again.
    pub fn set_deaf(&mut self, id: Id, deaf: bool) {
        if let Some(conn) = self.conns.get_mut(id) {
            conn.deaf = deaf;
        }
    }

    /// Sends `bytes`, as much as the socket takes now and the rest when it takes more.
    ///
    /// # Errors
    ///
    /// Where the connection is gone.
    pub fn send(&mut self, id: Id, bytes: &[u8]) -> Result<()> {
        let conn = self.conns.get_mut(id).ok_or_else(|| Error::Server("closed a connection in use".to_owned()))?;
        if !conn.out.is_empty() {
            conn.out.extend_from_slice(bytes);
            return Ok(());
        }
        let sent = write_some(&mut conn.stream, bytes).map_err(Error::system("writing to the server"))?;
        conn.out.extend_from_slice(&bytes[sent..]);
        Ok(())
    }

    /// Sends a Close frame; the connection has ended once the server has closed it (RFC 6455 section 7.1.1). The end that
    /// closes first keeps the port for a minute: were it ours, finding free ones would soon cost more than connecting.
    ///
    /// # Errors
    ///
    /// Where the connection is gone.
    pub fn close(&mut self, id: Id) -> Result<()> {
        self.send(id, &client::close())?;
        self.conns[id].phase = Phase::Leaving;
        Ok(())
    }

    /// Drops the connections that still wait for the server to close them.
    pub fn drop_leaving(&mut self) {
        self.conns.retain(|_, conn| conn.phase != Phase::Leaving);
    }

    /// Connections that have not ended.
    #[must_use]
    pub fn len(&self) -> usize {
        self.conns.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.conns.is_empty()
    }

    /// Every connection that has not ended.
    #[must_use]
    pub fn ids(&self) -> Vec<Id> {
        self.conns.iter().map(|(id, _)| id).collect()
    }

    /// Waits until a socket is ready, at most `timeout`, reads every ready one and tells what came, with the time at
    /// which that socket was read.
    ///
    /// # Errors
    ///
    /// Where epoll fails; a failing connection is a [`Notice::Ended`].
    pub fn turn(&mut self, timeout: Duration, mut on: impl FnMut(Id, Instant, Notice<'_>)) -> Result<()> {
        match self.poll.poll(&mut self.events, Some(timeout)) {
            Err(error) if error.kind() != ErrorKind::Interrupted => {
                return Err(Error::System { what: "waiting in epoll".to_owned(), source: error });
            }
            _ => {}
        }
        for event in &self.events {
            let id = event.token().0;
            let Some(conn) = self.conns.get_mut(id) else { continue };
            let heard = if event.is_readable() || event.is_read_closed() || event.is_error() {
                let now = Instant::now();
                conn.read(&mut self.buf, event.is_read_closed(), |event| on(id, now, Notice::Event(event)))
            } else {
                Ok(())
            };
            if let Err(reason) = heard.and_then(|()| conn.flush()) {
                self.conns.remove(id);
                on(id, Instant::now(), Notice::Ended(reason));
            }
        }
        Ok(())
    }

    /// Reads a connection outside its turn: one that was deaf may have had its only readiness event long ago.
    ///
    /// # Errors
    ///
    /// Why it ended, if it did.
    pub fn catch_up(&mut self, id: Id, mut on: impl FnMut(Event<'_>)) -> Result<(), String> {
        match self.conns.get_mut(id) {
            Some(conn) => conn.read(&mut self.buf, true, &mut on),
            None => Err("closed".to_owned()),
        }
    }
}

impl Conn {
    /// Reads what is there; where the `end` has been announced, up to it.
    fn read(&mut self, buf: &mut Vec<u8>, end: bool, mut on: impl FnMut(Event<'_>)) -> Result<(), String> {
        if self.deaf {
            return Ok(());
        }
        loop {
            let kept = self.partial.len();
            if buf.len() < kept + READ_ROOM {
                buf.resize(kept + READ_ROOM, 0);
            }
            buf[..kept].copy_from_slice(&self.partial);
            let read = match self.stream.read(&mut buf[kept..]) {
                Ok(0) => return Err("closed the connection".to_owned()),
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(format!("connection lost: {error}")),
            };
            let filled = &buf[..kept + read];
            let used = client::take(&mut self.phase, &self.script, filled, &mut self.out, &mut on)?;
            self.partial.clear();
            self.partial.extend_from_slice(&filled[used..]);
            if filled.len() < buf.len() && !end {
                return Ok(());
            }
        }
    }

    fn flush(&mut self) -> Result<(), String> {
        if self.out.is_empty() {
            return Ok(());
        }
        let sent = write_some(&mut self.stream, &self.out).map_err(|error| format!("connection lost: {error}"))?;
        self.out.drain(..sent);
        Ok(())
    }
}

/// Room that every read is offered.
const READ_ROOM: usize = 256 << 10;

/// Connections from one address: a quarter of the ports that Linux gives away, so that finding a free one stays cheap.
const CONNECTIONS_PER_SOURCE: usize = 7_000;

/// The address to connect from; `None` leaves the choice to the system. On loopback every address of 127/8 is ours.
fn source_address(server: SocketAddr, open: usize) -> Option<SocketAddr> {
    let IpAddr::V4(ip) = server.ip() else { return None };
    let block = (open / CONNECTIONS_PER_SOURCE) % 200;
    (ip.is_loopback() && block > 0).then(|| SocketAddr::from((Ipv4Addr::new(127, 0, 1, block as u8), 0)))
}

fn start_connect(server: SocketAddr, source: Option<SocketAddr>, buffer: Option<usize>) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(server), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    if let Some(size) = buffer {
        socket.set_recv_buffer_size(size)?;
    }
    if let Some(source) = source {
        // Ports of connections that ended a moment ago may be taken again.
        socket.set_reuse_address(true)?;
        socket.bind(&source.into())?;
    }
    match socket.connect(&server.into()) {
        Err(error) if error.raw_os_error() != Some(EINPROGRESS) => Err(error),
        _ => Ok(TcpStream::from_std(socket.into())),
    }
}

/// `connect` on a non-blocking socket: under way.
const EINPROGRESS: i32 = 115;

fn write_some(stream: &mut TcpStream, bytes: &[u8]) -> io::Result<usize> {
    match stream.write(bytes) {
        // A socket that is still connecting answers ENOTCONN.
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected) => Ok(0),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_connections_come_from_many_addresses() {
        let server = SocketAddr::from(([127, 0, 0, 1], 80));
        assert_eq!(source_address(server, CONNECTIONS_PER_SOURCE - 1), None);
        let second = source_address(server, CONNECTIONS_PER_SOURCE).map(|address| address.ip());
        assert_eq!(second, Some(IpAddr::from([127, 0, 1, 1])));
        assert_eq!(source_address(SocketAddr::from(([10, 0, 0, 1], 80)), 1 << 20), None);
    }
}
