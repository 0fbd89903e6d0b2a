//! What one address, one user and one session may have.

use std::time::{Duration, Instant};

use super::{Bystanders, client};
use crate::support::client::Client;
use crate::support::process::{Process, ask, serve, until};
use crate::support::tcp::Tcp;
use crate::support::ws::Socket;

/// Also this machine's addresses are limited.
const LIMITED: &str = "[server.addresses]\nunlimited = []\n";

fn from(node: &Process, address: &str) -> Client {
    let client = Client::open_with(node.address, "/ws", &[("X-Forwarded-For", address)]);
    client.greet("1.2", &[])
}

fn is_refused(mut client: Client, told: &str) {
    client.send("CONNECT\naccept-version:1.2\nhost:localhost\nlogin:ann\n\n\0");
    let error = client.error(1002);
    assert!(error.contains(told), "{error:?}");
}

#[test]
fn an_address_has_no_more_sessions_than_its_limit() {
    let node = serve(&format!("{LIMITED}sessions = 3\n"));
    let mut bystanders = Bystanders::new(&node);
    let third = client(&node);
    is_refused(Client::open(node.address, "/ws"), "no more sessions, your address has 3 open, and 3 is the limit");
    // It counts before it says a word, and is told so at once.
    let mut sockjs = Client { socket: Socket::open_sockjs(node.address, "/ws"), connected: String::new() };
    assert!(sockjs.expect("ERROR").contains("server.addresses.sessions"));
    drop(third);
    until(|| (node.metric("stampede_sessions_open") == 2).then_some(()), || "the third is still there".into());
    client(&node).is_quiet();
    bystanders.are_undisturbed();
    node.is_well();
}

#[test]
fn an_address_has_no_more_connections_than_its_limit() {
    let node = serve(&format!("{LIMITED}connections = 2\n"));
    let silent = [Tcp::connect(node.address), Tcp::connect(node.address)];
    until(|| (node_is_full(&node)).then_some(()), || "a third connection is answered".into());
    drop(silent);
    until(|| (node.get("/health").0 == 200).then_some(()), || "connections that ended still count".into());
    assert!(node.get("/metrics").1.contains("stampede_connections_refused_total{reason=\"address\"}"));
}

fn node_is_full(node: &Process) -> bool {
    let (status, text) = node.get("/health");
    status == 429 && text.contains("your address has 2 open, and 2 is the limit (server.addresses.connections)")
}

/// One second is long for a handful of connections, and waiting for it shows that it passes.
const SLOWLY: &str = "connections_per_second = 1\nconnections_burst = 3\n";
const TOO_FAST: &str = "connections: your address has opened 4 faster than 1 a second, and 3 at once is the limit \
    (server.addresses.connections_per_second, connections_burst)\n";

fn refused_for_its_rate(node: &Process) -> bool {
    node.get("/metrics").1.contains("stampede_connections_refused_total{reason=\"address-rate\"}")
}

#[test]
fn an_address_opens_connections_no_faster_than_its_limit() {
    let node = serve(&format!("{LIMITED}{SLOWLY}"));
    let mut session = client(&node);
    let begun = Instant::now();
    let (mut let_in, mut told) = (1, None);
    while told.is_none() {
        match node.get("/health") {
            (200, _) => let_in += 1,
            refused => told = Some(refused),
        }
    }
    assert_eq!(told, Some((429, TOO_FAST.to_owned())));
    // Three at once, and one for each second that this took.
    assert!(let_in >= 3 && let_in <= 4 + begun.elapsed().as_secs(), "{let_in} in {:?}", begun.elapsed());
    // Whoever is in notices nothing, and who waits comes in.
    session.is_quiet();
    until(|| refused_for_its_rate(&node).then_some(()), || "nobody is let in again".into());
}

#[test]
fn behind_a_trusted_proxy_each_client_opens_websockets_at_its_own_rate() {
    let node = serve(&format!("[server.addresses]\ntrusted_proxies = ['127.0.0.0/8']\n{SLOWLY}"));
    let handshake = |address: &str| {
        let upgrade = "Connection: Upgrade, close\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n";
        // Without a key: it counts, and is answered at once.
        ask(node.address, format!("GET /ws HTTP/1.1\r\nHost: a\r\n{upgrade}X-Forwarded-For: {address}\r\n\r\n"))
    };
    let told = until(|| Some(handshake("192.0.2.1")).filter(|(status, _)| *status != 400), || "no limit".into());
    assert_eq!(told, (429, TOO_FAST.to_owned()));
    assert_eq!(handshake("192.0.2.2").0, 400, "another client of the same proxy");
    // The proxy's own connections, and requests that open none, have no limit.
    assert!((0..20).all(|_| node.get("/health").0 == 200));
    let asking = "GET /ws/info HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 192.0.2.1\r\nConnection: close\r\n\r\n";
    assert!((0..20).all(|_| ask(node.address, asking).0 == 200));
    assert!(refused_for_its_rate(&node));
}

