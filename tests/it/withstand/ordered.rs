//! Order and wholeness, however the octets are cut.

use super::client;
use crate::support::client::{Client, body};
use crate::support::process::serve;
use crate::support::ws::TEXT;

#[test]
fn twenty_subscribers_see_pipelined_messages_in_order() {
    const MESSAGES: usize = 500;
    let server = serve("");
    let mut receivers: Vec<Client> = (0..20).map(|_| client(&server)).collect();
    receivers.iter_mut().for_each(|receiver| receiver.subscribe("0", "/topic/ordered"));
    let mut senders = [client(&server), client(&server)];
    // Many frames in each WebSocket message, and nobody waits for an answer.
    for start in (0..MESSAGES).step_by(50) {
        for (name, sender) in senders.iter_mut().enumerate() {
            let frames: String =
                (start..start + 50).map(|n| format!("SEND\ndestination:/topic/ordered\n\n{name}:{n}\0")).collect();
            sender.send(&frames);
        }
    }
    for receiver in &mut receivers {
        let mut next = [0, 0];
        while next != [MESSAGES, MESSAGES] {
            let message = receiver.expect("MESSAGE");
            let (name, number) = body(&message).split_once(':').unwrap();
            let name: usize = name.parse().unwrap();
            assert_eq!(number.parse(), Ok(next[name]), "sender {name}");
            next[name] += 1;
        }
        receiver.is_quiet();
    }
}

#[test]
fn a_large_body_comes_whole_however_it_is_cut() {
    let server = serve("");
    let mut receiver = client(&server);
    receiver.subscribe("0", "/topic/whole");
    let mut sender = client(&server);
    let large: String = (0..).map(|n: usize| char::from(b'a' + (n % 26) as u8)).take(1 << 20).collect();
    let frame = format!("SEND\ndestination:/topic/whole\ncontent-length:{}\n\n{large}\0", large.len());
    let head = frame.find("\n\n").unwrap() + 2;

    // In WebSocket messages of 16 KiB, as old STOMP.js cuts it.
    for piece in frame.as_bytes().chunks(16 << 10) {
        sender.socket.text(piece);
    }
    receiver.message(&large);

    // The head in fragments of one octet, the body in the last one.
    sender.socket.frame(false, TEXT, &frame.as_bytes()[..1]);
    for octet in &frame.as_bytes()[1..head] {
        sender.socket.frame(false, 0, &[*octet]);
    }
    sender.socket.frame(true, 0, &frame.as_bytes()[head..]);
    receiver.message(&large);

    // Each octet of the head as a message of its own, and as a TCP segment of its own.
    for octet in &frame.as_bytes()[..head] {
        sender.socket.text([*octet]);
    }
    sender.socket.text(&frame.as_bytes()[head..]);
    receiver.message(&large);
    sender.socket.trickle(b"SEND\ndestination:/topic/whole\n\ntrickled\0");
    receiver.message("trickled");
    sender.is_quiet();
    receiver.is_quiet();
}
