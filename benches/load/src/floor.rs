//! The bare fan-out server: the least that delivering a message to a WebSocket can cost.
//!
//! One thread, one epoll instance. A turn reads every ready socket first and only then writes, so that all that waits
//! for a subscriber leaves in one write:
//!
//! ```text
//! epoll -> read all that is ready -> SEND appends one frame to its topic's batch -> write the batch to each subscriber
//! ```
//!
//! It is no broker. It knows CONNECT, SUBSCRIBE, SEND and receipts just well enough to be driven by the same clients as
//! a broker; the MESSAGE has one fixed subscription id and message id, is encoded once and shared by all, and nothing
//! is escaped, validated or kept.

use std::{
    collections::HashMap,
    io::{self, ErrorKind, Read, Write},
    net::SocketAddr,
};

use mio::{
    Events, Interest, Poll, Token,
    net::{TcpListener, TcpStream},
};
use slab::Slab;

use crate::{handshake, stomp, ws};

/// The server; it ends when its process does.
#[derive(Debug)]
pub struct Floor {
    poll: Poll,
    listener: TcpListener,
    conns: Slab<Conn>,
    topics: Topics,
    /// Connections with something in their backlog that no writable event will flush.
    unsent: Vec<usize>,
}

#[derive(Debug)]
struct Conn {
    stream: TcpStream,
    upgraded: bool,
    /// The socket took less than it was given: more goes out when it is writable again.
    blocked: bool,
    subscriptions: Vec<usize>,
    /// The beginning of a frame whose rest has not come yet.
    partial: Vec<u8>,
    backlog: Vec<u8>,
}

#[derive(Debug, Default)]
struct Topics {
    by_name: HashMap<Box<[u8]>, usize>,
    all: Vec<Topic>,
    /// Those with a batch, in this turn.
    touched: Vec<usize>,
}

#[derive(Debug, Default)]
struct Topic {
    subscribers: Vec<usize>,
    /// The frames of this turn, encoded once for all subscribers.
    batch: Vec<u8>,
    /// Everything of a frame in front of its body, for bodies of `head_for` bytes.
    head: Vec<u8>,
    head_for: usize,
    name: Box<[u8]>,
}

