//! One STOMP client without its socket: bytes in, events and answers out.
//!
//! The way of a connection is `Upgrading -> (Opening ->) Connecting -> Subscribing -> Ready`; each answer of the server
//! moves it one step and puts the next request into `out`. From then on the cost per MESSAGE is reading the frame's head
//! and one byte of its payload, except over SockJS, whose JSON is parsed.

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicU64, Ordering},
};

use crate::{handshake, stomp, stream::Secure, target::Target, ws};

/// What a client of a scenario says while it connects, encoded once for many.
#[derive(Debug)]
pub struct Script {
    server: SocketAddr,
    secure: Option<Secure>,
    sockjs: bool,
    upgrade: Vec<u8>,
    /// Over SockJS host, path and headers of the request, which differs from session to session.
    session: Option<(String, String, Vec<String>)>,
    connect: Vec<u8>,
    subscribe: Vec<u8>,
    receipt: bool,
}

impl Script {
    /// A client that subscribes to these destinations, with these heart-beats in milliseconds. With `receipt` it is
    /// ready when the server confirms the last of them, otherwise when it has said them.
    #[must_use]
    pub fn new<D: AsRef<str>>(target: &Target, destinations: &[D], receipt: bool, heart_beat: (u64, u64)) -> Self {
        let login = target.login.as_ref().map(|(login, passcode)| (login.as_str(), passcode.as_str()));
        let Target { addr, host, path, secure, sockjs, vhost, headers, .. } = target;
        let mut subscribe = Vec::new();
        for (id, destination) in destinations.iter().enumerate() {
            let last = id + 1 == destinations.len();
            let frame = stomp::subscribe(id, destination.as_ref(), receipt && last, &headers.subscribe);
            subscribe.extend(text(&frame, *sockjs));
        }
        Self {
            server: *addr,
            secure: secure.clone(),
            sockjs: *sockjs,
            upgrade: handshake::request(host, path, true, &headers.handshake).into_bytes(),
            session: sockjs.then(|| (host.clone(), path.clone(), headers.handshake.clone())),
            connect: text(&stomp::connect(vhost, login, heart_beat, &headers.connect), *sockjs),
            receipt: receipt && !subscribe.is_empty(),
            subscribe,
        }
    }

    /// Where to connect.
    #[must_use]
    pub fn server(&self) -> SocketAddr {
        self.server
    }

    /// How to speak TLS, where that is to be spoken.
    #[must_use]
    pub fn secure(&self) -> Option<&Secure> {
        self.secure.as_ref()
    }

    /// The first bytes to send.
    #[must_use]
    pub fn upgrade(&self) -> Vec<u8> {
        match &self.session {
            // SockJS knows no sub-protocols.
            Some((host, path, headers)) => handshake::request(host, &sockjs_path(path), false, headers).into_bytes(),
            None => self.upgrade.clone(),
        }
    }
}

/// A place of its own for every session (SockJS 0.3.3, "Session URLs").
fn sockjs_path(base: &str) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let session = NEXT.fetch_add(1, Ordering::Relaxed);
    let base = base.trim_end_matches('/');
    let run = std::process::id();
    format!("{base}/{:03}/b{run:x}-{session:x}/websocket", session % 1000)
}

/// What the server did.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// CONNECTED has come: how often the server will beat and wants us to, in milliseconds, 0 for never.
    Connected((u64, u64)),
    /// CONNECTED has come, and the receipt of the subscription if there is one.
    Ready,
    /// A MESSAGE frame.
    Message(&'a [u8]),
    /// A RECEIPT frame, after the one of the first subscription.
    Receipt(&'a [u8]),
    /// A heart-beat.
    Beat,
}

/// How far a client has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Waits for the answer to the WebSocket handshake.
    Upgrading,
    /// Waits for SockJS' open frame.
    Opening,
    /// Waits for CONNECTED.
    Connecting,
    /// Waits for the receipt of SUBSCRIBE.
    Subscribing,
    /// In use.
    Ready,
    /// Has sent Close: whatever comes is of no interest any more but the end.
    Leaving,
}

