//! What is kept for absent receivers, and how much of it.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use stampede_protocol::stomp::session::MAX_OPEN_DELIVERIES;

use crate::config::units;

/// Bounds of everything kept on this node, over all destinations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Mailbox {
    /// Most kept destinations that hold messages or have subscribers. Default 1,000,000.
    pub max_destinations: usize,
    /// Most bytes kept in memory, headers and [`MESSAGE_OVERHEAD_BYTES`] per message included. Default 256 MiB.
    #[serde(with = "units::bytes")]
    pub max_bytes: usize,
    /// Most kept messages one subscription is handed before it proves any, up to [`MAX_OPEN_DELIVERIES`]. Default 32.
    pub window: usize,
    /// Most bytes one subscription is handed before it proves any; one larger message passes alone. Default 128 KiB,
    /// a quarter of the default outbox, so that a full mailbox never overruns a session.
    #[serde(with = "units::bytes")]
    pub window_bytes: usize,
    /// Most bytes that wait to be written to `data_dir`; beyond it senders are refused. Default 16 MiB.
    #[serde(with = "units::bytes")]
    pub write_buffer: usize,
}

/// What one kept destination may hold: `keep = { for = "7d", max = 200, max_bytes = "1MiB" }`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Keep {
    /// How long a message waits for its receiver (`for`). Default 7 days.
    #[serde(rename = "for", with = "units::duration")]
    pub age: Duration,
    /// Most messages at a time, at least 1. Default 200.
    pub max: usize,
    /// Most bytes at a time, headers included. Default 1 MiB.
    #[serde(with = "units::bytes")]
    pub max_bytes: usize,
    /// What happens to a message for which there is no room. Default [`KeepOverflow::DropOldest`].
    pub overflow: KeepOverflow,
    /// How often a message is handed out only to be rejected (NACK); the last time it is given up. At least 1,
    /// default 16.
    pub max_deliveries: u32,
}

/// What happens to a message for which a kept destination has no room.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeepOverflow {
    /// The oldest kept messages make room for it.
    #[default]
    DropOldest,
    /// The sender gets an ERROR that names the limit; what is kept stays.
    Refuse,
}

impl Mailbox {
    /// Whether the values make sense together.
    ///
    /// # Errors
    ///
    /// Names the key at fault and what it may be.
    pub fn check(&self) -> Result<(), String> {
        at_least_one("max_destinations", self.max_destinations)?;
        at_least_one("window", self.window)?;
        if self.window > MAX_OPEN_DELIVERIES {
            return Err(format!("window is {}: it may be {MAX_OPEN_DELIVERIES} at most", self.window));
        }
        at_least_one("window_bytes", self.window_bytes)?;
        at_least_one("write_buffer", self.write_buffer)
    }
}

impl Keep {
    /// Whether the values make sense together.
    ///
    /// # Errors
    ///
    /// Names the key at fault and what it may be.
    pub fn check(&self) -> Result<(), String> {
        if self.age.is_zero() {
            return Err("keep.for is 0: nothing would ever be kept; leave `keep` out instead".into());
        }
        at_least_one("keep.max", self.max)?;
        at_least_one("keep.max_bytes", self.max_bytes)?;
        at_least_one("keep.max_deliveries", self.max_deliveries as usize)
    }
}

impl Default for Mailbox {
    fn default() -> Self {
        Self {
            max_destinations: 1_000_000,
            max_bytes: 256 << 20,
            window: 32,
            window_bytes: 128 << 10,
            write_buffer: 16 << 20,
        }
    }
}

impl Default for Keep {
    fn default() -> Self {
        Self {
            age: Duration::from_secs(7 * 24 * 60 * 60),
            max: 200,
            max_bytes: 1 << 20,
            overflow: KeepOverflow::DropOldest,
            max_deliveries: 16,
        }
    }
}

fn at_least_one(key: &str, value: usize) -> Result<(), String> {
    if value == 0 { Err(format!("{key} is 0: it must be at least 1")) } else { Ok(()) }
}

/// What a kept message costs besides its bytes: entry, indexes, header list. Estimated from the sizes of the
/// structures, and counted so that a flood of empty messages cannot pass below the limit.
pub const MESSAGE_OVERHEAD_BYTES: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_reads_as_it_is_documented() {
        let text = "for = '2h'\nmax = 10\nmax_bytes = '64KiB'\noverflow = 'refuse'";
        let keep: Keep = toml::from_str(text).unwrap();
        let expected = Keep {
            age: Duration::from_secs(7200),
            max: 10,
            max_bytes: 65536,
            overflow: KeepOverflow::Refuse,
            max_deliveries: 16,
        };
        assert_eq!(keep, expected);
        assert_eq!(toml::from_str::<Keep>("").unwrap(), Keep::default());
        assert_eq!(
            toml::from_str::<Mailbox>(&toml::to_string(&Mailbox::default()).unwrap()).unwrap(),
            Mailbox::default()
        );
    }

    #[test]
    fn unknown_keys_are_refused() {
        let error = toml::from_str::<Keep>("maximum = 10").unwrap_err().to_string();
        assert!(error.contains("maximum"), "{error}");
    }

    #[test]
    fn limits_that_would_keep_nothing_are_refused_by_name() {
        let zero_age = Keep { age: Duration::ZERO, ..Keep::default() };
        let zero_max = Keep { max: 0, ..Keep::default() };
        let zero_window = Mailbox { window: 0, ..Mailbox::default() };
        let wide_window = Mailbox { window: 5000, ..Mailbox::default() };
        for (result, key) in [
            (zero_age.check(), "keep.for"),
            (zero_max.check(), "keep.max"),
            (zero_window.check(), "window"),
            (wide_window.check(), "window is 5000"),
        ] {
            assert!(result.as_ref().is_err_and(|text| text.contains(key)), "{result:?}");
        }
        assert_eq!((Keep::default().check(), Mailbox::default().check()), (Ok(()), Ok(())));
    }
}
