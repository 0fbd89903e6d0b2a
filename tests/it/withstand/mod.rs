//! What the node must withstand: whoever is at fault is told so, and nobody else notices.

mod addresses;
mod arbitrary;
mod broken;
mod limits;
mod ordered;
mod silent;
mod slow;
mod storms;

use crate::support::client::Client;
use crate::support::process::Process;

/// A session that takes part in nothing strange.
fn client(server: &Process) -> Client {
    Client::connect(server.address, "/ws", "1.2", &["heart-beat:0,0"])
}

/// Two sessions that must not notice what a third one does.
struct Bystanders {
    sender: Client,
    receiver: Client,
    sent: usize,
}

impl Bystanders {
    fn new(server: &Process) -> Self {
        let mut receiver = client(server);
        receiver.subscribe("0", "/topic/bystanders");
        Self { sender: client(server), receiver, sent: 0 }
    }

    /// Everything that one sends reaches the other, and nothing else does.
    #[track_caller]
    fn are_undisturbed(&mut self) {
        self.sent += 1;
        let body = format!("message {}", self.sent);
        self.sender.confirmed("SEND\ndestination:/topic/bystanders", &body);
        self.receiver.message(&body);
    }
}
