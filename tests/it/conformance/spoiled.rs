//! The binary with something between it and its clients that spoils what it answers: each transcript of SockJS finds it.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::StreamExt as _;
use stampede::conformance::known::Known;
use stampede::conformance::plan::{Case, Library, Wanted};
use stampede::conformance::run;
use stampede::conformance::verdict::Outcome;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::support::server::Server;

/// Octets of answers, others of the same number that take their place, and the transcripts that miss them.
type Fault = (&'static [u8], &'static [u8], &'static str);

const FAULTS: &[Fault] = &[
    (b"Welcome", b"Goodbye", "K01 K01b K90 K90b K92"),
    (b" 404 ", b" 200 ", "K02 K11 K15 K15b K18 K37 K64"),
    (b"allow: ", b"alloy: ", "K03 K70b"),
    (b"no-transform", b"no-tronsform", "K04 K23 K24 K38 K47 K52 K57 K57b"),
    (b"*:*", b"x:x", "K04"),
    (b"entropy\":", b"entropi\":", "K04 K06 K09"),
    (b"access-control-allow-origin", b"access-control-allow-orixin", "K04b K05 K07 K07b K23b K24b K31 K31b K38c K51"),
    (b"access-control-allow-credentials", b"access-control-allow-credentiols", "K04b K07 K23b K24b K31 K31b K38c K51"),
    (b"access-control-allow-headers", b"access-control-allow-headerz", "K32"),
    (b"vary: ", b"wary: ", "K05b"),
    (b"cache-control: ", b"set-cookie: x=y", "K08"),
    (b"set-cookie", b"sex-cookie", "K66 K66b K67"),
    (b"bootstrap", b"bootstrop", "K10 K10b"),
    (b"etag: \"", b"etag: x", "K10 K12 K13"),
    (b" 304 ", b" 200 ", "K12 K13"),
    (b"o\n", b"x\n", "K14 K23 K24b K38 K93 K94"),
    (b"hhhhhhhh", b"hhhhgggg", "K38 K38b K39 K42 K43 K44 K45 K91"),
    (b"Another", b"Onother", "K19 K19b K42 K42b K42c K42d"),
    (b"c[", b"d[", "K19 K20 K22 K36 K43 K43b K44 K63 K78 K91 K93"),
    (b" 204 ", b" 200 ", "K17b K24 K24b K29b K30 K33 K40 K40b K50 K52c K55 K95"),
    (b" 405 ", b" 200 ", "K03 K70 K70b"),
    (b" 500 ", b" 200 ", "K25 K26 K27 K28 K53 K54 K54b K58 K58b K58c K59"),
    (b"Broken", b"Brokon", "K25 K59"),
    (b"Payload", b"Paylood", "K26 K27 K59"),
    (
        b"a[\"MESSAGE",
        b"a[\"MESSAG_",
        "K16 K17 K19b K25 K26 K27 K28 K29 K29b K30 K33b K39 K39b K47b K48 K49 K74 K75 K76 K76b K80 K95",
    ),
    (b"a[\\\"MESSAGE", b"a[\\\"MESSAG_", "K52c K57c K60 K60b K62"),
    (b"\\u2028", b"\\u2029", "K87 K87b K88"),
    (b"\\u0000", b"\\u0001", "K89 K89b"),
    (b"\r\ndata: ", b"\r\nDATA: ", "K42b K43b K47 K47b K48 K49 K50"),
    (b"%25", b"% 2", "K49 K49b"),
    (b"Don't", b"Do--t", "K10 K52"),
    (b"                            ", b"<script>\np(\"o\");\n</script>\r\n", "K52b"),
    (b"\\u003c", b"<     ", "K56 K56b"),
    (b"callback", b"kallback", "K52 K53 K54 K57 K57c K58 K58b"),
    (b"nosniff", b"sniffed", "K57d"),
    (b"\r\n\r\nok", b"\r\n\r\nno", "K57b K60 K62"),
    (b" 400 ", b" 200 ", "K69 K69b K73"),
    (b" 426 ", b" 200 ", "K73b"),
    (b"sec-websocket-accept", b"sec-websocket-acxept", "K71"),
    (b"sec-websocket-protocol", b"sec-websocket-protokol", "K86"),
    (b"\x81\x01o", b"\x81\x01x", "K71 K72 K74 K75 K79 K81 K81b"),
    (b"\x8a\x01b", b"\x8a\x01c", "K79"),
    (b"\x88\x11\x0b\xb8", b"\x81\x11ab", "K77"),
    (b"\x03\xe8", b"\x03\xe9", "K78 K81b"),
    (b"\x03\xef", b"\x03\xea", "K81e"),
    (b"are you there", b"are you where", "K81"),
    (b"Hello world!", b"Hello World!", "K84"),
    (b"\n\n[\"a", b"\n\n[\"b", "K84c"),
];

/// What no such change spoils; wrong servers in `src/conformance/requests/tests.rs` do. K68 is not for servers with
/// cookies, K81c and K81d want no more than an end, K84b that nothing comes, and K103 plays only against servers that
/// refuse what it asks.
const OTHERWISE: [&str; 6] = ["K68", "K81c", "K81d", "K84b", "K103", "K103b"];

/// Listens, and passes everything on; of what comes back `from` is replaced.
async fn spoiled(server: SocketAddr, (from, to, _): Fault) -> SocketAddr {
    assert_eq!(from.len(), to.len(), "lengths that are announced must stay right");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(async move {
                let server = TcpStream::connect(server).await.unwrap();
                let (mut from_client, mut to_client) = client.into_split();
                let (mut from_server, mut to_server) = server.into_split();
                let back = async {
                    let mut buffer = vec![0; 64 * 1024];
                    while let Ok(octets @ 1..) = from_server.read(&mut buffer).await {
                        let mut part = buffer[..octets].to_vec();
                        for at in 0..=octets.saturating_sub(from.len()) {
                            if part[at..].starts_with(from) {
                                part[at..at + to.len()].copy_from_slice(to);
                            }
                        }
                        if to_client.write_all(&part).await.is_err() {
                            break;
                        }
                    }
                };
                // Whichever side goes first takes the other with it.
                tokio::select! {
                    () = back => {}
                    _ = tokio::io::copy(&mut from_client, &mut to_server) => {}
                }
            });
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_spoiled_is_missed() {
    let sockjs = "sockjs = { allowed_origins = [\"*\"], session_cookie_needed = true }";
    let binary = Server::start(&format!("[[endpoint]]\npath = \"/ws\"\n{sockjs}\n"));
    let library = Library::default();
    let wanted = Wanted { versions: Vec::new(), carriers: Vec::new(), sockjs: true, only: Vec::new(), must: false };
    let all = library.plan(&wanted);
    let tried = futures_util::stream::iter(FAULTS).map(|fault| {
        let plan: Vec<_> = all.iter().filter(|case| fault.2.split(' ').any(|id| id == case.id())).cloned().collect();
        let address = binary.address;
        async move {
            assert_eq!(plan.len(), fault.2.split(' ').count(), "{}", fault.2);
            let mut server = super::server(spoiled(address, *fault).await, "/ws");
            server.patience = Duration::from_secs(2);
            let outcomes = run::play(&server, &plan, &Known::default(), 8, |_| {}).await;
            let unseen = plan.iter().zip(outcomes).filter(|(_, outcome)| !matches!(outcome, Outcome::Failed(_)));
            let from = String::from_utf8_lossy(fault.0);
            unseen.map(|(case, outcome)| format!("{from}: {} {outcome:?}", case.id())).collect::<Vec<_>>()
        }
    });
    let unseen: Vec<String> = tried.buffer_unordered(6).concat().await;
    assert!(unseen.is_empty(), "{unseen:#?}");
    let spoiled: BTreeSet<&str> = FAULTS.iter().flat_map(|fault| fault.2.split(' ')).chain(OTHERWISE).collect();
    let slow = |case: &&Case<'_>| case.transcript.words("needs").any(|need| need == "slow");
    let never: Vec<&str> =
        all.iter().filter(|case| !slow(case)).map(Case::id).filter(|id| !spoiled.contains(id)).collect();
    assert!(never.is_empty(), "nothing spoils these: {never:?}");
}
