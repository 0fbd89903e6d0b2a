//! Peers that connect and then take their time.

use std::time::Duration;

use super::{Bystanders, client};
use crate::support::client::{Client, header};
use crate::support::process::serve;
use crate::support::tcp::Tcp;
use crate::support::ws::Event;

const SHORT: &str = "
[server]
header_timeout = '300ms'
[limits]
time_to_first_message = '300ms'
";

#[test]
fn a_connection_without_a_request_is_closed() {
    let server = serve(SHORT);
    let mut bystanders = Bystanders::new(&server);
    let mut nothing = Tcp::connect(server.address);
    let mut half = Tcp::connect(server.address);
    half.write(b"GET /ws HTTP/1.1\r\nHost: a\r\nUpgr");
    assert_eq!(nothing.rest(), b"");
    let told = String::from_utf8(half.rest()).unwrap();
    assert!(told.is_empty() || told.starts_with("HTTP/1.1 408"), "{told}");
    bystanders.are_undisturbed();
}

#[test]
fn a_websocket_without_connect_is_told_and_closed() {
    let server = serve(SHORT);
    let mut bystanders = Bystanders::new(&server);
    let mut nothing = Client::open(server.address, "/ws");
    let mut half = Client::open(server.address, "/ws");
    half.send("CONNECT\naccept-ver");
    let mut line_ends = Client::open(server.address, "/ws");
    line_ends.send("\n");
    let mut half_a_message = Client::open(server.address, "/ws");
    half_a_message.socket.write(&[0x81, 0xfe, 0x01]);
    for late in [&mut nothing, &mut half, &mut line_ends, &mut half_a_message] {
        let error = late.error(1002);
        assert!(header(&error, "message").unwrap().contains("300ms"), "{error}");
    }
    bystanders.are_undisturbed();
    let (_, metrics) = server.get("/metrics");
    assert!(metrics.contains("stampede_sessions_closed_total{reason=\"connect-timeout\"} 4"), "{metrics}");
}

#[test]
fn a_sockjs_session_without_connect_is_closed() {
    let server = serve(SHORT);
    let mut late = Client::open(server.address, "/ws/000/late/websocket");
    assert_eq!(late.next(), "o");
    assert!(late.next().starts_with("a[\"ERROR\\nmessage:"));
    assert!(late.next().starts_with("c[1002,"));
}

#[test]
fn a_peer_that_goes_without_a_word_is_missed() {
    let server = serve("[[endpoint]]\npath = '/ws'\nheart_beat = [0, 200]\n");
    let mut witness = client(&server);
    let mut silent = Client::connect(server.address, "/ws", "1.2", &["heart-beat:200,0"]);
    silent.subscribe("0", "/topic/a");
    silent.error(1002);
    witness.is_quiet();
    server.until_metric("stampede_subscriptions_open", 0);
}

#[test]
fn a_ping_is_answered_while_nobody_says_anything() {
    let server = serve("");
    let mut client = Client::connect(server.address, "/ws", "1.2", &["heart-beat:0,0"]);
    client.socket.frame(true, 9, b"still there?");
    assert_eq!(client.socket.next(), Event::Pong(b"still there?".to_vec()));
}

#[test]
fn pings_of_a_peer_that_reads_nothing_are_not_collected() {
    let server = serve("");
    let mut bystanders = Bystanders::new(&server);
    let before = server.resident_bytes();
    let mut flood = Client::connect(server.address, "/ws", "1.2", &["heart-beat:0,0"]);
    flood.socket.patience(Duration::from_secs(1));
    let pings = [0x89, 0x80 | 125].into_iter().chain([0; 4 + 125]).collect::<Vec<u8>>().repeat(500);
    // Until the server reads no more; 64 MiB would be far beyond what sockets buffer.
    let written = (0..1000).take_while(|_| flood.socket.try_write(&pings)).count();
    assert!(written < 1000, "all was read");
    assert!(server.resident_bytes() < before + (16 << 20), "the pongs wait in memory");
    bystanders.are_undisturbed();
}
