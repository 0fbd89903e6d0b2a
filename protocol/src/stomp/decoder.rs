//! Octets in, frames and heart-beats out.
//!
//! ```text
//!            LF or CR LF               command line            empty line          the end of the body
//! Between ───────────────▶ Between   ──────────────▶  Head  ──────────────▶  Body ─────────────────────▶ Between
//!                                       any stage ── fault ──▶ Failed, for good
//! ```
//!
//! What always holds: every octet is looked at once however small the pieces are; a head is parsed once; what is kept of
//! an unfinished frame stays within [`Limits`]; between frames nothing is kept at all.

use bytes::{Buf, Bytes, BytesMut};
use memchr::{memchr, memchr2};

use super::parse::{self, Dialect, Role};
use super::scan::{HeadScan, octet_0_in_head, over_limit};
use super::{Command, Fault, FaultKind, Frame, Version};
use crate::Limits;

/// Reads one direction of one connection.
///
/// Feed what arrives, then take items until there are none. Where the octets were cut means nothing; a frame that lies
/// within one fed piece is not copied: its headers and body are slices of that piece.
///
/// ```
/// use bytes::Bytes;
/// use stampede_protocol::Limits;
/// use stampede_protocol::stomp::{Command, Decoder, Item};
///
/// # fn main() -> Result<(), stampede_protocol::stomp::Fault> {
/// let mut decoder = Decoder::new(Limits::default());
/// decoder.feed(Bytes::from_static(b"SEND\ndestination:/topic/a\n\nhel"));
/// assert_eq!(decoder.next()?, None);
/// decoder.feed(Bytes::from_static(b"lo\0\n"));
/// let Some(Item::Frame(frame)) = decoder.next()? else { panic!("the frame is whole") };
/// assert_eq!((frame.command, &frame.body[..]), (Command::Send, &b"hello"[..]));
/// assert_eq!(decoder.next()?, None);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Decoder {
    limits: Limits,
    dialect: Dialect,
    stage: Stage,
    /// Fed and not looked at yet.
    chunk: Bytes,
    /// Octets of the current stage that came with earlier pieces.
    gathered: BytesMut,
    /// Line ends are skipped silently: they follow a frame of the same piece, or one heart-beat was reported for it.
    quiet: bool,
    #[cfg(test)]
    examined: usize,
}

/// What a [`Decoder`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// A whole frame.
    Frame(Frame),
    /// One or more line ends while no frame was on its way. Those right behind a frame in the same piece are not
    /// reported: that piece was a sign of life already.
    HeartBeat,
}

/// Where in a frame the next octet belongs.
#[derive(Debug)]
enum Stage {
    Between { after_cr: bool },
    Command,
    Head { command: Command, scan: HeadScan },
    Body { frame: Frame, head_bytes: usize, end: BodyEnd },
    Failed(Fault),
}

/// How the end of a body is known.
#[derive(Debug, Clone, Copy)]
enum BodyEnd {
    /// So many octets were announced, and NUL must follow.
    Counted(usize),
    /// The first NUL.
    Nul,
}

