//! The threats of `docs/security.md`, one row each, against a node by itself and against two: every attack gets the answer that is
//! documented, nobody else notices, and memory stays where it was. The many spellings of another's destination are in
//! `permissions`, the many bad tokens beside the code that reads them.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::SocketAddr;

use jsonwebtoken::{Algorithm, EncodingKey, Header};

use crate::support::client::{Client, header, unique};
use crate::support::cluster::Cluster;
use crate::support::process::{Process, ask, serve};
use crate::support::tcp::Tcp;

const PUBLIC: &str = include_str!("../../src/identity/jwt/keys/ed25519.pub.pem");
const PRIVATE: &str = include_str!("../../src/identity/jwt/keys/ed25519.pem");

const CONFIG: &str = concat!(
    "[identity.jwt]\npublic_key = '''\n",
    include_str!("../../src/identity/jwt/keys/ed25519.pub.pem"),
    "'''
[server]
header_timeout = '1s'
[limits]
time_to_first_message = '2s'
[server.addresses]
unlimited = []
sessions = 40
connections = 40
[[route]]
on = '/app/chat/{from}/{to}'
to = '/user/{to}/queue/chat'
allow = 'from == user'
[demo]
enabled = false
"
);

/// Where an attack takes place: mallory attacks `here`, bob is `there`, perhaps on another node.
struct Field<'a> {
    here: &'a Process,
    bob: Client,
    ann: Client,
    said: usize,
}

