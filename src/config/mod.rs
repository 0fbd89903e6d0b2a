//! Configuration: one section per room, every key with its default in `stampede.toml`.

pub mod mailbox;
pub mod units;
