//! Who is where: which nodes live, and which of them have receivers for a name.
//!
//! An entry says "this run of this node has receivers for this name". Entries of runs that are known to be dead count for
//! nothing. Every call is safe to be made twice: a client of Redis sends again what was cut off.

pub mod cached;
pub mod redis;

use std::fmt;
use std::sync::Arc;

use thiserror::Error;

use crate::ids::Boot;
use crate::relay::Later;

/// What receivers are registered under.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Name {
    /// An addressee: a user, or whatever stands behind `/user/`.
    User(Box<str>),
    /// A broker destination.
    Destination(Box<str>),
    /// A pattern of destinations.
    Pattern(Box<str>),
}

/// A name has receivers on this node, or has none any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Which name.
    pub name: Name,
    /// Whether it has receivers.
    pub present: bool,
}

/// Who has receivers for the names that were asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Located {
    /// For each name, in the order of the question, the runs with receivers. May hold runs that are dead.
    pub nodes: Vec<Vec<Boot>>,
    /// Changes whenever a pattern comes or goes.
    pub patterns_version: u64,
}

/// All patterns with receivers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Patterns {
    /// As in [`Located::patterns_version`], read before the entries: they may be newer, never older.
    pub version: u64,
    /// Pattern and the run that has receivers for it.
    pub entries: Vec<(Box<str>, Boot)>,
}

/// A run of a node that has not been removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeState {
    /// Which.
    pub boot: Boot,
    /// Whether its lease holds.
    pub alive: bool,
    /// What it said about itself.
    pub info: String,
}

/// What became of a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lease {
    /// It held all the time.
    Renewed,
    /// It is new: there was none, or it had run out, and others may have removed the entries of this run.
    New,
}

/// The registry did not answer, or not in time. The change may have been made all the same.
#[derive(Debug, Clone, Error)]
#[error("the registry of users and nodes failed: {0}")]
pub struct RegistryError(pub Arc<str>);

/// Remembers which nodes live and who has receivers for what.
pub trait Registry: Send + Sync + fmt::Debug {
    /// Lists the run and extends its lease by the configured time. `info` is for people.
    fn renew<'a>(&'a self, boot: &'a Boot, info: &'a str) -> Later<'a, Result<Lease, RegistryError>>;

    /// Every run that was listed and not removed.
    fn nodes(&self) -> Later<'_, Result<Vec<NodeState>, RegistryError>>;

    /// Enters and removes names of this run, in order. When it returns, every [`Registry::locate`] that begins later sees it.
    fn change<'a>(&'a self, boot: &'a Boot, changes: &'a [Change]) -> Later<'a, Result<(), RegistryError>>;

    /// Who has receivers for each of these names (no patterns), in one round trip.
    fn locate<'a>(&'a self, names: &'a [Name]) -> Later<'a, Result<Located, RegistryError>>;

    /// All patterns.
    fn patterns(&self) -> Later<'_, Result<Patterns, RegistryError>>;

    /// How often the connection was lost so far. What was entered before may have been forgotten then: a replica takes over
    /// without the last changes.
    fn interruptions(&self) -> u64 {
        0
    }

    /// Removes all entries of a run, its lease, and last its place in the list. Can be repeated after a failure.
    fn remove<'a>(&'a self, boot: &'a Boot) -> Later<'a, Result<(), RegistryError>>;
}
