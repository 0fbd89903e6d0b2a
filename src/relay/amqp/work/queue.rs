//! What the queue of a work destination is called and how it is declared.

use std::sync::Arc;
use std::time::Duration;

use lapin::options::QueueDeclareOptions;
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{Connection, ErrorKind};

use crate::config::mailbox::KeepOverflow;
use crate::relay::RelayError;
use crate::relay::work::WorkQueue;

/// Octets that the name of a queue may have.
const NAME_BYTES: usize = 255;
/// Longest time in milliseconds that RabbitMQ takes for anything: ten years. Here twice the age and some must fit.
const LONGEST: u64 = 315_360_000_000 / 4;
const HOUR: u64 = 3_600_000;

/// Why a queue is not there.
pub(super) enum Undeclared {
    /// It is declared otherwise, or this user may not: somebody has to do something.
    Refused(Arc<str>),
    /// It may work later.
    Passing(String),
}

/// The name: prefix and destination, or of a long destination its beginning and a hash of it.
pub(super) fn name(prefix: &str, destination: &str) -> ShortString {
    let mut name = format!("{prefix}{destination}");
    if name.len() > NAME_BYTES {
        let hash = format!("#{:032x}", fnv128(name.as_bytes()));
        let cut = name.floor_char_boundary(NAME_BYTES - hash.len());
        name.truncate(cut);
        name.push_str(&hash);
    }
    name.into()
}

/// The same on every node and in every release, which the hashes of the standard library are not (FNV-1a).
fn fnv128(octets: &[u8]) -> u128 {
    octets.iter().fold(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d, |hash, octet| {
        (hash ^ u128::from(*octet)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b)
    })
}

/// Declares the queue where that is not done. On a channel of its own, since what is refused closes it.
pub(super) async fn declare(connection: &Connection, prefix: &str, queue: &WorkQueue) -> Result<(), Undeclared> {
    let name = name(prefix, &queue.destination);
    let declared = async {
        let channel = connection.create_channel().await?;
        let lasting = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        channel.queue_declare(name.clone(), lasting, arguments(queue)).await?;
        channel.close(200, "done".into()).await
    };
    declared.await.map_err(|error| match error.kind() {
        ErrorKind::ProtocolError(refused) if [403, 405, 406].contains(&refused.get_id()) => {
            let advice = if refused.get_id() == 406 {
                ": it was declared when `keep` of this destination said something else (or by somebody else). Let it be \
                 emptied and delete it in RabbitMQ, or change `keep` back; every node must have the same"
            } else {
                ""
            };
            Undeclared::Refused(format!("RabbitMQ refuses the queue {:?}{advice} ({refused})", name.as_str()).into())
        }
        _ => Undeclared::Passing(error.to_string()),
    })
}

/// How long a declaration lasts: from then on it is repeated before anything is published, so that a queue that is used
/// does not expire.
pub(super) fn declared_for(queue: &WorkQueue) -> Duration {
    Duration::from_millis(age(queue) / 2 + HOUR / 3)
}

fn age(queue: &WorkQueue) -> u64 {
    u64::try_from(queue.keep.age.as_millis()).unwrap_or(u64::MAX).clamp(1, LONGEST)
}

fn arguments(queue: &WorkQueue) -> FieldTable {
    let keep = &queue.keep;
    let mut arguments = FieldTable::default();
    let mut set = |name: &str, value| {
        arguments.insert(name.into(), value);
    };
    // Said, since a virtual host may have another default.
    set("x-queue-type", AMQPValue::LongString("classic".into()));
    set("x-message-ttl", number(age(queue)));
    // It goes when nobody has used it for so long that all messages have expired.
    set("x-expires", number(2 * age(queue) + HOUR));
    set("x-max-length", number(keep.max as u64));
    set("x-max-length-bytes", number(keep.max_bytes as u64));
    let overflow = match keep.overflow {
        KeepOverflow::DropOldest => "drop-head",
        KeepOverflow::Refuse => "reject-publish",
    };
    set("x-overflow", AMQPValue::LongString(overflow.into()));
    arguments
}

fn number(value: u64) -> AMQPValue {
    AMQPValue::LongLongInt(i64::try_from(value).unwrap_or(i64::MAX))
}

impl Undeclared {
    pub(super) fn error(&self) -> RelayError {
        match self {
            Self::Refused(text) => RelayError::Failed(Arc::clone(text)),
            Self::Passing(text) => RelayError::Failed(text.as_str().into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::mailbox::Keep;

    #[test]
    fn a_short_destination_is_in_the_name() {
        assert_eq!(name("wx_work_", "/queue/work/a").as_str(), "wx_work_/queue/work/a");
        let fits = "x".repeat(255 - 8);
        assert_eq!(name("wx_work_", &fits).as_str(), format!("wx_work_{fits}"));
    }

    #[test]
    fn a_long_one_is_cut_and_told_apart_by_a_hash() {
        let (one, other) = ("ä".repeat(200) + "1", "ä".repeat(200) + "2");
        let (one, other) = (name("wx_work_", &one), name("wx_work_", &other));
        assert_ne!(one, other);
        assert!(one.as_str().len() <= 255 && one.as_str().starts_with("wx_work_ää"), "{one}");
        // Nodes of different releases meet in one queue.
        assert_eq!(fnv128(b"a"), 0xd228_cb69_6f1a_8caf_7891_2b70_4e4a_8964);
    }

    #[test]
    fn a_queue_outlives_its_messages_whenever_it_was_declared_last() {
        for age in [1, 60_000, 7 * 24 * HOUR, u64::MAX] {
            let keep = Keep { age: Duration::from_millis(age), ..Keep::default() };
            let queue = WorkQueue { destination: "/queue/a".into(), keep };
            let number = |name: &str| match arguments(&queue).inner().get(name) {
                Some(AMQPValue::LongLongInt(number)) => u64::try_from(*number).unwrap(),
                other => panic!("{other:?}"),
            };
            let last_message = u64::try_from(declared_for(&queue).as_millis()).unwrap();
            assert!(last_message + number("x-message-ttl") < number("x-expires"));
            assert!(number("x-expires") <= 315_360_000_000);
        }
    }
}
