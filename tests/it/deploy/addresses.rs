//! A real HAProxy says where clients are: by `X-Forwarded-For`, and by both versions of the PROXY protocol.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};

use socket2::{Domain, Socket, Type};

use super::proxy::Proxy;
use crate::support::PATIENCE;
use crate::support::process::{serve, until};

/// HAProxy itself comes from 127.0.0.1; other addresses of this machine are clients.
const CONFIG: &str = "[server.addresses]\ntrusted_proxies = ['127.0.0.1']\nunlimited = []\n";

/// A connection from this address of the machine.
fn from(client: u8, to: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((Ipv4Addr::new(127, 0, 0, client), 0)).into()).unwrap();
    socket.connect(&to.into()).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn ask(client: u8, to: SocketAddr, line: &str) -> String {
    let mut stream = from(client, to);
    let request = format!("{line} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn by_the_proxy_protocol() {
    let node = serve(&format!("{CONFIG}proxy_protocol = true\nconnections = 1\n"));
    for sends in ["send-proxy", "send-proxy-v2"] {
        let proxy = Proxy::haproxy_with("mode tcp", &format!("{} {sends}", node.address));
        let mut holding = from(2, proxy.address);
        holding.write_all(b"GET /health HTTP/1.1\r\nHost:").unwrap();
        let is_full = || ask(2, proxy.address, "GET /health").starts_with("HTTP/1.1 429 ").then_some(());
        until(is_full, || format!("{sends}: a second connection of one address is answered"));
        let other = ask(3, proxy.address, "GET /health");
        assert!(other.starts_with("HTTP/1.1 200 "), "{sends}: {other}");
        drop(holding);
        let is_free = || ask(2, proxy.address, "GET /health").starts_with("HTTP/1.1 200 ").then_some(());
        until(is_free, || format!("{sends}: it still counts"));
    }
}

#[test]
fn by_x_forwarded_for() {
    let node = serve(&format!("{CONFIG}sessions = 1\n"));
    let proxy = Proxy::haproxy_with("mode http\n    option forwardfor", &node.address.to_string());
    let begin = |client: u8, session: &str| {
        let path = format!("POST /ws/000/{session}/xhr");
        assert!(ask(client, proxy.address, &path).ends_with("o\n"));
        path
    };
    let _first = begin(2, "a");
    let second = begin(2, "b");
    let refused = ask(2, proxy.address, &second);
    assert!(refused.contains("your address has 1 open"), "{refused}");
    begin(3, "c");
    assert_eq!(node.metric("stampede_sessions_open"), 2);
}
