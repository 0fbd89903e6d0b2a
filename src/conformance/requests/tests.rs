use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::super::script::{Section, parse};
use super::super::server::Server;
use super::super::verdict::Failure;
use super::features::Features;
use super::play::{VERBS, play};
use super::{FILES, SETTINGS};
use crate::client::entrance::Way;
use crate::client::wire::Access;

/// All transcripts, file by file.
fn sections() -> impl Iterator<Item = (&'static str, Section)> {
    FILES.into_iter().map(|(path, text)| (path, parse(text, &SETTINGS)))
}

#[test]
fn every_file_has_a_title_and_every_step_a_verb() {
    let mut ids = BTreeSet::new();
    for (name, section) in sections() {
        assert!(!section.title.is_empty(), "{name} has no title");
        assert!(!section.transcripts.is_empty(), "{name} is empty");
        for transcript in section.transcripts {
            let at = format!("{name}:{}", transcript.line);
            assert!(ids.insert(transcript.clauses[0].clone()), "{at}: {} is there twice", transcript.clauses[0]);
            assert!(transcript.clauses[0].starts_with('K') && !transcript.title.is_empty(), "{at}");
            assert!(!transcript.steps.is_empty(), "{at} has no steps");
            for step in &transcript.steps {
                assert!(
                    VERBS.split(' ').any(|verb| verb == step.verb),
                    "{name}:{}: {} is no step",
                    step.line,
                    step.verb
                );
            }
            assert!(transcript.words("needs").all(Features::knows), "{at}: nobody knows what it needs");
            assert!(transcript.words("level").all(|level| level == "should"), "{at}");
        }
    }
    assert!(ids.len() > 100, "{} transcripts", ids.len());
}

#[test]
fn every_file_is_played_and_every_step_explained() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/conformance/sockjs");
    let mut found = BTreeSet::new();
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "txt") {
            let name = path.file_name().unwrap().to_string_lossy();
            found.insert(format!("fixtures/conformance/sockjs/{name}"));
        }
    }
    assert_eq!(found, FILES.map(|(path, _)| path.to_owned()).into());
    let readme = std::fs::read_to_string(format!("{folder}/README.md")).unwrap();
    for verb in VERBS.split(' ') {
        let shown = [format!("`A {verb}`"), format!("`A {verb} ")];
        assert!(shown.iter().any(|shown| readme.contains(shown)), "nothing says what {verb} means");
    }
}

/// A server that gives every connection `answers`, one after each request, and then keeps it open; `cut` ends it.
async fn server(answers: &'static [&'static [u8]], cut: bool) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut buffer = [0; 64 * 1024];
                for answer in answers {
                    if !matches!(stream.read(&mut buffer).await, Ok(1..)) {
                        return;
                    }
                    let _ = stream.write_all(answer).await;
                }
                while !cut && matches!(stream.read(&mut buffer).await, Ok(1..)) {}
            });
        }
    });
    Server {
        way: Way {
            target: Arc::new(format!("http://{address}/ws").parse().unwrap()),
            access: Access::default(),
            host: "localhost".to_owned(),
            login: None,
            connect: Vec::new(),
        },
        topic: "/topic/{}".to_owned(),
        queue: None,
        refused: None,
        patience: Duration::from_millis(250),
        quiet: Duration::from_millis(20),
        margin: Duration::from_millis(100),
        settle: Duration::from_millis(1),
        receipts: true,
        slow: false,
    }
}

async fn played(server: &Server, text: &str) -> Result<(), Failure> {
    let section = parse(&format!("# x\n## K00  x\n{text}"), &SETTINGS);
    play(server, &section.transcripts[0]).await
}

const GREETING: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain;charset=utf-8\r\nVary: Origin\r\nContent-Length: 3\r\n\r\nhi\n";

/// After these steps the right ones hold and the wrong ones do not.
async fn check(answers: &'static [&'static [u8]], cut: bool, before: &str, right: &[&str], wrong: &[&str]) {
    let server = server(answers, cut).await;
    for step in right {
        assert_eq!(played(&server, &format!("{before}\n{step}")).await, Ok(()), "{step}");
    }
    for step in wrong {
        let failure = played(&server, &format!("{before}\n{step}")).await.expect_err(step);
        let last = step.lines().last().unwrap();
        assert_eq!(failure.step, last.trim_end(), "{failure:?}");
        assert_ne!(failure.expected, "a step that can be played", "{failure:?}");
    }
}

#[tokio::test]
async fn answers_are_judged() {
    let right = [
        "A answers 404 or 200",
        "A typed text/plain; charset=UTF-8",
        "A has content-length: 3",
        "A has vary: x | $*",
        "A lists vary: origin",
        "A lacks allow",
        "A body hi\\n",
        "A reads h\nA reads i\\n\nA ended",
        "A repeats 1 hi",
        "A beyond 1 \\n",
        "A again GET $endpoint\nA answers 200",
        "A reusable",
    ];
    let wrong = [
        "A answers 404",
        "A typed text/plain",
        "A has content-length: 4",
        "A has allow: $*",
        "A lists vary: origin, cookie",
        "A lacks vary",
        "A body h",
        "A reads x",
        "A reads hi\\n!",
        "A repeats 2 h",
        "A beyond 2 \\n",
        "A beyond 0 x",
        "A chunk h",
        "A ended",
        "A quiet",
        "A closed",
        "A json x boolean",
        "A frame o",
    ];
    check(&[GREETING, GREETING], false, "A asks GET $endpoint", &right, &wrong).await;
}

