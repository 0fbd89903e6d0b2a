//! `stampede send`.

use std::collections::HashSet;
use std::io::{self, IsTerminal as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use stampede_protocol::stomp::{Command, Frame};
use tokio::fs::File;
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, BufReader};
use tokio::time::{Instant, sleep_until};

use super::connecting::Connecting;
use super::session::{Ended, Session};
use super::{Failure, header, say};

/// Send messages to a destination of any STOMP server, and wait until it has confirmed them.
///
/// The exit status is 0 if it confirmed all of them, 1 if it refused or did not confirm, 2 if it could not be asked.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Send {
    /// ws://HOST:PORT/PATH (or wss, http, https), or tcp://HOST:PORT (or stomp+ssl) without WebSocket
    url: String,
    /// Where to send to
    destination: String,
    /// The body; - reads it from standard input, which is the default where that is no terminal
    body: Option<String>,
    /// Read the body from a file
    #[arg(long, value_name = "FILE", conflicts_with = "body")]
    file: Option<PathBuf>,
    /// Each line of standard input, or of the file, is a message; it is sent as soon as it is read
    #[arg(long, conflicts_with = "body")]
    lines: bool,
    /// A further header of SEND, as it stands; may be repeated
    #[arg(long, value_name = "NAME:VALUE", value_parser = send_header)]
    header: Vec<(String, String)>,
    /// The content-type header of SEND
    #[arg(long, value_name = "TYPE")]
    content_type: Option<String>,
    /// Ask for no receipts, for servers that give none; only DISCONNECT asks for one
    #[arg(long)]
    no_receipt: bool,
    /// How many messages may be unconfirmed at a time
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    in_flight: u32,
    #[command(flatten)]
    connecting: Connecting,
}

const EXAMPLES: &str = "\
Examples:
  stampede send ws://127.0.0.1:8080/ws /topic/news hello
  stampede send ws://127.0.0.1:8080/ws /topic/news --content-type application/json '{\"n\":1}'
  stampede send ws://127.0.0.1:8080/ws /topic/image --file picture.png --header 'name:picture.png'
  tail -f log | stampede send ws://127.0.0.1:8080/ws /topic/log --lines
  stampede send tcp://127.0.0.1:61613 /queue/work --login guest --passcode guest --vhost / hello";

fn send_header(text: &str) -> Result<(String, String), String> {
    header(text, &["destination", "receipt", "content-length"])
}

impl Send {
    /// Sends what there is.
    ///
    /// # Errors
    ///
    /// Why not all of it was sent and confirmed.
    pub async fn run(self) -> Result<(), Failure> {
        let Self { url, destination, body, file, lines, header, content_type, no_receipt, in_flight, connecting } =
            self;
        // What is to be sent must be there before anybody is asked.
        let mut source = source(body, file.as_deref(), lines).await.map_err(Failure::NotAsked)?;
        let mut head = Frame::new(Command::Send).with("destination", destination);
        if let Some(content_type) = content_type {
            head = head.with("content-type", content_type);
        }
        for (name, value) in header {
            head = head.with(name, value);
        }
        let quiet = connecting.quiet;
        let session = connecting.open(&url).await?;
        let mut sender = Sender {
            head,
            receipts: !no_receipt,
            most: in_flight as usize,
            sent: 0,
            waiting: HashSet::new(),
            heard: Instant::now(),
            patience: session.patience,
        };
        let outcome = sender.send_all(session, &mut source).await;
        match outcome {
            Ok(all) if !quiet => say(&sender.counted(all)),
            Ok(_) => {}
            Err(failure) if sender.sent > 1 => {
                let counted = sender.counted(false);
                return Err(Failure::Failed(format!("{failure}\n{counted}")));
            }
            Err(failure) => return Err(failure),
        }
        Ok(())
    }
}

/// What is sent, and what the server said of it.
struct Sender {
    /// The frame, but for body and receipt.
    head: Frame,
    receipts: bool,
    /// How many may be unconfirmed.
    most: usize,
    sent: u64,
    /// What was sent and is not confirmed.
    waiting: HashSet<u64>,
    /// When something was confirmed last, or began to wait.
    heard: Instant,
    patience: Duration,
}

impl Sender {
    /// Sends all, waits for what is to be confirmed, and leaves. Whether DISCONNECT was confirmed.
    async fn send_all(&mut self, mut session: Session, source: &mut Source) -> Result<bool, Failure> {
        let mut ended = false;
        while !ended || !self.waiting.is_empty() {
            let room = session.room();
            tokio::select! {
                // Answers first: they make room.
                biased;
                frame = session.next() => self.confirmed(&frame?),
                body = async { room.await; source.next().await }, if !ended && self.waiting.len() < self.most => {
                    match body.map_err(Failure::Failed)? {
                        Some(body) => self.send(&mut session, body)?,
                        None => ended = true,
                    }
                }
                () = sleep_until(self.heard + self.patience), if !self.waiting.is_empty() => {
                    let time = humantime::format_duration(self.patience);
                    return Err(Failure::Failed(format!(
                        "no RECEIPT within {time}: --no-receipt is for servers that give none, --patience waits longer"
                    )));
                }
            }
        }
        session.leave().await.map_err(|refused: Ended| refused.into())
    }

