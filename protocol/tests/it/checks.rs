//! What must hold for any octets. Called by the tests here and by the fuzz targets, which include this file.

use bytes::Bytes;
use stampede_protocol::Limits;
use stampede_protocol::sockjs::payload::{MAX_STRINGS, PayloadFault, messages, socket_messages};
use stampede_protocol::sockjs::quote;
use stampede_protocol::stomp::{Command, Decoder, Fault, FaultKind, Frame, Item, Version, encode};

/// How a decoder is set up for one check.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Setup {
    pub(crate) version: Option<Version>,
    pub(crate) client: bool,
    pub(crate) strict: bool,
    pub(crate) limits: Limits,
}

impl Setup {
    /// A server's decoder at this version with the default bounds.
    pub(crate) fn at(version: Version) -> Self {
        Self { version: Some(version), client: false, strict: false, limits: Limits::default() }
    }

    pub(crate) fn decoder(self) -> Decoder {
        let mut decoder = if self.client { Decoder::for_client(self.limits) } else { Decoder::new(self.limits) };
        decoder.set_strict(self.strict);
        if let Some(version) = self.version {
            decoder.set_version(version);
        }
        decoder
    }
}

/// What came out of some pieces: items, and the fault that ended them.
#[derive(Debug, PartialEq)]
pub(crate) struct Outcome {
    pub(crate) items: Vec<Item>,
    pub(crate) fault: Option<Fault>,
    pub(crate) buffered: usize,
}

/// The part of an [`Outcome`] that must not depend on where the octets were cut.
#[derive(Debug, PartialEq)]
struct Invariant<'a> {
    frames: Vec<&'a Frame>,
    fault: Option<(FaultKind, Option<&'a str>)>,
    buffered: usize,
}

impl Outcome {
    fn whatever_the_cut(&self) -> Invariant<'_> {
        let frames =
            self.items.iter().filter_map(|item| if let Item::Frame(frame) = item { Some(frame) } else { None });
        Invariant {
            frames: frames.collect(),
            fault: self.fault.as_ref().map(|fault| (fault.kind, fault.receipt.as_deref())),
            buffered: self.buffered,
        }
    }
}

/// Feeds the pieces one by one, taking all items after each.
pub(crate) fn decode<'a>(setup: Setup, pieces: impl IntoIterator<Item = &'a [u8]>) -> Outcome {
    let mut decoder = setup.decoder();
    let mut items = Vec::new();
    let most = setup.limits.head_bytes.max(COMMAND_LINE) + setup.limits.body_bytes;
    for piece in pieces {
        decoder.feed(Bytes::copy_from_slice(piece));
        loop {
            match decoder.next() {
                Ok(Some(item)) => items.push(item),
                Ok(None) => break,
                Err(fault) => return Outcome { items, fault: Some(fault), buffered: decoder.buffered_bytes() },
            }
        }
        assert!(decoder.buffered_bytes() <= most, "{} octets are kept", decoder.buffered_bytes());
    }
    Outcome { items, fault: None, buffered: decoder.buffered_bytes() }
}

/// Cut in two at `cut`, and cut into single octets, `wire` gives what the whole gives.
#[track_caller]
pub(crate) fn same_at_cut(setup: Setup, wire: &[u8], cut: usize) {
    let whole = decode(setup, [wire]);
    let (head, tail) = wire.split_at(cut);
    let halves = decode(setup, [head, tail]);
    assert_eq!(halves.whatever_the_cut(), whole.whatever_the_cut(), "cut at octet {cut}");
}

/// Octet by octet, `wire` gives what the whole gives.
#[track_caller]
pub(crate) fn same_by_octets(setup: Setup, wire: &[u8]) {
    let octets = decode(setup, wire.chunks(1));
    let whole = decode(setup, [wire]);
    assert_eq!(octets.whatever_the_cut(), whole.whatever_the_cut(), "octet by octet");
}

