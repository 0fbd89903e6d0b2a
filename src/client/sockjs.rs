//! STOMP in the frames of SockJS: in a WebSocket, or in answers to requests.

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use http::Method;
use percent_encoding::percent_decode;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

use super::carrier::Carrier;
use super::http::{Answer, Asked, Connection};
use super::queue::{Taker, queue};
use super::target::Target;
use super::websocket;
use super::wire::{Access, Ends, Event, LARGEST, MOST_UNREAD, Out};

/// What one frame of SockJS says.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Frame {
    Open,
    Beat,
    Messages(Vec<String>),
    Closed(u16, String),
}

impl Frame {
    fn parse(text: &str) -> Option<Self> {
        Some(match text.as_bytes().first()? {
            b'o' if text == "o" => Self::Open,
            b'h' if text.bytes().all(|octet| octet == b'h') => Self::Beat,
            b'a' => Self::Messages(serde_json::from_str(&text[1..]).ok()?),
            b'c' => {
                let (code, reason) = serde_json::from_str(&text[1..]).ok()?;
                Self::Closed(code, reason)
            }
            _ => return None,
        })
    }

    /// Tells what it says. Whether more can follow.
    fn tell(self, ends: &Ends) -> bool {
        match self {
            Self::Open | Self::Beat => true,
            Self::Messages(messages) => {
                messages.into_iter().for_each(|message| ends.tell(Event::Text(message.into())));
                true
            }
            Self::Closed(code, reason) => {
                ends.tell(Event::Closed { code: Some(code), reason });
                false
            }
        }
    }
}

/// A session that nobody else has.
pub(super) fn session_path(target: &Target) -> String {
    let server = getrandom::u32().unwrap_or_default() % 1000;
    let session = getrandom::u64().unwrap_or_default();
    format!("{}/{server:03}/{session:016x}", target.path)
}

fn no_frame(text: &str) -> Event {
    let start: String = text.chars().take(80).collect();
    Event::Lost(format!("{start:?} is no frame of SockJS"))
}

/// The text of a message that SockJS can carry: it has no other.
fn text_of(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).into_owned()
}

/// Frames of SockJS in the messages of a WebSocket.
pub(super) async fn over_websocket(mut socket: websocket::Socket, mut ends: Ends) {
    loop {
        tokio::select! {
            out = ends.out.recv() => {
                let message = match out {
                    Some(Out::Text(octets) | Out::Binary(octets)) => {
                        Message::text(serde_json::json!([text_of(&octets)]).to_string())
                    }
                    Some(Out::Close(code)) => Message::Close(Some(CloseFrame { code: code.into(), reason: "".into() })),
                    None => return,
                };
                if let Err(error) = socket.send(message).await {
                    return ends.tell(Event::Lost(error.to_string()));
                }
            }
            read = async { ends.events.room(MOST_UNREAD).await; socket.next().await } => match websocket::event(read) {
                Some(Event::Text(text)) => {
                    let text = text_of(&text);
                    let Some(frame) = Frame::parse(&text) else { return ends.tell(no_frame(&text)) };
                    if !frame.tell(&ends) {
                        return;
                    }
                }
                Some(Event::Binary(octets)) => return ends.tell(no_frame(&text_of(&octets))),
                Some(event) => return ends.tell(event),
                None => {}
            }
        }
    }
}

/// What a transport asks, and how it wraps frames.
#[derive(Debug)]
struct Transport {
    method: Method,
    receive: &'static str,
    send: &'static str,
    wrapping: Wrapping,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wrapping {
    /// One frame on a line.
    Line,
    /// A server-sent event.
    Event,
    /// A script that calls a function with the frame as its text.
    Script,
}

impl Transport {
    fn of(carrier: Carrier) -> Self {
        let (method, receive, wrapping) = match carrier {
            Carrier::XhrPolling => (Method::POST, "/xhr", Wrapping::Line),
            Carrier::EventSource => (Method::GET, "/eventsource", Wrapping::Event),
            Carrier::HtmlFile => (Method::GET, "/htmlfile?c=p", Wrapping::Script),
            Carrier::JsonpPolling => (Method::GET, "/jsonp?c=p", Wrapping::Script),
            Carrier::XhrStreaming | Carrier::Tcp | Carrier::WebSocket | Carrier::SockJs => {
                (Method::POST, "/xhr_streaming", Wrapping::Line)
            }
        };
        let send = if carrier == Carrier::JsonpPolling { "/jsonp_send" } else { "/xhr_send" };
        Self { method, receive, send, wrapping }
    }

