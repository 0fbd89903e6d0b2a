//! The port of operators.

use std::net::SocketAddr;

use crate::support::client::Client;
use crate::support::openssl;
use crate::support::process::{Launch, Process, ask, serve, until};
use crate::support::tcp::Tcp;

const TOKEN: &str = "a token of operators, long enough";

/// A node whose operators have a port of their own; and that port.
fn with_port(more: &str) -> (Process, SocketAddr) {
    let node = serve(&format!("[server]\nadmin_listen = '127.0.0.1:0'\n{more}\n[api]\ntoken = '{TOKEN}'\n"));
    let port = port(&node);
    (node, port)
}

fn port(node: &Process) -> SocketAddr {
    let found = || {
        let output = node.output();
        let (address, _) = output.split_once("  operators   http://")?.1.split_once('/')?;
        address.parse().ok()
    };
    until(found, || format!("no port of operators in {}", node.output()))
}

fn get(from: SocketAddr, path: &str) -> (u16, String) {
    ask(from, format!("GET {path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {TOKEN}\r\nConnection: close\r\n\r\n"))
}

fn status(from: SocketAddr, path: &str) -> u16 {
    get(from, path).0
}

#[test]
fn what_operators_ask_is_on_one_port_alone() {
    let (node, admin) = with_port("");
    for path in ["/health", "/ready", "/metrics", "/api/revocations"] {
        assert_eq!((status(admin, path), status(node.address, path)), (200, 404), "{path}");
    }
    for path in ["/", "/ws", "/ws/info", "/demo/app.js"] {
        assert_eq!((status(admin, path), status(node.address, path)), (404, 200), "{path}");
    }
    assert_eq!((status(admin, "/nothing"), status(admin, "/api/nothing")), (404, 404));
    assert_eq!(ask(admin, "POST /ready HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").0, 405);
    // It knows the sessions of the other one.
    let _client = Client::connect(node.address, "/ws", "1.2", &["login:ann"]);
    assert!(get(admin, "/metrics").1.contains("stampede_sessions_open{reason=\"websocket\"} 1"));
}

#[test]
fn it_answers_while_the_node_is_full() {
    let (node, admin) = with_port("connections = 1");
    let _client = Client::connect(node.address, "/ws", "1.2", &[]);
    let told = "connections: this node has 1, and 1 is the limit (server.connections)\n";
    // As long as the handshake is not quite over it counts besides the session.
    until(|| (get(node.address, "/ws/info") == (503, told.to_owned())).then_some(()), || "it is not full".into());
    assert_eq!(get(admin, "/ready"), (200, "ready\n".to_owned()));
    assert!(get(admin, "/metrics").1.contains("stampede_connections_refused_total{reason=\"too-many\"}"));
}

#[test]
fn it_has_no_more_connections_than_its_limit() {
    let (_node, admin) = with_port("admin_connections = 1");
    let mut holding = Tcp::connect(admin);
    holding.write(b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n");
    holding.until("healthy\n");
    let told = "connections: this node has 1, and 1 is the limit (server.admin_connections)\n";
    assert_eq!(get(admin, "/health"), (503, told.to_owned()));
    drop(holding);
    let metrics = until(|| Some(get(admin, "/metrics")).filter(|(status, _)| *status == 200), || "it is held".into()).1;
    assert!(metrics.contains("stampede_connections_refused_total{reason=\"too-many-admin\"}"), "{metrics}");
}

#[test]
fn it_says_until_the_end_that_the_node_drains() {
    let (node, admin) = with_port("shutdown_grace = '3s'");
    let mut stubborn = Client::connect(node.address, "/ws", "1.2", &["heart-beat:0,0"]);
    stubborn.socket.mute = true;
    assert_eq!(status(admin, "/ready"), 200);
    node.signal("TERM");
    until(|| (get(admin, "/ready") == (503, "draining\n".to_owned())).then_some(()), || "it is ready".into());
    assert_eq!(status(admin, "/health"), 200);
    let refused = || std::net::TcpStream::connect(node.address).is_err();
    until(|| refused().then_some(()), || "clients are still let in".into());
    assert_eq!(status(admin, "/ready"), 503);
    // A connection that stays open keeps no node from ending.
    let mut idle = Tcp::connect(admin);
    idle.write(b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n");
    idle.until("healthy\n");
    let (status, errors) = node.ended();
    assert_eq!(status.code(), Some(0), "{errors}");
}

#[test]
fn it_is_plain_beside_tls() {
    let directory = tempfile::tempdir().unwrap();
    openssl::certificate(directory.path(), "node");
    let (certificate, key) = (directory.path().join("node.crt"), directory.path().join("node.key"));
    let (node, admin) = with_port(&format!("[server.tls]\ncertificate = {certificate:?}\nkey = {key:?}"));
    let request = "GET /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    assert!(openssl::ask(node.address, request).starts_with("HTTP/1.1 404"));
    assert_eq!(get(admin, "/health"), (200, "healthy\n".to_owned()));
}

#[test]
fn a_port_that_is_taken_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let config = format!("[server]\nlisten = '127.0.0.1:0'\nadmin_listen = '{address}'\n");
    let ended = Launch::new(&[]).config(&config).run();
    assert_eq!(ended.code, Some(1));
    assert!(ended.errors.contains(&format!("server.admin_listen: cannot listen on {address}")), "{}", ended.errors);
}
