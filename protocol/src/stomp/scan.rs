//! Finding the end of a head in pieces, within bounds.

use memchr::memchr2;

use super::{Fault, FaultKind};
use crate::Limits;

/// The search for the empty line, resumed where the last piece ended.
#[derive(Debug)]
pub(super) struct HeadScan {
    /// Octets of the head so far, command line and line ends included.
    pub(super) used: usize,
    /// Header lines seen whole.
    pub(super) lines: usize,
    /// Octets of the line that is not finished yet.
    line_bytes: usize,
    /// Whether the last of them is CR.
    after_cr: bool,
}

impl HeadScan {
    pub(super) const fn behind(command_line: usize) -> Self {
        Self { used: command_line, lines: 0, line_bytes: 0, after_cr: false }
    }

    /// Where in `octets` the head ends, empty line included.
    pub(super) fn find_end(&mut self, octets: &[u8], limits: &Limits) -> Result<Option<usize>, Fault> {
        let mut from = 0;
        loop {
            let stop = memchr2(b'\n', 0, &octets[from..]);
            let run = &octets[from..stop.map_or(octets.len(), |at| from + at)];
            self.grow(run, stop.is_some(), limits)?;
            from += run.len() + 1;
            match stop {
                None => return Ok(None),
                Some(_) if octets[from - 1] == 0 => return Err(octet_0_in_head()),
                Some(_) if self.text_bytes() == 0 => return Ok(Some(from)),
                Some(_) => self.end_line(limits)?,
            }
        }
    }

    /// Adds octets to the unfinished line, and its end if it is there.
    fn grow(&mut self, run: &[u8], ended: bool, limits: &Limits) -> Result<(), Fault> {
        self.used += run.len() + usize::from(ended);
        self.line_bytes += run.len();
        self.after_cr = run.last().map_or(self.after_cr, |last| *last == b'\r');
        if self.text_bytes() > limits.header_line_bytes {
            let what = if ended { "header line" } else { "unfinished header line" };
            return Err(over_limit(what, self.text_bytes() as u64, limits.header_line_bytes));
        }
        if self.used > limits.head_bytes {
            return Err(over_limit("head", self.used as u64, limits.head_bytes));
        }
        Ok(())
    }

    fn end_line(&mut self, limits: &Limits) -> Result<(), Fault> {
        self.lines += 1;
        self.line_bytes = 0;
        self.after_cr = false;
        if self.lines > limits.headers {
            let text = format!("frame of {} headers or more is over the limit of {}", self.lines, limits.headers);
            return Err(Fault::new(FaultKind::Limit, text));
        }
        Ok(())
    }

    /// Octets of the unfinished line that are not its line end.
    const fn text_bytes(&self) -> usize {
        self.line_bytes - self.after_cr as usize
    }
}

pub(super) fn over_limit(what: &str, octets: u64, limit: usize) -> Fault {
    Fault::new(FaultKind::Limit, format!("{what} of {octets} octets is over the limit of {limit}"))
}

pub(super) fn octet_0_in_head() -> Fault {
    Fault::new(FaultKind::Malformed, "octet 0 in the head of a frame")
}
