//! One request and its answer, seen as octets: heads as they were written, chunks as they were cut.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::super::form::show;
use super::super::server::Server;
use crate::client::octets::Octets;

/// What to ask.
#[derive(Debug, Clone, Default)]
pub(super) struct Asked {
    pub(super) method: String,
    /// Path and query.
    pub(super) path: String,
    /// `1.1` or `1.0`.
    pub(super) version: &'static str,
    /// In order.
    pub(super) headers: Vec<(String, String)>,
    /// Headers that would be there without a word, and are not.
    pub(super) without: Vec<String>,
    pub(super) body: Vec<u8>,
}

impl Asked {
    pub(super) fn new(method: &str, path: &str) -> Self {
        Self { method: method.to_owned(), path: path.to_owned(), version: "1.1", ..Self::default() }
    }

    /// Adds a header unless the request has one of that name or shall have none.
    pub(super) fn unless_there(&mut self, name: &str, value: String) {
        let named = |found: &String| found.eq_ignore_ascii_case(name);
        if !self.headers.iter().any(|(found, _)| named(found)) && !self.without.iter().any(named) {
            self.headers.push((name.to_owned(), value));
        }
    }

    /// The octets of the request.
    fn octets(mut self, server: &Server) -> Vec<u8> {
        self.unless_there("Host", server.way.target.authority.clone());
        for (name, value) in &server.way.access.headers {
            self.headers.push((name.clone(), value.clone()));
        }
        let counted = self.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("transfer-encoding"));
        if !counted && (self.method == "POST" || !self.body.is_empty()) {
            self.unless_there("Content-Length", self.body.len().to_string());
        }
        let query = match server.way.target.query.strip_prefix('?') {
            Some(query) if self.path.contains('?') => format!("&{query}"),
            _ => server.way.target.query.clone(),
        };
        let path = if self.path.is_empty() { "/" } else { &self.path };
        let mut octets = format!("{} {path}{query} HTTP/{}\r\n", self.method, self.version).into_bytes();
        for (name, value) in &self.headers {
            octets.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        octets.extend_from_slice(b"\r\n");
        octets.extend_from_slice(&self.body);
        octets
    }
}

/// The head of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) status: u16,
    /// `1.1` or `1.0`.
    version: String,
    headers: Vec<(String, Vec<u8>)>,
    /// As it came.
    pub(super) octets: Vec<u8>,
}

impl Head {
    fn parse(octets: &[u8]) -> Result<Self, String> {
        let no_head = || format!("no head of an answer: {}", show(octets));
        let mut lines = octets.split(|octet| *octet == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        let first = String::from_utf8_lossy(lines.next().unwrap_or_default());
        let (version, rest) = first.strip_prefix("HTTP/").and_then(|rest| rest.split_once(' ')).ok_or_else(no_head)?;
        let status = rest.get(..3).and_then(|digits| digits.parse().ok()).ok_or_else(no_head)?;
        let mut headers = Vec::new();
        for line in lines.filter(|line| !line.is_empty()) {
            let colon = memchr::memchr(b':', line).ok_or_else(no_head)?;
            let name = String::from_utf8_lossy(&line[..colon]).to_ascii_lowercase();
            headers.push((name, line[colon + 1..].trim_ascii().to_vec()));
        }
        Ok(Self { status, version: version.to_owned(), headers, octets: octets.to_vec() })
    }

    /// The values of a header, in order.
    pub(super) fn values(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        let values = self.headers.iter().filter(move |(found, _)| found.eq_ignore_ascii_case(name));
        values.map(|(_, value)| value.as_slice())
    }

    /// The parts of a header that is a list, in lower case.
    pub(super) fn list(&self, name: &str) -> Vec<String> {
        let values = self.values(name).map(String::from_utf8_lossy);
        values
            .flat_map(|value| value.split(',').map(|part| part.trim().to_ascii_lowercase()).collect::<Vec<_>>())
            .collect()
    }

    /// Whether the server says that the connection takes another request.
    pub(super) fn keeps(&self) -> bool {
        let said = self.list("connection");
        let said = |word: &str| said.iter().any(|found| found == word);
        !said("close") && (self.version != "1.0" || said("keep-alive"))
    }

    fn framing(&self, method: &str) -> Result<Framing, String> {
        if method == "HEAD" || matches!(self.status, 204 | 304) {
            return Ok(Framing::Left(0));
        }
        if self.status == 101 {
            return Ok(Framing::Close);
        }
        if self.list("transfer-encoding").last().is_some_and(|last| last == "chunked") {
            return Ok(Framing::Chunks);
        }
        let mut lengths = self.values("content-length");
        match (lengths.next(), lengths.next()) {
            (None, _) => Ok(Framing::Close),
            (Some(length), None) => {
                let length = std::str::from_utf8(length).ok().and_then(|digits| digits.parse().ok());
                length.map(Framing::Left).ok_or_else(|| format!("no length: {}", show(&self.octets)))
            }
            _ => Err(format!("two lengths: {}", show(&self.octets))),
        }
    }
}

/// Where a body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    /// After so many octets.
    Left(usize),
    /// After the chunk of size 0.
    Chunks,
    /// With the connection.
    Close,
}

