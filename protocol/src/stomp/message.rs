//! MESSAGE encoded once per message, and only what differs per subscriber written per subscriber.
//!
//! ```text
//! MESSAGE\n user headers\n subscription:┃     ┃\nmessage-id:…┃                         ┃\ncontent-length:…\n\n
//!                                       ┃ id  ┃             ┃ -2  \nack:…  \nredelivered:true ┃
//! ```

use super::encode::{put_command, put_content_length, put_headers, put_number};
use super::escape::{Form, Part, differs_between_versions};
use super::{Command, Headers, Version};

/// The head of one MESSAGE in one version, with holes for what a single delivery adds.
///
/// The body and the NUL behind it follow the head and are the same for all, so they are not in here. When
/// [`MessageTemplate::needs_versions`] says no, one template serves the subscribers of all versions.
///
/// ```
/// use stampede_protocol::stomp::{Delivery, Headers, MessageTemplate, Version};
///
/// let headers: Headers = [("destination", "/topic/a")].into_iter().collect();
/// let template = MessageTemplate::new(&headers, "n1-7", 2, Version::V1_2);
/// let mut out = Vec::new();
/// template.write_head(&Delivery::to("sub-0"), &mut out);
/// out.extend_from_slice(b"hi\0");
/// assert_eq!(
///     out,
///     b"MESSAGE\ndestination:/topic/a\nsubscription:sub-0\nmessage-id:n1-7\ncontent-length:2\n\nhi\0"
/// );
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageTemplate {
    /// All fixed parts in a row: what stands before the id of the subscription, behind it, and behind the last hole.
    fixed: Box<[u8]>,
    /// Where the id of the subscription goes.
    subscription_at: usize,
    /// Where copy number, `ack` and `redelivered` go.
    extras_at: usize,
}

/// What one delivery adds to its MESSAGE.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Delivery<'a> {
    /// The id of the subscription, escaped for the version; `None` for a subscription of 1.0 without one.
    pub subscription: Option<&'a str>,
    /// Tells further copies of one message within one session apart, so that each has its own `message-id`: 0 for the
    /// first, which carries no suffix.
    pub copy: u16,
    /// The value of `ack`, escaped for the version, where this delivery must be acknowledged (1.2).
    pub ack: Option<&'a str>,
    /// Whether it was delivered before.
    pub redelivered: bool,
}

impl<'a> Delivery<'a> {
    /// The first and only copy for this subscription, with nothing to acknowledge.
    #[must_use]
    pub const fn to(subscription: &'a str) -> Self {
        Self { subscription: Some(subscription), copy: 0, ack: None, redelivered: false }
    }
}

impl MessageTemplate {
    /// Encodes the parts that all deliveries share. `headers` holds the user's headers and `destination`, in the order
    /// to write; those that are the server's to set (`subscription`, `message-id`, `ack`, `redelivered`,
    /// `content-length`) are left out, so that nobody can forge them.
    #[must_use]
    pub fn new(headers: &Headers, message_id: &str, body_len: usize, version: Version) -> Self {
        let form = Form::of(version);
        let mut fixed = Vec::with_capacity(96 + message_id.len() + text_bytes(headers));
        put_command(Command::Message, &mut fixed);
        put_headers(headers, SERVER_HEADERS, form, &mut fixed);
        fixed.extend_from_slice(SUBSCRIPTION);
        let subscription_at = fixed.len();
        fixed.extend_from_slice(b"\nmessage-id:");
        form.write(message_id, Part::Value, &mut fixed);
        let extras_at = fixed.len();
        fixed.push(b'\n');
        put_content_length(body_len, &mut fixed);
        fixed.push(b'\n');
        Self { fixed: fixed.into(), subscription_at, extras_at }
    }

    /// Whether these headers are written differently in different versions. The other parts are the server's own and
    /// need no escapes.
    #[must_use]
    pub fn needs_versions(headers: &Headers) -> bool {
        headers.iter().any(|(name, value)| differs_between_versions(name) || differs_between_versions(value))
    }

    /// Octets [`MessageTemplate::write_head`] will append for this delivery.
    #[must_use]
    pub fn head_len(&self, delivery: &Delivery<'_>) -> usize {
        let fixed = match delivery.subscription {
            Some(id) => self.fixed.len() + id.len(),
            None => self.fixed.len() - SUBSCRIPTION.len() - 1,
        };
        fixed + Extras::of(delivery).map_or(0, |extras| extras.len())
    }

    /// Appends the head for one delivery, empty line included.
    pub fn write_head(&self, delivery: &Delivery<'_>, out: &mut Vec<u8>) {
        let (before, after) = self.fixed.split_at(self.subscription_at);
        let mut after = after;
        out.reserve(self.fixed.len() + EXPECTED_HOLES);
        match delivery.subscription {
            Some(id) => {
                out.extend_from_slice(before);
                out.extend_from_slice(id.as_bytes());
            }
            None => {
                // Without its line: the LF that ends it is the one the headers before end with.
                out.extend_from_slice(&before[..before.len() - SUBSCRIPTION.len()]);
                after = &after[1..];
            }
        }
        let Some(extras) = Extras::of(delivery) else {
            out.extend_from_slice(after);
            return;
        };
        let (id, end) = after.split_at(after.len() - (self.fixed.len() - self.extras_at));
        out.extend_from_slice(id);
        extras.write(out);
        out.extend_from_slice(end);
    }
}

