//! Servers with one fault each: the kit finds it, and by the clauses that it is against.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::StreamExt as _;
use stampede::client::carrier::Carrier;
use stampede::conformance::known::Known;
use stampede::conformance::plan::{Case, Library, VERSIONS, Wanted};
use stampede::conformance::run;
use stampede::conformance::server::Server;
use stampede::conformance::verdict::Outcome;

use super::proxy::Fault;
use super::{SERVER, server};

fn text(message: &[u8]) -> String {
    String::from_utf8_lossy(message).into_owned()
}

/// The message changed as text, if it begins with one of these commands.
fn changed(message: Vec<u8>, commands: &[&str], change: impl Fn(&str) -> String) -> Vec<Vec<u8>> {
    if !commands.iter().any(|command| message.starts_with(format!("{command}\n").as_bytes())) {
        return vec![message];
    }
    match std::str::from_utf8(&message) {
        Ok(text) => vec![change(text).into_bytes()],
        Err(_) => vec![message],
    }
}

/// The message with its header lines changed; nothing stands for a line that is left out.
fn with_headers(message: Vec<u8>, commands: &[&str], change: impl Fn(&str) -> Option<String>) -> Vec<Vec<u8>> {
    changed(message, commands, |frame| {
        let (head, body) = frame.split_once("\n\n").unwrap_or((frame, ""));
        let (command, headers) = head.split_once('\n').unwrap_or((head, ""));
        let headers: Vec<String> = headers.split('\n').filter_map(&change).collect();
        format!("{command}\n{}\n\n{body}", headers.join("\n")).replace("\n\n\n", "\n\n")
    })
}

/// The message without these headers.
fn without(message: Vec<u8>, commands: &[&str], names: &[&str]) -> Vec<Vec<u8>> {
    with_headers(message, commands, |line| {
        let named = names.iter().any(|name| line.starts_with(&format!("{name}:")));
        (!named).then(|| line.to_owned())
    })
}

/// The message unless it begins with one of these commands.
fn unless(message: Vec<u8>, commands: &[&str]) -> Vec<Vec<u8>> {
    let begins = commands.iter().any(|command| message.starts_with(format!("{command}\n").as_bytes()));
    if begins { Vec::new() } else { vec![message] }
}

const FRAMES: [&str; 3] = ["SEND", "SUBSCRIBE", "MESSAGE"];

/// A fault of what clients say.
const fn up(name: &'static str, up: fn(Vec<u8>) -> Vec<Vec<u8>>) -> Fault {
    Fault { name, up, ..Fault::NONE }
}

/// A fault of what the server says.
const fn down(name: &'static str, down: fn(Vec<u8>) -> Vec<Vec<u8>>) -> Fault {
    Fault { name, down, ..Fault::NONE }
}

/// Faults that leave nothing to look at: they break far more than one clause.
const CRUDE: [(Fault, &[&str]); 3] = [
    (
        up(
            "deaf after CONNECT",
            |m| if m.starts_with(b"CONNECT") || m.starts_with(b"STOMP") { vec![m] } else { vec![] },
        ),
        &["F24", "W13"],
    ),
    (down("no MESSAGE", |m| unless(m, &["MESSAGE"])), &["F01", "M01"]),
    (down("no RECEIPT", |m| unless(m, &["RECEIPT"])), &["R01a", "D01"]),
];