/// Takes the whole frames at the front of `bytes` and returns how many bytes they were; what is to be answered is
/// appended to `out`.
///
/// # Errors
///
/// What the server did wrong, or why it let us go, in words.
pub fn take(
    phase: &mut Phase,
    script: &Script,
    bytes: &[u8],
    out: &mut Vec<u8>,
    on: &mut impl FnMut(Event<'_>),
) -> Result<usize, String> {
    let mut used = 0;
    if *phase == Phase::Upgrading {
        match handshake::head_len(bytes) {
            Some(len) => used = len,
            None if bytes.len() > handshake::MAX_HEAD => return Err("an endless answer to the handshake".to_owned()),
            None => return Ok(0),
        }
        handshake::check_response(&bytes[..used])?;
        if script.sockjs {
            *phase = Phase::Opening;
        } else {
            out.extend_from_slice(&script.connect);
            *phase = Phase::Connecting;
        }
    }
    while let Some(head) = ws::head(&bytes[used..]).map_err(|error| error.to_string())? {
        let Some(payload) = bytes.get(used + head.len..used + head.frame_len()) else { break };
        used += head.frame_len();
        match (head.opcode, payload.first()) {
            _ if *phase == Phase::Leaving => {}
            (ws::TEXT | ws::BINARY, _) if script.sockjs => sockjs(phase, script, payload, out, on)?,
            (ws::TEXT | ws::BINARY, _) => stomp_frame(phase, script, payload, out, on)?,
            (ws::CONTINUATION | ws::PONG, _) => {}
            (ws::PING, _) => ws::put_client(out, ws::PONG, payload),
            (ws::CLOSE, _) => return Err(closed(payload)),
            (opcode, _) => return Err(format!("sent a WebSocket frame of type {opcode}")),
        }
    }
    Ok(used)
}

/// What stands in one WebSocket message, or in one text of SockJS.
#[inline]
fn stomp_frame(
    phase: &mut Phase,
    script: &Script,
    payload: &[u8],
    out: &mut Vec<u8>,
    on: &mut impl FnMut(Event<'_>),
) -> Result<(), String> {
    match payload.first() {
        Some(b'M') if matches!(phase, Phase::Ready | Phase::Subscribing) => on(Event::Message(payload)),
        Some(b'\n' | b'\r') => on(Event::Beat),
        _ => answer(phase, script, payload, out, on)?,
    }
    Ok(())
}

/// One frame of SockJS (0.3.3, "Framing").
fn sockjs(
    phase: &mut Phase,
    script: &Script,
    payload: &[u8],
    out: &mut Vec<u8>,
    on: &mut impl FnMut(Event<'_>),
) -> Result<(), String> {
    let bad = || format!("sent a SockJS frame {:?}", String::from_utf8_lossy(payload));
    match (payload.split_first(), *phase) {
        (Some((b'o', _)), Phase::Opening) => {
            out.extend_from_slice(&script.connect);
            *phase = Phase::Connecting;
        }
        (Some((b'h', _)), _) => {}
        (Some((b'a', texts)), _) => {
            let texts: Vec<String> = serde_json::from_slice(texts).map_err(|_| bad())?;
            for text in texts {
                stomp_frame(phase, script, text.as_bytes(), out, on)?;
            }
        }
        (Some((b'c', why)), _) => return Err(format!("closed the SockJS session: {}", String::from_utf8_lossy(why))),
        _ => return Err(bad()),
    }
    Ok(())
}

/// The Close frame that ends a connection normally.
#[must_use]
pub fn close() -> Vec<u8> {
    let mut frame = Vec::new();
    ws::put_client(&mut frame, ws::CLOSE, &1000_u16.to_be_bytes());
    frame
}

/// A heart-beat as a frame of its own.
#[must_use]
pub fn beat() -> Vec<u8> {
    text("\n", false)
}

fn answer(
    phase: &mut Phase,
    script: &Script,
    payload: &[u8],
    out: &mut Vec<u8>,
    on: &mut impl FnMut(Event<'_>),
) -> Result<(), String> {
    let command = payload.split(|&byte| byte == b'\n').next().unwrap_or_default();
    match (*phase, command) {
        (Phase::Connecting, b"CONNECTED") => {
            on(Event::Connected(stomp::heart_beat(payload)));
            out.extend_from_slice(&script.subscribe);
            if script.receipt {
                *phase = Phase::Subscribing;
            } else {
                *phase = Phase::Ready;
                on(Event::Ready);
            }
        }
        (Phase::Subscribing, b"RECEIPT") => {
            *phase = Phase::Ready;
            on(Event::Ready);
        }
        (Phase::Ready, b"RECEIPT") => on(Event::Receipt(payload)),
        _ => return Err(format!("while {phase:?}, sent {:?}", String::from_utf8_lossy(payload))),
    }
    Ok(())
}

fn closed(payload: &[u8]) -> String {
    match payload.split_first_chunk() {
        Some((&code, reason)) => {
            format!("closed with {} {}", u16::from_be_bytes(code), String::from_utf8_lossy(reason))
        }
        None => "closed".to_owned(),
    }
}

fn text(payload: &str, sockjs: bool) -> Vec<u8> {
    let mut frame = Vec::new();
    if sockjs {
        let texts = serde_json::Value::from(vec![payload]).to_string();
        ws::put_client(&mut frame, ws::TEXT, texts.as_bytes());
    } else {
        ws::put_client(&mut frame, ws::TEXT, payload.as_bytes());
    }
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script() -> Script {
        let target = "ws://127.0.0.1:1/ws".parse().unwrap();
        Script::new(&target, &["/topic/a"], true, (0, 0))
    }

    /// Feeds `wire` in pieces of `step` bytes and tells what became of it.
    fn play(wire: &[u8], step: usize) -> (Result<(), String>, Vec<String>, Vec<u8>) {
        let (mut phase, script) = (Phase::Upgrading, script());
        let (mut seen, mut out, mut kept) = (Vec::new(), Vec::new(), Vec::new());
        for piece in wire.chunks(step) {
            kept.extend_from_slice(piece);
            let mut on = |event: Event<'_>| {
                seen.push(match event {
                    Event::Message(payload) => String::from_utf8_lossy(payload).into_owned(),
                    other => format!("{other:?}"),
                });
            };
            match take(&mut phase, &script, &kept, &mut out, &mut on) {
                Ok(used) => drop(kept.drain(..used)),
                Err(error) => return (Err(error), seen, out),
            }
        }
        (Ok(()), seen, out)
    }

    fn dialogue() -> Vec<u8> {
        let script = script();
        let mut wire = handshake::response(&script.upgrade()).unwrap().into_bytes();
        for payload in
            ["CONNECTED\nversion:1.2\nheart-beat:20,30\n\n\0", "RECEIPT\nreceipt-id:subscribed\n\n\0", "MESSAGE\n\n1\0"]
        {
            ws::put_server(&mut wire, ws::TEXT, payload.as_bytes());
        }
        ws::put_server(&mut wire, ws::PING, b"?");
        ws::put_server(&mut wire, ws::TEXT, b"\n");
        ws::put_server(&mut wire, ws::BINARY, &[b'M'; 70_000]);
        wire
    }

    #[test]
    fn however_the_bytes_are_cut_the_events_are_the_same() {
        let wire = dialogue();
        let whole = play(&wire, wire.len());
        assert_eq!(whole.0, Ok(()));
        assert_eq!(whole.1[..4], ["Connected((20, 30))", "Ready", "MESSAGE\n\n1\0", "Beat"]);
        assert_eq!(whole.1[4].len(), 70_000);
        let mut asked = script().connect;
        asked.extend(script().subscribe);
        ws::put_client(&mut asked, ws::PONG, b"?");
        assert_eq!(whole.2, asked);
        for step in [1, 2, 3, 7, 100, 4096] {
            assert_eq!(play(&wire[..wire.len() - 60_000], step), play(&wire[..wire.len() - 60_000], wire.len()));
        }
    }

    #[test]
    fn over_sockjs_the_dialogue_is_the_same_in_json() {
        let mut target: Target = "ws://127.0.0.1:1/ws/".parse().unwrap();
        target.sockjs = true;
        let script = Script::new(&target, &["/topic/a"], true, (0, 0));
        assert!(script.upgrade().starts_with(b"GET /ws/0"));
        let mut wire = handshake::response(&script.upgrade()).unwrap().into_bytes();
        let frames =
            [r#"o"#, r#"a["CONNECTED\n\n\u0000"]"#, "h", r#"a["RECEIPT\n\n\u0000","MESSAGE\n\n1\u0000","\n"]"#];
        frames.iter().for_each(|frame| ws::put_server(&mut wire, ws::TEXT, frame.as_bytes()));
        let (mut phase, mut seen, mut out) = (Phase::Upgrading, Vec::new(), Vec::new());
        take(&mut phase, &script, &wire, &mut out, &mut |event| seen.push(format!("{event:?}"))).unwrap();
        assert_eq!(seen.len(), 4, "{seen:?}");
        assert_eq!((&*seen[1], &*seen[3]), ("Ready", "Beat"));
        assert_eq!(out, [script.connect, script.subscribe].concat());
    }

    #[test]
    fn an_error_or_a_close_ends_the_client() {
        let mut wire = handshake::response(&script().upgrade()).unwrap().into_bytes();
        let upgraded = wire.len();
        ws::put_server(&mut wire, ws::TEXT, b"ERROR\nmessage:no\n\n\0");
        assert!(play(&wire, wire.len()).0.unwrap_err().contains("message:no"));
        wire.truncate(upgraded);
        ws::put_server(&mut wire, ws::CLOSE, b"\x03\xeabye");
        assert_eq!(play(&wire, wire.len()).0, Err("closed with 1002 bye".to_owned()));
    }
}
