//! Plays a transcript of requests. `fixtures/conformance/sockjs/README.md` says what the steps mean.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::sleep;

use super::super::form::{Names, show};
use super::super::pattern::Pattern;
use super::super::script::{Step, Transcript};
use super::super::server::Server;
use super::super::verdict::Failure;
use super::answers;
use super::client::{Client, Otherwise, broken};
use super::http::{Lack, Until};
use super::websocket::{BINARY, CLOSE, CONTINUES, LAST, Message, PING, TEXT};

/// All steps, for whoever wants to know that a file has no other.
#[cfg(test)]
pub(super) const VERBS: &str = "\
    again answers asks asks-1.0 at-last begins beyond binary body chunk closed closes collects continues \
    differ drops ended ends excludes finally frame gets has header joins json lacks lists message pings polls \
    pong quiet reads renewed repeats reusable says sends settles streams text typed unmasked upgrades waits \
    without";

/// Plays it, whatever the server says it has.
///
/// # Errors
///
/// The step that went otherwise.
pub(in super::super) async fn play(server: &Server, transcript: &Transcript) -> Result<(), Failure> {
    let mut player = Player { server, names: names(server), clients: BTreeMap::new() };
    for step in &transcript.steps {
        player.step(step).await.map_err(|(expected, seen)| Failure::of(step, expected, seen))?;
    }
    Ok(())
}

/// What names stand for from the start.
fn names(server: &Server) -> Names {
    let word = || format!("{:016x}", getrandom::u64().unwrap_or_default());
    let mut names = Names::default();
    let endpoint = &server.way.target.path;
    names.set("endpoint", endpoint.as_str());
    names.set("host", server.way.host.as_str());
    names.set("topic", server.topic.replace("{}", &word()));
    let id = word();
    names.set("s", format!("{endpoint}/000/{id}"));
    names.set("id", id);
    for name in ["s2", "s3", "s4"] {
        names.set(name, format!("{endpoint}/000/{}", word()));
    }
    names
}

struct Player<'a> {
    server: &'a Server,
    names: Names,
    clients: BTreeMap<String, Client>,
}

fn number(text: &str) -> Result<u64, Otherwise> {
    text.parse().map_err(|_| broken(format!("{text:?} is no number")))
}

