//! Rooms of several nodes: one list of members, whichever node each of them is connected to.
//!
//! ```text
//! session joins --> Together (which sessions hold whom on this node) --first or last of a stay--> SharedRooms
//!                       ^                                                                     Redis, or a map
//!                       +-- who is there now, whether somebody came or went --> rules --> Action::Send …
//! ```
//!
//! A node tells the store of a member once, however many sessions it has here: that is a [`Stay`]. A member is there as long
//! as it has a stay on any node, so the last to leave is found by the store in one atomic step. A departure stays in the
//! store until whoever has to tell it says that it was told: a node that dies in between leaves it to the next.

mod memory;
mod together;

use std::fmt;
use std::sync::Arc;

use thiserror::Error;

use super::Member;
use crate::ids::Boot;
use crate::relay::Later;

pub use memory::Memory;
pub use together::{Change, Ended, Here, Together};

/// A member on one node: from its first session there to its last.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Stay {
    /// Name of the room.
    pub room: Arc<str>,
    /// Id of the member.
    pub member: Arc<str>,
    /// The run of the node.
    pub boot: Boot,
    /// Given once in a run, so that a stay is not taken for an earlier one of the same member.
    pub number: u64,
}

impl Stay {
    /// The stay without room and member: `node/run#number`.
    #[must_use]
    pub fn holder(&self) -> String {
        format!("{}#{}", self.boot, self.number)
    }
}

/// Who is in a room.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listed {
    /// Grows with every change of the list; 0 for a room that nobody is in.
    pub version: u64,
    /// In the order in which they came.
    pub members: Vec<Member>,
}

/// What became of a join.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Joined {
    /// As many members as may be are there; nothing has changed.
    Full,
    /// The stay is there.
    In {
        /// With this stay the member came. Asked again, the same stay gets the same answer.
        first: bool,
        /// The member came by this very call.
        created: bool,
        /// Who is there now.
        listed: Listed,
    },
}

/// What became of a stay that ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Left {
    /// Nobody has to be told: the member has other stays, or the stay was not there.
    Stays,
    /// The member is gone and whoever asked has to tell it. Asked again before [`SharedRooms::told`], the same asker gets
    /// the same answer.
    Gone {
        /// The profile it had.
        profile: Arc<str>,
    },
    /// The member is gone, and this run has to tell it.
    ToldBy(Boot),
}

/// The store did not answer, or not in time. The change may have been made all the same.
#[derive(Debug, Clone, Error)]
#[error("the rooms of all nodes cannot be reached: {0}")]
pub struct Away(pub Arc<str>);

/// Remembers who is in which room, for all nodes. Every call is safe to be made twice: a client of Redis sends again what was
/// cut off.
pub trait SharedRooms: Send + Sync + fmt::Debug {
    /// Lets a stay hold its member in its room, with this profile, unless `max_members` others are there.
    fn join<'a>(&'a self, stay: &'a Stay, profile: &'a str, max_members: usize) -> Later<'a, Result<Joined, Away>>;

    /// Ends a stay. If the member is gone with it, `by` has to tell it, also `instead_of` another run that was to.
    fn leave<'a>(
        &'a self,
        stay: &'a Stay,
        by: &'a Boot,
        instead_of: Option<&'a Boot>,
    ) -> Later<'a, Result<(Left, Listed), Away>>;

    /// The end of this stay was told: nobody has to any more.
    fn told<'a>(&'a self, stay: &'a Stay) -> Later<'a, Result<(), Away>>;

    /// Who is in the room.
    fn members<'a>(&'a self, room: &'a str) -> Later<'a, Result<Listed, Away>>;

    /// Stays of this run that have not ended, or whose end has not been told.
    fn stays<'a>(&'a self, boot: &'a Boot) -> Later<'a, Result<Vec<Stay>, Away>>;
}

#[cfg(test)]
mod tests;
