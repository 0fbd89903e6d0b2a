//! How a kept message lies in a store.
//!
//! ```text
//! record  = version sent-at string(id) string(destination) count *(string(name) string(value)) string(body)
//! version = one byte, 1
//! string  = length bytes
//! sent-at, count, length = unsigned LEB128
//! ```
//!
//! The version comes first and is judged before anything else, so a node never guesses at what a newer one wrote.

use bytes::{BufMut, Bytes, BytesMut};
use bytestring::ByteString;
use stampede_protocol::stomp::Headers;
use thiserror::Error;

use crate::message::Message;

/// Why stored bytes are no message.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RecordError {
    /// Written by a newer Stampede, or not by Stampede at all.
    #[error(
        "record version {0} is not known here (this Stampede reads version {VERSION}); was it written by a newer one?"
    )]
    Version(u8),
    /// It ends before all that its lengths announce.
    #[error("the record ends too early")]
    Truncated,
    /// A number with more bits than fit.
    #[error("the record holds a number that is too large")]
    Number,
    /// An id, destination or header that is no text.
    #[error("the record holds text that is not UTF-8")]
    NotUtf8,
    /// Bytes follow where the record should have ended.
    #[error("{0} bytes follow the end of the record")]
    Trailing(usize),
}

/// The record of a message, in one allocation of exactly its size.
#[must_use]
pub fn encode(message: &Message) -> Bytes {
    let mut out = BytesMut::with_capacity(encoded_len(message));
    out.put_u8(VERSION);
    put_number(&mut out, message.sent_at);
    put_string(&mut out, message.id.as_bytes());
    put_string(&mut out, message.destination.as_bytes());
    put_number(&mut out, message.headers.len() as u64);
    for (name, value) in message.headers.iter() {
        put_string(&mut out, name.as_bytes());
        put_string(&mut out, value.as_bytes());
    }
    put_string(&mut out, &message.body);
    out.freeze()
}

/// The message of a record. Its parts are slices of the record: nothing is copied, and nothing else is held in memory.
///
/// # Errors
///
/// Whatever the bytes are, they give a message or the reason why not.
pub fn decode(record: Bytes) -> Result<Message, RecordError> {
    let mut input = Input(record);
    match input.byte()? {
        VERSION => {}
        other => return Err(RecordError::Version(other)),
    }
    let sent_at = input.number()?;
    let id = input.text()?;
    let destination = input.text()?;
    let mut headers = Headers::new();
    for _ in 0..input.number()? {
        headers.push(input.text()?, input.text()?);
    }
    let body = input.string()?;
    match input.0.len() {
        0 => Ok(Message::new(id, destination, headers, body, sent_at)),
        left => Err(RecordError::Trailing(left)),
    }
}

/// The destination of a record, without looking at the rest of it.
///
/// # Errors
///
/// As [`decode`], for the part that is looked at.
pub fn destination(record: &Bytes) -> Result<ByteString, RecordError> {
    let mut input = Input(record.clone());
    match input.byte()? {
        VERSION => {}
        other => return Err(RecordError::Version(other)),
    }
    input.number()?;
    input.string()?;
    input.text()
}

/// How many bytes [`encode`] gives.
fn encoded_len(message: &Message) -> usize {
    let string = |bytes: &[u8]| number_len(bytes.len() as u64) + bytes.len();
    let headers = message.headers.iter().map(|(name, value)| string(name.as_bytes()) + string(value.as_bytes()));
    1 + number_len(message.sent_at)
        + string(message.id.as_bytes())
        + string(message.destination.as_bytes())
        + number_len(message.headers.len() as u64)
        + headers.sum::<usize>()
        + string(&message.body)
}

pub(crate) fn number_len(number: u64) -> usize {
    let bits = u64::BITS - number.leading_zeros();
    bits.div_ceil(7).max(1) as usize
}

pub(crate) fn put_number(out: &mut BytesMut, mut number: u64) {
    while number >= 0x80 {
        out.put_u8(number as u8 | 0x80);
        number >>= 7;
    }
    out.put_u8(number as u8);
}

pub(crate) fn put_string(out: &mut BytesMut, bytes: &[u8]) {
    put_number(out, bytes.len() as u64);
    out.put_slice(bytes);
}