impl Floor {
    /// Listens.
    ///
    /// # Errors
    ///
    /// Where the address cannot be had.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        let poll = Poll::new()?;
        let mut listener = TcpListener::bind(address)?;
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        Ok(Self { poll, listener, conns: Slab::new(), topics: Topics::default(), unsent: Vec::new() })
    }

    /// The address it listens on.
    ///
    /// # Errors
    ///
    /// Where the system does not tell.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until epoll itself fails.
    ///
    /// # Errors
    ///
    /// That failure.
    pub fn run(&mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(4096);
        let mut buf = vec![0; 256 << 10];
        loop {
            match self.poll.poll(&mut events, None) {
                Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
            for event in &events {
                match event.token() {
                    LISTENER => self.accept()?,
                    Token(id) => {
                        if event.is_readable() {
                            self.read(id, event.is_read_closed(), &mut buf);
                        }
                        if event.is_writable() {
                            self.flush(id);
                        }
                    }
                }
            }
            self.deliver();
        }
    }

    fn accept(&mut self) -> io::Result<()> {
        loop {
            match self.listener.accept() {
                Ok((stream, _)) => self.welcome(stream)?,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::ConnectionAborted) => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn welcome(&mut self, mut stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let entry = self.conns.vacant_entry();
        self.poll.registry().register(&mut stream, Token(entry.key()), Interest::READABLE)?;
        entry.insert(Conn {
            stream,
            upgraded: false,
            blocked: false,
            subscriptions: Vec::new(),
            partial: Vec::new(),
            backlog: Vec::new(),
        });
        Ok(())
    }

    /// Reads until the socket is empty: the events are edge-triggered. A read that fills less than the buffer shows that
    /// it is, unless its `end` has come too (epoll(7)).
    fn read(&mut self, id: usize, end: bool, buf: &mut [u8]) {
        while let Some(conn) = self.conns.get_mut(id) {
            let kept = conn.partial.len();
            if kept == buf.len() {
                return self.close(id);
            }
            buf[..kept].copy_from_slice(&conn.partial);
            let filled = match conn.stream.read(&mut buf[kept..]) {
                Ok(0) => return self.close(id),
                Ok(read) => kept + read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(_) => return self.close(id),
            };
            let Some(used) = self.take(id, &mut buf[..filled]) else { return self.close(id) };
            if let Some(conn) = self.conns.get_mut(id) {
                // An idle connection keeps no buffer.
                if used == filled {
                    conn.partial = Vec::new();
                } else {
                    conn.partial.clear();
                    conn.partial.extend_from_slice(&buf[used..filled]);
                }
            }
            if filled < buf.len() && !end {
                return;
            }
        }
    }

    /// Handles what is whole in `bytes` and returns how much that was, or `None` to end the connection.
    fn take(&mut self, id: usize, bytes: &mut [u8]) -> Option<usize> {
        let conn = self.conns.get_mut(id)?;
        let mut used = 0;
        if !conn.upgraded {
            let Some(len) = handshake::head_len(bytes) else {
                return (bytes.len() <= handshake::MAX_HEAD).then_some(0);
            };
            let response = handshake::response(&bytes[..len])?;
            conn.upgraded = true;
            self.reply(id, response.as_bytes());
            used = len;
        }
        while let Some(head) = ws::head(&bytes[used..]).ok()? {
            let Some(payload) = bytes.get_mut(used + head.len..used + head.frame_len()) else { break };
            ws::mask(payload, head.mask?);
            match head.opcode {
                ws::TEXT | ws::BINARY => self.stomp(id, payload),
                ws::PING => {
                    let mut pong = Vec::new();
                    ws::put_server(&mut pong, ws::PONG, payload);
                    self.reply(id, &pong);
                }
                ws::CLOSE => {
                    let mut close = Vec::new();
                    ws::put_server(&mut close, ws::CLOSE, payload);
                    // Whether it is heard does not matter: the socket is closed next.
                    let _ = self.conns.get_mut(id)?.stream.write(&close);
                    return None;
                }
                _ => {}
            }
            used += head.frame_len();
        }
        Some(used)
    }

    fn stomp(&mut self, id: usize, payload: &[u8]) {
        let Some((command, rest)) = split_at_byte(payload, b'\n') else { return };
        match command {
            b"SEND" => self.topics.publish(rest),
            b"CONNECT" | b"STOMP" => self.reply_text(id, b"CONNECTED\nversion:1.2\nheart-beat:0,0\n\n\0"),
            b"SUBSCRIBE" => {
                if let (Some(name), Some(conn)) = (header(rest, b"destination:"), self.conns.get_mut(id)) {
                    let topic = self.topics.named(name);
                    self.topics.all[topic].subscribers.push(id);
                    conn.subscriptions.push(topic);
                }
            }
            _ => {}
        }
        if command != b"SEND"
            && let Some(receipt) = header(rest, b"receipt:")
        {
            self.reply_text(id, &[b"RECEIPT\nreceipt-id:", receipt, b"\n\n\0"].concat());
        }
    }

    fn reply_text(&mut self, id: usize, payload: &[u8]) {
        let mut frame = Vec::with_capacity(payload.len() + 4);
        ws::put_server(&mut frame, ws::TEXT, payload);
        self.reply(id, &frame);
    }

    /// Answers are rare: they wait in the backlog for the end of the turn.
    fn reply(&mut self, id: usize, bytes: &[u8]) {
        let Some(conn) = self.conns.get_mut(id) else { return };
        if conn.backlog.is_empty() {
            self.unsent.push(id);
        }
        conn.backlog.extend_from_slice(bytes);
    }

    /// Writes what this turn has brought.
    fn deliver(&mut self) {
        while let Some(topic) = self.topics.touched.pop() {
            let mut batch = std::mem::take(&mut self.topics.all[topic].batch);
            // From the back: closing a subscriber moves the last one, already served, into its place.
            for at in (0..self.topics.all[topic].subscribers.len()).rev() {
                let Some(&id) = self.topics.all[topic].subscribers.get(at) else { continue };
                self.offer(id, &batch);
            }
            batch.clear();
            self.topics.all[topic].batch = batch;
        }
        while let Some(id) = self.unsent.pop() {
            self.flush(id);
        }
    }

    /// Writes at once to whoever has nothing else waiting and no other topic that may follow in this turn.
    fn offer(&mut self, id: usize, batch: &[u8]) {
        let Some(conn) = self.conns.get_mut(id) else { return };
        let mut sent = 0;
        if conn.backlog.is_empty() && conn.subscriptions.len() == 1 {
            sent = match conn.stream.write(batch) {
                Ok(sent) => sent,
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => 0,
                Err(_) => return self.close(id),
            };
            if sent == batch.len() {
                return;
            }
        }
        if conn.backlog.len() + batch.len() - sent > BACKLOG_LIMIT {
            return self.close(id);
        }
        if conn.backlog.is_empty() {
            self.unsent.push(id);
        }
        conn.backlog.extend_from_slice(&batch[sent..]);
    }

    fn flush(&mut self, id: usize) {
        let Some(conn) = self.conns.get_mut(id) else { return };
        while !conn.backlog.is_empty() {
            match conn.stream.write(&conn.backlog) {
                Ok(sent) => drop(conn.backlog.drain(..sent)),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => return self.close(id),
            }
        }
        let blocked = !conn.backlog.is_empty();
        if !blocked {
            conn.backlog = Vec::new();
        }
        if blocked != conn.blocked {
            conn.blocked = blocked;
            let interest = if blocked { Interest::READABLE | Interest::WRITABLE } else { Interest::READABLE };
            if self.poll.registry().reregister(&mut conn.stream, Token(id), interest).is_err() {
                self.close(id);
            }
        }
    }

    fn close(&mut self, id: usize) {
        let Some(conn) = self.conns.try_remove(id) else { return };
        for topic in conn.subscriptions {
            let subscribers = &mut self.topics.all[topic].subscribers;
            if let Some(at) = subscribers.iter().position(|&subscriber| subscriber == id) {
                subscribers.swap_remove(at);
            }
        }
        if self.conns.is_empty() {
            self.conns.shrink_to_fit();
        }
    }
}

impl Topics {
    fn named(&mut self, name: &[u8]) -> usize {
        if let Some(&topic) = self.by_name.get(name) {
            return topic;
        }
        let topic = self.all.len();
        self.all.push(Topic { name: name.into(), head_for: usize::MAX, ..Topic::default() });
        self.by_name.insert(name.into(), topic);
        topic
    }

    /// Appends the MESSAGE for a SEND to its topic's batch; `rest` is all behind the command.
    fn publish(&mut self, rest: &[u8]) {
        let Some(name) = header(rest, b"destination:") else { return };
        let Some(&at) = self.by_name.get(name) else { return };
        let Some(split) = rest.windows(2).position(|two| two == b"\n\n") else { return };
        let body = &rest[split + 2..];
        let topic = &mut self.all[at];
        if topic.batch.is_empty() {
            self.touched.push(at);
        }
        if topic.head_for != body.len() {
            topic.prepare(body.len());
        }
        topic.batch.extend_from_slice(&topic.head);
        topic.batch.extend_from_slice(body);
    }
}

impl Topic {
    /// Makes the head for bodies of `len` bytes, the NUL behind them counted.
    fn prepare(&mut self, len: usize) {
        let subscription = stomp::SUBSCRIPTION;
        let mut head = format!("MESSAGE\nsubscription:{subscription}\nmessage-id:floor-0\ndestination:").into_bytes();
        head.extend_from_slice(&self.name);
        head.extend_from_slice(format!("\ncontent-length:{}\n\n", len.saturating_sub(1)).as_bytes());
        self.head.clear();
        ws::put_server_head(&mut self.head, ws::TEXT, head.len() + len);
        self.head.extend_from_slice(&head);
        self.head_for = len;
    }
}

/// The value of the first header line that begins with `name`.
fn header<'a>(mut rest: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    while let Some((line, next)) = split_at_byte(rest, b'\n') {
        if line.is_empty() {
            return None;
        }
        if let Some(value) = line.strip_prefix(name) {
            return Some(value);
        }
        rest = next;
    }
    None
}

fn split_at_byte(bytes: &[u8], byte: u8) -> Option<(&[u8], &[u8])> {
    let at = bytes.iter().position(|&b| b == byte)?;
    Some((&bytes[..at], &bytes[at + 1..]))
}

const LISTENER: Token = Token(usize::MAX - 1);

/// What may wait for one slow subscriber before it is let go: Spring's limit.
const BACKLOG_LIMIT: usize = 512 << 10;
