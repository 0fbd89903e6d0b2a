//! Plays a transcript against a server.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::sleep;

use super::beats;
use super::form::{Names, show};
use super::pattern::Pattern;
use super::script::{Step, Transcript};
use super::server::Server;
use super::speaker::{Read, Speaker, ended};
use super::verdict::Failure;
use crate::client::carrier::Carrier;
use crate::client::entrance::Way;
use crate::client::wire::{Event, OFFERED, Out, Wire};

/// Settings of transcripts for STOMP.
pub(super) const SETTINGS: [&str; 4] = ["in", "level", "needs", "over"];

/// A client that polls is missed only when it does not come again: 5 s where nobody says otherwise.
const POLLS: Duration = Duration::from_secs(6);

/// Plays it at one version over one carrier.
///
/// # Errors
///
/// The step that went otherwise, or why it cannot be played here.
pub(super) async fn play(
    server: &Server,
    transcript: &Transcript,
    version: &str,
    carrier: Carrier,
) -> Result<(), Stop> {
    let word = format!("{:016x}", getrandom::u64().unwrap_or_default());
    let mut names = Names::default();
    names.set("topic", server.topic.replace("{}", &word));
    names.set("t", word.as_str());
    names.set("version", version);
    names.set("host", server.way.host.as_str());
    names.set("login", server.credentials());
    if let Some(queue) = &server.queue {
        names.set("queue", queue.replace("{}", &word));
    }
    if let Some(refused) = &server.refused {
        names.set("refused", refused.as_str());
    }
    let mut player = Player { server, version, carrier, names, clients: BTreeMap::new() };
    for step in &transcript.steps {
        player.step(step).await.map_err(|(expected, seen)| match expected {
            None => Stop::NotApplicable(seen),
            Some(expected) => Stop::Failed(Failure::of(step, expected, seen)),
        })?;
    }
    Ok(())
}

/// Why a play ended before its end.
#[derive(Debug)]
pub(super) enum Stop {
    Failed(Failure),
    NotApplicable(String),
}

/// What was expected, and what was seen. Without an expectation the second says why it cannot be played.
pub(super) type Otherwise = (Option<String>, String);

pub(super) fn otherwise(expected: impl Into<String>, seen: impl Into<String>) -> Otherwise {
    (Some(expected.into()), seen.into())
}

struct Player<'a> {
    server: &'a Server,
    version: &'a str,
    carrier: Carrier,
    names: Names,
    clients: BTreeMap<String, Speaker>,
}

/// A mistake in the transcript itself.
pub(super) fn broken(why: impl Into<String>) -> Otherwise {
    otherwise("a step that can be played", why)
}

pub(super) fn number(text: &str) -> Result<u64, Otherwise> {
    text.parse().map_err(|_| broken(format!("{text:?} is no number")))
}

