//! A client in a transcript: what it asked last, and what came of it.

use std::collections::VecDeque;

use super::super::form::show;
use super::super::frames::{Cutter, Seen};
use super::super::server::Server;
use super::http::{Asked, Exchange, Lack, Until};
use super::websocket::{self, CLOSE, LAST, Message, PONG, TEXT};
use super::wrapping::Wrapping;

/// What was expected, and what was seen.
pub(super) type Otherwise = (String, String);

/// A mistake in the transcript itself.
pub(super) fn broken(why: impl Into<String>) -> Otherwise {
    ("a step that can be played".to_owned(), why.into())
}

/// A client.
#[derive(Debug, Default)]
pub(super) struct Client {
    /// Headers of its next request, and those it shall not have.
    pub(super) headers: Vec<(String, String)>,
    pub(super) without: Vec<String>,
    exchange: Option<Exchange>,
    /// The path that it asked for frames last.
    receiver: Option<String>,
    wrapping: Wrapping,
    reader: websocket::Reader,
    /// Messages of a frame that were not read yet.
    messages: VecDeque<String>,
    cutter: Cutter,
    /// How many answers ended while it read on.
    pub(super) renewed: u64,
}

impl Client {
    /// A request with the headers that were put together for it.
    pub(super) fn request(&mut self, method: &str, path: &str) -> Asked {
        let mut asked = Asked::new(method, path);
        asked.headers = std::mem::take(&mut self.headers);
        asked.without = std::mem::take(&mut self.without);
        asked
    }

    /// Asks, on a new connection; the one before is cut.
    pub(super) async fn ask(&mut self, server: &Server, asked: Asked) -> Result<(), Otherwise> {
        if self.exchange.as_ref().is_some_and(|exchange| !exchange.answered()) {
            return Err(broken("its last request has no answer yet"));
        }
        self.exchange = None;
        self.wrapping = Wrapping::of(&asked.path);
        if self.wrapping == Wrapping::WebSocket && asked.path == format!("{}/websocket", server.way.target.path) {
            self.wrapping = Wrapping::Raw;
        }
        self.reader = websocket::Reader::default();
        if self.wrapping != Wrapping::None {
            self.receiver = Some(asked.path.clone());
        }
        let exchange = Exchange::start(server, asked).await;
        self.exchange = Some(exchange.map_err(|why| ("a connection".to_owned(), why))?);
        Ok(())
    }

    /// Asks for frames once more, when the last answer is at its end.
    pub(super) async fn poll(&mut self, server: &Server) -> Result<(), Otherwise> {
        let path = self.receiver.clone().ok_or_else(|| broken("it has no session"))?;
        if let Ok(exchange) = self.exchange() {
            match exchange.piece(Until::within(server.patience)).await {
                Err(Lack::Ended) if exchange.body.is_empty() => {}
                Ok(()) | Err(Lack::Ended) => return Err(("the end of the answer".to_owned(), show(&exchange.body))),
                Err(lack) => return Err(("the end of the answer".to_owned(), lack.shown())),
            }
        }
        let asked = self.request(Wrapping::of(&path).method(), &path);
        self.ask(server, asked).await
    }

    /// Shakes hands for a WebSocket.
    pub(super) async fn upgrade(&mut self, server: &Server, method: &str, path: &str) -> Result<(), Otherwise> {
        let mut asked = self.request(method, path);
        let key: [u8; 16] = std::array::from_fn(|_| getrandom::u32().unwrap_or_default().to_le_bytes()[0]);
        asked.unless_there("Connection", "Upgrade".to_owned());
        asked.unless_there("Upgrade", "websocket".to_owned());
        asked.unless_there("Sec-WebSocket-Version", "13".to_owned());
        asked.unless_there("Sec-WebSocket-Key", {
            use base64::Engine as _;
            base64::engine::general_purpose::STANDARD.encode(key)
        });
        self.ask(server, asked).await
    }

