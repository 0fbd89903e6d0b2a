//! Transcripts: what a client sends, line by line, and what becomes of it.
//!
//! Each `## ` line opens a case and names the clauses it proves; `at 1.2` connects first. Behind the arrow stands the
//! request or the fault; where strict mode differs, its own stands behind the bar, and when that is a fault the case is
//! over there. Words that are not commands drive the session as its server does: `accept`, `deliver <slot> <message>`
//! (the message is its own token), `refuse <slot>`, `show <slot>` and `end`.

mod connecting;
mod limits;
mod properties;

use std::fmt::Write;

use super::super::HeartBeat;
use super::*;

const CONNECT: &str = include_str!("connect.txt");
const SUBSCRIBE: &str = include_str!("subscribe.txt");
const ACKS: &str = include_str!("acks.txt");
const TRANSACTIONS: &str = include_str!("transactions.txt");
const ENDS: &str = include_str!("ends.txt");

#[test]
fn connecting_and_versions() {
    run_both(CONNECT);
}

#[test]
fn send_and_subscribe() {
    run_both(SUBSCRIBE);
}

#[test]
fn acknowledgement() {
    run_both(ACKS);
}

#[test]
fn transactions() {
    run_both(TRANSACTIONS);
}

#[test]
fn receipts_and_endings() {
    run_both(ENDS);
}

#[test]
fn every_clause_that_the_session_decides_has_a_case() {
    let proven: Vec<&str> = [CONNECT, SUBSCRIBE, ACKS, TRANSACTIONS, ENDS]
        .iter()
        .flat_map(|text| text.lines())
        .filter_map(|line| line.strip_prefix("## "))
        .flat_map(|title| title.split("  ").next().unwrap_or_default().split(' '))
        .collect();
    for (letter, numbers) in [
        ("C", &[1, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15][..]),
        ("V", &[1, 2, 3, 4, 6, 7, 8, 9]),
        ("B", &[1, 16]),
        ("S", &[1, 3, 5, 6]),
        ("U", &[1, 2, 3, 4, 5, 6, 8, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19]),
        ("A", &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24]),
        ("T", &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 18]),
        ("R", &[1, 2, 3, 4, 9, 10, 12]),
        ("D", &[1, 4, 5, 6, 7]),
        ("M", &[3, 4]),
        ("E", &[4, 7]),
        ("P", &[1, 2, 5, 6, 7, 8, 9, 11, 14, 23, 24, 38, 39, 40, 42, 43, 49, 50, 51]),
    ] {
        for number in numbers {
            let padded = format!("{letter}{number:02}");
            let plain = format!("{letter}{number}");
            assert!(proven.iter().any(|clause| *clause == padded || *clause == plain), "no case for {padded}");
        }
    }
}

