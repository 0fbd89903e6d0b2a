//! Plays the transcripts of `fixtures/transcripts`; `fixtures/transcripts/README.md` says how to read and write them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;

use stampede::conformance::form::{Names, show};
use stampede::conformance::script::{self, Step, Transcript};

use super::client::{self, Client};
use super::ws::{Event, Socket};

/// Reads a file of transcripts.
pub(crate) fn parse(text: &str) -> Vec<Transcript> {
    script::parse(text, &["on"]).transcripts
}

/// Plays every transcript of a file over bare WebSocket, and over SockJS what SockJS can carry; says all that went
/// otherwise.
pub(crate) fn play_all(to: SocketAddr, file: &str, usual: &[&str]) {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap();
    let mut failures = Vec::new();
    for transcript in parse(&text) {
        let named: Vec<&str> = transcript.words("on").collect();
        for &endpoint in if named.is_empty() { usual } else { &named } {
            for carrier in [Carrier::WebSocket, Carrier::SockJs] {
                if carrier == Carrier::SockJs && !fits_sockjs(&transcript) {
                    continue;
                }
                if let Err(failure) = play(to, &transcript, endpoint, carrier) {
                    let Transcript { line, title, clauses, .. } = &transcript;
                    let place = format!("{file}:{line} {clauses:?} {title}, on {endpoint} over {carrier:?}");
                    failures.push(format!("{place}\n    {failure}"));
                }
            }
        }
    }
    assert!(failures.is_empty(), "{} failed:\n{}", failures.len(), failures.join("\n"));
}

/// What carries STOMP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Carrier {
    WebSocket,
    SockJs,
}

/// SockJS has no binary messages, no sub-protocols, and no close that the client words.
fn fits_sockjs(transcript: &Transcript) -> bool {
    !transcript.steps.iter().any(|step| matches!(&*step.verb, ">>" | "<<" | "offers" | "closes"))
}

fn play(to: SocketAddr, transcript: &Transcript, endpoint: &str, carrier: Carrier) -> Result<(), String> {
    let mut player = Player { to, endpoint, carrier, clients: BTreeMap::new(), names: Names::default() };
    player.names.set("t", format!("t{}", client::unique()));
    for step in &transcript.steps {
        let Step { line, who, verb, rest } = step;
        player.step(step).map_err(|failure| format!("line {line}: {who} {verb} {rest}\n    {failure}"))?;
    }
    Ok(())
}

struct Player<'a> {
    to: SocketAddr,
    endpoint: &'a str,
    carrier: Carrier,
    clients: BTreeMap<String, Client>,
    names: Names,
}

