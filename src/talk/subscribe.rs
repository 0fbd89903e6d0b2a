//! `stampede subscribe`.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, IsTerminal as _};
use std::time::{Duration, SystemTime};

use clap::{Args, ValueEnum};
use stampede_protocol::stomp::{Command, Frame, Version};
use tokio::io::{AsyncWriteExt as _, Stdout};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, sleep_until};

use super::connecting::Connecting;
use super::session::{Session, is_receipt_of};
use super::show::{Form, plain};
use super::{Failure, header, say};

/// Subscribe to destinations of any STOMP server, and print what comes until Ctrl-C.
///
/// The exit status is 0 after Ctrl-C, --count messages, or when nobody reads any more; 1 if the server refused or ended the
/// session, 2 if it could not be asked.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Subscribe {
    /// ws://HOST:PORT/PATH (or wss, http, https), or tcp://HOST:PORT (or stomp+ssl) without WebSocket
    url: String,
    /// What to subscribe to
    #[arg(required = true, value_name = "DESTINATION")]
    destinations: Vec<String>,
    /// Print a JSON object per line: destination, subscription, message_id, headers, and body or body_base64
    #[arg(long, conflicts_with = "body")]
    json: bool,
    /// Print only the body and a line end
    #[arg(long)]
    body: bool,
    /// End after so many messages
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// How messages are acknowledged; without auto, each one is when it is printed
    #[arg(long, value_name = "MODE", value_enum, default_value_t = Ack::Auto)]
    ack: Ack,
    /// A further header of SUBSCRIBE, as it stands; may be repeated
    #[arg(long, value_name = "NAME:VALUE", value_parser = subscribe_header)]
    header: Vec<(String, String)>,
    /// How long a SUBSCRIBE may take on servers that confirm none
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = humantime::parse_duration)]
    settle: Duration,
    #[command(flatten)]
    connecting: Connecting,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Ack {
    Auto,
    Client,
    ClientIndividual,
}

impl Ack {
    fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Client => "client",
            Self::ClientIndividual => "client-individual",
        }
    }
}

const EXAMPLES: &str = "\
Examples:
  stampede subscribe ws://127.0.0.1:8080/ws /topic/news
  stampede subscribe ws://127.0.0.1:8080/ws '/topic/**' /user/queue/private --login ann
  stampede subscribe ws://127.0.0.1:8080/ws /topic/orders --json | jq .body
  stampede subscribe ws://127.0.0.1:8080/ws /queue/work --ack client-individual --count 10 --body
  stampede subscribe http://127.0.0.1:8080/ws /topic/news --over xhr-streaming";

fn subscribe_header(text: &str) -> Result<(String, String), String> {
    header(text, &["id", "destination", "ack", "receipt"])
}

impl Subscribe {
    /// Subscribes, and prints what comes.
    ///
    /// # Errors
    ///
    /// How it ended where it was not to.
    pub async fn run(self) -> Result<(), Failure> {
        let Self { url, destinations, json, body, count, ack, header, settle, connecting } = self;
        let form = form(json, body);
        let quiet = connecting.quiet;
        let mut session = connecting.open(&url).await?;
        let mut stop = Stop::new().map_err(|error| Failure::NotAsked(format!("signals: {error}")))?;
        let mut unconfirmed = BTreeMap::new();
        for (at, destination) in destinations.into_iter().enumerate() {
            let mut frame = Frame::new(Command::Subscribe)
                .with("id", at.to_string())
                .with("destination", &*destination)
                .with("ack", ack.as_str())
                .with("receipt", at.to_string());
            for (name, value) in &header {
                frame = frame.with(&**name, &**value);
            }
            session.send(&frame).map_err(Failure::NotAsked)?;
            unconfirmed.insert(at.to_string(), destination);
        }
        let mut printer = Printer { form, out: tokio::io::stdout(), ack, left: count };
        let settled = Instant::now() + settle;
        loop {
            let frame = tokio::select! {
                frame = session.next() => frame?,
                () = stop.wanted() => break,
                () = sleep_until(settled), if !unconfirmed.is_empty() => {
                    for destination in std::mem::take(&mut unconfirmed).into_values().filter(|_| !quiet) {
                        say(&format!("no RECEIPT: {} is taken as subscribed to", plain(&destination)));
                    }
                    continue;
                }
            };
            if let Some(receipt) = unconfirmed.keys().find(|receipt| is_receipt_of(&frame, receipt)).cloned() {
                if let Some(destination) = unconfirmed.remove(&receipt).filter(|_| !quiet) {
                    say(&format!("subscribed to {}", plain(&destination)));
                }
                continue;
            }
            if frame.command != Command::Message {
                continue;
            }
            tokio::select! {
                goes_on = printer.message(&mut session, &frame) => if !goes_on? {
                    break;
                },
                () = stop.wanted() => break,
            }
        }
        // Who asks twice does not want to wait.
        tokio::select! {
            left = session.leave() => left.map(|_| ()).map_err(Failure::from),
            () = stop.wanted() => Ok(()),
        }
    }
}

