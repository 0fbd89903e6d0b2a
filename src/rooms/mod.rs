//! Rooms: who is together, and who is told when somebody comes or goes.
//!
//! ```text
//! route: join, leave    SUBSCRIBE, UNSUBSCRIBE    end of a session
//!          |                     |                      |
//!          v                     v                      v
//!        Rooms = RoomStore (who is where) + rules (whom to tell what) -> Action::Send …
//! ```
//!
//! A member is in a room as long as at least one of its sessions holds it there; its join and its leave are announced once
//! each, however many sessions it has. What is announced comes back as actions: the broker publishes them, this room
//! publishes nothing.

mod check;
mod memory;
pub mod redis;
mod rules;
pub mod shared;

use std::sync::Arc;

use crate::routes::{Action, Refusal, RoomRequest, RoomState, RoomsView, Who};

pub use check::check;
pub use memory::MemoryRooms;
pub use rules::RoomRules;

/// Remembers who is in which room. [`MemoryRooms`] does it for one node.
///
/// What every implementation keeps to:
/// - all changes are idempotent, but for the count of [`Hold::Subscription`]; a store that is asked again after a lost answer
///   keys those by subscription;
/// - a departure with `last` is reported exactly once per stay of a member, whichever session, or node, is the last;
/// - members are listed in the order in which each came with its first session;
/// - a change that exceeds a bound changes nothing.
pub trait RoomStore {
    /// Lets a session hold a member in a room; `true` if the member was not there.
    ///
    /// # Errors
    ///
    /// If a bound is reached.
    fn join(&mut self, seat: Seat<'_>, profile: &str, hold: Hold) -> Result<bool, RoomError>;

    /// Takes back what the session holds in the room, of one member or all: one hold of that kind, or every hold.
    fn leave(&mut self, room: &str, member: Option<&str>, session: &str, hold: Option<Hold>) -> Vec<Departure>;

    /// Takes back all that the session holds anywhere.
    fn end_session(&mut self, session: &str) -> Vec<Departure>;

    /// Who is in the room, in the order they came.
    fn members(&self, room: &str) -> Vec<Member>;
}

/// A session's place in a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seat<'a> {
    /// Name of the room.
    pub room: &'a str,
    /// Id of the member.
    pub member: &'a str,
    /// Id of the session.
    pub session: &'a str,
}

/// Why a session holds a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// A route said join; until one says leave.
    Route,
    /// It subscribed; each subscription counts.
    Subscription,
}

/// One member of a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its id.
    pub id: Arc<str>,
    /// What the others are shown, as JSON.
    pub profile: Arc<str>,
}

/// A session holds a member no longer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Departure {
    /// Name of the room.
    pub room: Arc<str>,
    /// Who it was.
    pub member: Member,
    /// Whether this was its last session: the member is gone.
    pub last: bool,
}

/// Why nobody joined.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RoomError {
    /// `rooms.max_rooms`.
    #[error("there are {limit} rooms, which is as many as are allowed")]
    Rooms {
        /// The bound.
        limit: usize,
    },
    /// `rooms.max_members`.
    #[error("the room is full: it has {limit} members")]
    Members {
        /// The bound.
        limit: usize,
    },
    /// `rooms.max_rooms_per_session`.
    #[error("this session is in {limit} rooms, which is as many as are allowed")]
    PerSession {
        /// The bound.
        limit: usize,
    },
    /// `rooms.profile_size_limit`.
    #[error("the profile has {size} bytes as JSON, more than the {limit} allowed")]
    Profile {
        /// Its size.
        size: usize,
        /// The bound.
        limit: usize,
    },
    /// A name that is empty, too long or holds control characters.
    #[error("the name of a room or member has 1 to {limit} bytes and no control characters")]
    Name {
        /// The bound.
        limit: usize,
    },
}

impl From<RoomError> for Refusal {
    fn from(error: RoomError) -> Self {
        Self::Room(error.to_string())
    }
}

/// The rooms of a node and what the configuration says about them.
#[derive(Debug, Default)]
pub struct Rooms<S = MemoryRooms> {
    rules: RoomRules,
    store: S,
}