impl Player<'_> {
    async fn step(&mut self, step: &Step) -> Result<(), Otherwise> {
        let Step { who, verb, rest, .. } = step;
        match &**verb {
            "opens" => {
                let speaker = self.open(OFFERED).await?;
                self.clients.insert(who.clone(), speaker);
                return Ok(());
            }
            "offers" => return self.offers(who, rest).await,
            "connects" => return self.connects(who, rest).await,
            "waits" => {
                sleep(Duration::from_millis(number(rest)?)).await;
                return Ok(());
            }
            "drops" => {
                return self.clients.remove(who).map(drop).ok_or_else(|| broken(format!("{who} has no connection")));
            }
            _ => {}
        }
        let Self { clients, names, server, carrier, .. } = self;
        let speaker = clients.get_mut(who).ok_or_else(|| broken(format!("{who} has no connection")))?;
        let patience = if carrier.polls() { server.patience + POLLS } else { server.patience };
        match &**verb {
            ">" => speaker.say(names.fill(rest).map_err(broken)?),
            ">>" => speaker.write(Out::Binary(names.fill(rest).map_err(broken)?.into())),
            "drips" => {
                for octet in names.fill(rest).map_err(broken)? {
                    speaker.say(vec![octet]);
                    sleep(Duration::from_millis(2)).await;
                }
            }
            "closes" => speaker.write(Out::Close(u16::try_from(number(rest)?).unwrap_or(1000))),
            "subscribes" => return subscribes(server, names, speaker, rest).await,
            "gets" => {
                let read = speaker.read(patience).await;
                return gets(names, rest, &read);
            }
            "message" | "binary" => {
                let message = speaker.message(patience).await;
                let binary = verb == "binary";
                let expected = || format!("a {} message {rest}", if binary { "binary" } else { "text" });
                return match message {
                    Ok(Event::Text(octets)) if !binary && names.fits(rest, &octets).map_err(broken)? => Ok(()),
                    Ok(Event::Binary(octets)) if binary && names.fits(rest, &octets).map_err(broken)? => Ok(()),
                    Ok(event) => Err(otherwise(expected(), ended(&event))),
                    Err(read) => Err(otherwise(expected(), read.shown())),
                };
            }
            "errors" | "refused" => {
                let lenient = rest == "or quiet";
                let pattern = if lenient || rest.is_empty() { "ERROR" } else { rest };
                let first = if lenient { server.quiet.max(patience / 4) } else { patience };
                return match (speaker.read(first).await, &**verb) {
                    (Read::Nothing(_), _) if lenient => works(server, speaker).await,
                    (Read::Ended(_), "refused") => Ok(()),
                    (read @ Read::Frame(_), "refused") => gets(names, "ERROR", &read),
                    (read, _) => gets(names, pattern, &read),
                };
            }
            "closed" => {
                return match speaker.read(patience).await {
                    Read::Ended(Event::Closed { code, .. }) if rest.is_empty() || code == rest.parse().ok() => Ok(()),
                    Read::Ended(Event::Lost(_)) if rest.is_empty() => Ok(()),
                    read => Err(otherwise(format!("the server ends the connection {rest}").trim_end(), read.shown())),
                };
            }
            "quiet" => {
                return match speaker.read(server.quiet).await {
                    Read::Nothing(_) => works(server, speaker).await,
                    read => Err(otherwise("nothing, and a connection that still works", read.shown())),
                };
            }
            "works" => return works(server, speaker).await,
            "lives" => {
                // Whatever comes in front of the RECEIPT is a message.
                speaker.say(format!("SEND\ndestination:{}\nreceipt:lives\n\nlives\0", server.fresh_topic()));
                return match speaker.read_answer(server.quiet).await {
                    Read::Frame(seen) if seen.command == b"RECEIPT" => Ok(()),
                    Read::Nothing(_) => works(server, speaker).await,
                    read => Err(otherwise("a connection that still works", read.shown())),
                };
            }
            "idle" => {
                let time = Duration::from_millis(number(rest)?);
                return match speaker.read(time).await {
                    Read::Nothing(_) => Ok(()),
                    read => Err(otherwise(format!("no frame, and no end, for {rest} ms"), read.shown())),
                };
            }
            "hushed" => {
                let time = Duration::from_millis(number(rest)?);
                return match speaker.message(time).await {
                    Err(Read::Nothing(_)) => Ok(()),
                    Err(read) => Err(otherwise(format!("no octet for {rest} ms"), read.shown())),
                    Ok(event) => Err(otherwise(format!("no octet for {rest} ms"), ended(&event))),
                };
            }
            "leaves" => {
                speaker.say("DISCONNECT\nreceipt:bye\n\n\0");
                let read = speaker.read(patience).await;
                return gets(names, "RECEIPT\\nreceipt-id:bye", &read);
            }
            "numbers" => {
                let (count, destination) = rest.split_once(' ').ok_or_else(|| broken("numbers COUNT DESTINATION"))?;
                let destination = names.fill_text(destination).map_err(broken)?;
                for at in 1..=number(count)? {
                    speaker.say(format!("SEND\ndestination:{destination}\n\n{at}\0"));
                }
            }
            "counts" => return counts(names, speaker, number(rest)?, patience).await,
            "beats" => return beats::beats(server, speaker, rest).await,
            "hears" => return beats::hears(server, speaker, rest).await,
            "breathes" => return beats::breathes(server, speaker, rest).await,
            other => return Err(broken(format!("unknown step {other}"))),
        }
        Ok(())
    }

    async fn open(&self, offered: &str) -> Result<Speaker, Otherwise> {
        let Way { target, access, .. } = &self.server.way;
        let wire = Wire::open(target, self.carrier, access, offered).await;
        wire.map(Speaker::new).map_err(|why| otherwise("a connection", why))
    }

    async fn offers(&mut self, who: &str, rest: &str) -> Result<(), Otherwise> {
        let (offer, chosen) = rest.split_once(" -> ").ok_or_else(|| broken("offers LIST -> NAME"))?;
        let speaker = self.open(if offer == "nothing" { "" } else { offer }).await?;
        let found = speaker.protocol().unwrap_or("none").to_owned();
        self.clients.insert(who.to_owned(), speaker);
        if chosen.split(" or ").any(|name| name == found) {
            return Ok(());
        }
        Err(otherwise(format!("the sub-protocol {chosen}"), found))
    }

    async fn connects(&mut self, who: &str, rest: &str) -> Result<(), Otherwise> {
        let mut words = rest.split_ascii_whitespace().peekable();
        let version = words.next_if(|word| !word.contains(':')).unwrap_or(self.version);
        let mut frame = format!("CONNECT\naccept-version:{version}\nhost:{}\n", self.server.way.host);
        frame.push_str(&self.server.credentials());
        for header in words {
            frame.push_str(header);
            frame.push('\n');
        }
        frame.push_str("\n\0");
        let mut speaker = self.open(OFFERED).await?;
        speaker.say(frame);
        let read = speaker.read(self.server.patience).await;
        gets(&mut self.names, "CONNECTED", &read)?;
        if let Read::Frame(connected) = &read {
            speaker.heart_beat = beats::offered(connected);
        }
        self.clients.insert(who.to_owned(), speaker);
        Ok(())
    }
}