impl Player<'_> {
    async fn step(&mut self, step: &Step) -> Result<(), Otherwise> {
        let Step { who, verb, rest, .. } = step;
        let Self { clients, names, server, .. } = self;
        let client = clients.entry(who.clone()).or_default();
        let until = Until::within(server.patience);
        match &**verb {
            "header" => {
                let (name, value) = rest.split_once(':').ok_or_else(|| broken("header NAME: VALUE"))?;
                client.headers.push((name.to_owned(), names.fill_text(value.trim()).map_err(broken)?));
            }
            "without" => client.without.push(rest.clone()),
            "asks" | "asks-1.0" | "again" => return asks(server, names, client, verb, rest).await,
            "upgrades" => {
                let (method, path) = rest.split_once(' ').unwrap_or(("GET", rest));
                let path = names.fill_text(path).map_err(broken)?;
                return client.upgrade(server, method, &path).await;
            }
            "polls" => return client.poll(server).await,
            "joins" => {
                let (path, topic) =
                    (names.fill_text(rest).map_err(broken)?, names.fill_text("$topic").map_err(broken)?);
                return client.join(server, &path, &topic).await;
            }
            "sends" => {
                let message = names.fill_text(rest).map_err(broken)?;
                return client.send(server, &message).await;
            }
            "says" => {
                let message = names.fill_text(&format!("SEND\\ndestination:$topic\\n\\n{rest}\\0")).map_err(broken)?;
                return client.send(server, &message).await;
            }
            "streams" => return streams(server, names, client, rest).await,
            "collects" => return collects(server, client, number(rest)?).await,
            "renewed" => {
                let (good, words) = match rest.strip_prefix("at-most ") {
                    Some(most) => (client.renewed <= number(most)?, "at most"),
                    None => (client.renewed >= number(rest)?, "at least"),
                };
                let count = rest.trim_start_matches("at-most ");
                if !good {
                    let seen = format!("{} did", client.renewed);
                    return Err((format!("{words} {count} answers that end while messages come"), seen));
                }
            }
            "drops" => client.drop_it(),
            "settles" => sleep(server.settle).await,
            "waits" => sleep(Duration::from_millis(number(rest)?)).await,
            "differ" => {
                let (one, other) = rest.split_once(' ').ok_or_else(|| broken("differ $ONE $OTHER"))?;
                let (one, other) = (names.fill(one).map_err(broken)?, names.fill(other).map_err(broken)?);
                if one == other {
                    return Err(("two that are not the same".to_owned(), show(&one)));
                }
            }
            "excludes" => {
                let (name, text) = rest.split_once(' ').ok_or_else(|| broken("excludes $NAME TEXT"))?;
                let (octets, text) = (names.fill(name).map_err(broken)?, names.fill(text).map_err(broken)?);
                if memchr::memmem::find(&octets, &text).is_some() {
                    return Err((format!("{name} without {}", show(&text)), show(&octets)));
                }
            }
            "answers" | "has" | "lists" | "typed" | "lacks" | "body" | "json" | "chunk" | "reads" | "repeats"
            | "beyond" | "ended" | "reusable" => {
                return answers::check(server, names, client.exchange()?, verb, rest).await;
            }
            "text" | "binary" | "begins" | "continues" | "ends" | "pings" | "unmasked" | "closes" => {
                return writes(names, client, verb, rest).await;
            }
            "frame" => {
                let frame = client.frame(until).await;
                // Where the protocol leaves a choice there are several forms.
                for form in rest.split(" | ") {
                    if let Ok(frame) = &frame
                        && names.fits(form, frame.as_bytes()).map_err(broken)?
                    {
                        return Ok(());
                    }
                }
                return Err((rest.clone(), frame.map_or_else(|lack| lack.shown(), |frame| show(frame.as_bytes()))));
            }
            "finally" => {
                let frame = client.last_frame(server).await;
                return fits(names, rest, frame);
            }
            "gets" => {
                let seen = client.stomp(server, false).await.map_err(|lack| (rest.clone(), lack.shown()))?;
                let otherwise = Pattern::parse(rest).map_err(broken)?.check(&seen, names);
                return otherwise.map_err(|what| (rest.clone(), format!("{what}: {}", show(&seen.octets))));
            }
            "message" | "pong" => {
                return match (client.message(until).await, &**verb) {
                    (Ok(Message::Text(octets)), "message") => fits(names, rest, Ok(octets)),
                    (Ok(Message::Pong(octets)), "pong") => fits(names, rest, Ok(octets)),
                    (Ok(message), _) => Err((format!("a {verb} {rest}"), message.shown())),
                    (Err(lack), _) => Err((format!("a {verb} {rest}"), lack.shown())),
                };
            }
            "closed" => return closed(client, rest, until).await,
            "at-last" => {
                let rest = rest.strip_prefix("closed").ok_or_else(|| broken("at-last closed [CODES]"))?;
                return at_last(client, rest.trim_start(), until).await;
            }
            "quiet" => return quiet(server, client).await,
            other => return Err(broken(format!("unknown step {other}"))),
        }
        Ok(())
    }
}

async fn asks(server: &Server, names: &Names, client: &mut Client, verb: &str, rest: &str) -> Result<(), Otherwise> {
    let mut parts = rest.splitn(3, ' ');
    let (Some(method), Some(path)) = (parts.next(), parts.next()) else {
        return Err(broken("asks METHOD PATH [BODY]"));
    };
    let mut asked = client.request(method, &names.fill_text(path).map_err(broken)?);
    asked.body = names.fill(parts.next().unwrap_or_default()).map_err(broken)?;
    match verb {
        "asks-1.0" => asked.version = "1.0",
        "again" => {
            let exchange = client.exchange()?;
            answers::whole(exchange, Until::within(server.patience)).await?;
            return exchange.again(server, asked).await.map_err(|why| ("the same connection".to_owned(), why));
        }
        _ => {}
    }
    client.ask(server, asked).await
}

/// Octets that are to have a form.
fn fits(names: &mut Names, form: &str, came: Result<impl AsRef<[u8]>, Lack>) -> Result<(), Otherwise> {
    match came {
        Ok(octets) if names.fits(form, octets.as_ref()).map_err(broken)? => Ok(()),
        Ok(octets) => Err((form.to_owned(), show(octets.as_ref()))),
        Err(lack) => Err((form.to_owned(), lack.shown())),
    }
}

