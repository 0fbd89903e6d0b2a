//! Ends that the server decides.

use crate::support::client::{Client, header};
use crate::support::server::Server;
use crate::support::ws::Event;

#[test]
fn p79_a_session_that_is_outrun_is_closed_with_4500() {
    // One worker: everything in one message of the sender is published before the receiver's turn to write comes.
    let server = Server::start("server.workers = 1\noutbox.send_buffer_size_limit = \"4KiB\"");
    let mut receiver = Client::connect(server.address, "/ws", "1.2", &[]);
    receiver.subscribe("1", "/topic/burst");
    let mut sender = Client::connect(server.address, "/ws", "1.2", &[]);
    sender.send(&format!("SEND\ndestination:/topic/burst\n\n{}\0", "x".repeat(1000)).repeat(20));
    sender.is_quiet();
    // What fitted is not lost.
    let mut fitted = 0;
    let error = loop {
        let frame = receiver.next();
        if frame.starts_with("ERROR\n") {
            break frame;
        }
        fitted += 1;
    };
    assert!((1..20).contains(&fitted), "{fitted} messages fitted");
    assert!(header(&error, "message").unwrap().contains("4096"), "{error:?}");
    let reason = "Failed to send message within the configured send limit".to_owned();
    assert_eq!(receiver.socket.next(), Event::Closed(4500, reason));
}

#[test]
fn p90_a_server_that_ends_says_so() {
    let server = Server::start("server.shutdown_grace = \"2s\"");
    let mut clients: Vec<Client> = (0..5).map(|_| Client::connect(server.address, "/ws", "1.2", &[])).collect();
    server.terminate();
    for client in &mut clients {
        assert_eq!(client.socket.next(), Event::Closed(1001, String::new()));
    }
}

#[test]
fn p90_a_server_that_is_ended_as_soon_as_it_is_there_ends_in_order() {
    for _ in 0..10 {
        let server = Server::start("");
        server.terminate();
        assert!(server.ends(), "it was killed by the signal");
    }
}