/// What most deliveries do not have.
struct Extras<'a>(&'a Delivery<'a>);

impl<'a> Extras<'a> {
    fn of(delivery: &'a Delivery<'a>) -> Option<Self> {
        let any = delivery.copy != 0 || delivery.ack.is_some() || delivery.redelivered;
        any.then_some(Self(delivery))
    }

    fn len(&self) -> usize {
        let copy = if self.0.copy == 0 { 0 } else { 2 + self.0.copy.ilog10() as usize };
        let ack = self.0.ack.map_or(0, |ack| ACK.len() + ack.len());
        copy + ack + if self.0.redelivered { REDELIVERED.len() } else { 0 }
    }

    fn write(&self, out: &mut Vec<u8>) {
        if self.0.copy != 0 {
            out.push(b'-');
            put_number(self.0.copy.into(), out);
        }
        if let Some(ack) = self.0.ack {
            out.extend_from_slice(ACK);
            out.extend_from_slice(ack.as_bytes());
        }
        if self.0.redelivered {
            out.extend_from_slice(REDELIVERED);
        }
    }
}

/// Upper bound on the octets of names, values, colons and line ends, escapes aside.
fn text_bytes(headers: &Headers) -> usize {
    headers.iter().map(|(name, value)| name.len() + value.len() + 2).sum()
}

const SERVER_HEADERS: &[&str] = &["subscription", "message-id", "ack", "redelivered", "content-length"];
const SUBSCRIPTION: &[u8] = b"subscription:";
const ACK: &[u8] = b"\nack:";
const REDELIVERED: &[u8] = b"\nredelivered:true";
/// Room for usual ids, so that appending to a large buffer asks for memory once per frame at most.
const EXPECTED_HOLES: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(headers: &[(&str, &str)], version: Version, delivery: Delivery<'_>, expected: &str) {
        let headers: Headers = headers.iter().copied().collect();
        let template = MessageTemplate::new(&headers, "m-1", 5, version);
        let mut out = b"before".to_vec();
        template.write_head(&delivery, &mut out);
        assert_eq!(String::from_utf8_lossy(&out), format!("before{expected}"));
        assert_eq!(template.head_len(&delivery), expected.len());
    }

    #[test]
    fn the_server_headers_follow_the_users_and_content_length_stands_last() {
        check(
            &[("foo", "1"), ("destination", "/t"), ("foo", "2")],
            Version::V1_2,
            Delivery::to("sub-0"),
            "MESSAGE\nfoo:1\ndestination:/t\nfoo:2\nsubscription:sub-0\nmessage-id:m-1\ncontent-length:5\n\n",
        );
    }

    #[test]
    fn each_delivery_fills_its_holes() {
        let delivery = Delivery { subscription: Some("a"), copy: 65_535, ack: Some("9"), redelivered: true };
        let head = "MESSAGE\ndestination:/t\nsubscription:a\nmessage-id:m-1-65535\nack:9\nredelivered:true\n\
                    content-length:5\n\n";
        check(&[("destination", "/t")], Version::V1_2, delivery, head);
        let copy = Delivery { copy: 10, ..Delivery::to("") };
        let head = "MESSAGE\nsubscription:\nmessage-id:m-1-10\ncontent-length:5\n\n";
        check(&[], Version::V1_2, copy, head);
    }

    #[test]
    fn a_subscription_of_1_0_may_have_no_id() {
        let delivery = Delivery { redelivered: true, ..Delivery::default() };
        let head = "MESSAGE\ndestination:/t\nmessage-id:m-1\nredelivered:true\ncontent-length:5\n\n";
        check(&[("destination", "/t")], Version::V1_0, delivery, head);
        check(&[], Version::V1_0, Delivery::default(), "MESSAGE\nmessage-id:m-1\ncontent-length:5\n\n");
    }

    #[test]
    fn nobody_can_forge_what_the_server_sets() {
        let forged: Vec<_> = SERVER_HEADERS.iter().map(|name| (*name, "mine")).collect();
        let head = "MESSAGE\nsubscription:s\nmessage-id:m-1\ncontent-length:5\n\n";
        check(&forged, Version::V1_2, Delivery::to("s"), head);
        let head = "MESSAGE\nsubscription x:mine\nsubscription:s\nmessage-id:m-1\ncontent-length:5\n\n";
        check(&[("subscription:x", "mine")], Version::V1_0, Delivery::to("s"), head);
    }

    #[test]
    fn one_template_serves_all_versions_unless_something_is_escaped() {
        for (name, value, differs) in
            [("k", "plain é", false), ("k", "a:b", true), ("k:", "", true), ("k", "\n", true), ("k", "a\\", true)]
        {
            let headers: Headers = [(name, value)].into_iter().collect();
            assert_eq!(MessageTemplate::needs_versions(&headers), differs, "{name:?} {value:?}");
            let per_version = Version::ALL.map(|version| MessageTemplate::new(&headers, "m", 0, version));
            assert_eq!(per_version.iter().any(|template| *template != per_version[0]), differs);
        }
    }
}