async fn writes(names: &Names, client: &mut Client, verb: &str, rest: &str) -> Result<(), Otherwise> {
    let octets = names.fill(rest).map_err(broken)?;
    let (first, masked) = match verb {
        "binary" => (LAST | BINARY, true),
        "begins" => (TEXT, true),
        "continues" => (CONTINUES, true),
        "ends" => (LAST | CONTINUES, true),
        "pings" => (LAST | PING, true),
        "unmasked" => (LAST | TEXT, false),
        "closes" => {
            let (code, reason) = rest.split_once(' ').unwrap_or((rest, ""));
            let code = u16::try_from(number(code)?).map_err(|_| broken("a code is below 65536"))?;
            let payload = [&code.to_be_bytes(), reason.as_bytes()].concat();
            return client.write(LAST | CLOSE, &payload, true).await;
        }
        _ => (LAST | TEXT, true),
    };
    client.write(first, &octets, masked).await
}

/// The server ends the connection: a WebSocket with one of these codes, if any are named.
async fn closed(client: &mut Client, rest: &str, until: Until) -> Result<(), Otherwise> {
    let expected = || format!("the server ends the connection {rest}").trim_end().to_owned();
    if !client.has_socket() {
        let exchange = client.exchange()?;
        answers::whole(exchange, until).await?;
        return exchange.closes(until).await.map_err(|lack| (expected(), lack.shown()));
    }
    let last = client.message(until).await;
    judge_end(rest, last)
}

fn judge_end(rest: &str, last: Result<Message, Lack>) -> Result<(), Otherwise> {
    let expected = || format!("the server ends the connection {rest}").trim_end().to_owned();
    match last {
        Ok(Message::Close(code, reason)) => {
            let code = code.map_or_else(|| "none".to_owned(), |code| code.to_string());
            let good = rest.is_empty() || rest.split(" or ").any(|wanted| wanted == code);
            if good { Ok(()) } else { Err((expected(), format!("a close with {code} {reason:?}"))) }
        }
        Ok(message) => Err((expected(), message.shown())),
        Err(Lack::Ended | Lack::Broken(_)) if rest.is_empty() => Ok(()),
        Err(lack) => Err((expected(), lack.shown())),
    }
}

/// As [`closed`], whatever the server says before.
async fn at_last(client: &mut Client, rest: &str, until: Until) -> Result<(), Otherwise> {
    let last = loop {
        match client.message(until).await {
            Ok(Message::Text(_) | Message::Binary(_) | Message::Pong(_)) => {}
            last => break last,
        }
    };
    judge_end(rest, last)
}

async fn quiet(server: &Server, client: &mut Client) -> Result<(), Otherwise> {
    let until = Until::within(server.quiet);
    let seen = if client.has_socket() {
        client.message(until).await.map(|message| message.shown())
    } else {
        let exchange = client.exchange()?;
        let piece = if exchange.body.is_empty() { exchange.piece(until).await } else { Ok(()) };
        piece.map(|()| show(&exchange.body))
    };
    match seen {
        Err(Lack::Nothing(_)) => Ok(()),
        seen => Err(("nothing, and no end".to_owned(), seen.unwrap_or_else(|lack| lack.shown()))),
    }
}

/// Messages that say `1`, `2`, … up to this, each once. Whether servers keep their order is a matter of STOMP.
async fn collects(server: &Server, client: &mut Client, count: u64) -> Result<(), Otherwise> {
    let mut missing: BTreeSet<Vec<u8>> = (1..=count).map(|at| at.to_string().into_bytes()).collect();
    while !missing.is_empty() {
        let expected =
            || format!("a message that says one of {}", show(&missing.iter().cloned().collect::<Vec<_>>().join(&b' ')));
        let seen = client.stomp(server, true).await.map_err(|lack| (expected(), lack.shown()))?;
        if seen.command != b"MESSAGE" || !missing.contains(&seen.body) {
            return Err((expected(), show(&seen.octets)));
        }
        missing.remove(&seen.body);
    }
    Ok(())
}

/// So many messages of so many octets, each sent when the one before has come; asks again where an answer has ended.
async fn streams(server: &Server, names: &Names, client: &mut Client, rest: &str) -> Result<(), Otherwise> {
    let (count, size) = rest.split_once(' ').ok_or_else(|| broken("streams COUNT SIZE"))?;
    let (count, size) = (number(count)?, usize::try_from(number(size)?).unwrap_or(usize::MAX));
    let topic = names.fill_text("$topic").map_err(broken)?;
    for at in 1..=count {
        let body = format!("{at:x<size$}");
        client.send(server, &format!("SEND\ndestination:{topic}\n\n{body}\0")).await?;
        let expected = || format!("message {at}, of {size} octets");
        let seen = client.stomp(server, true).await.map_err(|lack| (expected(), lack.shown()))?;
        if seen.body != body.as_bytes() {
            return Err((expected(), show(&seen.octets)));
        }
    }
    Ok(())
}