/// Each with some of the transcripts that find it.
fn faults() -> Vec<(Fault, &'static [&'static str])> {
    vec![
        (up("commands in any case", |m| changed(m, &["send"], |frame| frame.replacen("send", "SEND", 1))), &["F12"]),
        (
            up("header names in any case", |m| with_headers(m, &["SEND"], |line| Some(line.to_lowercase()))),
            &["F13", "S04"],
        ),
        (
            up("header lines that are none are skipped", |m| {
                with_headers(m, &["SEND"], |line| {
                    let fits = !line.starts_with(':') && line.contains(':') && !line.contains('\r');
                    fits.then(|| line.to_owned())
                })
            }),
            &["F10", "F16", "F17", "E09"],
        ),
        (
            up("any escape", |m| {
                changed(m, &["SEND"], |frame| frame.replace("\\t", "t").replace("\\r", "r").replace("\\\n", "\n"))
            }),
            &["H04", "H05", "H06", "H07", "E09b"],
        ),
        (
            up("no transactions", |m| {
                let some = unless(m, &["BEGIN", "COMMIT", "ABORT"]).into_iter();
                some.flat_map(|m| changed(m, &["SEND", "ACK"], |frame| frame.replace("transaction:", "x:"))).collect()
            }),
            &["T01", "T02a", "T02b", "T11"],
        ),
        (
            up("transactions in pieces are delivered at once", |m| {
                vec![text(&m).replace("\ntransaction:x\n\n1", "\nnothing:x\n\n1").into_bytes()]
            }),
            &["T03", "T04", "T13", "T14"],
        ),
        (
            up("one transaction for all", |m| vec![text(&m).replace("transaction:y", "transaction:x").into_bytes()]),
            &["T12"],
        ),
        (
            up("ACK waits for nothing", |m| vec![text(&m).replace("ACK\n", "NACK\n").into_bytes()]),
            &["A03", "A05", "T06"],
        ),
        (
            up("no acknowledgement", |m| {
                let some = unless(m, &["ACK", "NACK"]).into_iter();
                some.flat_map(|m| without(m, &["SUBSCRIBE"], &["ack"])).collect()
            }),
            &["A02", "A03", "A05", "A06", "A20", "R01e", "U10"],
        ),
        (up("every ACK is for all", |m| vec![text(&m).replace("client-individual", "client").into_bytes()]), &["A05"]),
        (up("MESSAGE is SEND", |m| changed(m, &["MESSAGE"], |frame| frame.replacen("MESSAGE", "SEND", 1))), &["F15a"]),
        (up("UNSUBSCRIBE has no effect", |m| unless(m, &["UNSUBSCRIBE"])), &["U15", "U16", "U18", "U17"]),
        (up("DISCONNECT has no effect", |m| unless(m, &["DISCONNECT"])), &["D01", "D04", "R01f"]),
        (
            up("what follows DISCONNECT has an effect", |m| {
                vec![text(&m).replace("DISCONNECT\nreceipt:bye\n\n\0SEND", "SEND").into_bytes()]
            }),
            &["D05"],
        ),
        (
            up("one frame in a message", |m| {
                let end = m.iter().position(|octet| *octet == 0).map_or(m.len(), |at| at + 1);
                vec![m[..end].to_vec()]
            }),
            &["F03", "F04", "C15", "S10", "T09", "R09"],
        ),
        (
            up("a whole frame in a message", |m| {
                if matches!(m.last(), Some(0 | b'\n')) && m.contains(&0) { vec![m] } else { Vec::new() }
            }),
            &["F02", "F02b", "W05", "W07", "B14"],
        ),
        (
            up("CR is part of a line", |m| vec![text(&m).replace("\r\n", "\r").into_bytes()]),
            &["F06", "F07", "F08", "F21"],
        ),
        (
            up("spaces are trimmed", |m| {
                with_headers(m, &["SEND"], |line| {
                    let (name, value) = line.split_once(':')?;
                    Some(format!("{}:{}", name.trim(), value.trim()))
                })
            }),
            &["P01", "P02", "P04"],
        ),
        (
            up("1.0 knows no padding", |m| vec![text(&m).replace("destination: ", "destination:\u{a0}").into_bytes()]),
            &["P05"],
        ),
        (
            up("the last of equal headers counts", |m| {
                changed(m, &["SEND"], |frame| {
                    let (head, body) = frame.split_once("\n\n").unwrap_or((frame, ""));
                    let mut lines: Vec<&str> = head.split('\n').collect();
                    lines[1..].reverse();
                    format!("{}\n\n{body}", lines.join("\n"))
                })
            }),
            &["P06", "P07", "P08a", "P08b"],
        ),
        (
            up("content-length is not read", |m| without(m, &FRAMES, &["content-length"])),
            &["L01", "L02", "L05", "L10a"],
        ),
        (
            up("content-length counts characters", |m| {
                vec![text(&m).replace("content-length:9", "content-length:5").into_bytes()]
            }),
            &["L04"],
        ),
        (up("STOMP is no CONNECT", |m| unless(m, &["STOMP"])), &["C03", "C04", "H13"]),
        (
            up("CONNECT is escaped", |m| {
                if m.starts_with(b"CONNECT\n") && m.contains(&b'\\') { Vec::new() } else { vec![m] }
            }),
            &["H11"],
        ),
        (
            up("1.0 is escaped", |m| changed(m, &["SEND"], |frame| frame.replace("\\t", "\t").replace(":a:b", ":a"))),
            &["H14", "H15"],
        ),
        (
            up("an old server", |m| {
                with_headers(m, &["CONNECT"], |line| {
                    Some(if line.starts_with("accept-version:") { "accept-version:1.0".into() } else { line.into() })
                })
            }),
            &["C01", "V01", "V02a", "V02b", "V06"],
        ),
        (
            up("a server for one version", |m| {
                with_headers(m, &["CONNECT"], |line| {
                    Some(if line.starts_with("accept-version:") { "accept-version:1.2".into() } else { line.into() })
                })
            }),
            &["V01", "V04", "V05", "V07"],
        ),
        (up("no version means none", |m| if m.starts_with(b"CONNECT\nhost") { Vec::new() } else { vec![m] }), &["V03"]),
        (
            up("heart-beat is not read", |m| without(m, &["CONNECT"], &["heart-beat"])),
            &["B01a", "B01b", "B01c", "B01d", "B05"],
        ),
        (up("heart-beats of clients are not heard", |m| if m == b"\n" { vec![] } else { vec![m] }), &["B13"]),
        (
            down("heart-beats of the server are CR LF", |m| if m == b"\n" { vec![b"\r\n".to_vec()] } else { vec![m] }),
            &["B09"],
        ),
        (down("no heart-beats", |m| if m == b"\n" { vec![] } else { vec![m] }), &["B05", "B05b", "B09"]),
        (
            down("heart-beats that nobody asked for", |m| {
                if m.starts_with(b"CONNECTED") { vec![m, b"\n".to_vec()] } else { vec![m] }
            }),
            &["B02"],
        ),
        (
            up("line ends are a fault", |m| {
                let blank = m.is_empty() || m.starts_with(b"\n");
                vec![if blank { b"NOTHING\n\n\0".to_vec() } else { m }]
            }),
            &["F05", "F24", "W09", "W10"],
        ),
        (
            up("a message is lost", |m| if m.ends_with(b"\n\n50\0") { vec![] } else { vec![m] }),
            &["S09", "U21", "R07", "D03", "M03b"],
        ),
        (
            up("everybody gets everything", |m| {
                let all = b"SUBSCRIBE\nid:all\ndestination:/topic/**\n\n\0".to_vec();
                if m.starts_with(b"CONNECT\n") && !m.windows(4).any(|part| part == b"SEND") {
                    vec![m, all]
                } else {
                    vec![m]
                }
            }),
            &["M07", "U20", "S03", "U06", "U08"],
        ),
        (up("ids are not of a connection", |m| vec![text(&m).replace("id:0\n", "ident:0\n").into_bytes()]), &["U07"]),
        (
            up("who has an id keeps it", |m| {
                if text(&m).contains("-other\n") && m.starts_with(b"SUBSCRIBE\nid:a") { vec![] } else { vec![m] }
            }),
            &["U05", "U06"],
        ),
        (
            up("ids and destinations are not asked for", |m| {
                changed(m, &["SUBSCRIBE", "SEND"], |frame| {
                    let (command, rest) = frame.split_once('\n').unwrap_or((frame, ""));
                    format!("{command}\nid:any\ndestination:/topic/any\n{rest}")
                })
            }),
            &["S01", "U01", "U02", "R10", "E04"],
        ),
        (
            up("everything is allowed", |m| vec![text(&m).replace("/nowhere/x", "/topic/x").into_bytes()]),
            &["S02", "U09"],
        ),
        (
            up("destinations are not text", |m| {
                vec![text(&m).to_lowercase().replacen("send\n", "SEND\n", 9).into_bytes()]
            }),
            &["S03"],
        ),
        (
            up("headers nobody knows are a fault", |m| vec![text(&m).replace("x-foo:bar", "x-foo").into_bytes()]),
            &["U13"],
        ),
        (
            up("bodies are not ignored in 1.0", |m| vec![text(&m).replace("\n\njunk\0", "\n\nju\0nk\0").into_bytes()]),
            &["F23"],
        ),
        (
            Fault { closes: false, ..down("what is wrong is not said, and nothing closes", |m| unless(m, &["ERROR"])) },
            &[
                "F14", "F15b", "F15c", "F15d", "F22", "C12", "C13", "L08", "A08", "A10", "A11", "A13", "A14", "T08",
                "T10", "T10b", "F20b",
            ],
        ),
        (Fault { name: "ERROR is not the end", closes: false, ..Fault::NONE }, &["E03", "E07", "V04", "D01", "D06"]),
        (
            Fault { name: "a client that is gone is not missed", lets_go: false, ..Fault::NONE },
            &["A02", "A05b", "A03b", "T07"],
        ),
        (
            down("each MESSAGE twice", |m| if m.starts_with(b"MESSAGE") { vec![m.clone(), m] } else { vec![m] }),
            &["M03b", "U08", "U18"],
        ),
        (
            down("all messages have one id", |m| {
                with_headers(m, &["MESSAGE"], |line| {
                    Some(if line.starts_with("message-id:") { "message-id:1".into() } else { line.into() })
                })
            }),
            &["M03b", "S09"],
        ),
        (
            down("MESSAGE does not say where it comes from", |m| without(m, &["MESSAGE"], &["destination"])),
            &["M01", "M01b"],
        ),
        (down("MESSAGE has no id", |m| without(m, &["MESSAGE"], &["message-id"])), &["M01", "M01b", "A12", "A16b"]),
        (
            down("MESSAGE names no subscription", |m| without(m, &["MESSAGE"], &["subscription"])),
            &["U04", "M01", "H09b", "S08"],
        ),
        (
            down("the sender's headers are lost", |m| {
                with_headers(m, &["MESSAGE"], |line| {
                    let known = ["destination:", "subscription:", "message-id:", "content-length:", "ack:"];
                    known.iter().any(|name| line.starts_with(name)).then(|| line.to_owned())
                })
            }),
            &["S04", "F11", "F18", "F20a", "H01", "H02", "H03", "H08", "H10", "H10b", "H17", "P03", "L13"],
        ),
        (down("MESSAGE has no length", |m| without(m, &["MESSAGE"], &["content-length"])), &["L11"]),
        (
            down("every MESSAGE wants an ACK", |m| {
                changed(m, &["MESSAGE"], |frame| frame.replacen('\n', "\nack:x\n", 1))
            }),
            &["U11", "A20"],
        ),
        (down("no MESSAGE wants an ACK", |m| without(m, &["MESSAGE"], &["ack"])), &["A03", "A16a", "A24", "A20"]),
        (down("RECEIPT is not escaped", |m| changed(m, &["RECEIPT"], |frame| frame.replace("\\c", ":"))), &["H09a"]),
        (
            down("RECEIPT has a body", |m| changed(m, &["RECEIPT"], |frame| frame.replace('\0', "ok\0"))),
            &["R01a", "R01b", "R01c", "R01d"],
        ),
        (
            down("an empty receipt is none", |m| changed(m, &["RECEIPT"], |frame| frame.replace("receipt-id:\n", ""))),
            &["R04"],
        ),
        (
            down("CONNECT has a RECEIPT", |m| {
                if m.starts_with(b"CONNECTED") { vec![m, b"RECEIPT\nreceipt-id:r\n\n\0".to_vec()] } else { vec![m] }
            }),
            &["C14"],
        ),
        (down("CONNECTED names no session", |m| without(m, &["CONNECTED"], &["session"])), &["C06"]),
        (
            down("ERROR says nothing", |m| without(m, &["ERROR"], &["message", "receipt-id", "version"])),
            &["E01", "E04", "V05"],
        ),
        (
            down("a frame in two messages", |m| {
                if m.len() > 20 && m.starts_with(b"MESSAGE") {
                    vec![m[..20].to_vec(), m[20..].to_vec()]
                } else {
                    vec![m]
                }
            }),
            &["W11"],
        ),
        (Fault { name: "text only", only_text: true, ..Fault::NONE }, &["W06", "L15"]),
        (Fault { name: "always the same sub-protocol", chooses: |_| Some("v12.stomp"), ..Fault::NONE }, &["W01b"]),
        (Fault { name: "no sub-protocol", chooses: |_| None, ..Fault::NONE }, &["W01", "W01b"]),
    ]
}

