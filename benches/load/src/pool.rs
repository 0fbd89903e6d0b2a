//! Many clients on one thread: sockets, readiness, and nothing of what a scenario means.
//!
//! Sockets are registered once, edge-triggered; a read that fills less than the buffer has emptied the socket unless its
//! end has come too (epoll(7)), so a turn costs one `read` per readable socket.

use std::{
    io::{self, ErrorKind},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    os::fd::{AsRawFd, OwnedFd},
    sync::Arc,
    time::{Duration, Instant},
};

use mio::{Events, Interest, Poll, Token, Waker, net::TcpStream, unix::SourceFd};
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec};
use slab::Slab;
use socket2::{Domain, Protocol, Socket, Type};

use crate::{
    Error, Result,
    client::{self, Event, Phase, Script},
    stream::Stream,
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
    /// Wakes a turn at a time finer than the milliseconds that epoll counts in.
    timer: Option<OwnedFd>,
    /// Which of the pools of this process it is: each connects from addresses of its own.
    number: usize,
    sources: Arc<[IpAddr]>,
}

/// How one connection is made.
#[derive(Debug, Clone)]
pub struct Plan {
    /// What it says until it is ready.
    pub script: Arc<Script>,
    /// Size of its receive buffer in the kernel, where it shall not be the default.
    pub receive_buffer: Option<usize>,
}

#[derive(Debug)]
struct Conn {
    stream: Stream,
    script: Arc<Script>,
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
        let sources = Arc::from([]);
        Ok(Self { poll, events, conns: Slab::new(), buf: vec![0; READ_ROOM], timer: None, number: 0, sources })
    }

    /// The pool of this number among several, connecting from these addresses in turn, or from what fits.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn numbered(number: usize, sources: &Arc<[IpAddr]>) -> Result<Self> {
        Ok(Self { number, sources: Arc::clone(sources), ..Self::new()? })
    }

    /// What lets another thread end a [`turn`](Self::turn).
    ///
    /// # Errors
    ///
    /// Where the system has none to give.
    pub fn waker(&self) -> Result<Waker> {
        Waker::new(self.poll.registry(), WAKER).map_err(Error::system("creating an event descriptor"))
    }

    /// Makes the next turn end in so much time, if it did not before.
    ///
    /// # Errors
    ///
    /// Where the system has no timer to give.
    pub fn wake_in(&mut self, wait: Duration) -> Result<()> {
        let timer = match &self.timer {
            Some(timer) => timer,
            None => {
                let what = || Error::system("creating a timer");
                let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
                let timer = rustix::time::timerfd_create(TimerfdClockId::Monotonic, flags)
                    .map_err(|error| what()(error.into()))?;
                let descriptor = timer.as_raw_fd();
                self.poll.registry().register(&mut SourceFd(&descriptor), TIMER, Interest::READABLE).map_err(what())?;
                self.timer.insert(timer)
            }
        };
        // All zeroes would stop it.
        let nanos = wait.subsec_nanos().max(u32::from(wait.is_zero()));
        let value = Timespec { tv_sec: wait.as_secs() as i64, tv_nsec: nanos.into() };
        let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: value };
        rustix::time::timerfd_settime(timer, TimerfdTimerFlags::empty(), &once)
            .map(drop)
            .map_err(|error| Error::system("setting a timer")(error.into()))
    }

    /// Begins to connect; a later [`turn`](Self::turn) tells when it is ready.
    ///
    /// # Errors
    ///
    /// Where the system refuses another socket.
    pub fn open(&mut self, plan: &Plan) -> Result<Id> {
        let server = plan.script.server();
        let source = source_address(server, self.conns.len(), self.number, &self.sources);
        let socket = start_connect(server, source, plan.receive_buffer)
            .map_err(Error::system(format!("connecting number {} to {server}", self.conns.len() + 1)))?;
        let stream = Stream::new(socket, plan.script.secure())?;
        let entry = self.conns.vacant_entry();
        let id = entry.key();
        let conn = entry.insert(Conn {
            stream,
            script: Arc::clone(&plan.script),
            phase: Phase::Upgrading,
            deaf: false,
            partial: Vec::new(),
            out: plan.script.upgrade(),
        });
        self.poll
            .registry()
            .register(conn.stream.socket(), Token(id), Interest::READABLE | Interest::WRITABLE)
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
        let sent = conn.stream.write(bytes).map_err(Error::system("writing to the server"))?;
        conn.out.extend_from_slice(&bytes[sent..]);
        Ok(())
    }

    /// Bytes that the socket of this connection did not take yet.
    #[must_use]
    pub fn unsent(&self, id: Id) -> usize {
        self.conns.get(id).map_or(0, |conn| conn.out.len())
    }

    /// Ends every connection at once, without a word.
    pub fn cut(&mut self) {
        self.conns.clear();
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
            // The waker and the timer are nobody's number.
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
            if filled.len() < buf.len() && !end && self.stream.short_read_is_all() {
                return Ok(());
            }
        }
    }

    fn flush(&mut self) -> Result<(), String> {
        let lost = |error| format!("connection lost: {error}");
        if self.out.is_empty() {
            return self.stream.flush().map_err(lost);
        }
        let sent = self.stream.write(&self.out).map_err(lost)?;
        self.out.drain(..sent);
        Ok(())
    }
}