/// Runs every case in both modes and reports all lines that went another way.
fn run_both(text: &str) {
    let mut wrong = String::new();
    for case in text.split("## ").filter(|case| !case.trim().is_empty()) {
        for strict in [false, true] {
            Case::new(strict).run(case, &mut wrong);
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

struct Case {
    config: SessionConfig,
    session: Session<String>,
}

impl Case {
    fn new(strict: bool) -> Self {
        let server = Some(ByteString::from_static("Stampede/1.0"));
        Self { config: SessionConfig { strict, server, ..SessionConfig::default() }, session: Session::new() }
    }

    fn run(&mut self, case: &str, wrong: &mut String) {
        let mut lines = case.lines();
        let title = lines.next().unwrap_or_default();
        for line in lines.filter(|line| !line.is_empty()) {
            let Some((step, expected)) = line.split_once(" -> ") else {
                let version = line.strip_prefix("at ").expect("a line is a step, or connects");
                self.connect(version);
                continue;
            };
            let strict = self.config.strict;
            let own = expected.split_once(" | ");
            let expected = own.map_or(expected, |(lenient, text)| if strict { text } else { lenient });
            let actual = self.step(step);
            if actual != expected {
                let mode = if strict { "strict" } else { "default" };
                _ = writeln!(wrong, "{title} ({mode})\n    {step}\n        is {actual}\n    should be {expected}");
            }
            if own.is_some() && strict && actual.starts_with("fault") {
                return;
            }
        }
    }

    fn connect(&mut self, version: &str) {
        let request = self.step(&format!("CONNECT accept-version:{version}"));
        assert_eq!(request, format!("connect {version}"));
        self.session.accept(&self.config, None, "sid");
    }

    fn step(&mut self, step: &str) -> String {
        let (word, rest) = step.split_once(' ').unwrap_or((step, ""));
        match word {
            "accept" => headers(&self.session.accept(&self.config, Some(rest).filter(|user| !user.is_empty()), "sid")),
            "deliver" => {
                let (slot, message) = rest.split_once(' ').expect("a slot and a message");
                let slot = slot.parse().expect("a slot");
                self.session.delivered(slot, message, message.to_owned()).map_or("none".to_owned(), |id| id.to_string())
            }
            "show" => match self.session.subscription(rest.parse().expect("a slot")) {
                Some(Subscription { id, escaped_id, destination, copy, .. }) => {
                    format!("{}:{} {destination} copy={copy}", name(id), name(escaped_id))
                }
                None => "none".to_owned(),
            },
            "refuse" => {
                self.session.refuse(rest.parse().expect("a slot"));
                "none".to_owned()
            }
            "end" => list(&self.session.end()),
            command => match self.session.handle(&self.config, frame(command, rest)) {
                Ok(request) => render(&request),
                Err(fault) => {
                    assert!(!fault.message.is_empty() && !fault.message.contains('\n'), "E01 of {step}");
                    format!("fault {}{}", fault.kind.as_str(), receipt(&fault.receipt))
                }
            },
        }
    }
}

/// `name:value` words and, behind `=`, a body.
fn frame(command: &str, words: &str) -> Frame {
    let mut frame = Frame::new(Command::parse(command.as_bytes()).expect("a command"));
    for word in words.split(' ').filter(|word| !word.is_empty()) {
        match (word.strip_prefix('='), word.split_once(':')) {
            (Some(body), _) => frame.body = body.to_owned().into(),
            (None, Some((name, value))) => frame.headers.push(name, value),
            (None, None) => panic!("{word} is neither header nor body"),
        }
    }
    frame
}

fn render(request: &Request<String>) -> String {
    match request {
        Request::Connect(connect) => {
            let mut text = format!("connect {}", connect.version);
            for (name, value) in [("host", &connect.host), ("login", &connect.login), ("passcode", &connect.passcode)] {
                if let Some(value) = value {
                    _ = write!(text, " {name}={value}");
                }
            }
            text
        }
        Request::Send(send) => render_send(send),
        Request::Subscribe(subscribe) => {
            let Subscribe { slot, id, destination, ack, receipt: asked, .. } = subscribe;
            let ack = match ack {
                AckMode::Auto => "auto",
                AckMode::Client => "client",
                AckMode::ClientIndividual => "client-individual",
            };
            format!("subscribe {slot} {} {destination} {ack}{}", name(id), receipt(asked))
        }
        Request::Unsubscribe { slot, returned, receipt: asked } => {
            format!("unsubscribe {slot} {}{}", list(returned), receipt(asked))
        }
        Request::Settle { how, tokens, receipt: asked } => render_settle(*how, tokens, asked),
        Request::Commit { actions, receipt: asked } => {
            let actions: Vec<String> = actions
                .iter()
                .map(|action| match action {
                    Action::Send(send) => render_send(send),
                    Action::Settle { how, tokens, receipt } => render_settle(*how, tokens, receipt),
                })
                .collect();
            format!("commit {{{}}}{}", actions.join("; "), receipt(asked))
        }
        Request::Abort { returned, receipt: asked } => format!("abort {}{}", list(returned), receipt(asked)),
        Request::Confirm { receipt: asked } => format!("confirm{}", receipt(asked)),
        Request::Dropped { why } => format!("dropped {}", why.as_str()),
        Request::Disconnect { receipt: asked, returned } => {
            format!("disconnect {}{}", list(returned), receipt(asked))
        }
    }
}

fn render_send(send: &Send) -> String {
    let body = String::from_utf8_lossy(&send.body);
    let body = if body.is_empty() { String::new() } else { format!(" ={body}") };
    format!("send {}{body}{}", send.destination, receipt(&send.receipt))
}

fn render_settle(how: Settlement, tokens: &[String], asked: &Option<ByteString>) -> String {
    let how = match how {
        Settlement::Ack => "ack",
        Settlement::Nack => "nack",
    };
    format!("{how} {}{}", list(tokens), receipt(asked))
}

fn headers(frame: &Frame) -> String {
    frame.headers.iter().fold(frame.command.to_string(), |text, (name, value)| format!("{text} {name}:{value}"))
}

fn list(tokens: &[String]) -> String {
    format!("[{}]", tokens.join(","))
}

fn name(id: &Option<ByteString>) -> &str {
    id.as_deref().unwrap_or("-")
}

fn receipt(asked: &Option<ByteString>) -> String {
    asked.as_ref().map_or_else(String::new, |receipt| format!(" receipt={receipt}"))
}