    /// Opens a session, connects, and subscribes to the topic.
    pub(super) async fn join(&mut self, server: &Server, path: &str, topic: &str) -> Result<(), Otherwise> {
        let until = Until::within(server.patience);
        let wrapping = Wrapping::of(path);
        if wrapping == Wrapping::WebSocket {
            self.upgrade(server, "GET", path).await?;
        } else {
            let asked = self.request(wrapping.method(), path);
            self.ask(server, asked).await?;
        }
        let status = self.exchange()?.head(until).await.map(|head| head.status);
        let good = if wrapping == Wrapping::WebSocket { 101 } else { 200 };
        if status != Ok(good) {
            let seen = status.map_or_else(|lack| lack.shown(), |status| status.to_string());
            return Err((format!("status {good} for {path}"), seen));
        }
        if self.wrapping != Wrapping::Raw {
            match self.frame(until).await {
                Ok(frame) if frame == "o" => {}
                frame => return Err(("o, as the first frame".to_owned(), frame.unwrap_or_else(|lack| lack.shown()))),
            }
        }
        let credentials = server.credentials();
        let connect = format!("CONNECT\naccept-version:1.0,1.1,1.2\nhost:{}\n{credentials}\n\0", server.way.host);
        self.send(server, &connect).await?;
        self.read(server, b"CONNECTED").await?;
        let receipt = if server.receipts { "receipt:joined\n" } else { "" };
        self.send(server, &format!("SUBSCRIBE\nid:0\ndestination:{topic}\n{receipt}\n\0")).await?;
        if server.receipts {
            self.read(server, b"RECEIPT").await
        } else {
            tokio::time::sleep(server.settle).await;
            Ok(())
        }
    }

    /// Reads a frame of STOMP with this command, in as many answers as it takes.
    async fn read(&mut self, server: &Server, command: &[u8]) -> Result<(), Otherwise> {
        match self.stomp(server, true).await {
            Ok(seen) if seen.command == command => Ok(()),
            Ok(seen) => Err((show(command), show(&seen.octets))),
            Err(lack) => Err((show(command), lack.shown())),
        }
    }

    /// Sends a message as clients of SockJS do.
    pub(super) async fn send(&mut self, server: &Server, message: &str) -> Result<(), Otherwise> {
        let receiver = self.receiver.clone().ok_or_else(|| broken("it has no session"))?;
        let json = serde_json::json!([message]).to_string();
        match self.wrapping {
            Wrapping::WebSocket => return self.write(LAST | TEXT, json.as_bytes(), true).await,
            Wrapping::Raw => return self.write(LAST | TEXT, message.as_bytes(), true).await,
            _ => {}
        }
        let path = receiver.split('?').next().unwrap_or_default();
        let session = path.rsplit_once('/').map_or(path, |(session, _)| session);
        let (path, kind, body, good) = if path.ends_with("/jsonp") {
            let form = form_urlencoded::Serializer::new(String::new()).append_pair("d", &json).finish();
            (format!("{session}/jsonp_send"), "application/x-www-form-urlencoded", form, 200)
        } else {
            (format!("{session}/xhr_send"), "text/plain", json, 204)
        };
        let mut asked = Asked::new("POST", &path);
        asked.headers.push(("Content-Type".to_owned(), kind.to_owned()));
        asked.body = body.into_bytes();
        let expected = || format!("status {good} for {path}");
        let mut exchange = Exchange::start(server, asked).await.map_err(|why| (expected(), why))?;
        match exchange.head(Until::within(server.patience)).await {
            Ok(head) if head.status == good => Ok(()),
            Ok(head) => Err((expected(), show(&head.octets))),
            Err(lack) => Err((expected(), lack.shown())),
        }
    }

    /// Writes a frame of WebSocket.
    pub(super) async fn write(&mut self, first: u8, payload: &[u8], masked: bool) -> Result<(), Otherwise> {
        let written = self.exchange()?.write(&websocket::frame(first, payload, masked)).await;
        written.map_err(|why| ("a connection".to_owned(), why))
    }

    /// What it asked last.
    pub(super) fn exchange(&mut self) -> Result<&mut Exchange, Otherwise> {
        self.exchange.as_mut().ok_or_else(|| broken("it has asked nothing"))
    }

