//! What the benches measure, callable small from a test.

use bytes::{Bytes, BytesMut};
use stampede_protocol::Limits;
use stampede_protocol::stomp::{
    Command, Decoder, Delivery, Frame, Headers, Item, MessageTemplate, Version, encode, encode_head,
};

/// A chat message as front ends send it: five headers, a JSON body of 120 octets.
pub(crate) fn chat() -> Frame {
    let mut frame = Frame::new(Command::Send)
        .with("destination", "/app/rooms/1204/message")
        .with("content-type", "application/json;charset=utf-8")
        .with("receipt", "message-12345")
        .with("x-trace", "4bf92f3577b34da6a3ce929d0e0e4736")
        .with("x-client", "web");
    frame.body = Bytes::from(format!("{{\"text\":\"{}\"}}", "hello world ".repeat(9)));
    frame
}

/// `count` chat messages behind each other, as they come in one read.
pub(crate) fn wire(count: usize) -> Bytes {
    let mut wire = BytesMut::new();
    for _ in 0..count {
        encode(&chat(), Version::V1_2, &mut wire);
    }
    wire.freeze()
}

/// Reads `wire` in pieces of this size; the number of frames in it.
pub(crate) fn decode(wire: &Bytes, piece: usize) -> usize {
    let mut decoder = Decoder::new(Limits::default());
    decoder.set_version(Version::V1_2);
    let mut frames = 0;
    for from in (0..wire.len()).step_by(piece) {
        decoder.feed(wire.slice(from..wire.len().min(from + piece)));
        while let Ok(Some(item)) = decoder.next() {
            frames += usize::from(matches!(item, Item::Frame(_)));
        }
    }
    frames
}

/// What a sender of many messages writes into one buffer.
pub(crate) fn encode_into(frame: &Frame, out: &mut Vec<u8>) -> usize {
    out.clear();
    encode(frame, Version::V1_2, out);
    out.len()
}

/// The same message for many subscribers, the head encoded once.
pub(crate) struct FanOut {
    template: MessageTemplate,
    subscriptions: Vec<String>,
    body: Bytes,
}

impl FanOut {
    pub(crate) fn to(subscribers: usize) -> Self {
        let frame = chat();
        Self {
            template: MessageTemplate::new(&frame.headers, "n1-12345678", frame.body.len(), Version::V1_2),
            subscriptions: (0..subscribers).map(|number| format!("sub-{number}")).collect(),
            body: frame.body,
        }
    }

    /// Every subscriber's frame into one buffer; the octets written.
    pub(crate) fn write(&self, out: &mut Vec<u8>, with_body: bool) -> usize {
        let mut written = 0;
        for subscription in &self.subscriptions {
            out.clear();
            self.template.write_head(&Delivery::to(subscription), out);
            if with_body {
                out.extend_from_slice(&self.body);
                out.push(0);
            }
            written += out.len();
        }
        written
    }

    /// The same without a template: each subscriber's head encoded from its headers.
    pub(crate) fn write_each(&self, out: &mut Vec<u8>) -> usize {
        let user_headers = chat().headers;
        let mut written = 0;
        for subscription in &self.subscriptions {
            out.clear();
            let mut headers: Headers = user_headers.iter().map(|(n, v)| (n.clone(), v.clone())).collect();
            headers.push("subscription", subscription.as_str());
            headers.push("message-id", "n1-12345678");
            let frame = Frame { command: Command::Message, headers, body: self.body.clone() };
            encode_head(&frame, Version::V1_2, out);
            written += out.len();
        }
        written
    }
}
