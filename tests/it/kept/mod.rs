//! Kept messages: nothing is lost, nothing is out of order, and what was proved does not come again.

mod data_dir;
mod mailbox;
mod polling;
mod transcripts;
mod work;

use crate::support::client::{Client, body, header};
use crate::support::process::Process;

/// A session of this user.
fn user(server: &Process, name: &str) -> Client {
    Client::connect(server.address, "/ws", "1.2", &["heart-beat:0,0", &format!("login:{name}")])
}

/// Sends these bodies, one after the other, each confirmed.
fn send(server: &Process, destination: &str, bodies: &[&str]) {
    let mut sender = user(server, "sender");
    bodies.iter().for_each(|body| sender.confirmed(&format!("SEND\ndestination:{destination}"), body));
}

/// Subscribes without asking for a receipt: what is kept would come before it.
pub(crate) fn subscribe(client: &mut Client, destination: &str, ack: &str) {
    client.send(&format!("SUBSCRIBE\nid:{destination}\nack:{ack}\ndestination:{destination}\n\n\0"));
}

/// The next messages, which must have these bodies.
#[track_caller]
pub(crate) fn receive(client: &mut Client, bodies: &[&str]) -> Vec<String> {
    bodies.iter().map(|body| client.message(body)).collect()
}

/// Nothing more waits, and whatever was read is proved: the first receipt comes behind the ping that asks whether the
/// messages arrived, the second one behind its pong.
#[track_caller]
pub(crate) fn settled(client: &mut Client) {
    client.is_quiet();
    client.is_quiet();
}

/// Acknowledges one message, or refuses it.
#[track_caller]
pub(crate) fn answer(client: &mut Client, command: &str, message: &str) {
    client.confirmed(&format!("{command}\nid:{}", header(message, "ack").unwrap()), "");
}

pub(crate) fn is_redelivered(message: &str) -> bool {
    header(message, "redelivered") == Some("true")
}

pub(crate) fn ids(messages: &[String]) -> Vec<&str> {
    messages.iter().map(|message| header(message, "message-id").unwrap()).collect()
}

pub(crate) fn numbers(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|number| number.to_string()).collect()
}

/// Reads messages up to the one with this body; the bodies before it.
#[track_caller]
pub(crate) fn bodies_until(client: &mut Client, last: &str) -> Vec<String> {
    let mut bodies = Vec::new();
    loop {
        let message = client.expect("MESSAGE");
        match body(&message) {
            found if found == last => return bodies,
            other => bodies.push(other.to_owned()),
        }
    }
}
