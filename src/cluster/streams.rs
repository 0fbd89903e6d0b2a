//! Which envelopes of other runs came already.
//!
//! A relay repeats what it is not sure of, so what came may come again. The highest number alone would not tell: when a
//! broker crashes, the queue of a node may have kept an envelope and lost the one before it, which nobody had been promised
//! yet and which then comes late.

use std::collections::HashMap;

use bytestring::ByteString;

/// Runs of nodes that are remembered; the oldest are forgotten first, at the price of a repetition.
const MAX_STREAMS: usize = 1024;
/// How far behind the highest number one may come late. More than a relay has unconfirmed, or what was lost would pass for
/// a repetition.
const REACH: u64 = 1024;
const WORDS: usize = REACH as usize / 64;

/// The numbers that came, by run.
#[derive(Debug, Default)]
pub(super) struct Streams {
    runs: HashMap<ByteString, Run>,
    clock: u64,
}

#[derive(Debug)]
struct Run {
    heard: u64,
    highest: u64,
    /// A bit for each of the last numbers, by their remainder.
    came: Box<[u64; WORDS]>,
}

impl Streams {
    /// Whether this one comes for the first time, as far as is known.
    pub(super) fn is_new(&mut self, stream: &ByteString, seq: u64) -> bool {
        self.clock += 1;
        let heard = self.clock;
        if let Some(run) = self.runs.get_mut(stream) {
            run.heard = heard;
            return run.is_new(seq);
        }
        if self.runs.len() >= MAX_STREAMS
            && let Some(oldest) = self.runs.iter().min_by_key(|(_, run)| run.heard).map(|(stream, _)| stream.clone())
        {
            self.runs.remove(&oldest);
        }
        let mut run = Run { heard, highest: seq, came: Box::default() };
        run.note(seq);
        // Copied: the text is a slice of the whole envelope.
        self.runs.insert(ByteString::from(&**stream), run);
        true
    }
}

impl Run {
    fn is_new(&mut self, seq: u64) -> bool {
        if seq > self.highest {
            for skipped in (self.highest + 1..=seq).take(REACH as usize) {
                self.came[Self::word(skipped)] &= !Self::bit(skipped);
            }
            self.highest = seq;
        } else if self.highest - seq >= REACH || self.came[Self::word(seq)] & Self::bit(seq) != 0 {
            return false;
        }
        self.note(seq);
        true
    }

    fn note(&mut self, seq: u64) {
        self.came[Self::word(seq)] |= Self::bit(seq);
    }

    const fn word(seq: u64) -> usize {
        (seq % REACH) as usize / 64
    }

    const fn bit(seq: u64) -> u64 {
        1 << (seq % 64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repetition_is_known_and_what_comes_late_is_new() {
        let (mut streams, run) = (Streams::default(), ByteString::from_static("a/1"));
        let mut new = |seq| streams.is_new(&run, seq);
        assert!(new(10) && new(11) && new(13));
        assert!(!new(10) && !new(11) && !new(13));
        assert!(new(12) && !new(12));
        // Of others nothing is known yet.
        assert!(new(9) && !new(9));
        assert!(new(13 + 2 * REACH));
        assert!(!new(13 + REACH));
        assert!(new(14 + REACH) && !new(14 + REACH));
        assert!(streams.is_new(&ByteString::from_static("a/2"), 10));
    }

    #[test]
    fn it_remembers_as_a_set_would() {
        let (mut streams, run) = (Streams::default(), ByteString::from_static("a/1"));
        let (mut came, mut highest, mut random) = (std::collections::BTreeSet::new(), 0_u64, 1_u64);
        for step in 0..20_000_u64 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let seq = step + (random >> 33) % 1500;
            let expected = (seq + REACH > highest || came.is_empty()) && came.insert(seq);
            highest = highest.max(seq);
            assert_eq!(streams.is_new(&run, seq), expected, "{seq}");
        }
    }
}