/// What is left of a record, or of anything else that is written with the same parts.
#[derive(Debug)]
pub(crate) struct Input(pub(crate) Bytes);

impl Input {
    pub(crate) fn byte(&mut self) -> Result<u8, RecordError> {
        let byte = *self.0.first().ok_or(RecordError::Truncated)?;
        let _ = self.0.split_to(1);
        Ok(byte)
    }

    pub(crate) fn number(&mut self) -> Result<u64, RecordError> {
        let mut number = 0;
        for shift in (0..u64::BITS).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if bits.leading_zeros() < shift {
                return Err(RecordError::Number);
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(RecordError::Number)
    }

    pub(crate) fn string(&mut self) -> Result<Bytes, RecordError> {
        let length = usize::try_from(self.number()?).map_err(|_| RecordError::Truncated)?;
        if length > self.0.len() {
            return Err(RecordError::Truncated);
        }
        Ok(self.0.split_to(length))
    }

    pub(crate) fn text(&mut self) -> Result<ByteString, RecordError> {
        ByteString::try_from(self.string()?).map_err(|_| RecordError::NotUtf8)
    }
}

/// The version this code writes, and so far the only one there is.
const VERSION: u8 = 1;

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// A node may come back to records of any age: version 1 stays what these bytes say.
    #[test]
    fn version_1_is_these_bytes() {
        let headers = [("content-type", "text/plain")].into_iter().collect();
        let message = Message::new("a-1".into(), "/queue/a".into(), headers, "hi".into(), 300);
        let record = b"\x01\xac\x02\x03a-1\x08/queue/a\x01\x0ccontent-type\x0atext/plain\x02hi";
        assert_eq!(encode(&message), record.as_slice());
        same(&decode(Bytes::from_static(record)).unwrap(), &message);
    }

    #[test]
    fn an_unknown_version_is_refused_by_name() {
        let error = decode(Bytes::from_static(b"\x02whatever")).unwrap_err();
        assert_eq!(error, RecordError::Version(2));
        assert!(error.to_string().contains("version 2") && error.to_string().contains("newer"), "{error}");
    }

    #[test]
    fn a_header_count_beyond_the_record_costs_nothing() {
        let record = b"\x01\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01";
        assert_eq!(decode(Bytes::from_static(record)).unwrap_err(), RecordError::Truncated);
    }

    #[test]
    fn a_number_beyond_64_bits_is_refused() {
        let record = b"\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02";
        assert_eq!(decode(Bytes::from_static(record)).unwrap_err(), RecordError::Number);
    }

    proptest! {
        #[test]
        fn a_message_comes_back_as_it_was(message in message()) {
            let record = encode(&message);
            prop_assert_eq!(record.len(), encoded_len(&message));
            prop_assert_eq!(destination(&record).unwrap(), message.destination.clone());
            same(&decode(record).unwrap(), &message);
        }

        #[test]
        fn a_record_cut_short_or_made_longer_is_refused(message in message(), cut in any::<prop::sample::Index>()) {
            let record = encode(&message);
            prop_assert!(decode(record.slice(..cut.index(record.len()))).is_err());
            let longer = [&record[..], b"x"].concat();
            prop_assert_eq!(decode(longer.into()).unwrap_err(), RecordError::Trailing(1));
        }

        #[test]
        fn arbitrary_bytes_never_panic(mut bytes in vec(any::<u8>(), 0..200), known in any::<bool>()) {
            if let (true, Some(first)) = (known, bytes.first_mut()) {
                *first = VERSION;
            }
            let _ = decode(bytes.into());
        }
    }

    fn message() -> impl Strategy<Value = Message> {
        (".{0,20}", ".{0,20}", vec((".{0,200}", ".{0,20}"), 0..5), vec(any::<u8>(), 0..300), any::<u64>()).prop_map(
            |(id, destination, headers, body, sent_at)| {
                Message::new(id.into(), destination.into(), headers.into_iter().collect(), body.into(), sent_at)
            },
        )
    }

    fn same(left: &Message, right: &Message) {
        assert_eq!(left.id, right.id);
        assert_eq!(left.destination, right.destination);
        assert_eq!(left.headers, right.headers);
        assert_eq!(left.body, right.body);
        assert_eq!(left.sent_at, right.sent_at);
    }
}