const STREAM: &[u8] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
    5\r\nhhhh\n\r\n2\r\no\n\r\n2\r\nh\n\r\n6\r\na[\"x\"]\r\n1\r\n\n\r\n";

#[tokio::test]
async fn streams_are_judged() {
    let right = [
        "A chunk hhhh\\n\nA chunk o\\n\nA chunk h\\n",
        "A reads hhhh\\no\\nh\\n",
        "A frame o\nA frame h\nA frame a[\"x\"]\nA quiet",
        "A frame c[1] | o",
        "A frame $x\nA differ $x h",
        "A frame $x\nA excludes $x h",
    ];
    let wrong = [
        "A chunk hhhh",
        "A chunk hhhh\\no\\n",
        "A frame h",
        "A frame o\nA frame o | c[1]",
        "A body $**",
        "A frame o\nA ended",
        "A frame o\nA finally o",
        "A frame o\nA gets MESSAGE",
        "A polls",
        "A frame $x\nA differ $x o",
        "A frame $x\nA excludes $x o",
        "A collects 1",
        "A renewed 1",
        "A sends x",
    ];
    check(&[STREAM], false, "A asks POST $s/xhr_streaming", &right, &wrong).await;
}

#[tokio::test]
async fn the_end_of_a_connection_is_judged() {
    let (right, wrong) =
        (["A closed", "A body o\\n", "A reusable"], ["A quiet", "A again GET $endpoint\nA answers 200"]);
    check(&[b"HTTP/1.0 200 OK\r\n\r\no\n"], true, "A asks-1.0 POST $s/xhr", &right, &wrong).await;
    let asks = "A asks GET $endpoint";
    let wrong = ["A reusable", "A again GET $endpoint\nA answers 200"];
    check(&[GREETING], true, asks, &["A body hi\\n"], &wrong).await;
    check(&[b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\no\n"], true, asks, &["A reads o"], &["A body o\\n"]).await;
    check(&[b"HTTP/1.1 nonsense\r\n\r\n", b""], true, asks, &[], &["A answers 200", "A body $**"]).await;
}

/// A handshake, `o`, a ping, and a message; with the next request `c` and a close with 3000.
const SOCKET: [&[u8]; 2] = [
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n\x81\x01o\x89\x00\x81\x06a[\"x\"]",
    b"\x8a\x01!\x81\x04c[1]\x88\x03\x0b\xb8.",
];

#[tokio::test]
async fn sockets_are_judged() {
    let right = [
        "A answers 101",
        "A frame o\nA frame a[\"x\"]",
        "A message o\nA message a[$*]",
        "A frame o\nA frame a[\"x\"]\nA pong !\nA frame c[1]\nA closed 1000 or 3000",
        "A at-last closed",
    ];
    let wrong = [
        "A answers 200",
        "A frame a[\"x\"]",
        "A message x",
        "A pong x",
        "A quiet",
        "A closed",
        "A frame o\nA gets MESSAGE",
        "A at-last closed 1000",
        "A finally c[2]",
    ];
    // The answer to its ping makes this server go on.
    check(&SOCKET, false, "A upgrades $s/websocket\nA answers 101", &right, &wrong).await;
}

/// What each transcript expects is missed where a server has nothing, or always has the same.
#[tokio::test]
async fn every_transcript_fails_against_a_wrong_server() {
    const WRONG: [&[&[u8]]; 2] = [
        &[b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"],
        &[b"HTTP/1.1 200 OK\r\nSet-Cookie: x=y\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\no\n"],
    ];
    let mut passed: BTreeSet<String> = BTreeSet::new();
    for (at, answers) in WRONG.into_iter().enumerate() {
        let server = server(answers, false).await;
        let transcripts = sections().flat_map(|(_, section)| section.transcripts);
        // What only takes time, and fails at its start or not at all here.
        let plays = transcripts.filter(|transcript| !transcript.words("needs").any(|need| need == "slow"));
        let plays = plays.map(|transcript| {
            let server = server.clone();
            async move { (transcript.clauses[0].clone(), play(&server, &transcript).await.is_ok()) }
        });
        let outcomes = futures_util::future::join_all(plays).await;
        let good: BTreeSet<String> = outcomes.into_iter().filter(|(_, good)| *good).map(|(id, _)| id).collect();
        passed = if at == 0 { good } else { passed.intersection(&good).cloned().collect() };
    }
    assert_eq!(passed, BTreeSet::new(), "nothing makes them fail");
}
