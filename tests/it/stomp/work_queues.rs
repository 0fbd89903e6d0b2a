//! What acknowledgement is for: a message that is not settled goes to somebody else. `/queue/work/**` is shared and kept.

use std::sync::Arc;

use super::SERVER;
use crate::support::client::{Client, body, header, unique};
use crate::support::server::Server;

struct Queue {
    server: Arc<Server>,
    destination: String,
    sender: Client,
}

impl Queue {
    /// A queue of its own that holds nothing.
    fn empty() -> Self {
        let server = SERVER.get();
        let sender = Client::connect(server.address, "/ws", "1.2", &[]);
        Self { server, destination: format!("/queue/work/{}", unique()), sender }
    }

    /// One that holds `1` to `4`.
    fn new() -> Self {
        let mut queue = Self::empty();
        for n in 1..=4 {
            queue.send(&n.to_string());
        }
        queue
    }

    fn connect(&self, version: &str) -> Client {
        Client::connect(self.server.address, "/ws", version, &[])
    }

    fn send(&mut self, body: &str) {
        self.sender.confirmed(&format!("SEND\ndestination:{}", self.destination), body);
    }

    /// Subscribes, and reads what comes at once: these bodies, in this order. Gives back what acknowledges each.
    #[track_caller]
    fn consume(&self, consumer: &mut Client, ack: &str, bodies: &[&str]) -> Vec<String> {
        consumer.send(&format!("SUBSCRIBE\nid:a\ndestination:{}\nack:{ack}\n\n\0", self.destination));
        let handles = bodies.iter().map(|expected| {
            let frame = consumer.message(expected);
            header(&frame, "ack").or_else(|| header(&frame, "message-id")).unwrap().to_owned()
        });
        handles.collect()
    }

    /// Another consumer gets exactly these, marked as redelivered.
    #[track_caller]
    fn left(&self, bodies: &[&str]) {
        let mut other = self.connect("1.2");
        other.send(&format!("SUBSCRIBE\nid:b\ndestination:{}\nack:client\n\n\0", self.destination));
        for expected in bodies {
            let frame = other.message(expected);
            assert_eq!(header(&frame, "redelivered"), Some("true"), "{frame:?}");
        }
        other.is_quiet();
    }
}

#[test]
fn a01_in_auto_what_arrived_is_consumed() {
    let queue = Queue::new();
    let mut consumer = queue.connect("1.2");
    queue.consume(&mut consumer, "auto", &["1", "2", "3", "4"]);
    // Each round lets a ping be answered, which is how the server knows what arrived.
    for _ in 0..4 {
        consumer.is_quiet();
    }
    drop(consumer);
    queue.left(&[]);
}

#[test]
fn a02_d07_what_was_not_acknowledged_goes_to_another_consumer() {
    for ack in ["client", "client-individual"] {
        let queue = Queue::new();
        let mut consumer = queue.connect("1.2");
        queue.consume(&mut consumer, ack, &["1", "2", "3", "4"]);
        drop(consumer);
        queue.left(&["1", "2", "3", "4"]);
    }
}

#[test]
fn a03_a04_a09_a12_client_is_cumulative_in_every_version() {
    for version in ["1.0", "1.1", "1.2"] {
        let queue = Queue::new();
        let mut consumer = queue.connect(version);
        let handles = queue.consume(&mut consumer, "client", &["1", "2", "3", "4"]);
        let third = &handles[2];
        consumer.confirmed(&format!("ACK\nid:{third}\nmessage-id:{third}\nsubscription:a"), "");
        drop(consumer);
        queue.left(&["4"]);
    }
}

#[test]
fn a05_client_individual_covers_one() {
    let queue = Queue::new();
    let mut consumer = queue.connect("1.2");
    let handles = queue.consume(&mut consumer, "client-individual", &["1", "2", "3", "4"]);
    consumer.confirmed(&format!("ACK\nid:{}", handles[2]), "");
    drop(consumer);
    queue.left(&["1", "2", "4"]);
}

#[test]
fn a16_a17_a_refused_message_goes_to_another_consumer() {
    let queue = Queue::new();
    let mut consumer = queue.connect("1.2");
    let handles = queue.consume(&mut consumer, "client-individual", &["1", "2", "3", "4"]);
    for settled in [0, 2, 3] {
        consumer.confirmed(&format!("ACK\nid:{}", handles[settled]), "");
    }
    let mut other = queue.connect("1.2");
    other.subscribe("b", &queue.destination);
    consumer.confirmed(&format!("NACK\nid:{}", handles[1]), "");
    let frame = other.message("2");
    assert_eq!(header(&frame, "redelivered"), Some("true"), "{frame:?}");
    consumer.is_quiet();
}

#[test]
fn a17_in_client_a_refusal_covers_earlier_messages_too() {
    let queue = Queue::new();
    let mut consumer = queue.connect("1.2");
    let handles = queue.consume(&mut consumer, "client", &["1", "2", "3", "4"]);
    let mut other = queue.connect("1.2");
    other.subscribe("b", &queue.destination);
    consumer.confirmed(&format!("NACK\nid:{}", handles[1]), "");
    other.message("1");
    other.message("2");
    other.is_quiet();
}

#[test]
fn a24_the_end_of_a_subscription_returns_what_it_held() {
    let queue = Queue::new();
    let mut consumer = queue.connect("1.2");
    queue.consume(&mut consumer, "client", &["1", "2", "3", "4"]);
    consumer.confirmed("UNSUBSCRIBE\nid:a", "");
    queue.left(&["1", "2", "3", "4"]);
    consumer.is_quiet();
}

#[test]
fn t06_t07_t13_t14_an_ack_in_a_transaction_counts_when_it_is_committed() {
    for (end, left) in [
        ("COMMIT\ntransaction:x\nreceipt:r\n\n\0", &["4"][..]),
        ("ABORT\ntransaction:x\nreceipt:r\n\n\0", &["1", "2", "3", "4"]),
        ("DISCONNECT\nreceipt:r\n\n\0", &["1", "2", "3", "4"]),
        ("SEND\ndestination:/topic/x\nreceipt:r\n\n\0", &["1", "2", "3", "4"]),
    ] {
        let queue = Queue::new();
        let mut consumer = queue.connect("1.2");
        let handles = queue.consume(&mut consumer, "client", &["1", "2", "3", "4"]);
        consumer.send(&format!("BEGIN\ntransaction:x\n\n\0ACK\nid:{}\ntransaction:x\n\n\0{end}", handles[2]));
        assert_eq!(header(&consumer.expect("RECEIPT"), "receipt-id"), Some("r"));
        drop(consumer);
        queue.left(left);
    }
}

#[test]
fn a02_each_message_goes_to_one_consumer() {
    let mut queue = Queue::empty();
    let mut consumers = [queue.connect("1.2"), queue.connect("1.2")];
    for consumer in &mut consumers {
        consumer.subscribe("a", &queue.destination);
    }
    for n in 0..20 {
        queue.send(&n.to_string());
    }
    let mut seen = Vec::new();
    for consumer in &mut consumers {
        // Quiet as soon as the receipt comes before anything else: reads until then.
        consumer.send("SEND\ndestination:/topic/x\nreceipt:end\n\n\0");
        loop {
            let frame = consumer.next();
            if frame.starts_with("RECEIPT\n") {
                break;
            }
            seen.push(body(&frame).parse::<u32>().unwrap());
        }
    }
    seen.sort_unstable();
    assert_eq!(seen, (0..20).collect::<Vec<_>>());
}
