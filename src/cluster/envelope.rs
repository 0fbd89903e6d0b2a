//! What travels between nodes: messages that wait for the same nodes, in one envelope.
//!
//! ```text
//! envelope = version string(stream) seq count *item
//! version  = one byte, 1
//! item     = length kind flags hops parts            length counts what follows it
//! kind 1   = message:  string(record) list
//! list     = string(room) version, with flag 8 alone: a list of members, useless to whoever has a newer one
//! kind 2   = session:  string(session) string(rest) string(record)
//! kind 3   = kept:     seq string(record)
//! kind 4   = notice:   string(record)              not a message: something that every node has to know
//! seq, count, length = unsigned LEB128;  string = length bytes;  record: see `mailbox::record`
//! ```
//!
//! `stream` names one run of the node that published it, and `seq` counts its envelopes. A reader passes over items of a
//! kind that it does not know, and refuses an envelope of a version that it does not know: a newer node writes a newer
//! version only after every node reads it.

use bytes::{BufMut, Bytes, BytesMut};
use bytestring::ByteString;

use crate::mailbox::record::{Input, RecordError, number_len, put_number, put_string};
use crate::message::ListVersion;

/// The version this code writes.
const VERSION: u8 = 1;

/// Only subscriptions by name get it, none of the form `/user/queue/…`: the user sent it to himself, and the session that
/// did has it.
const BY_NAME_ONLY: u8 = 1;
/// It was looked up who has receivers for it; without the flag it went to everybody.
const SOUGHT: u8 = 2;
/// Some nodes may have it already.
const REPEATED: u8 = 4;
/// It is a list of members; what follows says which.
const LIST: u8 = 8;

/// How an item came here.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Way {
    /// See [`BY_NAME_ONLY`].
    pub(crate) by_name_only: bool,
    /// See [`SOUGHT`].
    pub(crate) sought: bool,
    /// See [`REPEATED`].
    pub(crate) repeated: bool,
    /// How often it was sent on.
    pub(crate) hops: u8,
}

/// One message on its way to another node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Item {
    /// For the subscribers of its destination.
    Message { way: Way, record: Bytes, list: Option<ListVersion> },
    /// For one session.
    Session { session: ByteString, rest: ByteString, record: Bytes },
    /// The shared store keeps it under this number; for the subscribers that its destination has now.
    Kept { seq: u64, record: Bytes },
    /// For the node itself.
    Notice { record: Bytes },
}

/// An envelope being filled.
#[derive(Debug, Default)]
pub(crate) struct Builder {
    items: BytesMut,
    count: u64,
}

impl Builder {
    pub(crate) fn push(&mut self, item: &Item) {
        let (kind, way, list) = match item {
            Item::Message { way, list, .. } => (1, *way, list.as_ref()),
            Item::Session { .. } => (2, Way::default(), None),
            Item::Kept { .. } => (3, Way::default(), None),
            Item::Notice { .. } => (4, Way::default(), None),
        };
        // The length is known before: nothing is copied but into its place.
        let string_len = |len: usize| number_len(len as u64) + len;
        let extra = match item {
            Item::Message { .. } | Item::Notice { .. } => 0,
            Item::Session { session, rest, .. } => string_len(session.len()) + string_len(rest.len()),
            Item::Kept { seq, .. } => number_len(*seq),
        };
        let list_len = list.map_or(0, |list| string_len(list.room.len()) + number_len(list.version));
        let len = 3 + extra + string_len(item.record().len()) + list_len;
        let out = &mut self.items;
        out.reserve(string_len(len));
        put_number(out, len as u64);
        out.put_u8(kind);
        let flag = |set: bool, flag: u8| if set { flag } else { 0 };
        out.put_u8(
            flag(way.by_name_only, BY_NAME_ONLY)
                | flag(way.sought, SOUGHT)
                | flag(way.repeated, REPEATED)
                | flag(list.is_some(), LIST),
        );
        out.put_u8(way.hops);
        match item {
            Item::Message { .. } | Item::Notice { .. } => {}
            Item::Session { session, rest, .. } => {
                put_string(out, session.as_bytes());
                put_string(out, rest.as_bytes());
            }
            Item::Kept { seq, .. } => put_number(out, *seq),
        }
        put_string(out, item.record());
        if let Some(ListVersion { room, version }) = list {
            put_string(out, room.as_bytes());
            put_number(out, *version);
        }
        self.count += 1;
    }

    /// Octets so far.
    pub(crate) fn len(&self) -> usize {
        self.items.len()
    }

    pub(crate) fn finish(self, stream: &str, seq: u64) -> Bytes {
        let mut out = BytesMut::with_capacity(self.items.len() + stream.len() + 24);
        out.put_u8(VERSION);
        put_string(&mut out, stream.as_bytes());
        put_number(&mut out, seq);
        put_number(&mut out, self.count);
        out.put_slice(&self.items);
        out.freeze()
    }
}