/// Why there is nothing more to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Lack {
    /// It did not come in this time.
    Nothing(Duration),
    /// The answer, or the connection, is at its end.
    Ended,
    /// What came is no answer, or it breaks off.
    Broken(String),
}

impl Lack {
    /// In words.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::Nothing(time) => format!("nothing within {}", humantime::format_duration(*time)),
            Self::Ended => "the end".to_owned(),
            Self::Broken(why) => why.clone(),
        }
    }
}

/// A point in time, and how far away it was.
#[derive(Debug, Clone, Copy)]
pub(super) struct Until(Instant, Duration);

impl Until {
    pub(super) fn within(time: Duration) -> Self {
        Self(Instant::now() + time, time)
    }
}

/// A request that was sent, and what came of its answer.
#[derive(Debug)]
pub(super) struct Exchange {
    octets: Octets,
    method: String,
    head: Option<Head>,
    framing: Framing,
    /// What came of the body and was not taken.
    pub(super) body: Vec<u8>,
    /// Whether the body is at its end.
    pub(super) ended: bool,
}

impl Exchange {
    /// Asks, on a connection of its own.
    pub(super) async fn start(server: &Server, asked: Asked) -> Result<Self, String> {
        let opening = Octets::open(&server.way.target, &server.way.access);
        let octets = tokio::time::timeout(server.patience, opening).await;
        let octets = octets.unwrap_or_else(|_| Err(format!("no connection to {}", server.way.target.authority)))?;
        let method = asked.method.clone();
        let mut exchange = Self { octets, method, head: None, framing: Framing::Close, body: Vec::new(), ended: false };
        exchange.octets.write(&asked.octets(server)).await?;
        Ok(exchange)
    }

    /// Asks again on the same connection, whose answer is at its end.
    pub(super) async fn again(&mut self, server: &Server, asked: Asked) -> Result<(), String> {
        self.method.clone_from(&asked.method);
        (self.head, self.ended) = (None, false);
        self.body.clear();
        self.octets.write(&asked.octets(server)).await
    }

    /// Writes what is no request: frames of a WebSocket.
    pub(super) async fn write(&mut self, octets: &[u8]) -> Result<(), String> {
        self.octets.write(octets).await
    }

    /// The head of the answer.
    pub(super) async fn head(&mut self, until: Until) -> Result<&Head, Lack> {
        while self.head.is_none() {
            if let Some(end) = memchr::memmem::find(&self.octets.came, b"\r\n\r\n") {
                let octets: Vec<u8> = self.octets.came.drain(..end + 4).collect();
                let head = Head::parse(&octets).map_err(Lack::Broken)?;
                // What only says that the answer will come is none.
                if (100..200).contains(&head.status) && head.status != 101 {
                    continue;
                }
                self.framing = head.framing(&self.method).map_err(Lack::Broken)?;
                self.head = Some(head);
            } else if !self.more(until).await? {
                let came = show(&self.octets.came);
                return Err(Lack::Broken(format!("the connection ends before an answer, after {came:?}")));
            }
        }
        self.head.as_ref().ok_or(Lack::Ended)
    }

    /// Whether anything of an answer has come.
    pub(super) fn answered(&self) -> bool {
        self.head.is_some()
    }

    /// Waits for the next piece of the body, a whole chunk where it is cut into chunks, and puts it behind what there is.
    pub(super) async fn piece(&mut self, until: Until) -> Result<(), Lack> {
        self.head(until).await?;
        if self.ended {
            return Err(Lack::Ended);
        }
        loop {
            match self.framing {
                Framing::Left(0) => break,
                Framing::Left(left) if !self.octets.came.is_empty() => {
                    let taken = left.min(self.octets.came.len());
                    self.body.extend(self.octets.came.drain(..taken));
                    self.framing = Framing::Left(left - taken);
                    return Ok(());
                }
                Framing::Close if !self.octets.came.is_empty() => {
                    self.body.append(&mut self.octets.came);
                    return Ok(());
                }
                Framing::Chunks => match chunk(&mut self.octets.came).map_err(Lack::Broken)? {
                    Some(chunk) if chunk.is_empty() => break,
                    Some(chunk) => {
                        self.body.extend(chunk);
                        return Ok(());
                    }
                    None => {}
                },
                Framing::Left(_) | Framing::Close => {}
            }
            if !self.more(until).await? {
                if self.framing == Framing::Close {
                    break;
                }
                return Err(Lack::Broken("the connection ends within the answer".to_owned()));
            }
        }
        self.ended = true;
        Err(Lack::Ended)
    }

