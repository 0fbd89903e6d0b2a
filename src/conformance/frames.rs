//! The frames in what a server writes, without a judgement about them.
//!
//! This is not the decoder of `stampede-protocol`: what it has wrong must not go unseen.

use crate::client::wire::LARGEST;

/// A frame of a server, as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// The command.
    pub command: Vec<u8>,
    /// Names and values as they were written: escapes are as they came.
    pub headers: Vec<(Vec<u8>, Vec<u8>)>,
    /// The body.
    pub body: Vec<u8>,
    /// All octets, the one at its end included.
    pub octets: Vec<u8>,
}

impl Seen {
    /// The value of the first header of this name, as it was written.
    #[must_use]
    pub fn header(&self, name: &[u8]) -> Option<&[u8]> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_slice())
    }
}

/// Cuts a stream into frames.
#[derive(Debug, Default)]
pub struct Cutter {
    buffer: Vec<u8>,
    /// Line ends between frames so far.
    pub beats: usize,
}

impl Cutter {
    /// Takes what came.
    pub fn feed(&mut self, octets: &[u8]) {
        self.buffer.extend_from_slice(octets);
    }

    /// What has come of a frame that is not whole.
    #[must_use]
    pub fn pending(&self) -> &[u8] {
        &self.buffer
    }

    /// The next frame, if it is there as a whole.
    ///
    /// # Errors
    ///
    /// Where no frame can be made of it: says why.
    pub fn cut(&mut self) -> Result<Option<Seen>, String> {
        if self.buffer.len() > LARGEST {
            return Err(format!("a frame has more than {LARGEST} octets"));
        }
        let skipped = self.buffer.iter().take_while(|octet| matches!(octet, b'\n' | b'\r')).count();
        self.beats += self.buffer[..skipped].iter().filter(|octet| **octet == b'\n').count();
        self.buffer.drain(..skipped);
        let mut lines = Vec::new();
        let mut at = 0;
        loop {
            let rest = &self.buffer[at..];
            let Some(end) = memchr::memchr(b'\n', rest) else {
                let zero = memchr::memchr(0, rest);
                return zero.map_or(Ok(None), |_| Err("an octet 0 before the empty line".to_owned()));
            };
            let line = &rest[..end];
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            at += end + 1;
            if line.is_empty() {
                break;
            }
            lines.push(line);
        }
        let headers = lines[1..]
            .iter()
            .map(|line| {
                let colon = memchr::memchr(b':', line);
                let colon = colon.ok_or_else(|| format!("a header without a colon: {}", super::form::show(line)))?;
                Ok((line[..colon].to_vec(), line[colon + 1..].to_vec()))
            })
            .collect::<Result<Vec<_>, String>>()?;
        let length = headers.iter().find(|(name, _)| name == b"content-length").map(|(_, value)| value);
        let body = match length {
            None => memchr::memchr(0, &self.buffer[at..]),
            Some(text) => {
                let length: Option<usize> = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
                let length = length.ok_or_else(|| format!("content-length:{}", super::form::show(text)))?;
                match self.buffer.get(at.saturating_add(length)) {
                    Some(0) => Some(length),
                    Some(_) => return Err(format!("no octet 0 behind a body of content-length:{length}")),
                    None => None,
                }
            }
        };
        let Some(length) = body else { return Ok(None) };
        let seen = Seen {
            command: lines[0].to_vec(),
            headers,
            body: self.buffer[at..at + length].to_vec(),
            octets: self.buffer[..=at + length].to_vec(),
        };
        self.buffer.drain(..=at + length);
        Ok(Some(seen))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commands(octets: &[u8]) -> (Vec<String>, usize) {
        let mut cutter = Cutter::default();
        let mut found = Vec::new();
        for octet in octets {
            cutter.feed(&[*octet]);
            while let Some(seen) = cutter.cut().unwrap() {
                let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
                found.push(format!("{} {:?}", text(&seen.command), text(&seen.body)));
            }
        }
        assert!(cutter.pending().is_empty());
        (found, cutter.beats)
    }

    #[test]
    fn a_stream_is_cut_into_frames() {
        let octets =
            b"\nCONNECTED\r\nversion:1.2\r\n\r\n\0\nMESSAGE\ncontent-length:3\n\na\0b\0RECEIPT\nreceipt-id:\n\n\0";
        let (found, beats) = commands(octets);
        assert_eq!(found, ["CONNECTED \"\"", "MESSAGE \"a\\0b\"", "RECEIPT \"\""]);
        assert_eq!(beats, 2);
    }

    #[test]
    fn a_frame_without_end_is_not_held() {
        let mut cutter = Cutter { buffer: vec![0; LARGEST + 1], beats: 0 };
        assert!(cutter.cut().unwrap_err().contains(&LARGEST.to_string()));
    }

    #[test]
    fn what_is_no_frame_is_said() {
        for octets in
            [&b"RECEIPT\nno colon\n\n\0"[..], b"M\0", b"M\ncontent-length:x\n\n\0", b"M\ncontent-length:1\n\nab\0"]
        {
            let mut cutter = Cutter::default();
            cutter.feed(octets);
            assert!(cutter.cut().is_err(), "{octets:?}");
        }
    }
}