/// An envelope that was read.
#[derive(Debug)]
pub(crate) struct Envelope {
    pub(crate) stream: ByteString,
    pub(crate) seq: u64,
    left: u64,
    items: Input,
}

impl Envelope {
    /// Reads the head; the items are slices of `bytes`.
    pub(crate) fn open(bytes: Bytes) -> Result<Self, RecordError> {
        let mut items = Input(bytes);
        match items.byte()? {
            VERSION => {}
            other => return Err(RecordError::Version(other)),
        }
        let (stream, seq, left) = (items.text()?, items.number()?, items.number()?);
        Ok(Self { stream, seq, left, items })
    }

    /// The next item of a kind that is known; an error ends the envelope.
    pub(crate) fn next(&mut self) -> Option<Result<Item, RecordError>> {
        while self.left > 0 {
            self.left -= 1;
            match self.items.string().and_then(item) {
                Ok(Some(item)) => return Some(Ok(item)),
                Ok(None) => {}
                Err(error) => {
                    self.left = 0;
                    return Some(Err(error));
                }
            }
        }
        None
    }
}

fn item(bytes: Bytes) -> Result<Option<Item>, RecordError> {
    let mut input = Input(bytes);
    let (kind, flags, hops) = (input.byte()?, input.byte()?, input.byte()?);
    let item = match kind {
        1 => {
            let is = |flag: u8| flags & flag != 0;
            let way = Way { by_name_only: is(BY_NAME_ONLY), sought: is(SOUGHT), repeated: is(REPEATED), hops };
            let record = input.string()?;
            let list = match is(LIST) {
                // Copied: the text is a slice of the whole envelope, and it is remembered.
                true => Some(ListVersion { room: ByteString::from(&*input.text()?), version: input.number()? }),
                false => None,
            };
            Item::Message { way, record, list }
        }
        2 => Item::Session { session: input.text()?, rest: input.text()?, record: input.string()? },
        3 => Item::Kept { seq: input.number()?, record: input.string()? },
        4 => Item::Notice { record: input.string()? },
        _ => return Ok(None),
    };
    Ok(Some(item))
}

impl Item {
    pub(crate) const fn record(&self) -> &Bytes {
        match self {
            Self::Message { record, .. }
            | Self::Session { record, .. }
            | Self::Kept { record, .. }
            | Self::Notice { record } => record,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn items() -> Vec<Item> {
        let way = Way { by_name_only: true, sought: false, repeated: true, hops: 2 };
        vec![
            Item::Message { way: Way::default(), record: Bytes::from_static(b"m"), list: None },
            Item::Message { way, record: Bytes::new(), list: Some(ListVersion { room: "r".into(), version: 300 }) },
            Item::Session { session: "n-1".into(), rest: "/queue/a".into(), record: Bytes::from_static(b"s") },
            Item::Kept { seq: 300, record: Bytes::from_static(b"k") },
            Item::Notice { record: Bytes::from_static(b"n") },
        ]
    }

    fn sealed(items: &[Item]) -> Bytes {
        let mut builder = Builder::default();
        for item in items {
            builder.push(item);
        }
        builder.finish("n/1", 7)
    }

    fn read(bytes: Bytes) -> Result<Vec<Item>, RecordError> {
        let mut envelope = Envelope::open(bytes)?;
        std::iter::from_fn(|| envelope.next()).collect()
    }

    #[test]
    fn what_is_put_in_comes_out() {
        let envelope = Envelope::open(sealed(&items())).unwrap();
        assert_eq!((&*envelope.stream, envelope.seq), ("n/1", 7));
        assert_eq!(read(sealed(&items())).unwrap(), items());
    }

    /// Nodes of different versions run side by side while a cluster is upgraded: version 1 stays what these bytes say.
    #[test]
    fn version_1_is_these_bytes() {
        let items = [0, 2, 3, 1, 4].map(|at| items().remove(at));
        let bytes = b"\x01\x03n/1\x07\x05\x05\x01\x00\x00\x01m\x12\x02\x00\x00\x03n-1\x08/queue/a\x01s\x07\x03\x00\x00\xac\x02\x01k\x08\x01\x0d\x02\x00\x01r\xac\x02\x05\x04\x00\x00\x01n";
        assert_eq!(sealed(&items), bytes.as_slice());
        let unknown_kind = b"\x01\x03n/1\x07\x02\x05\x09\x00\x00\x01?\x05\x01\x00\x00\x01m";
        assert_eq!(read(Bytes::from_static(unknown_kind)).unwrap(), items[..1], "an unknown kind is passed over");
        assert_eq!(read(Bytes::from_static(b"\x02")).unwrap_err(), RecordError::Version(2));
    }

    proptest! {
        #[test]
        fn an_envelope_cut_short_or_changed_never_panics(at in any::<prop::sample::Index>(), octet in any::<u8>()) {
            let whole = sealed(&items());
            let mut changed = whole.to_vec();
            let at = at.index(whole.len());
            changed[at] = octet;
            let _ = read(changed.into());
            prop_assert!(read(whole.slice(..at)).is_err());
        }
    }
}