impl Player<'_> {
    fn open(&self) -> Client {
        match self.carrier {
            Carrier::WebSocket => Client::open(self.to, self.endpoint),
            Carrier::SockJs => Client { socket: Socket::open_sockjs(self.to, self.endpoint), connected: String::new() },
        }
    }

    fn step(&mut self, step: &Step) -> Result<(), String> {
        let Step { who, verb, rest, .. } = step;
        match &**verb {
            "opens" => {
                self.clients.insert(who.clone(), self.open());
                return Ok(());
            }
            "offers" => {
                let (offer, chosen) = rest.split_once(" -> ").ok_or("offers LIST -> NAME")?;
                let socket = Socket::open(self.to, self.endpoint, offer);
                let found = socket.protocol.clone().unwrap_or_else(|| "none".to_owned());
                self.clients.insert(who.clone(), Client { socket, connected: String::new() });
                return same(&found, chosen);
            }
            "connects" => {
                let rest = self.names.fill_text(rest)?;
                let mut words = rest.split(' ');
                let version = words.next().unwrap_or_default();
                let headers: Vec<&str> = words.collect();
                let client = self.open().greet(version, &headers);
                self.names.set(format!("session{who}"), session_of(&client.connected));
                self.clients.insert(who.clone(), client);
                return Ok(());
            }
            _ => {}
        }
        if verb == "drops" {
            return self.clients.remove(who).map(drop).ok_or_else(|| format!("{who} has no connection"));
        }
        let Self { clients, names, .. } = self;
        let client = clients.get_mut(who).ok_or_else(|| format!("{who} has no connection"))?;
        match &**verb {
            ">" => client.socket.text(names.fill(rest)?),
            ">>" => client.socket.binary(names.fill(rest)?),
            "<" => return expect(names, rest, false, &next(client)?),
            "<<" => return expect(names, rest, true, &next(client)?),
            "subscribes" => return subscribe(names, client, rest),
            "errors" => {
                let pattern = if rest.is_empty() { "ERROR\\n$**message:$*\\n$**\\0".to_owned() } else { rest.clone() };
                expect(names, &pattern, false, &next(client)?)?;
                return closed(client, 1002);
            }
            "closed" => return closed(client, rest.parse().map_err(|_| "closed CODE")?),
            "closes" => {
                client.socket.close(rest.parse().map_err(|_| "closes CODE")?);
                return closed(client, rest.parse().map_err(|_| "closes CODE")?);
            }
            "quiet" => {
                let receipt = format!("quiet-{}", client::unique());
                client.send(&format!("SEND\ndestination:/topic/nobody\nreceipt:{receipt}\n\n\0"));
                return expect(names, &format!("RECEIPT\\nreceipt-id:{receipt}\\n\\n\\0"), false, &next(client)?);
            }
            "leaves" => {
                client.send("DISCONNECT\nreceipt:bye\n\n\0");
                expect(names, "RECEIPT\\nreceipt-id:bye\\n\\n\\0", false, &next(client)?)?;
                return closed(client, 1000);
            }
            other => return Err(format!("unknown step {other}")),
        }
        Ok(())
    }
}

fn next(client: &mut Client) -> Result<Event, String> {
    client.socket.next_within(super::PATIENCE).ok_or_else(|| "the server wrote nothing".to_owned())
}

fn closed(client: &mut Client, code: u16) -> Result<(), String> {
    match next(client)? {
        Event::Closed(found, _) => same(&found.to_string(), &code.to_string()),
        other => Err(format!("read {}", told(&other))),
    }
}

fn same(found: &str, expected: &str) -> Result<(), String> {
    if found == expected { Ok(()) } else { Err(format!("found {found:?}")) }
}

fn session_of(connected: &str) -> Vec<u8> {
    client::header(connected, "session").unwrap_or_default().as_bytes().to_vec()
}

fn expect(names: &mut Names, text: &str, binary: bool, event: &Event) -> Result<(), String> {
    let octets = match event {
        Event::Text(octets) if !binary => octets,
        Event::Binary(octets) if binary => octets,
        other => return Err(format!("read {}", told(other))),
    };
    if names.fits(text, octets)? { Ok(()) } else { Err(format!("read {}", told(event))) }
}

fn subscribe(names: &mut Names, client: &mut Client, rest: &str) -> Result<(), String> {
    let mut words = rest.split(' ');
    let (id, destination) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mode = words.next().map_or_else(String::new, |mode| format!("ack:{mode}\\n"));
    let frame = format!("SUBSCRIBE\\nid:{id}\\ndestination:{destination}\\n{mode}receipt:subscribed\\n\\n\\0");
    client.socket.text(names.fill(&frame)?);
    expect(names, "RECEIPT\\nreceipt-id:subscribed\\n\\n\\0", false, &next(client)?)
}

fn told(event: &Event) -> String {
    match event {
        Event::Text(text) => show(text),
        Event::Binary(binary) => format!("(binary) {}", show(binary)),
        Event::Closed(code, reason) => format!("a close with {code} {reason:?}"),
        Event::Pong(payload) => format!("pong {}", payload.escape_ascii()),
        Event::Lost => "the end of the connection".to_owned(),
    }
}