    /// Whether the server ends the connection; what else comes is an error.
    pub(super) async fn closes(&mut self, until: Until) -> Result<(), Lack> {
        if !self.octets.came.is_empty() {
            return Err(Lack::Broken(show(&self.octets.came)));
        }
        match self.more(until).await {
            // A reset is an end as well.
            Ok(false) | Err(Lack::Broken(_)) => Ok(()),
            Ok(true) => Err(Lack::Broken(show(&self.octets.came))),
            Err(lack) => Err(lack),
        }
    }

    async fn more(&mut self, Until(at, time): Until) -> Result<bool, Lack> {
        match timeout_at(at, self.octets.more()).await {
            Ok(more) => more.map_err(Lack::Broken),
            Err(_) => Err(Lack::Nothing(time)),
        }
    }
}

/// Takes the next chunk if it is there as a whole; an empty one is the last.
fn chunk(came: &mut Vec<u8>) -> Result<Option<Vec<u8>>, String> {
    let Some(line) = memchr::memmem::find(came, b"\r\n") else { return Ok(None) };
    let digits = std::str::from_utf8(&came[..line]).unwrap_or_default().split(';').next().unwrap_or_default().trim();
    let size = usize::from_str_radix(digits, 16).map_err(|_| format!("no chunk: {}", show(&came[..line])))?;
    let start = line + 2;
    let Some(end) = came.get(start.saturating_add(size)..).and_then(|rest| rest.get(..2)) else { return Ok(None) };
    if end != b"\r\n" {
        // Behind the last chunk there may be trailers, which no server of SockJS has.
        return Err(format!("no line end behind a chunk of {size} octets"));
    }
    let taken: Vec<u8> = came.drain(..start + size + 2).collect();
    Ok(Some(taken[start..start + size].to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_read() {
        let head = Head::parse(b"HTTP/1.0 200 OK\r\nVary: a, B\r\nvary:c\r\nConnection: Keep-Alive\r\n\r\n").unwrap();
        assert_eq!(
            (head.status, head.list("VARY"), head.keeps()),
            (200, vec!["a".into(), "b".into(), "c".into()], true)
        );
        assert_eq!(head.framing("GET"), Ok(Framing::Close));
        let close = Head::parse(b"HTTP/1.1 500 No\r\nConnection: close\r\nContent-Length: 3\r\n\r\n").unwrap();
        assert_eq!((close.keeps(), close.framing("GET")), (false, Ok(Framing::Left(3))));
        assert_eq!(close.framing("HEAD"), Ok(Framing::Left(0)));
        for head in ["", "HTTP/1.1\r\n\r\n", "HTTP/1.1 2x0\r\n\r\n", "HTTP/1.1 200 OK\r\nvary\r\n\r\n", "o\n"] {
            assert!(Head::parse(head.as_bytes()).is_err(), "{head}");
        }
        for lengths in ["Content-Length: x", "Content-Length: 1\r\nContent-Length: 1"] {
            let head = Head::parse(format!("HTTP/1.1 200 OK\r\n{lengths}\r\n\r\n").as_bytes()).unwrap();
            assert!(head.framing("GET").is_err(), "{lengths}");
        }
    }

    #[test]
    fn chunks_are_taken_as_they_were_cut() {
        let octets = b"2\r\no\n\r\nA;x=y\r\n0123456789\r\n0\r\n\r\nrest";
        let (mut came, mut found) = (Vec::new(), Vec::new());
        for octet in octets {
            came.push(*octet);
            found.extend(chunk(&mut came).unwrap());
        }
        assert_eq!(found, [b"o\n".to_vec(), b"0123456789".to_vec(), Vec::new()]);
        assert_eq!(came, b"rest");
        for wrong in [&b"x\r\n"[..], b"1\r\nabc", b"ffffffffffffffffff\r\n"] {
            assert!(chunk(&mut wrong.to_vec()).is_err(), "{wrong:?}");
        }
    }
}