    /// Cuts the connection.
    pub(super) fn drop_it(&mut self) {
        self.exchange = None;
        self.cutter = Cutter::default();
        self.messages.clear();
    }

    /// Whether it has a WebSocket, and not answers to requests.
    pub(super) fn has_socket(&self) -> bool {
        matches!(self.wrapping, Wrapping::WebSocket | Wrapping::Raw)
    }

    /// The next message of its WebSocket. Pings are answered, a close is, too.
    pub(super) async fn message(&mut self, until: Until) -> Result<Message, Lack> {
        let exchange = self.exchange.as_mut().ok_or(Lack::Ended)?;
        match exchange.head(until).await?.status {
            101 => {}
            _ => return Err(Lack::Broken(show(&exchange.head(until).await?.octets))),
        }
        loop {
            match self.reader.next(&mut exchange.body).map_err(Lack::Broken)? {
                Some(Message::Ping(data)) => {
                    exchange.write(&websocket::frame(LAST | PONG, &data, true)).await.map_err(Lack::Broken)?;
                }
                Some(close @ Message::Close(..)) => {
                    // Whether anybody still reads it does not matter.
                    let _ = exchange.write(&websocket::frame(LAST | CLOSE, b"\x03\xe8", true)).await;
                    return Ok(close);
                }
                Some(message) => return Ok(message),
                None => exchange.piece(until).await?,
            }
        }
    }

    /// The next frame of SockJS.
    pub(super) async fn frame(&mut self, until: Until) -> Result<String, Lack> {
        if self.has_socket() {
            return match self.message(until).await? {
                Message::Text(text) => Ok(String::from_utf8_lossy(&text).into_owned()),
                message => Err(Lack::Broken(message.shown())),
            };
        }
        let exchange = self.exchange.as_mut().ok_or(Lack::Ended)?;
        loop {
            if let Some(frame) = self.wrapping.take(&mut exchange.body).map_err(Lack::Broken)? {
                return Ok(frame);
            }
            let head = exchange.head(until).await?;
            if head.status != 200 {
                return Err(Lack::Broken(show(&head.octets)));
            }
            exchange.piece(until).await?;
        }
    }

    /// The next frame of STOMP; where the answer has ended asks `again`.
    pub(super) async fn stomp(&mut self, server: &Server, again: bool) -> Result<Seen, Lack> {
        let until = Until::within(server.patience);
        loop {
            if let Some(seen) = self.cutter.cut().map_err(Lack::Broken)? {
                return Ok(seen);
            }
            if let Some(message) = self.messages.pop_front() {
                self.cutter.feed(message.as_bytes());
                continue;
            }
            if self.wrapping == Wrapping::Raw {
                match self.message(until).await? {
                    Message::Text(octets) | Message::Binary(octets) => self.cutter.feed(&octets),
                    message => return Err(Lack::Broken(message.shown())),
                }
                continue;
            }
            match self.frame(until).await {
                Ok(frame) if frame == "h" => {}
                Ok(frame) => self.messages = messages(&frame)?.into(),
                Err(Lack::Ended) if again => {
                    self.poll(server).await.map_err(|(_, seen)| Lack::Broken(seen))?;
                    self.renewed += 1;
                }
                Err(lack) => return Err(lack),
            }
        }
    }

    /// The first frame that carries no message and is no heart-beat, in as many answers as it takes.
    pub(super) async fn last_frame(&mut self, server: &Server) -> Result<String, Lack> {
        let until = Until::within(server.patience);
        loop {
            match self.frame(until).await {
                Ok(frame) if frame.starts_with(['a', 'h']) => {}
                Err(Lack::Ended) if self.wrapping.ends_with_each_frame() => {
                    self.poll(server).await.map_err(|(_, seen)| Lack::Broken(seen))?;
                }
                frame => return frame,
            }
        }
    }
}

/// The messages that a frame carries.
fn messages(frame: &str) -> Result<Vec<String>, Lack> {
    let list = frame.strip_prefix('a').and_then(|list| serde_json::from_str(list).ok());
    list.ok_or_else(|| Lack::Broken(format!("the frame {}", show(frame.as_bytes()))))
}