    /// The request that carries messages.
    fn sending(&self, session: &str, messages: &[String]) -> Asked {
        let json = serde_json::json!(messages).to_string();
        let (body, kind) = if self.send == "/jsonp_send" {
            let form = form_urlencoded::Serializer::new(String::new()).append_pair("d", &json).finish();
            (form, "application/x-www-form-urlencoded")
        } else {
            (json, "text/plain")
        };
        let mut asked = Asked::new(Method::POST, format!("{session}{}", self.send), body);
        asked.headers.push(("Content-Type".into(), kind.into()));
        asked
    }
}

/// Takes frames out of what wraps them.
#[derive(Debug)]
struct Unwrapper {
    wrapping: Wrapping,
    buffer: Vec<u8>,
}

impl Unwrapper {
    /// Takes what came, unless the frame it belongs to is too large.
    fn feed(&mut self, octets: &[u8]) -> Result<(), String> {
        if self.buffer.len() + octets.len() > LARGEST {
            return Err(format!("a frame has more than {LARGEST} octets"));
        }
        self.buffer.extend_from_slice(octets);
        Ok(())
    }

    /// The next frame, if it is there as a whole.
    fn next(&mut self) -> Option<String> {
        loop {
            match self.wrapping {
                Wrapping::Line => return self.until(b"\n").map(|line| text_of(&line)),
                Wrapping::Event => {
                    let event = self.until(b"\n\r\n")?;
                    // The prelude is an empty line in front.
                    let event = event.trim_ascii();
                    if let Some(data) = event.strip_prefix(b"data: ") {
                        return Some(text_of(&percent_decode(data).collect::<Vec<u8>>()));
                    }
                }
                Wrapping::Script => {
                    let start = memchr::memmem::find(&self.buffer, b"p(\"")? + 2;
                    let literal = &self.buffer[start..];
                    let end = start + literal_end(literal)?;
                    let text =
                        serde_json::from_slice(&self.buffer[start..end]).unwrap_or_else(|_| text_of(&self.buffer));
                    self.buffer.drain(..end);
                    return Some(text);
                }
            }
        }
    }