impl<S: RoomStore> Rooms<S> {
    /// Rooms in `store` with these rules.
    pub const fn new(rules: RoomRules, store: S) -> Self {
        Self { rules, store }
    }

    /// Whether any subscription joins a room; if none does, [`Rooms::subscribed`] need not be called.
    pub fn follow_subscriptions(&self) -> bool {
        self.rules.follow_subscriptions()
    }

    /// To be called after a SUBSCRIBE was accepted: it may join a room. Returns what to publish.
    ///
    /// # Errors
    ///
    /// If the room refuses the member, or the configuration needs something that this session has not.
    pub fn subscribed(&mut self, destination: &str, who: &Who<'_>) -> Result<Vec<Action>, Refusal> {
        let Some(joining) = self.rules.joining(destination, who)? else { return Ok(Vec::new()) };
        let seat = Seat { room: &joining.room, member: &joining.member, session: who.session };
        let state = self.join(seat, &joining.profile, Hold::Subscription)?;
        Ok(state.announcements)
    }

    /// To be called after an UNSUBSCRIBE, with the destination that had been subscribed.
    pub fn unsubscribed(&mut self, destination: &str, who: &Who<'_>) -> Vec<Action> {
        // What could not join has nothing to leave.
        let Ok(Some(joining)) = self.rules.joining(destination, who) else { return Vec::new() };
        let left = self.store.leave(&joining.room, Some(&joining.member), who.session, Some(Hold::Subscription));
        self.announce_leaves(&left)
    }

    /// To be called once when a session ends, for whatever reason; its subscriptions need not be told one by one.
    pub fn end_session(&mut self, session: &str) -> Vec<Action> {
        let left = self.store.end_session(session);
        self.announce_leaves(&left)
    }

    /// Who is in the room, in the order they came.
    #[must_use]
    pub fn members(&self, room: &str) -> Vec<Member> {
        self.store.members(room)
    }

    /// The store, e.g. to count rooms.
    pub const fn store(&self) -> &S {
        &self.store
    }

    /// The rules, and the store.
    pub(crate) fn into_parts(self) -> (RoomRules, S) {
        (self.rules, self.store)
    }

    fn join(&mut self, seat: Seat<'_>, profile: &str, hold: Hold) -> Result<RoomState, Refusal> {
        let new = self.store.join(seat, profile, hold)?;
        let members = self.profiles(seat.room);
        let member = Member { id: seat.member.into(), profile: profile.into() };
        let announcements = if new { self.rules.announce_join(seat.room, &member, &members, None) } else { Vec::new() };
        Ok(RoomState { member: Some(member.profile), members, announcements, version: None })
    }

    fn announce_leaves(&self, left: &[Departure]) -> Vec<Action> {
        let gone = left.iter().filter(|departure| departure.last);
        gone.flat_map(|Departure { room, member, .. }| {
            self.rules.announce_leave(room, member, || self.profiles(room), None)
        })
        .collect()
    }

    fn profiles(&self, room: &str) -> Vec<Arc<str>> {
        self.store.members(room).into_iter().map(|member| member.profile).collect()
    }
}

impl<S: RoomStore> RoomsView for Rooms<S> {
    fn apply(&mut self, session: &str, request: RoomRequest) -> Result<RoomState, Refusal> {
        match request {
            RoomRequest::Join { room, member, profile } => {
                self.join(Seat { room: &room, member: &member, session }, &profile, Hold::Route)
            }
            RoomRequest::Leave { room, member } => {
                let left = self.store.leave(&room, member.as_deref(), session, None);
                let announcements = self.announce_leaves(&left);
                let member = left.into_iter().next().map(|departure| departure.member.profile);
                Ok(RoomState { member, members: self.profiles(&room), announcements, version: None })
            }
            RoomRequest::Read { room } => Ok(RoomState { members: self.profiles(&room), ..RoomState::default() }),
        }
    }
}

#[cfg(test)]
mod article;
#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod tests;