type Attack = fn(&mut Field<'_>);

const ATTACKS: &[(&str, Attack)] = &[
    ("another's messages by name", |field| {
        field.refused("SUBSCRIBE\nid:0\ndestination:/user/bob/queue/chat\n\n\0", "only the user itself")
    }),
    ("everybody's messages by pattern", |field| {
        field.refused("SUBSCRIBE\nid:0\ndestination:/user/*/queue/chat\n\n\0", "several users")
    }),
    ("everything", |field| field.refused("SUBSCRIBE\nid:0\ndestination:/topic/**\n\n\0", "patterns with **")),
    ("another's queue by Spring's session suffix", |field| {
        let session = header(&field.bob.connected, "session").unwrap_or("s1").to_owned();
        let mut mallory = field.mallory();
        mallory.subscribe("0", &format!("/queue/chat-user{session}"));
        field.are_undisturbed();
        mallory.confirmed("UNSUBSCRIBE\nid:0", "");
    }),
    ("speaking as another", |field| field.refused("SEND\ndestination:/app/chat/ann/bob\n\nx\0", "from == user")),
    ("writing to another directly", |field| {
        field.refused("SEND\ndestination:/user/bob/queue/chat\n\nx\0", "through routes")
    }),
    ("writing for everybody", |field| field.refused("SEND\ndestination:/topic/news\n\nx\0", "through routes")),
    ("headers that only the server says", |field| {
        let mut mallory = field.mallory();
        let forged = "message-id:1\nsubscription:9\nuser-name:ann\nack:7\nsimpOrigDestination:/topic/x\nAuthorization:x\nredelivered:true";
        mallory.send(&format!("SEND\ndestination:/app/chat/mallory/bob\n{forged}\n\nforged\0"));
        let message = field.bob.message("forged");
        assert_eq!(header(&message, "subscription"), Some("0"), "{message:?}");
        for absent in ["user-name", "ack", "simpOrigDestination", "Authorization", "redelivered"] {
            assert_eq!(header(&message, absent), None, "{message:?}");
        }
        assert_ne!(header(&message, "message-id"), Some("1"));
    }),
    ("another destination behind the one that is allowed", |field| {
        let mut mallory = field.mallory();
        let forged = "destination:/user/ann/queue/chat\ndestination:/topic/news";
        mallory.confirmed(&format!("SEND\ndestination:/app/chat/mallory/bob\n{forged}"), "by the first");
        let message = field.bob.message("by the first");
        let told: Vec<&str> = message.lines().filter(|line| line.starts_with("destination:")).collect();
        assert_eq!(told, ["destination:/user/queue/chat"], "{message:?}");
        field.refused("SEND\ndestination:/topic/news\ndestination:/app/chat/mallory/bob\n\nx\0", "through routes");
    }),
    ("no token", |field| field.not_let_in("login:bob", "nothing that proves")),
    ("a name beside a token of one's own", |field| {
        let lines = [&*authorization("mallory"), "login:bob", "user:bob", "user-name:bob"];
        let mut mallory = Client::connect(field.here.address, "/ws", "1.2", &lines);
        assert_eq!(header(&mallory.connected, "user-name"), Some("mallory"));
        mallory.send("SUBSCRIBE\nid:0\ndestination:/user/bob/queue/chat\n\n\0");
        assert!(mallory.expect("ERROR").contains("only the user itself"));
    }),
    ("a token of another key", |field| {
        let other = EncodingKey::from_ec_pem(OTHER.as_bytes()).unwrap();
        field.not_let_in(&signed("bob", FAR, Algorithm::ES256, &other), "not accepted");
        let secret = EncodingKey::from_secret(b"a secret that the node does not know");
        field.not_let_in(&signed("bob", FAR, Algorithm::HS256, &secret), "not accepted");
    }),
    ("a token with the public key for a secret", |field| {
        let secret = EncodingKey::from_secret(PUBLIC.as_bytes());
        for algorithm in [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512] {
            field.not_let_in(&signed("bob", FAR, algorithm, &secret), "not accepted");
        }
    }),
    ("a token that has expired", |field| {
        field.not_let_in(&signed("bob", 1, Algorithm::EdDSA, &own_key()), "has expired");
    }),
    ("a token without a signature", |field| {
        // {"alg":"none"} and {"sub":"bob","exp":4102444800}
        field.not_let_in("Authorization:eyJhbGciOiJub25lIn0.eyJzdWIiOiJib2IiLCJleHAiOjQxMDI0NDQ4MDB9.", "not accepted");
    }),
    ("a page of another origin", |field| {
        let origin = "Origin: https://evil.example\r\n";
        for (request, headers) in
            [("GET /ws", UPGRADE), ("GET /ws/websocket", UPGRADE), ("GET /ws/000/s/websocket", UPGRADE)]
        {
            assert_eq!(field.http(request, &format!("{origin}{headers}"), "").0, 403, "{request}");
        }
        for request in [
            "POST /ws/000/s/xhr",
            "POST /ws/000/s/xhr_streaming",
            "GET /ws/000/s/eventsource",
            "POST /ws/000/s/xhr_send",
        ] {
            let (status, answer) = field.http(request, origin, "");
            assert_eq!(status, 403, "{request}: {answer}");
        }
    }),
    ("a SockJS session that is another's", |field| {
        let session = format!("/ws/000/s{}", unique());
        let mut owner = std::net::TcpStream::connect(field.here.address).unwrap();
        let request = format!("POST {session}/xhr_streaming HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n");
        owner.write_all(request.as_bytes()).unwrap();
        let mut begun = Vec::new();
        while !begun.ends_with(b"o\n\r\n") {
            let mut octet = [0];
            owner.read_exact(&mut octet).unwrap();
            begun.extend(octet);
        }
        let (_, second) = field.http(&format!("POST {session}/xhr"), "", "");
        assert!(second.starts_with("c[2010,"), "{second}");
        let guess = format!("/ws/000/guess{}/xhr_send", unique());
        assert_eq!(field.http(&format!("POST {guess}"), "", "[\"x\"]").0, 404, "a guess finds nothing");
    }),
    ("a head of a thousand headers", |field| {
        let lines = (0..1000).fold(String::new(), |mut lines, number| {
            let _ = writeln!(lines, "h{number}:x");
            lines
        });
        field.refused(&format!("SEND\ndestination:/app/chat/mallory/bob\n{lines}\n\0"), "100");
    }),
    ("a CONNECT without end", |field| {
        let mut mallory = Client::open(field.here.address, "/ws");
        mallory.send(&format!("CONNECT\nx:{}", "x".repeat(20_000)));
        assert!(mallory.expect("ERROR").contains("limit"));
    }),
    ("a frame of exabytes", |field| {
        let mut mallory = field.upgraded("");
        mallory.write(&[0x81, 0xff, 0x40, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4]);
        assert_eq!(close_code(&mallory.rest()), Some(1009));
    }),
    ("a frame that says it is compressed", |field| {
        let mut mallory = field.upgraded("Sec-WebSocket-Extensions: permessage-deflate\r\n");
        mallory.write(&[0xc1, 0x81, 1, 2, 3, 4, b'x' ^ 1]);
        assert_eq!(close_code(&mallory.rest()), Some(1002), "nothing is unpacked");
    }),
    ("a body beyond the limit", |field| {
        field.refused(&format!("SEND\ndestination:/app/chat/mallory/bob\n\n{}\0", "x".repeat((1 << 20) + 1)), "limit");
    }),
    ("JSON that nests without end", |field| {
        let session = format!("/ws/000/s{}", unique());
        field.http(&format!("POST {session}/xhr"), "", "");
        let (status, answer) = field.http(&format!("POST {session}/xhr_send"), "", &"[".repeat(1_000_000));
        assert!(status == 500 && answer.contains("JSON"), "{status} {answer}");
    }),
    ("a body that would unpack to gigabytes", |field| {
        let session = format!("/ws/000/s{}", unique());
        field.http(&format!("POST {session}/xhr"), "", "");
        let (status, _) = field.http(&format!("POST {session}/xhr_send"), "Content-Encoding: gzip\r\n", "\u{1f}x");
        assert_eq!(status, 500, "nothing is unpacked");
        assert_eq!(field.http(&format!("POST {session}/xhr_send"), "", &"x".repeat(4 << 20)).0, 413);
    }),
    ("a pattern that takes for ever", |field| {
        field.refused("SUBSCRIBE\nid:0\ndestination:/topic/{x:(a+)+$}\n\n\0", "pattern");
    }),
    ("a pattern of wildcards alone", |field| {
        field.refused(&format!("SUBSCRIBE\nid:0\ndestination:/topic/{}\n\n\0", "*a".repeat(300)), "pattern");
    }),
    ("a flood of sessions from one address", |field| {
        let mut sessions: Vec<Client> = Vec::new();
        loop {
            assert!(sessions.len() <= 40, "more than the limit");
            let mut mallory = Client::open(field.here.address, "/ws");
            mallory.send(&format!("CONNECT\naccept-version:1.2\nhost:localhost\n{}\n\n\0", authorization("mallory")));
            let answer = mallory.next();
            if answer.starts_with("ERROR") {
                assert!(answer.contains("and 40 is the limit"), "{answer:?}");
                break;
            }
            sessions.push(mallory);
        }
    }),
    ("connections that say nothing, or a little", |field| {
        let session = format!("/ws/000/s{}", unique());
        let starts = [
            String::new(),
            "GET ".into(),
            "GET /ws HTTP/1.1\r\nHost: x\r\nUpg".into(),
            "GET /metrics HTTP/1.1\r\n".into(),
            format!("POST {session}/xhr HTTP/1.1\r\nHo"),
            "POST /api/revocations HTTP/1.1\r\nHost".into(),
        ];
        let slow: Vec<Tcp> = starts
            .iter()
            .map(|start| {
                let mut slow = Tcp::connect(field.here.address);
                slow.write(start.as_bytes());
                slow
            })
            .collect();
        let mut mute = Client::open(field.here.address, "/ws");
        field.are_undisturbed();
        for mut slow in slow {
            slow.rest();
        }
        assert!(mute.error(1002).contains("CONNECT"));
    }),
];

impl Field<'_> {
    fn mallory(&self) -> Client {
        Client::connect(self.here.address, "/ws", "1.2", &[&authorization("mallory")])
    }

    #[track_caller]
    fn refused(&self, frame: &str, told: &str) {
        let mut mallory = self.mallory();
        mallory.send(frame);
        let error = mallory.expect("ERROR");
        assert!(error.contains(told), "{error:?}");
    }

    #[track_caller]
    fn not_let_in(&self, line: &str, told: &str) {
        let mut mallory = Client::open(self.here.address, "/ws");
        mallory.send(&format!("CONNECT\naccept-version:1.2\nhost:localhost\n{line}\n\n\0"));
        let error = mallory.error(1002);
        assert!(error.contains(told), "{error:?}");
    }

    /// A WebSocket on which anything may be written; no extension was agreed on.
    #[track_caller]
    fn upgraded(&self, headers: &str) -> Tcp {
        let mut socket = Tcp::connect(self.here.address);
        socket.write(format!("GET /ws HTTP/1.1\r\nHost: localhost\r\n{UPGRADE}{headers}\r\n").as_bytes());
        let head = socket.until("\r\n\r\n").to_lowercase();
        assert!(head.starts_with("http/1.1 101") && !head.contains("sec-websocket-extensions"), "{head}");
        socket
    }

    fn http(&self, line: &str, headers: &str, body: &str) -> (u16, String) {
        let length = body.len();
        let head = format!("{line} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}");
        ask(self.here.address, format!("{head}Content-Length: {length}\r\n\r\n{body}"))
    }

    /// Ann reaches bob, and nobody else has.
    #[track_caller]
    fn are_undisturbed(&mut self) {
        self.said += 1;
        let body = self.said.to_string();
        self.ann.confirmed("SEND\ndestination:/app/chat/ann/bob", &body);
        self.bob.message(&body);
    }
}

