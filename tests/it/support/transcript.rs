//! Plays the transcripts of `fixtures/transcripts`; `fixtures/transcripts/README.md` says how to read and write them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;

use super::client::{self, Client};
use super::ws::{Event, Socket};

/// One conversation.
#[derive(Debug)]
pub(crate) struct Transcript {
    line: usize,
    pub(crate) clauses: Vec<String>,
    title: String,
    endpoints: Vec<String>,
    steps: Vec<(usize, String)>,
}

/// Reads a file of transcripts; `usual` are the endpoints of those that name none.
pub(crate) fn parse(text: &str, usual: &[&str]) -> Vec<Transcript> {
    let mut transcripts: Vec<Transcript> = Vec::new();
    for (line, text) in text.lines().enumerate().map(|(at, text)| (at + 1, text)) {
        if let Some(head) = text.strip_prefix("## ") {
            let (clauses, title) = head.split_once("  ").unwrap_or((head, ""));
            transcripts.push(Transcript {
                line,
                clauses: clauses.split(' ').map(str::to_owned).collect(),
                title: title.to_owned(),
                endpoints: usual.iter().map(|&path| path.to_owned()).collect(),
                steps: Vec::new(),
            });
        } else if text.is_empty() || text.starts_with('#') {
            continue;
        } else if let Some(transcript) = transcripts.last_mut() {
            match text.strip_prefix("on ") {
                Some(paths) => transcript.endpoints = paths.split(' ').map(str::to_owned).collect(),
                None => transcript.steps.push((line, text.to_owned())),
            }
        }
    }
    transcripts
}

