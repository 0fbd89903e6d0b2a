//! Three nodes behind each balancer. The nodes are embedded ones: what is looked at is which of them a request meets.

use std::net::TcpListener;
use std::sync::mpsc;
use std::thread;

use super::proxy::{Proxy, Running, free_address};
use crate::support::client::{Client, unique};
use crate::support::process::{Process, serve};
use crate::support::ws::{Event, Socket};
use crate::support::{PATIENCE, http, tcp::Tcp};

/// So many sessions, chosen by a hash, that every node gets some: all but one in a thousand million times.
const SESSIONS: usize = 60;

const BALANCERS: [fn([std::net::SocketAddr; 3]) -> Proxy; 2] = [Proxy::haproxy, Proxy::nginx];

/// Two balancers that know nothing of each other send a session to the same node.
#[tokio::test(flavor = "multi_thread")]
async fn sockjs_sessions_over_http_stay_with_their_node() {
    for balancer in BALANCERS {
        let nodes = nodes();
        let (proxy, another) = (balancer(addresses(&nodes)), balancer(addresses(&nodes)));
        let mut sessions = Vec::new();
        for _ in 0..SESSIONS {
            sessions.push(open(&proxy).await);
        }
        // Every request comes over a connection of its own, and in another order: taking turns does not pass.
        for session in sessions.iter().rev() {
            assert_eq!(post(&another, session, "xhr_send", CONNECT).await.seen(), (204, ""));
        }
        for session in &sessions {
            let answer = post(&proxy, session, "xhr", "").await;
            assert!(answer.body.starts_with("a[\"CONNECTED"), "{:?}", answer.seen());
        }
        for node in &nodes {
            assert!(node.metric("stampede_sessions_open") > 0, "one node has none of {SESSIONS} sessions");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn streaming_answers_are_not_held_back() {
    for balancer in BALANCERS {
        let nodes = nodes();
        let proxy = balancer(addresses(&nodes));
        for (line, begin) in [("POST", "xhr_streaming"), ("GET", "eventsource"), ("GET", "htmlfile?c=x")] {
            let session = session();
            let mut stream = http::Client::connect(proxy.address).await;
            stream.send(&format!("{line} {session}/{begin}"), &[], b"").await;
            assert_eq!(stream.head().await.status, 200);
            streamed(&mut stream, "o").await;
            assert_eq!(post(&proxy, &session, "xhr_send", CONNECT).await.seen(), (204, ""));
            streamed(&mut stream, "CONNECTED").await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn websockets_go_to_any_node() {
    for balancer in BALANCERS {
        let nodes = nodes();
        let proxy = balancer(addresses(&nodes));
        let mut clients = websockets(&proxy, 4);
        for (at, client) in clients.iter_mut().enumerate() {
            client.subscribe("1", &format!("/topic/{at}"));
            client.send(&format!("SEND\ndestination:/topic/{at}\n\nhello\0"));
            client.message("hello");
        }
        for node in &nodes {
            assert_eq!(node.metric("stampede_sessions_open"), 4);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_drains_gets_no_new_clients() {
    for balancer in BALANCERS {
        let [first, second, third] = nodes();
        let proxy = balancer([first.address, second.address, third.address]);
        let mut clients = websockets(&proxy, 4);
        first.signal("TERM");
        let (status, errors) = first.ended();
        assert!(status.success(), "{errors}");
        // Whether or not the balancer has noticed: who comes now is served, and nobody elsewhere was cut off.
        for _ in 0..SESSIONS {
            let session = open(&proxy).await;
            assert_eq!(post(&proxy, &session, "xhr_send", CONNECT).await.seen(), (204, ""));
        }
        clients.extend(websockets(&proxy, 4));
        let mut left = 0;
        for client in &mut clients {
            client.send("SEND\ndestination:/topic/a\nreceipt:1\n\n\0");
            match client.socket.next() {
                Event::Text(_) => {}
                Event::Closed(1001, _) => left += 1,
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(left, 4, "of the 12 clients before, 4 were on the node that has gone");
    }
}

/// Started as one of three, the third node is missing; sessions that would be its own begin elsewhere, and stay there.
#[tokio::test(flavor = "multi_thread")]
async fn behind_haproxy_a_node_that_comes_back_breaks_no_session() {
    let ([first, second], third) = (two_nodes(), free_address());
    let proxy = Proxy::haproxy([first.address, second.address, third]);
    proxy.sees(3, "DOWN");
    let mut sessions = Vec::new();
    for _ in 0..SESSIONS {
        sessions.push(open_lasting(&proxy).await);
    }
    let _third = Running::node(third);
    proxy.sees(3, "UP");
    for (session, _) in &sessions {
        assert_eq!(post(&proxy, session, "xhr_send", CONNECT).await.seen(), (204, ""));
    }
    for (_, stream) in &mut sessions {
        streamed(stream, "CONNECTED").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_endpoint_is_let_in() {
    for balancer in BALANCERS {
        let nodes = nodes();
        let proxy = balancer(addresses(&nodes));
        assert_eq!(proxy.get("/ws/info").0, 200);
        assert_eq!(proxy.get("/ws").1, "Welcome to SockJS!\n");
        for hidden in
            ["/", "/health", "/ready", "/metrics", "/ws/../metrics", "/ws/%2e%2e/metrics", "//metrics", "/wss"]
        {
            let (status, body) = proxy.get(hidden);
            assert_eq!(status, 404, "{hidden}: {body}");
        }
        // As large as a request may be (endpoint.sockjs.request_size_limit).
        let session = open(&proxy).await;
        let large = format!("[\"{}\"]", "x".repeat(3 * 1024 * 1024 - 4));
        assert_eq!(post(&proxy, &session, "xhr_send", &large).await.head.status, 204);
    }
}

#[test]
fn a_node_learns_who_asked_and_by_which_host() {
    for balancer in BALANCERS {
        let node = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = balancer([node.local_addr().unwrap(); 3]);
        let (heads, seen) = mpsc::channel();
        thread::spawn(move || record(&node, &heads));
        let mut client = Tcp::connect(proxy.address);
        client.write(
            b"GET /ws/info HTTP/1.1\r\nHost: app.example.com:8000\r\nX-Forwarded-For: 6.6.6.6\r\nConnection: close\r\n\r\n",
        );
        let head = loop {
            let head: String = seen.recv_timeout(PATIENCE).unwrap();
            if head.starts_with("get /ws/info ") {
                break head;
            }
        };
        assert!(head.contains("\r\nhost: app.example.com:8000\r\n"), "{head}");
        assert!(head.contains("\r\nx-forwarded-for: 127.0.0.1\r\n") && !head.contains("6.6.6.6"), "{head}");
        assert!(head.contains("\r\nx-forwarded-proto: http\r\n"), "{head}");
    }
}

const CONNECT: &str = r#"["CONNECT\naccept-version:1.2\nhost:localhost\n\n\u0000"]"#;

fn nodes() -> [Process; 3] {
    [serve(""), serve(""), serve("")]
}

fn two_nodes() -> [Process; 2] {
    [serve(""), serve("")]
}

fn addresses(nodes: &[Process; 3]) -> [std::net::SocketAddr; 3] {
    nodes.each_ref().map(|node| node.address)
}

/// This many sessions over each kind of WebSocket.
fn websockets(proxy: &Proxy, each: usize) -> Vec<Client> {
    let mut clients = Vec::new();
    for _ in 0..each {
        for path in ["/ws", "/ws/websocket"] {
            clients.push(Client::connect(proxy.address, path, "1.2", &[]));
        }
        let socket = Socket::open_sockjs(proxy.address, "/ws");
        clients.push(Client { socket, connected: String::new() }.greet("1.2", &[]));
    }
    clients
}

/// The URL of a SockJS session that nobody has used.
fn session() -> String {
    format!("/ws/000/session{}", unique())
}

async fn open(proxy: &Proxy) -> String {
    let session = session();
    assert_eq!(post(proxy, &session, "xhr", "").await.seen(), (200, "o\n"));
    session
}

/// A session with a receiver, so that it waits as long as it has to.
async fn open_lasting(proxy: &Proxy) -> (String, http::Client) {
    let session = session();
    let mut stream = http::Client::connect(proxy.address).await;
    stream.send(&format!("POST {session}/xhr_streaming"), &[], b"").await;
    assert_eq!(stream.head().await.status, 200);
    streamed(&mut stream, "o\n").await;
    (session, stream)
}

async fn post(proxy: &Proxy, session: &str, transport: &str, body: &str) -> http::Answer {
    let mut client = http::Client::connect(proxy.address).await;
    client.ask(&format!("POST {session}/{transport}"), &[], body.as_bytes()).await
}

/// Reads on until this has come.
async fn streamed(stream: &mut http::Client, text: &str) {
    let mut read = String::new();
    while !read.contains(text) {
        read += &stream.chunk().await.expect("the answer ends");
    }
}

/// Answers every request with nothing, and tells its head in lower case.
fn record(node: &TcpListener, heads: &mpsc::Sender<String>) {
    use std::io::{BufRead as _, BufReader, Write as _};
    for stream in node.incoming() {
        let mut stream = BufReader::new(stream.unwrap());
        let mut head = String::new();
        while stream.read_line(&mut head).is_ok_and(|length| length > 2) {}
        let told = heads.send(head.to_lowercase());
        let _gone = stream.get_mut().write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        if told.is_err() {
            break;
        }
    }
}