/// People get more than programs.
fn form(json: bool, body: bool) -> Form {
    let terminal = io::stdout().is_terminal();
    if json {
        return Form::Json;
    }
    if body {
        return Form::Body { raw: !terminal };
    }
    let colours = |name: &str| std::env::var_os(name).is_none_or(|value| value.is_empty());
    let dumb = std::env::var_os("TERM").is_none_or(|terminal| terminal == "dumb");
    Form::Pretty { indented: terminal, coloured: terminal && !dumb && colours("NO_COLOR") }
}

/// Prints messages, and acknowledges what is printed.
struct Printer {
    form: Form,
    out: Stdout,
    ack: Ack,
    /// How many are still to come, where that is known.
    left: Option<u64>,
}

impl Printer {
    /// Whether another one is wanted.
    async fn message(&mut self, session: &mut Session, message: &Frame) -> Result<bool, Failure> {
        let text = self.form.show(message, SystemTime::now());
        let written = session.beating(async {
            self.out.write_all(&text).await?;
            self.out.flush().await
        });
        match written.await {
            Ok(()) => {}
            // As `head` does: whoever read it has enough.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(false),
            Err(error) => return Err(Failure::Failed(format!("standard output: {error}"))),
        }
        if self.ack != Ack::Auto {
            session.send(&acknowledgement(message, session.version)).map_err(Failure::Failed)?;
        }
        if let Some(left) = &mut self.left {
            *left -= 1;
        }
        Ok(self.left != Some(0))
    }
}

/// What tells the server that a message is dealt with: each version has its own headers.
fn acknowledgement(message: &Frame, version: Version) -> Frame {
    let of = |name| message.header(name).cloned().unwrap_or_default();
    let ack = Frame::new(Command::Ack);
    match version {
        Version::V1_0 => ack.with("message-id", of("message-id")),
        Version::V1_1 => ack.with("subscription", of("subscription")).with("message-id", of("message-id")),
        Version::V1_2 => ack.with("id", of("ack")),
    }
}

/// What asks to end: Ctrl-C, or SIGTERM.
struct Stop {
    interrupt: Signal,
    terminate: Signal,
}

impl Stop {
    fn new() -> io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// Waits until somebody asks.
    async fn wanted(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_version_acknowledges_in_its_own_way() {
        let message = Frame::new(Command::Message).with("message-id", "m").with("subscription", "s").with("ack", "a");
        let ack = |version| {
            let headers = acknowledgement(&message, version).headers;
            headers.iter().map(|(name, value)| format!("{name}:{value}")).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(Version::ALL.map(ack), ["message-id:m", "subscription:s message-id:m", "id:a"]);
    }

    #[test]
    fn modes_are_called_as_in_the_specification() {
        for mode in Ack::value_variants() {
            assert_eq!(mode.to_possible_value().unwrap().get_name(), mode.as_str());
        }
    }
}
