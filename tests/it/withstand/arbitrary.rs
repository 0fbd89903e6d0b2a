//! Arbitrary octets, the same in every run.

use super::Bystanders;
use crate::support::client::Client;
use crate::support::process::{ask, serve};
use crate::support::tcp::Tcp;
use crate::support::ws::Event;

/// Xorshift64*: numbers that look like any others and are the same every time.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    fn octets(&mut self, most: usize) -> Vec<u8> {
        (0..self.below(most) + 1).map(|_| self.next() as u8).collect()
    }

    /// Octets that look right for a while: words of the protocols, in any order.
    fn almost(&mut self, words: &[&str], most: usize) -> Vec<u8> {
        let mut octets = Vec::new();
        for _ in 0..self.below(most) + 1 {
            match self.below(8) {
                0 => octets.extend(self.octets(8)),
                _ => octets.extend_from_slice(words[self.below(words.len())].as_bytes()),
            }
        }
        octets
    }
}

const STOMP: &[&str] = &[
    "SEND",
    "SUBSCRIBE",
    "UNSUBSCRIBE",
    "ACK",
    "NACK",
    "BEGIN",
    "COMMIT",
    "ABORT",
    "DISCONNECT",
    "CONNECT",
    "STOMP",
    "\n",
    "\n",
    "\n",
    "\r\n",
    "\n\n",
    "\n\n\0",
    "\0",
    ":",
    "id:0",
    "id:",
    "destination:/topic/a",
    "destination:/topic/**",
    "destination:/user/queue/x",
    "destination:/queue/{",
    "transaction:t",
    "receipt:r",
    "ack:client",
    "content-length:3",
    "content-length:-1",
    "\\n",
    "\\",
    "abc",
    "heart-beat:0,0",
    "accept-version:1.2",
];

const HTTP: &[&str] = &[
    "GET ",
    "POST ",
    "OPTIONS ",
    "HEAD ",
    "CONNECT ",
    "/ws",
    "/ws/info",
    "/ws/0/a/xhr",
    "/ws/0/a/xhr_send",
    "/ws/0/a/websocket",
    "/ws/iframe.html",
    "/",
    "/metrics",
    "?c=x",
    "%00",
    "%ff",
    "..",
    "//",
    " HTTP/1.1",
    " HTTP/1.0",
    " HTTP/9.9",
    "\r\n",
    "\r\n",
    "\n",
    "\r\n\r\n",
    "Host: a",
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Connection: close",
    "Sec-WebSocket-Key: x",
    "Sec-WebSocket-Version: 13",
    "Content-Length: 5",
    "Content-Length: -5",
    "Content-Length: 99999999999999999999",
    "Transfer-Encoding: chunked",
    "ffffffffffffffff\r\n",
    "0\r\n\r\n",
    "[\"a\"]",
    "Origin: http://evil.example",
    "Cookie: JSESSIONID=x",
    "Expect: 100-continue",
];

#[test]
fn on_a_websocket() {
    let server = serve("");
    let mut bystanders = Bystanders::new(&server);
    let mut random = Random(0x5eed);
    for round in 0..200 {
        let mut wild = match round % 2 {
            0 => Client::open(server.address, "/ws"),
            _ => Client::connect(server.address, "/ws", "1.1", &["heart-beat:0,0"]),
        };
        for _ in 0..4 {
            match random.below(4) {
                0 => wild.socket.binary(random.octets(300)),
                1 => wild.socket.text(random.almost(STOMP, 40)),
                2 => wild.socket.binary(random.almost(STOMP, 40)),
                _ => wild.socket.write(&random.octets(60)),
            }
        }
        // Some of it may be well-formed by accident and answered; then it leaves like anybody else.
        wild.socket.close(1000);
        if round % 20 == 0 {
            bystanders.are_undisturbed();
        }
    }
    drop(bystanders);
    server.until_metric("stampede_sessions_open", 0);
    assert_eq!(server.metric("stampede_subscriptions_open"), 0);
    server.is_well();
}

#[test]
fn on_a_sockjs_websocket() {
    let server = serve("");
    let mut random = Random(0x50c);
    let words: Vec<&str> =
        STOMP.iter().chain(&["[\"", "\"]", "\\u0000", "\",\"", "{", "null", "[[["]).copied().collect();
    for round in 0..60 {
        let mut wild = Client::open(server.address, &format!("/ws/000/wild{round}/websocket"));
        assert_eq!(wild.socket.next(), Event::Text(b"o".to_vec()));
        for _ in 0..3 {
            wild.socket.text(random.almost(&words, 30));
        }
        wild.socket.close(1000);
    }
    server.until_metric("stampede_sessions_open", 0);
    server.is_well();
}

#[test]
fn as_http() {
    let server = serve("[server]\nheader_timeout = '1s'\n");
    let mut bystanders = Bystanders::new(&server);
    let mut random = Random(0xbad);
    for round in 0..200 {
        let mut wild = Tcp::connect(server.address);
        match round % 4 {
            0 => wild.write(&random.octets(400)),
            1 => wild.write(&random.almost(HTTP, 30)),
            _ => {
                let path = HTTP[5 + random.below(8)];
                wild.write(format!("{} {path} HTTP/1.1\r\nHost: a\r\n", ["GET", "POST"][random.below(2)]).as_bytes());
                wild.write(&random.almost(HTTP, 20));
            }
        }
        wild.finish();
        if round % 20 == 0 {
            bystanders.are_undisturbed();
        }
    }
    server.is_well();
}

#[test]
fn as_the_body_of_every_path() {
    let server = serve("[demo]\nenabled = true\n");
    let mut random = Random(0xb0d7);
    let below_session =
        ["xhr", "xhr_send", "xhr_streaming", "eventsource", "htmlfile", "jsonp", "jsonp_send", "websocket"];
    let mut paths: Vec<String> = below_session.iter().map(|last| format!("/ws/000/body/{last}")).collect();
    paths.extend(
        ["/ws", "/ws/", "/ws/info", "/ws/websocket", "/ws/iframe.html", "/ws/a/b/c/d", "/ws/.../x/xhr"]
            .map(str::to_owned),
    );
    paths.extend(
        ["/", "/health", "/ready", "/metrics", "/nothing", "/%2e%2e/%2e%2e/etc/passwd", "*"].map(str::to_owned),
    );
    for path in &paths {
        for method in ["GET", "POST", "PUT", "DELETE", "OPTIONS", "HEAD", "TRACE", "WILD"] {
            let body = random.octets(200);
            let mut request = format!(
                "{method} {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
                body.len()
            )
            .into_bytes();
            request.extend(body);
            let is_answered_at_length = method != "TRACE" && path.contains("/body/") || path.contains("/.../");
            if is_answered_at_length {
                // A receiver waits for messages that never come: it leaves.
                let mut wild = Tcp::connect(server.address);
                wild.write(&request);
                continue;
            }
            let (status, answer) = ask(server.address, &request);
            assert!((200..506).contains(&status) && status != 500, "{method} {path}: {status} {answer}");
        }
    }
    server.until_metric("stampede_sessions_open", 0);
    server.is_well();
}