impl Decoder {
    /// Reads what clients send.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self::with_role(limits, Role::Server)
    }

    /// Reads what servers send: for clients, and for tools that watch a server.
    #[must_use]
    pub fn for_client(limits: Limits) -> Self {
        Self::with_role(limits, Role::Client)
    }

    fn with_role(limits: Limits, role: Role) -> Self {
        Self {
            limits,
            dialect: Dialect { role, version: None, strict: false },
            stage: Stage::Between { after_cr: false },
            chunk: Bytes::new(),
            gathered: BytesMut::new(),
            quiet: false,
            #[cfg(test)]
            examined: 0,
        }
    }

    /// Changes the bounds, from the next octet on.
    pub const fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Sets the agreed version. Until then frames are read as 1.2, and CONNECT is the same in all versions.
    pub const fn set_version(&mut self, version: Version) {
        self.dialect.version = Some(version);
    }

    /// Reads by the text of the specification where a lenient reading is the default: `\r` is no escape in 1.1, and a
    /// `content-length` that is not a number is a fault.
    pub const fn set_strict(&mut self, strict: bool) {
        self.dialect.strict = strict;
    }

    /// Adds octets as they came. Take all items before feeding again, or unread octets pile up and are copied together.
    pub fn feed(&mut self, bytes: Bytes) {
        if matches!(self.stage, Stage::Failed(_)) {
            return;
        }
        self.quiet = false;
        if self.chunk.is_empty() {
            self.chunk = bytes;
            return;
        }
        let unread = std::mem::take(&mut self.chunk);
        let mut joined = unread.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..]));
        joined.extend_from_slice(&bytes);
        self.chunk = joined.freeze();
    }

    /// Takes the next item, or `None` until more is fed.
    ///
    /// # Errors
    ///
    /// The peer broke the grammar or a bound. No frame boundary is known any more, so every later call returns the same
    /// fault: answer with [`Fault::to_frame`] and close.
    #[allow(clippy::should_implement_trait, reason = "an iterator could not be fed between two items")]
    pub fn next(&mut self) -> Result<Option<Item>, Fault> {
        let found = self.read();
        if let Err(fault) = &found {
            self.stage = Stage::Failed(fault.clone());
            self.chunk = Bytes::new();
            self.gathered = BytesMut::new();
        }
        found
    }

    /// Octets kept: of an unfinished frame, and fed but not taken yet.
    #[must_use]
    pub fn buffered_bytes(&self) -> usize {
        let head = if let Stage::Body { head_bytes, .. } = &self.stage { *head_bytes } else { 0 };
        head + self.gathered.len() + self.chunk.len()
    }

    fn read(&mut self) -> Result<Option<Item>, Fault> {
        loop {
            let item = match &self.stage {
                Stage::Failed(fault) => return Err(fault.clone()),
                _ if self.chunk.is_empty() => return Ok(None),
                Stage::Between { after_cr } => self.line_ends(*after_cr)?,
                Stage::Command => self.command()?,
                Stage::Head { .. } => self.head()?,
                Stage::Body { .. } => self.body()?,
            };
            if item.is_some() {
                return Ok(item);
            }
        }
    }

    /// Skips line ends up to the first octet of a frame.
    fn line_ends(&mut self, mut after_cr: bool) -> Result<Option<Item>, Fault> {
        let (mut used, mut ends) = (0, 0);
        for octet in &self.chunk {
            match octet {
                b'\n' => (after_cr, ends) = (false, ends + 1),
                _ if after_cr => return Err(parse::lone_cr()),
                b'\r' => after_cr = true,
                _ => break,
            }
            used += 1;
        }
        self.examine(used);
        self.skip(used);
        self.stage = if self.chunk.is_empty() { Stage::Between { after_cr } } else { Stage::Command };
        if ends == 0 || self.quiet {
            return Ok(None);
        }
        self.quiet = true;
        Ok(Some(Item::HeartBeat))
    }

    /// Reads the command line; refused as soon as it is too long for any command.
    fn command(&mut self) -> Result<Option<Item>, Fault> {
        let room = COMMAND_LINE_BYTES - self.gathered.len();
        let start = room.min(self.chunk.len());
        let end = memchr2(b'\n', 0, &self.chunk[..start]);
        self.examine(end.map_or(start, |at| at + 1));
        let Some(end) = end else {
            if self.chunk.len() < room {
                self.gather();
                return Ok(None);
            }
            let text = format!("no command line within {COMMAND_LINE_BYTES} octets");
            return Err(Fault::new(FaultKind::UnknownCommand, text));
        };
        if self.chunk[end] == 0 {
            return Err(octet_0_in_head());
        }
        let line = self.take(end + 1);
        let text = &line[..line.len() - 1];
        let command = parse::command(text.strip_suffix(b"\r").unwrap_or(text), self.dialect.role)?;
        self.stage = Stage::Head { command, scan: HeadScan::behind(line.len()) };
        Ok(None)
    }

    /// Looks for the end of the head; parses it once it is whole.
    fn head(&mut self) -> Result<Option<Item>, Fault> {
        let Stage::Head { command, scan } = &mut self.stage else { return Ok(None) };
        let command = *command;
        let end = scan.find_end(&self.chunk, &self.limits)?;
        let (head_bytes, lines) = (scan.used, scan.lines);
        self.examine(end.unwrap_or(self.chunk.len()));
        let Some(end) = end else {
            self.gather();
            return Ok(None);
        };
        let head = self.take(end);
        self.examine(head.len());
        let headers = parse::headers(head, lines, command, self.dialect)?;
        let frame = Frame { command, headers, body: Bytes::new() };
        match self.body_end(&frame) {
            Ok(end) => self.stage = Stage::Body { frame, head_bytes, end },
            Err(fault) => return Err(fault.with_receipt(frame.header("receipt").cloned())),
        }
        Ok(None)
    }

    /// How the body of this frame ends; an announced body is judged before it arrives.
    fn body_end(&self, frame: &Frame) -> Result<BodyEnd, Fault> {
        let Some(announced) = parse::content_length(&frame.headers, self.dialect.strict)? else {
            return Ok(BodyEnd::Nul);
        };
        if announced > 0 {
            self.allow_body(frame)?;
        }
        match usize::try_from(announced) {
            Ok(length) if length <= self.limits.body_bytes => Ok(BodyEnd::Counted(length)),
            _ => Err(over_limit("content-length", announced, self.limits.body_bytes)),
        }
    }

    /// Reads the body and the NUL behind it.
    fn body(&mut self) -> Result<Option<Item>, Fault> {
        let Stage::Body { frame, end, .. } = &self.stage else { return Ok(None) };
        let body = match self.find_body_end(frame, *end) {
            Ok(Some(length)) => {
                let missing = length + 1 - self.gathered.len();
                self.examine(missing);
                self.take(missing).split_to(length)
            }
            Ok(None) => {
                self.examine(self.chunk.len());
                self.gather();
                return Ok(None);
            }
            Err(fault) => return Err(fault.with_receipt(frame.header("receipt").cloned())),
        };
        self.quiet = true;
        let stage = std::mem::replace(&mut self.stage, Stage::Between { after_cr: false });
        let Stage::Body { mut frame, .. } = stage else { return Ok(None) };
        if frame.command.may_have_body() {
            frame.body = body;
        }
        Ok(Some(Item::Frame(frame)))
    }

    /// The length of the body once its NUL is there.
    fn find_body_end(&self, frame: &Frame, end: BodyEnd) -> Result<Option<usize>, Fault> {
        match end {
            BodyEnd::Counted(length) => match self.chunk.get(length - self.gathered.len()) {
                Some(0) => Ok(Some(length)),
                None => Ok(None),
                // Spring's text.
                Some(_) => Err(Fault::new(FaultKind::Malformed, "Frame must be terminated with a null octet")),
            },
            BodyEnd::Nul => {
                let nul = memchr(0, &self.chunk);
                let length = self.gathered.len() + nul.unwrap_or(self.chunk.len());
                if length > 0 {
                    self.allow_body(frame)?;
                }
                if length > self.limits.body_bytes {
                    let what = if nul.is_some() { "body" } else { "unfinished body" };
                    return Err(over_limit(what, length as u64, self.limits.body_bytes));
                }
                Ok(nul.map(|_| length))
            }
        }
    }

    /// Whether this frame may have a body; in 1.0 one that should have none is read and dropped.
    fn allow_body(&self, frame: &Frame) -> Result<(), Fault> {
        if frame.command.may_have_body() || self.dialect.version == Some(Version::V1_0) {
            return Ok(());
        }
        Err(Fault::new(FaultKind::Malformed, format!("{} shouldn't have a body", frame.command)))
    }

    /// Takes the octets of the current stage, the last `count` of them from the chunk.
    fn take(&mut self, count: usize) -> Bytes {
        if self.gathered.is_empty() {
            return self.chunk.split_to(count);
        }
        self.gathered.extend_from_slice(&self.chunk[..count]);
        self.skip(count);
        std::mem::take(&mut self.gathered).freeze()
    }

    /// Keeps the chunk for the current stage.
    fn gather(&mut self) {
        self.gathered.extend_from_slice(&self.chunk);
        self.chunk = Bytes::new();
    }

    /// Drops octets, and with the last of them the piece they came in.
    fn skip(&mut self, count: usize) {
        if count == self.chunk.len() {
            self.chunk = Bytes::new();
        } else {
            self.chunk.advance(count);
        }
    }

    /// Counts octets that were looked at, for the test that says each costs a constant.
    #[cfg_attr(
        not(test),
        allow(clippy::unused_self, clippy::needless_pass_by_ref_mut, reason = "counts in tests only")
    )]
    fn examine(&mut self, _octets: usize) {
        #[cfg(test)]
        {
            self.examined += _octets;
        }
    }
}