async fn works(server: &Server, speaker: &mut Speaker) -> Result<(), Otherwise> {
    let outcome = speaker.works(&server.fresh_topic(), server.patience).await;
    outcome.map_err(|read| otherwise("a connection that still works", read.shown()))
}

fn gets(names: &mut Names, pattern: &str, read: &Read) -> Result<(), Otherwise> {
    let Read::Frame(seen) = read else { return Err(otherwise(pattern, read.shown())) };
    let checked = Pattern::parse(pattern).map_err(broken)?.check(seen, names);
    checked.map_err(|what| otherwise(pattern, format!("{what}: {}", read.shown())))
}

async fn subscribes(server: &Server, names: &mut Names, speaker: &mut Speaker, rest: &str) -> Result<(), Otherwise> {
    let rest = names.fill_text(rest).map_err(broken)?;
    let mut words = rest.split(' ');
    let (Some(id), Some(destination)) = (words.next(), words.next()) else {
        return Err(broken("subscribes ID DESTINATION [ACK]"));
    };
    let mode = words.next().map_or_else(String::new, |mode| format!("ack:{mode}\n"));
    speaker.say(format!("SUBSCRIBE\nid:{id}\ndestination:{destination}\n{mode}receipt:subscribed-{id}\n\n\0"));
    if !server.receipts {
        return match speaker.read_answer(server.settle).await {
            Read::Nothing(_) => Ok(()),
            read => Err(otherwise("a subscription", read.shown())),
        };
    }
    // What waited for the subscription may come before its RECEIPT.
    let read = speaker.read_answer(server.patience).await;
    gets(names, &format!("RECEIPT\\nreceipt-id:subscribed-{}", show(id.as_bytes())), &read)
}

/// So many messages in order, no two with the same id.
async fn counts(names: &mut Names, speaker: &mut Speaker, count: u64, patience: Duration) -> Result<(), Otherwise> {
    let mut ids: BTreeSet<Bytes> = BTreeSet::new();
    for at in 1..=count {
        let read = speaker.read(patience).await;
        gets(names, &format!("MESSAGE\\n\\n{at}\\0"), &read)?;
        let Read::Frame(seen) = &read else { continue };
        let id = seen.header(b"message-id").unwrap_or_default();
        if id.is_empty() || !ids.insert(Bytes::copy_from_slice(id)) {
            return Err(otherwise("a message-id that no other message has", read.shown()));
        }
    }
    Ok(())
}