/// The first three octets choose the decoder and a cut, the others are what it reads.
pub(crate) fn decoder_input(data: &[u8]) {
    let [flags, limit, cut, wire @ ..] = data else { return };
    let versions = [None, Some(Version::V1_0), Some(Version::V1_1), Some(Version::V1_2)];
    let limits = Limits {
        head_bytes: 16 * usize::from(*limit),
        headers: usize::from(*limit) / 8,
        header_line_bytes: 2 * usize::from(*limit),
        body_bytes: usize::from(*limit),
    };
    let version = versions[usize::from(flags % 4)];
    let setup = Setup { version, client: flags & 4 != 0, strict: flags & 8 != 0, limits };
    same_at_cut(setup, wire, usize::from(*cut).min(wire.len()));
    same_by_octets(setup, wire);
}

/// Every frame that can be read can be written, and comes back as it was.
pub(crate) fn round_trip_input(data: &[u8]) {
    let [flags, wire @ ..] = data else { return };
    let version = Version::ALL[usize::from(flags % 3)];
    let setup = Setup { client: flags & 4 != 0, ..Setup::at(version) };
    for item in decode(setup, [wire]).items {
        let Item::Frame(mut frame) = item else { continue };
        frame.headers.remove_all(&["content-length"]);
        comes_back(setup, version, &frame);
    }
}

/// A SockJS payload is read as any JSON reader reads it, or refused for the right reason; what was read can be quoted and
/// read again.
pub(crate) fn sockjs_input(data: &[u8]) {
    let read = messages(data);
    match serde_json::from_slice::<serde_json::Value>(data) {
        Ok(serde_json::Value::Array(values)) if values.len() <= MAX_STRINGS => {
            let strings: Option<Vec<&str>> = values.iter().map(serde_json::Value::as_str).collect();
            match (strings, &read) {
                (Some(strings), read) => assert_eq!(read.as_deref().map(|read| read == strings), Ok(true)),
                // Broken: nested deeper than this reader goes.
                (None, read) => assert!(matches!(read, Err(PayloadFault::Expected | PayloadFault::Broken))),
            }
        }
        Ok(_) => assert!(read.is_err()),
        // Lone surrogates and octets that are not UTF-8 are all that is taken beyond JSON.
        Err(_) => {}
    }
    let Ok(read) = read else { return };
    assert_eq!(socket_messages(data).as_ref(), Ok(&read));
    let mut quoted = vec![b'['];
    for (at, text) in read.iter().enumerate() {
        quoted.extend_from_slice(if at == 0 { b"" } else { b"," });
        quote::quote(&mut quoted, text);
    }
    quoted.push(b']');
    assert_eq!(messages(&quoted), Ok(read));
}

/// Written at this version and read again, `frame` is the same, so far as the version can express it.
#[track_caller]
pub(crate) fn comes_back(setup: Setup, version: Version, frame: &Frame) {
    // Escapes double what they stand for at most.
    let limits = Limits {
        head_bytes: 2 * setup.limits.head_bytes,
        header_line_bytes: 2 * setup.limits.header_line_bytes,
        headers: setup.limits.headers + 1,
        ..setup.limits
    };
    let mut wire = Vec::new();
    encode(frame, version, &mut wire);
    let back = decode(Setup { limits, strict: true, ..setup }, [&wire[..]]);
    let [Item::Frame(back)] = &back.items[..] else { panic!("one frame became {back:?}") };
    let mut back = back.clone();
    back.headers.remove_all(&["content-length"]);
    assert_eq!((back.command, &back.body, back.headers.len()), (frame.command, &frame.body, frame.headers.len()));
    if version >= Version::V1_1 && frame.headers.iter().all(|(name, value)| is_expressible(frame, version, name, value))
    {
        assert_eq!(back.headers, frame.headers);
    }
}

/// Whether a header has a form at this version.
fn is_expressible(frame: &Frame, version: Version, name: &str, value: &str) -> bool {
    if frame.command.is_unescaped() {
        return !name.contains([':', '\n', '\r']) && !value.contains(['\n', '\r']);
    }
    // A CR at the end of a line of 1.1 is read as part of the line end.
    version == Version::V1_2 || !value.ends_with('\r')
}

/// Every command, for generators.
pub(crate) const CLIENT_COMMANDS: [Command; 11] = [
    Command::Connect,
    Command::Stomp,
    Command::Send,
    Command::Subscribe,
    Command::Unsubscribe,
    Command::Ack,
    Command::Nack,
    Command::Begin,
    Command::Commit,
    Command::Abort,
    Command::Disconnect,
];

/// A command line may be longer than a very small bound on the head before it is refused.
const COMMAND_LINE: usize = 34;
