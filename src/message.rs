//! A message on its way through the broker.

use std::fmt;
use std::sync::OnceLock;

use bytes::Bytes;
use bytestring::ByteString;
use stampede_protocol::stomp::{Headers, MessageTemplate, Version};

/// One message on its way: shared by all receivers, never copied.
pub struct Message {
    /// Unique over nodes and restarts, e.g. `k3f9x2-1f`. A message that is delivered again keeps it, which is how a
    /// receiver tells a repetition from a new message.
    pub id: ByteString,
    /// Where it was sent, in canonical form. What a subscriber reads may differ: it is told what it subscribed to.
    pub destination: ByteString,
    /// Headers as subscribers see them, without those that differ per subscriber or follow from the other fields:
    /// `message-id`, `subscription`, `ack`, `content-length`. An entry `destination` only keeps the place where the
    /// destination is written, first of all if there is none.
    pub headers: Headers,
    /// The body; a clone shares it.
    pub body: Bytes,
    /// When the node took it, as Unix time in milliseconds.
    pub sent_at: u64,
    /// If it is nothing but a list of members: which.
    pub list: Option<ListVersion>,
    /// The head for subscribers that see [`Message::destination`] itself, in a form that serves every version if one
    /// does; made by whoever needs it first.
    plain: OnceLock<MessageTemplate>,
    /// All other heads.
    others: OnceLock<Box<[OnceLock<MessageTemplate>; 6]>>,
    /// Whether the headers are written differently in different versions.
    by_version: OnceLock<bool>,
    binary: OnceLock<bool>,
}

/// One list of the members of a room that several nodes share: of two, the one with the greater number is newer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListVersion {
    /// Name of the room.
    pub room: ByteString,
    /// Grows with every change of the room.
    pub version: u64,
}

impl Message {
    /// A message that was taken at `sent_at` (Unix time in milliseconds).
    #[must_use]
    pub const fn new(id: ByteString, destination: ByteString, headers: Headers, body: Bytes, sent_at: u64) -> Self {
        Self {
            id,
            destination,
            headers,
            body,
            sent_at,
            list: None,
            plain: OnceLock::new(),
            others: OnceLock::new(),
            by_version: OnceLock::new(),
            binary: OnceLock::new(),
        }
    }

    /// The encoded head for sessions of this version, with [`Message::destination`] as it is.
    #[must_use]
    pub fn template(&self, version: Version) -> &MessageTemplate {
        if version == Version::V1_2 || !self.differs_by_version() {
            return self.plain.get_or_init(|| self.encode(&self.destination, Version::V1_2));
        }
        self.others()[column(version)].get_or_init(|| self.encode(&self.destination, version))
    }

    /// The encoded head for subscribers of `/user/queue/…`: `shown` makes the destination as they wrote it.
    #[must_use]
    pub fn own_template(&self, version: Version, shown: impl FnOnce() -> String) -> &MessageTemplate {
        self.others()[3 + column(version)].get_or_init(|| self.encode(&shown(), version))
    }

    /// Whether it must travel as a binary WebSocket message: its content type says that it is no text, as Spring decides
    /// (clause P32), or its octets are not UTF-8, which a text message must be (RFC 6455, 8.1).
    #[must_use]
    pub fn is_binary(&self) -> bool {
        *self.binary.get_or_init(|| {
            let declared = self.headers.get("content-type").is_some_and(|text| {
                let essence = text.split(';').next().unwrap_or_default().trim();
                ["application/octet-stream", "application/*", "*/*"].iter().any(|t| essence.eq_ignore_ascii_case(t))
            });
            !self.body.is_empty() && (declared || std::str::from_utf8(&self.body).is_err())
        })
    }

    fn others(&self) -> &[OnceLock<MessageTemplate>; 6] {
        self.others.get_or_init(Box::default)
    }

    fn differs_by_version(&self) -> bool {
        *self.by_version.get_or_init(|| MessageTemplate::needs_versions(&self.headers))
    }

    fn encode(&self, shown: &str, version: Version) -> MessageTemplate {
        let mut headers = Headers::with_capacity(self.headers.len() + 1);
        let place = self.headers.iter().position(|(name, _)| *name == "destination");
        if place.is_none() {
            headers.push("destination", shown);
        }
        for (at, (name, value)) in self.headers.iter().enumerate() {
            if place == Some(at) {
                headers.push("destination", shown);
            } else if *name != "destination" {
                headers.push(name.clone(), value.clone());
            }
        }
        MessageTemplate::new(&headers, &self.id, self.body.len(), version)
    }
}

const fn column(version: Version) -> usize {
    match version {
        Version::V1_0 => 0,
        Version::V1_1 => 1,
        Version::V1_2 => 2,
    }
}

/// Without header values and body: those are the users' own and belong in no log.
impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("id", &self.id)
            .field("destination", &self.destination)
            .field("headers", &self.headers.len())
            .field("body_bytes", &self.body.len())
            .field("sent_at", &self.sent_at)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use stampede_protocol::stomp::Delivery;

    use super::*;

    fn message(headers: &[(&'static str, &'static str)], body: &'static [u8]) -> Message {
        let headers = headers.iter().copied().collect();
        Message::new("m-1".into(), "/user/bob/queue/a".into(), headers, Bytes::from_static(body), 7)
    }

    fn head(message: &Message, version: Version, own: Option<&str>) -> String {
        let mut out = Vec::new();
        let template = match own {
            Some(own) => message.own_template(version, || own.to_owned()),
            None => message.template(version),
        };
        template.write_head(&Delivery::to("s"), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_destination_keeps_its_place_and_its_form() {
        let message = message(&[("foo", "1"), ("destination", ""), ("bar", "a:b")], b"hi");
        assert_eq!(
            head(&message, Version::V1_2, None),
            "MESSAGE\nfoo:1\ndestination:/user/bob/queue/a\nbar:a\\cb\nsubscription:s\nmessage-id:m-1\ncontent-length:2\n\n"
        );
        assert!(head(&message, Version::V1_2, Some("/user/queue/a")).contains("\ndestination:/user/queue/a\n"));
        assert!(head(&message, Version::V1_0, None).contains("\nbar:a:b\n"));
        assert!(head(&message, Version::V1_2, None).contains("\nbar:a\\cb\n"));
    }

    #[test]
    fn binary_is_what_says_so_or_is_no_text() {
        for (content_type, body, expected) in [
            (Some("application/octet-stream"), &b"abc"[..], true),
            (Some("Application/Octet-Stream; x=y"), b"abc", true),
            (Some("application/octet-stream"), b"", false),
            (Some("application/json"), b"{}", false),
            (None, b"text", false),
            (None, b"\xff\xfe", true),
        ] {
            let headers: Vec<_> = content_type.map(|t| ("content-type", t)).into_iter().collect();
            assert_eq!(message(&headers, body).is_binary(), expected, "{content_type:?} {body:?}");
        }
    }

    #[test]
    fn the_body_stays_out_of_debug_output() {
        let headers = [("token", "secret-header")].into_iter().collect();
        let message = Message::new("k3f9x2-1f".into(), "/topic/a".into(), headers, "secret-body".into(), 7);
        let text = format!("{message:?}");
        assert!(text.contains("k3f9x2-1f") && text.contains("body_bytes: 11"), "{text}");
        assert!(!text.contains("secret"), "{text}");
    }
}