    fn send(&mut self, session: &mut Session, body: Bytes) -> Result<(), Failure> {
        let mut frame = self.head.clone();
        frame.body = body;
        if self.receipts {
            frame = frame.with("receipt", self.sent.to_string());
        }
        // Nothing was asked yet where the first one cannot be sent.
        let failure = if self.sent == 0 { Failure::NotAsked } else { Failure::Failed };
        session.send(&frame).map_err(failure)?;
        if self.receipts {
            if self.waiting.is_empty() {
                self.heard = Instant::now();
            }
            self.waiting.insert(self.sent);
        }
        self.sent += 1;
        Ok(())
    }

    fn confirmed(&mut self, frame: &Frame) {
        if frame.command != Command::Receipt {
            return;
        }
        let receipt = frame.header("receipt-id").and_then(|id| id.parse().ok());
        if receipt.is_some_and(|receipt| self.waiting.remove(&receipt)) {
            self.heard = Instant::now();
        }
    }

    fn counted(&self, all: bool) -> String {
        let messages = |count| if count == 1 { "1 message".to_owned() } else { format!("{count} messages") };
        let sent = messages(self.sent);
        match (self.receipts, self.waiting.len()) {
            (true, 0) => format!("{sent} confirmed"),
            (true, waiting) => format!("{} confirmed, {waiting} not", messages(self.sent - waiting as u64)),
            (false, _) if all => format!("{sent} sent; DISCONNECT behind them was confirmed"),
            (false, _) => format!("{sent} sent; nothing was confirmed"),
        }
    }
}

/// Where messages come from.
enum Source {
    One(Option<Bytes>),
    Lines { from: Box<dyn AsyncBufRead + Unpin>, line: Vec<u8> },
}

/// Finds out what is to be sent. What is one message is read as a whole.
async fn source(body: Option<String>, file: Option<&Path>, lines: bool) -> Result<Source, String> {
    let named = file.filter(|file| *file != Path::new("-"));
    if lines {
        let from: Box<dyn AsyncBufRead + Unpin> = match named {
            Some(file) => Box::new(BufReader::new(File::open(file).await.map_err(|error| unread(file, &error))?)),
            None => Box::new(BufReader::new(tokio::io::stdin())),
        };
        return Ok(Source::Lines { from, line: Vec::new() });
    }
    let body = match (body, named) {
        (_, Some(file)) => std::fs::read(file).map_err(|error| unread(file, &error))?.into(),
        (Some(body), None) if body != "-" => body.into(),
        (None, None) if file.is_none() && io::stdin().is_terminal() => {
            return Err("there is no BODY: name it, or a file with --file, or say - to type it".to_owned());
        }
        _ => {
            let mut body = Vec::new();
            let read = io::Read::read_to_end(&mut io::stdin().lock(), &mut body);
            read.map_err(|error| format!("standard input: {error}"))?;
            body.into()
        }
    };
    Ok(Source::One(Some(body)))
}

fn unread(file: &Path, error: &io::Error) -> String {
    format!("{}: {error}", file.display())
}

impl Source {
    /// The next body; `None` at the end.
    ///
    /// # Cancel safety
    ///
    /// Whoever stops waiting loses nothing: what there is of a line is kept.
    async fn next(&mut self) -> Result<Option<Bytes>, String> {
        let Self::Lines { from, line } = self else {
            let Self::One(body) = self else { return Ok(None) };
            return Ok(body.take());
        };
        from.read_until(b'\n', line).await.map_err(|error| format!("it cannot be read on: {error}"))?;
        if line.is_empty() {
            return Ok(None);
        }
        let mut body = std::mem::take(line);
        if body.pop_if(|octet| *octet == b'\n').is_some() {
            body.pop_if(|octet| *octet == b'\r');
        }
        Ok(Some(body.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_lose_their_ends_and_nothing_else() {
        let text = &b"a\n\n b \r\nc\rd\xff\nlast"[..];
        let mut source = Source::Lines { from: Box::new(text), line: Vec::new() };
        let mut read = Vec::new();
        while let Some(body) = source.next().await.unwrap() {
            read.push(body);
        }
        assert_eq!(read, [&b"a"[..], b"", b" b ", b"c\rd\xff", b"last"]);
        assert_eq!(source.next().await, Ok(None));
    }

    #[tokio::test]
    async fn what_is_not_there_is_said() {
        let missing = Path::new("no/such/file");
        for lines in [false, true] {
            let Err(why) = source(None, Some(missing), lines).await else { panic!("there is no such file") };
            assert!(why.contains("no/such/file"), "{why}");
        }
    }
}