#[test]
fn a_proxy_that_says_where_connections_come_from_has_its_clients_counted() {
    let trusting = "trusted_proxies = ['127.0.0.1']\nproxy_protocol = true\n";
    let node = serve(&format!("[server.addresses]\n{trusting}{SLOWLY}"));
    let get = "GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let through = |client: &str| ask(node.address, format!("PROXY TCP4 {client} 10.0.0.1 4660 80\r\n{get}"));
    let told = until(|| Some(through("192.0.2.1")).filter(|(status, _)| *status != 200), || "no limit".into());
    assert_eq!(told, (429, TOO_FAST.to_owned()));
    assert_eq!(through("192.0.2.2").0, 200);
}

#[test]
fn behind_a_trusted_proxy_each_client_counts_for_itself() {
    let node = serve("[server.addresses]\ntrusted_proxies = ['127.0.0.0/8']\nsessions = 1\n");
    let _one = from(&node, "192.0.2.1");
    let _two = from(&node, "192.0.2.2");
    let _three = from(&node, "192.0.2.1, 192.0.2.3");
    is_refused(Client::open_with(node.address, "/ws", &[("X-Forwarded-For", "192.0.2.1")]), "your address has 1 open");
    // What the client itself wrote in front counts for nothing.
    is_refused(
        Client::open_with(node.address, "/ws", &[("X-Forwarded-For", "198.51.100.7, 192.0.2.2")]),
        "your address has 1 open",
    );
    // The proxy's own sessions have no limit.
    let _own = [client(&node), client(&node)];
}

#[test]
fn nobody_else_is_believed_about_its_address() {
    let node = serve(&format!("{LIMITED}sessions = 1\n"));
    let _one = from(&node, "192.0.2.1");
    is_refused(Client::open_with(node.address, "/ws", &[("X-Forwarded-For", "192.0.2.2")]), "your address has 1 open");
}

#[test]
fn a_proxy_says_first_where_a_connection_comes_from() {
    let config = "[server]\nheader_timeout = '1s'\n[server.addresses]\ntrusted_proxies = ['127.0.0.1']\nproxy_protocol = true\nconnections = 1\n";
    let node = serve(config);
    let get = "GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let through = |head: &[u8]| ask(node.address, [head, get.as_bytes()].concat());
    assert_eq!(through(b"PROXY TCP4 192.0.2.1 10.0.0.1 4660 80\r\n").0, 200);
    assert_eq!(through(b"PROXY UNKNOWN\r\n").0, 200);
    let version_2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x01\x0a\0\0\x01\x12\x34\0\x50";
    assert_eq!(through(version_2).0, 200);
    let mut holding = Tcp::connect(node.address);
    holding.write(b"PROXY TCP4 192.0.2.9 10.0.0.1 4660 80\r\nGET /health");
    let full = || (through(b"PROXY TCP4 192.0.2.9 10.0.0.1 4661 80\r\n").0 == 429).then_some(());
    until(full, || "a second connection of one address is answered".into());
    assert_eq!(through(b"PROXY TCP4 192.0.2.8 10.0.0.1 4661 80\r\n").0, 200, "another address");
    for other in [get.as_bytes(), b"PROXY TCP4 x y 1 2\r\n", b"PROXY TCP4 192.0.2.1"] {
        let mut refused = Tcp::connect(node.address);
        refused.write(other);
        assert!(refused.rest().is_empty(), "{other:?}");
    }
}

#[test]
fn a_session_that_sends_too_fast_is_read_slowly_and_loses_nothing() {
    let node = serve("[limits]\nframes_per_second = 50\n");
    let mut reader = client(&node);
    reader.subscribe("0", "/topic/paced");
    let mut bystanders = Bystanders::new(&node);
    let begun = Instant::now();
    let mut sender = client(&node);
    let frames: String = (0..150).map(|number| format!("SEND\ndestination:/topic/paced\n\n{number}\0")).collect();
    sender.send(&frames);
    (0..150).for_each(|number| drop(reader.message(&number.to_string())));
    // CONNECT and the first 49 come at once, the other 101 at 50 a second.
    assert!(begun.elapsed() >= Duration::from_secs(2), "{:?}", begun.elapsed());
    bystanders.are_undisturbed();
}

#[test]
fn a_user_has_no_more_sessions_than_the_limit() {
    let node = serve("[limits]\nsessions_per_user = 2\n");
    let ann = || Client::connect(node.address, "/ws", "1.2", &["login:ann"]);
    let (first, mut second) = (ann(), ann());
    is_refused(Client::open(node.address, "/ws"), "this user has 2 open on this node, and 2 is the limit");
    Client::connect(node.address, "/ws", "1.2", &["login:ben"]).is_quiet();
    drop(first);
    until(|| (node.metric("stampede_sessions_open") == 1).then_some(()), || "the first is still there".into());
    ann().is_quiet();
    second.is_quiet();
}