/// Room that every read is offered.
const READ_ROOM: usize = 256 << 10;

/// Connections from one address: a quarter of the ports that Linux gives away, so that finding a free one stays cheap.
const CONNECTIONS_PER_SOURCE: usize = 7_000;

/// The address to connect from; `None` leaves the choice to the system. On loopback every address of 127/8 is ours.
fn source_address(server: SocketAddr, open: usize, pool: usize, sources: &[IpAddr]) -> Option<SocketAddr> {
    let block = open / CONNECTIONS_PER_SOURCE;
    if !sources.is_empty() {
        return Some(SocketAddr::new(sources[(block + pool) % sources.len()], 0));
    }
    let IpAddr::V4(ip) = server.ip() else { return None };
    let own = Ipv4Addr::new(127, 0, 1 + (pool % 200) as u8, (block % 250) as u8);
    (ip.is_loopback() && (block > 0 || pool > 0)).then(|| SocketAddr::from((own, 0)))
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

const WAKER: Token = Token(usize::MAX - 1);
const TIMER: Token = Token(usize::MAX - 2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_connections_come_from_many_addresses() {
        let server = SocketAddr::from(([127, 0, 0, 1], 80));
        assert_eq!(source_address(server, CONNECTIONS_PER_SOURCE - 1, 0, &[]), None);
        let from = |open, pool| source_address(server, open, pool, &[]).map(|address| address.ip());
        assert_eq!(from(CONNECTIONS_PER_SOURCE, 0), Some(IpAddr::from([127, 0, 1, 1])));
        assert_eq!(from(0, 1), Some(IpAddr::from([127, 0, 2, 0])));
        let elsewhere = SocketAddr::from(([10, 0, 0, 1], 80));
        assert_eq!(source_address(elsewhere, 1 << 20, 0, &[]), None);
        let given = [IpAddr::from([10, 0, 0, 2]), IpAddr::from([10, 0, 0, 3])];
        let third = source_address(elsewhere, CONNECTIONS_PER_SOURCE * 3, 0, &given).map(|address| address.ip());
        assert_eq!(third, Some(given[1]));
    }

    #[test]
    fn a_turn_ends_when_another_thread_or_the_timer_wants_it() {
        let mut pool = Pool::new().unwrap();
        let waker = pool.waker().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| waker.wake().unwrap());
            pool.turn(Duration::from_secs(600), |_, _, _| {}).unwrap();
        });
        for _ in 0..2 {
            pool.wake_in(Duration::from_micros(100)).unwrap();
            pool.turn(Duration::from_secs(600), |_, _, _| {}).unwrap();
        }
    }
}