/// Those that only what is crude makes fail: they ask for nothing but that others go on undisturbed.
const ONLY_CRUDE: [&str; 0] = [];

fn plan(library: &Library) -> Vec<Case<'_>> {
    let versions = VERSIONS.map(str::to_owned).to_vec();
    library.plan(&Wanted { versions, carriers: vec![Carrier::WebSocket], sockjs: false, only: Vec::new(), must: false })
}

/// The ids of the transcripts that fail against a server with this fault.
async fn found(fault: Fault, asked: &Server, library: &Library) -> BTreeSet<String> {
    let address = fault.serve((*asked.way.target).clone()).await;
    let mut asked = server(address, "/beats");
    // Whoever is to be found out by silence is waited for in each transcript.
    asked.patience = Duration::from_millis(1000);
    let plan = plan(library);
    let outcomes = run::play(&asked, &plan, &Known::default(), 24, |_| {}).await;
    let failed = plan.iter().zip(outcomes).filter(|(_, outcome)| matches!(outcome, Outcome::Failed(_)));
    failed.map(|(case, _)| case.id().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_is_found_and_every_transcript_finds_one() {
    let running = SERVER.get();
    let asked = server(running.address, "/beats");
    let library = Library::default();
    let all: Vec<(Fault, &[&str])> = faults().into_iter().chain(CRUDE).collect();
    let tried = futures_util::stream::iter(all).map(|(fault, expected)| {
        let (asked, library) = (&asked, &library);
        async move { (fault, expected, found(fault, asked, library).await) }
    });
    let tried: Vec<_> = tried.buffer_unordered(8).collect().await;
    let mut unseen = Vec::new();
    let mut by_faults = BTreeSet::new();
    let crude: Vec<&str> = CRUDE.iter().map(|(fault, _)| fault.name).collect();
    for (fault, expected, found) in tried {
        let missing: Vec<&&str> = expected.iter().filter(|id| !found.contains(**id)).collect();
        if !missing.is_empty() {
            unseen.push(format!("{}: {missing:?} passed", fault.name));
        }
        if !crude.contains(&fault.name) {
            by_faults.extend(found);
        }
    }
    assert!(unseen.is_empty(), "{unseen:#?}");
    let plan = plan(&library);
    let ids: BTreeSet<&str> = plan.iter().map(Case::id).filter(|id| !["B03", "C02"].contains(id)).collect();
    let never: Vec<&str> = ids.into_iter().filter(|id| !by_faults.contains(*id) && !ONLY_CRUDE.contains(id)).collect();
    assert!(never.is_empty(), "no fault makes these fail: {never:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_fault_all_passes() {
    let running = SERVER.get();
    let library = Library::default();
    let asked = server(running.address, "/beats");
    let address = Fault::NONE.serve((*asked.way.target).clone()).await;
    let plan = plan(&library);
    let known = Known::parse(include_str!("../../../fixtures/conformance/known/stampede-strict.txt")).unwrap();
    let outcomes = run::play(&server(address, "/beats"), &plan, &known, 24, |_| {}).await;
    let failed = plan.iter().zip(outcomes).filter(|(_, outcome)| matches!(outcome, Outcome::Failed(_)));
    let failed: Vec<String> = failed.map(|(case, outcome)| format!("{} {outcome:?}", case.id())).collect();
    assert!(failed.is_empty(), "{failed:#?}");
}