/// Plays every transcript of a file over bare WebSocket, and over SockJS what SockJS can carry; says all that went
/// otherwise.
pub(crate) fn play_all(to: SocketAddr, file: &str, usual: &[&str]) {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap();
    let mut failures = Vec::new();
    for transcript in parse(&text, usual) {
        for endpoint in &transcript.endpoints {
            for carrier in [Carrier::WebSocket, Carrier::SockJs] {
                if carrier == Carrier::SockJs && !transcript.fits_sockjs() {
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

impl Transcript {
    /// SockJS has no binary messages, no sub-protocols, and no close that the client words.
    fn fits_sockjs(&self) -> bool {
        let mut verbs = self.steps.iter().filter_map(|(_, step)| step.split(' ').nth(1));
        verbs.all(|verb| !matches!(verb, ">>" | "<<" | "offers" | "closes"))
    }
}

fn play(to: SocketAddr, transcript: &Transcript, endpoint: &str, carrier: Carrier) -> Result<(), String> {
    let mut player = Player { to, endpoint, carrier, clients: BTreeMap::new(), names: Names::default() };
    player.names.0.insert("t".to_owned(), format!("t{}", client::unique()).into_bytes());
    for (line, step) in &transcript.steps {
        player.step(step).map_err(|failure| format!("line {line}: {step}\n    {failure}"))?;
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

    fn step(&mut self, step: &str) -> Result<(), String> {
        let mut words = step.splitn(3, ' ');
        let who = words.next().unwrap_or_default();
        let verb = words.next().unwrap_or_default();
        let rest = words.next().unwrap_or_default();
        match verb {
            "opens" => {
                self.clients.insert(who.to_owned(), self.open());
                return Ok(());
            }
            "offers" => {
                let (offer, chosen) = rest.split_once(" -> ").ok_or("offers LIST -> NAME")?;
                let socket = Socket::open(self.to, self.endpoint, offer);
                let found = socket.protocol.clone().unwrap_or_else(|| "none".to_owned());
                self.clients.insert(who.to_owned(), Client { socket, connected: String::new() });
                return same(&found, chosen);
            }
            "connects" => {
                let rest = String::from_utf8(self.names.fill(rest)?).map_err(|error| error.to_string())?;
                let mut words = rest.split(' ');
                let version = words.next().unwrap_or_default();
                let headers: Vec<&str> = words.collect();
                let client = self.open().greet(version, &headers);
                self.names.0.insert(format!("session{who}"), session_of(&client.connected));
                self.clients.insert(who.to_owned(), client);
                return Ok(());
            }
            _ => {}
        }
        if verb == "drops" {
            return self.clients.remove(who).map(drop).ok_or_else(|| format!("{who} has no connection"));
        }
        let Self { clients, names, .. } = self;
        let client = clients.get_mut(who).ok_or_else(|| format!("{who} has no connection"))?;
        match verb {
            ">" => client.socket.text(names.fill(rest)?),
            ">>" => client.socket.binary(names.fill(rest)?),
            "<" => return names.expect(rest, false, &next(client)?),
            "<<" => return names.expect(rest, true, &next(client)?),
            "subscribes" => return names.subscribe(client, rest),
            "errors" => {
                let pattern =
                    if rest.is_empty() { "ERROR\\n$**message:$*\\n$**\\0".to_owned() } else { rest.to_owned() };
                names.expect(&pattern, false, &next(client)?)?;
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
                return names.expect(&format!("RECEIPT\\nreceipt-id:{receipt}\\n\\n\\0"), false, &next(client)?);
            }
            "leaves" => {
                client.send("DISCONNECT\nreceipt:bye\n\n\0");
                names.expect("RECEIPT\\nreceipt-id:bye\\n\\n\\0", false, &next(client)?)?;
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
        other => Err(format!("read {}", show(&other))),
    }
}

fn same(found: &str, expected: &str) -> Result<(), String> {
    if found == expected { Ok(()) } else { Err(format!("found {found:?}")) }
}

fn session_of(connected: &str) -> Vec<u8> {
    client::header(connected, "session").unwrap_or_default().as_bytes().to_vec()
}

/// What `$name` stands for.
#[derive(Debug, Default)]
struct Names(BTreeMap<String, Vec<u8>>);

/// A part of a written text.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Octet(u8),
    Name(String),
    /// `$*`: any octets within a line.
    Line,
    /// `$**`: any octets.
    All,
}

impl Names {
    /// The octets that a text stands for.
    fn fill(&self, text: &str) -> Result<Vec<u8>, String> {
        let mut octets = Vec::new();
        for token in tokens(text)? {
            match token {
                Token::Octet(octet) => octets.push(octet),
                Token::Name(name) => octets.extend(self.0.get(&name).ok_or_else(|| format!("${name} is not known"))?),
                Token::Line | Token::All => return Err("wildcards stand for nothing here".to_owned()),
            }
        }
        Ok(octets)
    }

    fn expect(&mut self, text: &str, binary: bool, event: &Event) -> Result<(), String> {
        let octets = match event {
            Event::Text(octets) if !binary => octets,
            Event::Binary(octets) if binary => octets,
            other => return Err(format!("read {}", show(other))),
        };
        let mut bound = self.0.clone();
        if matches(&tokens(text)?, octets, &mut bound) {
            self.0 = bound;
            return Ok(());
        }
        Err(format!("read {}", show(event)))
    }

    fn subscribe(&mut self, client: &mut Client, rest: &str) -> Result<(), String> {
        let mut words = rest.split(' ');
        let (id, destination) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let mode = words.next().map_or_else(String::new, |mode| format!("ack:{mode}\\n"));
        let frame = format!("SUBSCRIBE\\nid:{id}\\ndestination:{destination}\\n{mode}receipt:subscribed\\n\\n\\0");
        client.socket.text(self.fill(&frame)?);
        self.expect("RECEIPT\\nreceipt-id:subscribed\\n\\n\\0", false, &next(client)?)
    }
}

/// Whether the octets have this form; a name that is not known yet stands for what makes it fit.
fn matches(tokens: &[Token], octets: &[u8], names: &mut BTreeMap<String, Vec<u8>>) -> bool {
    let Some((token, rest)) = tokens.split_first() else { return octets.is_empty() };
    let known = match token {
        Token::Octet(octet) => Some(vec![*octet]),
        Token::Name(name) => names.get(name).cloned(),
        Token::Line | Token::All => None,
    };
    if let Some(known) = known {
        return octets.strip_prefix(&*known).is_some_and(|octets| matches(rest, octets, names));
    }
    let longest = match token {
        Token::All => octets.len(),
        _ => octets.iter().position(|octet| *octet == b'\n').unwrap_or(octets.len()),
    };
    let shortest = usize::from(matches!(token, Token::Name(_)));
    for length in shortest..=longest {
        let (taken, left) = octets.split_at(length);
        if let Token::Name(name) = token {
            names.insert(name.clone(), taken.to_vec());
        }
        if matches(rest, left, names) {
            return true;
        }
        if let Token::Name(name) = token {
            names.remove(name);
        }
    }
    false
}

/// The parts of a text: `\n`, `\r`, `\0`, `\\`, `\$`, `\xFF`, `$name`, `$*`, `$**`, everything else is itself.
fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        rest = tail;
        match first {
            b'\\' => {
                let (&escape, tail) = rest.split_first().ok_or("a backslash at the end")?;
                rest = tail;
                tokens.push(Token::Octet(match escape {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b'0' => 0,
                    b'\\' | b'$' => escape,
                    b'x' => {
                        let digits = rest.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
                        rest = rest.get(2..).unwrap_or_default();
                        digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()).ok_or("\\x needs two digits")?
                    }
                    other => return Err(format!("\\{} is no escape of transcripts", char::from(other))),
                }));
            }
            b'$' if rest.starts_with(b"**") => {
                rest = &rest[2..];
                tokens.push(Token::All);
            }
            b'$' if rest.starts_with(b"*") => {
                rest = &rest[1..];
                tokens.push(Token::Line);
            }
            b'$' => {
                let end = rest.iter().position(|c| !c.is_ascii_alphanumeric()).unwrap_or(rest.len());
                tokens.push(Token::Name(String::from_utf8_lossy(&rest[..end]).into_owned()));
                rest = &rest[end..];
            }
            octet => tokens.push(Token::Octet(octet)),
        }
    }
    Ok(tokens)
}

fn show(event: &Event) -> String {
    let octets = |octets: &[u8]| {
        let text = String::from_utf8_lossy(octets).replace('\\', "\\\\").replace('\n', "\\n");
        text.replace('\r', "\\r").replace('\0', "\\0")
    };
    match event {
        Event::Text(text) => octets(text),
        Event::Binary(binary) => format!("(binary) {}", octets(binary)),
        Event::Closed(code, reason) => format!("a close with {code} {reason:?}"),
        Event::Pong(payload) => format!("pong {}", payload.escape_ascii()),
        Event::Lost => "the end of the connection".to_owned(),
    }
}