const UPGRADE: &str = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n";
/// A key that the node does not know.
const OTHER: &str = include_str!("../../src/identity/jwt/keys/p256.pem");
/// The end of the century, in seconds.
const FAR: u64 = 4_102_444_800;

/// The header line of a token.
fn signed(user: &str, expiry: u64, algorithm: Algorithm, key: &EncodingKey) -> String {
    let claims = serde_json::json!({ "sub": user, "exp": expiry });
    format!("Authorization:Bearer {}", jsonwebtoken::encode(&Header::new(algorithm), &claims, key).unwrap())
}

fn own_key() -> EncodingKey {
    EncodingKey::from_ed_pem(PRIVATE.as_bytes()).unwrap()
}

fn authorization(user: &str) -> String {
    signed(user, FAR, Algorithm::EdDSA, &own_key())
}

/// The code of the Close frame that the server's last octets are.
fn close_code(octets: &[u8]) -> Option<u16> {
    // Its reason is text in ASCII.
    let at = octets.iter().rposition(|&octet| octet == 0x88)?;
    octets.get(at + 2..at + 4).map(|code| u16::from_be_bytes([code[0], code[1]]))
}

/// Growth of a node in octets that is no sign of anything: what it keeps of the largest of these attacks for the next one.
const ROOM: usize = 64 << 20;

fn withstood(here: &Process, there: SocketAddr) {
    let connect = |to: SocketAddr, user: &str| Client::connect(to, "/ws", "1.2", &[&authorization(user)]);
    let (mut bob, ann) = (connect(there, "bob"), connect(there, "ann"));
    bob.subscribe("0", "/user/queue/chat");
    let mut field = Field { here, bob, ann, said: 0 };
    field.are_undisturbed();
    let before = here.resident_bytes();
    for (name, attack) in ATTACKS {
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            attack(&mut field);
            field.are_undisturbed();
        }));
        assert!(outcome.is_ok(), "{name}");
    }
    let after = here.resident_bytes();
    assert!(after < before + ROOM, "{before} octets before, {after} after");
    here.is_well();
}

#[test]
fn a_node_withstands_them() {
    let node = serve(CONFIG);
    withstood(&node, node.address);
}

#[test]
fn a_cluster_withstands_them() {
    let cluster = Cluster::with(CONFIG, 2);
    withstood(cluster.node(0), cluster.node(1).address);
    cluster.is_well();
}