    fn until(&mut self, end: &[u8]) -> Option<Vec<u8>> {
        let at = memchr::memmem::find(&self.buffer, end)? + end.len();
        let mut part: Vec<u8> = self.buffer.drain(..at).collect();
        part.truncate(at - end.len());
        Some(part)
    }
}

/// Where a text in quotes ends, if it does.
fn literal_end(text: &[u8]) -> Option<usize> {
    let mut at = 1;
    loop {
        match text.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

/// Asks for frames again and again.
struct Receiver {
    connection: Connection,
    session: String,
    transport: Transport,
    answer: Option<Answer>,
    unwrapper: Unwrapper,
}

impl Receiver {
    /// The next frame, or why there is none.
    async fn next(&mut self) -> Result<Frame, Event> {
        loop {
            if let Some(text) = self.unwrapper.next() {
                match Frame::parse(&text) {
                    Some(Frame::Beat) => continue,
                    Some(frame) => return Ok(frame),
                    None => return Err(no_frame(&text)),
                }
            }
            let answer = match self.answer.as_mut() {
                Some(answer) => answer,
                None => {
                    let answer = self.ask().await.map_err(Event::Lost)?;
                    self.answer.insert(answer)
                }
            };
            match answer.piece().await.map_err(Event::Lost)? {
                Some(octets) => self.unwrapper.feed(&octets).map_err(Event::Lost)?,
                None => self.answer = None,
            }
        }
    }

    async fn ask(&mut self) -> Result<Answer, String> {
        let Transport { method, receive, .. } = &self.transport;
        let path = format!("{}{receive}", self.session);
        let answer = self.connection.ask(&Asked::new(method.clone(), path, "")).await?;
        if answer.status == 200 { Ok(answer) } else { Err(format!("{receive} was answered with {}", answer.status)) }
    }
}

/// Opens a session over requests, and gives what carries its messages from then on.
pub(super) async fn open(
    target: &Target,
    carrier: Carrier,
    access: &Access,
    ends: Ends,
) -> Result<impl Future<Output = ()> + Send + use<>, String> {
    let transport = Transport::of(carrier);
    let unwrapper = Unwrapper { wrapping: transport.wrapping, buffer: Vec::new() };
    let session = session_path(target);
    let connection = Connection::open(target, access).await?;
    let mut receiver = Receiver { connection, session: session.clone(), transport, answer: None, unwrapper };
    match receiver.next().await {
        Ok(Frame::Open) => {}
        Ok(frame) => return Err(format!("a session of {carrier} began with {frame:?}")),
        Err(Event::Lost(why)) => return Err(format!("{carrier}: {why}")),
        Err(event) => return Err(format!("{carrier}: {event:?}")),
    }
    let sender = Connection::open(target, access).await?;
    let transport = Transport::of(carrier);
    Ok(async move {
        let Ends { out, events } = ends;
        let ends = Ends { out: queue().1, events };
        tokio::select! {
            () = receive(receiver, &ends) => {}
            why = send(sender, out, transport, session) => ends.tell(why),
        }
    })
}

async fn receive(mut receiver: Receiver, ends: &Ends) {
    loop {
        ends.events.room(MOST_UNREAD).await;
        match receiver.next().await {
            Ok(frame) => {
                if !frame.tell(ends) {
                    return;
                }
            }
            Err(event) => return ends.tell(event),
        }
    }
}

/// Sends what there is in one request after the other, as clients of SockJS do. Ends when one is refused.
async fn send(mut connection: Connection, mut out: Taker<Out>, transport: Transport, session: String) -> Event {
    let mut waiting = Vec::new();
    while out.recv_many(&mut waiting, MANY).await > 0 {
        let mut closes = false;
        let messages: Vec<String> = waiting
            .drain(..)
            .filter_map(|out| match out {
                Out::Text(message) | Out::Binary(message) => Some(text_of(&message)),
                Out::Close(_) => {
                    closes = true;
                    None
                }
            })
            .collect();
        let refused = match connection.ask(&transport.sending(&session, &messages)).await {
            Ok(mut answer) if (200..300).contains(&answer.status) => answer.rest().await.err(),
            Ok(answer) => Some(format!("{} was answered with {}", transport.send, answer.status)),
            Err(why) => Some(why),
        };
        if let Some(why) = refused {
            // A session that has just ended says why to its receiver, which is on another connection.
            tokio::time::sleep(LAST_WORDS).await;
            return Event::Lost(why);
        }
        if closes {
            break;
        }
    }
    Event::Closed { code: None, reason: String::new() }
}

/// How many messages one request carries at most.
const MANY: usize = 1000;

/// How long the reason of an end may take behind the end.
const LAST_WORDS: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::*;

    fn unwrapped(wrapping: Wrapping, octets: &[u8]) -> Vec<String> {
        let mut whole = Unwrapper { wrapping, buffer: octets.to_vec() };
        let whole: Vec<String> = std::iter::from_fn(|| whole.next()).collect();
        let mut cut = Unwrapper { wrapping, buffer: Vec::new() };
        let mut pieces = Vec::new();
        for octet in octets {
            cut.feed(&[*octet]).unwrap();
            pieces.extend(std::iter::from_fn(|| cut.next()));
        }
        assert_eq!(whole, pieces, "however it is cut");
        whole
    }

    #[test]
    fn frames_come_out_of_what_wraps_them() {
        assert_eq!(unwrapped(Wrapping::Line, b"hhhh\no\na[\"x\"]\n"), ["hhhh", "o", "a[\"x\"]"]);
        let events = b"\r\ndata: o\r\n\r\ndata: a[\"100%25\"]\r\n\r\n";
        assert_eq!(unwrapped(Wrapping::Event, events), ["o", "a[\"100%\"]"]);
        let page =
            br#"<script>function p(d) {c.p(d);};</script><script>p("o");</script><script>p("a[\"\\\");\"]");</script>"#;
        assert_eq!(unwrapped(Wrapping::Script, page), ["o", r#"a["\");"]"#]);
        assert_eq!(unwrapped(Wrapping::Script, b"/**/p(\"h\");\r\n"), ["h"]);
    }

    #[test]
    fn a_frame_without_end_is_not_held() {
        let mut unwrapper = Unwrapper { wrapping: Wrapping::Line, buffer: vec![0; LARGEST] };
        assert!(unwrapper.feed(b"x").unwrap_err().contains(&LARGEST.to_string()));
    }

    #[test]
    fn frames_are_read() {
        let check = |text: &str, frame| assert_eq!(Frame::parse(text), frame, "{text}");
        check("o", Some(Frame::Open));
        check("h", Some(Frame::Beat));
        check("hhhhhh", Some(Frame::Beat));
        check("a[\"x\",\"y\"]", Some(Frame::Messages(vec!["x".into(), "y".into()])));
        check("c[3000,\"Go away!\"]", Some(Frame::Closed(3000, "Go away!".into())));
        for text in ["", "ox", "a", "a[1]", "c[1]", "<html>"] {
            check(text, None);
        }
    }
}
