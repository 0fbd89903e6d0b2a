//! A server that does one thing wrong, now and then: what measures it must find out.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use stampede_load::{handshake, ws};

/// What it does wrong, with one delivery in [`EVERY`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// It confirms no SUBSCRIBE, as Spring's simple broker does not; all else is right.
    Unconfirmed,
    Lost,
    Twice,
    OutOfOrder,
    /// It goes to everybody.
    Misdirected,
    /// All bodies are changed.
    Changed,
}

/// Listens until the test program ends.
pub(super) fn serve(fault: Fault) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let hub = Arc::new(Mutex::new(Hub { fault, subscribers: Vec::new(), delivered: 0 }));
    thread::spawn(move || {
        for socket in listener.incoming() {
            let (hub, socket) = (Arc::clone(&hub), socket.unwrap());
            // Whoever leaves in the middle of something ends its own thread only.
            thread::spawn(move || Client { hub, socket }.run());
        }
    });
    address
}

const EVERY: u64 = 10;

struct Hub {
    fault: Fault,
    subscribers: Vec<Subscriber>,
    delivered: u64,
}

struct Subscriber {
    socket: TcpStream,
    id: String,
    destination: String,
    held: Option<Vec<u8>>,
}

struct Client {
    hub: Arc<Mutex<Hub>>,
    socket: TcpStream,
}

impl Client {
    fn run(mut self) -> std::io::Result<()> {
        let (mut bytes, mut upgraded) = (Vec::new(), false);
        let mut buf = [0; 4096];
        loop {
            let read = self.socket.read(&mut buf)?;
            if read == 0 {
                return Ok(());
            }
            bytes.extend_from_slice(&buf[..read]);
            if !upgraded {
                let Some(len) = handshake::head_len(&bytes) else { continue };
                self.socket.write_all(handshake::response(&bytes[..len]).unwrap().as_bytes())?;
                bytes.drain(..len);
                upgraded = true;
            }
            while let Some(head) = ws::head(&bytes).unwrap().filter(|head| bytes.len() >= head.frame_len()) {
                let mut payload: Vec<u8> = bytes.drain(..head.frame_len()).skip(head.len).collect();
                ws::mask(&mut payload, head.mask.unwrap());
                match head.opcode {
                    ws::TEXT => self.frame(&String::from_utf8(payload).unwrap())?,
                    _ => return Ok(()),
                }
            }
        }
    }

    fn frame(&mut self, frame: &str) -> std::io::Result<()> {
        let (head, body) = frame.split_once("\n\n").unwrap();
        let header = |name: &str| {
            let found = head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            found.unwrap_or_default().to_owned()
        };
        let mut hub = self.hub.lock().unwrap();
        match head.lines().next() {
            Some("CONNECT") => self.socket.write_all(&text("CONNECTED\nversion:1.2\n\n\0"))?,
            Some("SUBSCRIBE") => {
                let (id, destination) = (header("id"), header("destination"));
                hub.subscribers.push(Subscriber { socket: self.socket.try_clone()?, id, destination, held: None });
                if hub.fault != Fault::Unconfirmed {
                    self.socket.write_all(&text(&format!("RECEIPT\nreceipt-id:{}\n\n\0", header("receipt"))))?;
                }
            }
            Some("SEND") => hub.publish(&header("destination"), body),
            other => panic!("{other:?}"),
        }
        Ok(())
    }
}

impl Hub {
    fn publish(&mut self, to: &str, body: &str) {
        let body = if self.fault == Fault::Changed { changed(body) } else { body.to_owned() };
        for subscriber in &mut self.subscribers {
            self.delivered += 1;
            let odd = self.delivered.is_multiple_of(EVERY);
            let meant = subscriber.destination == to;
            if !(meant || odd && self.fault == Fault::Misdirected) {
                continue;
            }
            let Subscriber { id, destination, .. } = subscriber;
            let number = self.delivered;
            let frame =
                text(&format!("MESSAGE\nsubscription:{id}\ndestination:{destination}\nmessage-id:{number}\n\n{body}"));
            let frames = match (odd, self.fault) {
                (true, Fault::Lost) => vec![],
                (true, Fault::Twice) => vec![frame.clone(), frame],
                (true, Fault::OutOfOrder) => subscriber.held.replace(frame).into_iter().collect(),
                _ => [Some(frame), subscriber.held.take()].into_iter().flatten().collect(),
            };
            // One that has left.
            let _ = subscriber.socket.write_all(&frames.concat());
        }
    }
}

/// The last byte in front of the NUL is another.
fn changed(body: &str) -> String {
    format!("{}!\0", &body[..body.len() - 2])
}

fn text(payload: &str) -> Vec<u8> {
    let mut frame = Vec::new();
    ws::put_server(&mut frame, ws::TEXT, payload.as_bytes());
    frame
}