/// The longest command line that is waited for, line end included; the longest command has 11 octets.
const COMMAND_LINE_BYTES: usize = 34;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_frame_is_not_copied() {
        let wire = Bytes::from(b"SEND\ndestination:/t\nk:a\\cb\n\nbody\0".to_vec());
        let within = |part: &[u8]| wire.as_ptr_range().contains(&part.as_ptr());
        let mut decoder = Decoder::new(Limits::default());
        decoder.feed(wire.clone());
        let Ok(Some(Item::Frame(frame))) = decoder.next() else { panic!("the frame is whole") };
        assert!(within(&frame.body));
        assert!(within(frame.header("destination").unwrap().as_bytes()));
        assert!(!within(frame.header("k").unwrap().as_bytes()), "a decoded value cannot be a slice");
    }

    #[test]
    fn between_frames_nothing_is_kept() {
        let mut decoder = Decoder::new(Limits::default());
        for piece in [&b"SEND\ndest"[..], b"ination:/t\n\nhe", b"llo\0\r", b"\n"] {
            let piece = Bytes::copy_from_slice(piece);
            decoder.feed(piece.clone());
            while decoder.next().unwrap().is_some() {}
            assert!(piece.is_unique(), "the decoder holds on to {piece:?}");
        }
        assert_eq!((decoder.buffered_bytes(), decoder.gathered.capacity()), (0, 0));
    }

    #[test]
    fn fed_by_single_octets_each_one_is_looked_at_a_constant_number_of_times() {
        let mut wire = b"SEND\ndestination:/t\n".to_vec();
        wire.extend(b"name:value\n".repeat(90));
        wire.extend(b"\n");
        wire.extend([b'x'; 50_000]);
        wire.push(0);
        let mut decoder = Decoder::new(Limits::default());
        let mut frames = 0;
        for octet in &wire {
            decoder.feed(Bytes::copy_from_slice(&[*octet]));
            frames += usize::from(decoder.next().unwrap().is_some());
        }
        assert_eq!(frames, 1);
        assert!(decoder.examined <= 2 * wire.len(), "{} looks at {} octets", decoder.examined, wire.len());
    }
}
