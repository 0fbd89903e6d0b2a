//! Rooms in the memory of one node.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::{Departure, Hold, Member, RoomError, RoomStore, Seat};
use crate::config::rooms::RoomsConfig;

/// Longest name of a room and id of a member.
const MAX_NAME_BYTES: usize = 256;

/// Rooms, their members, and which sessions hold whom where.
///
/// Names come from clients: the maps are keyed with a secret, so nobody can choose names that collide.
#[derive(Debug, Default)]
pub struct MemoryRooms {
    limits: RoomsConfig,
    rooms: HashMap<Arc<str>, Room>,
    /// For each session the rooms and members it holds; what ends with it is found without a search.
    sessions: HashMap<Arc<str>, BTreeSet<Place>>,
    joins: u64,
}

/// Room and member.
type Place = (Arc<str>, Arc<str>);

#[derive(Debug, Default)]
struct Room {
    members: HashMap<Arc<str>, Entry>,
}

#[derive(Debug)]
struct Entry {
    /// Grows with every join, so it gives the order.
    joined: u64,
    profile: Arc<str>,
    sessions: HashMap<Arc<str>, Holds>,
}

/// Why a session keeps a member in a room.
#[derive(Debug, Default)]
struct Holds {
    route: bool,
    subscriptions: usize,
}

impl MemoryRooms {
    /// No rooms yet.
    #[must_use]
    pub fn new(limits: RoomsConfig) -> Self {
        Self { limits, ..Self::default() }
    }

    /// How many rooms have a member.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rooms.len()
    }

    /// Whether no room has a member.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rooms.is_empty()
    }

    /// Whether the session is in any room.
    pub(super) fn is_anywhere(&self, session: &str) -> bool {
        self.sessions.contains_key(session)
    }

    pub(super) const fn limits(&self) -> &RoomsConfig {
        &self.limits
    }

    /// Every member of every room.
    pub(super) fn places(&self) -> impl Iterator<Item = (&Arc<str>, Member)> {
        self.rooms.iter().flat_map(|(room, entries)| {
            let member = |(id, entry): (&Arc<str>, &Entry)| Member { id: id.clone(), profile: entry.profile.clone() };
            entries.members.iter().map(move |entry| (room, member(entry)))
        })
    }

    /// Whether a join would be within all bounds.
    pub(super) fn admit(&self, seat: Seat<'_>, profile: &str) -> Result<(), RoomError> {
        let limits = &self.limits;
        for name in [seat.room, seat.member] {
            if name.is_empty() || name.len() > MAX_NAME_BYTES || name.contains(char::is_control) {
                return Err(RoomError::Name { limit: MAX_NAME_BYTES });
            }
        }
        if profile.len() > limits.profile_size_limit {
            return Err(RoomError::Profile { size: profile.len(), limit: limits.profile_size_limit });
        }
        let room = self.rooms.get(seat.room);
        if room.is_none() && self.rooms.len() >= limits.max_rooms {
            return Err(RoomError::Rooms { limit: limits.max_rooms });
        }
        let member = room.and_then(|room| room.members.get(seat.member));
        if member.is_none() && room.is_some_and(|room| room.members.len() >= limits.max_members) {
            return Err(RoomError::Members { limit: limits.max_members });
        }
        let held = self.sessions.get(seat.session).map_or(0, BTreeSet::len);
        let known = member.is_some_and(|member| member.sessions.contains_key(seat.session));
        if !known && held >= limits.max_rooms_per_session {
            return Err(RoomError::PerSession { limit: limits.max_rooms_per_session });
        }
        Ok(())
    }

    /// Takes one hold, or all, of a session on a member; a departure only if it holds the member no longer.
    fn release(&mut self, (room, member): &Place, session: &str, hold: Option<Hold>) -> Option<Departure> {
        let members = &mut self.rooms.get_mut(room)?.members;
        let entry = members.get_mut(member)?;
        let holds = entry.sessions.get_mut(session)?;
        if let Some(Hold::Subscription) = hold {
            holds.subscriptions = holds.subscriptions.saturating_sub(1);
            if holds.route || holds.subscriptions > 0 {
                return None;
            }
        }
        entry.sessions.remove(session);
        let last = entry.sessions.is_empty();
        let profile = entry.profile.clone();
        if last {
            members.remove(member);
            if members.is_empty() {
                self.rooms.remove(room);
            }
        }
        if let Some(held) = self.sessions.get_mut(session) {
            held.remove(&(room.clone(), member.clone()));
            if held.is_empty() {
                self.sessions.remove(session);
            }
        }
        Some(Departure { room: room.clone(), member: Member { id: member.clone(), profile }, last })
    }
}

impl RoomStore for MemoryRooms {
    fn join(&mut self, seat: Seat<'_>, profile: &str, hold: Hold) -> Result<bool, RoomError> {
        self.admit(seat, profile)?;
        self.joins += 1;
        let room_name = self.rooms.get_key_value(seat.room).map_or_else(|| seat.room.into(), |(name, _)| name.clone());
        let room = self.rooms.entry(Arc::clone(&room_name)).or_default();
        let member_id =
            room.members.get_key_value(seat.member).map_or_else(|| seat.member.into(), |(id, _)| Arc::clone(id));
        let session =
            self.sessions.get_key_value(seat.session).map_or_else(|| seat.session.into(), |(id, _)| id.clone());
        let fresh = || Entry { joined: self.joins, profile: "".into(), sessions: HashMap::new() };
        let entry = room.members.entry(Arc::clone(&member_id)).or_insert_with(fresh);
        let new = entry.sessions.is_empty();
        if *entry.profile != *profile {
            entry.profile = profile.into();
        }
        let holds = entry.sessions.entry(Arc::clone(&session)).or_default();
        match hold {
            Hold::Route => holds.route = true,
            Hold::Subscription => holds.subscriptions += 1,
        }
        self.sessions.entry(session).or_default().insert((room_name, member_id));
        Ok(new)
    }

    fn leave(&mut self, room: &str, member: Option<&str>, session: &str, hold: Option<Hold>) -> Vec<Departure> {
        let held = self.sessions.get(session).into_iter().flatten();
        let concerned = held.filter(|(name, id)| **name == *room && member.is_none_or(|member| **id == *member));
        let concerned: Vec<_> = concerned.cloned().collect();
        concerned.iter().filter_map(|place| self.release(place, session, hold)).collect()
    }

    fn end_session(&mut self, session: &str) -> Vec<Departure> {
        let held = self.sessions.get(session).cloned().unwrap_or_default();
        held.iter().filter_map(|place| self.release(place, session, None)).collect()
    }

    fn members(&self, room: &str) -> Vec<Member> {
        let Some(room) = self.rooms.get(room) else { return Vec::new() };
        let mut members: Vec<_> = room.members.iter().collect();
        members.sort_unstable_by_key(|(_, entry)| entry.joined);
        members.into_iter().map(|(id, entry)| Member { id: id.clone(), profile: entry.profile.clone() }).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn seat<'a>(room: &'a str, member: &'a str, session: &'a str) -> Seat<'a> {
        Seat { room, member, session }
    }

    fn ids(rooms: &MemoryRooms, room: &str) -> Vec<String> {
        rooms.members(room).iter().map(|member| member.id.to_string()).collect()
    }

    #[test]
    fn a_member_leaves_with_its_last_session() {
        let mut rooms = MemoryRooms::default();
        assert_eq!(rooms.join(seat("r", "bob", "s1"), "1", Hold::Route), Ok(true));
        assert_eq!(rooms.join(seat("r", "amy", "s2"), "2", Hold::Route), Ok(true));
        assert_eq!(rooms.join(seat("r", "bob", "s3"), "3", Hold::Route), Ok(false));
        assert_eq!(ids(&rooms, "r"), ["bob", "amy"], "in the order they joined");
        assert_eq!(&*rooms.members("r")[0].profile, "3", "the latest profile counts");
        assert!(!rooms.end_session("s1")[0].last);
        let left = rooms.leave("r", Some("bob"), "s3", None);
        assert!(left[0].last && &*left[0].member.profile == "3");
        assert_eq!(rooms.end_session("s3"), [], "announced once");
        assert_eq!(ids(&rooms, "r"), ["amy"]);
    }

    #[test]
    fn a_session_takes_back_only_its_own_joins() {
        let mut rooms = MemoryRooms::default();
        rooms.join(seat("r", "bob", "s1"), "1", Hold::Route).unwrap();
        assert_eq!(rooms.leave("r", Some("bob"), "s2", None), []);
        assert_eq!(rooms.leave("other", None, "s1", None), []);
        assert_eq!(ids(&rooms, "r"), ["bob"]);
        assert_eq!(rooms.leave("r", None, "s1", None).len(), 1);
        assert!(rooms.is_empty());
    }

    #[test]
    fn subscriptions_are_counted_and_a_join_by_route_outlives_them() {
        let mut rooms = MemoryRooms::default();
        for hold in [Hold::Subscription, Hold::Subscription, Hold::Route] {
            rooms.join(seat("r", "bob", "s"), "1", hold).unwrap();
        }
        for _ in 0..3 {
            assert_eq!(rooms.leave("r", Some("bob"), "s", Some(Hold::Subscription)), []);
        }
        assert_eq!(rooms.leave("r", Some("bob"), "s", None).len(), 1, "who says leave is gone");
        assert_eq!(rooms.leave("r", Some("bob"), "s", Some(Hold::Subscription)), []);
    }

    #[test]
    fn every_bound_is_named() {
        let limits = RoomsConfig {
            max_rooms: 2,
            max_members: 2,
            max_rooms_per_session: 1,
            profile_size_limit: 3,
            redis_key: None,
        };
        let mut rooms = MemoryRooms::new(limits);
        let mut join = |room: &str, member: &str, session: &str, profile: &str| {
            rooms.join(seat(room, member, session), profile, Hold::Route).map_err(|error| error.to_string())
        };
        assert_eq!(join("a", "1", "s1", "{}"), Ok(true));
        assert_eq!(
            join("a", "1", "s1", "null").unwrap_err(),
            "the profile has 4 bytes as JSON, more than the 3 allowed"
        );
        assert_eq!(
            join("b", "1", "s1", "1").unwrap_err(),
            "this session is in 1 rooms, which is as many as are allowed"
        );
        assert_eq!(join("a", "2", "s2", "1"), Ok(true));
        assert_eq!(join("a", "3", "s3", "1").unwrap_err(), "the room is full: it has 2 members");
        assert_eq!(join("a", "2", "s3", "1"), Ok(false), "a second session needs no place");
        assert_eq!(join("b", "1", "s4", "1"), Ok(true));
        assert_eq!(join("c", "1", "s5", "1").unwrap_err(), "there are 2 rooms, which is as many as are allowed");
        assert!(join("", "1", "s6", "1").is_err() && join("a", &"x".repeat(257), "s6", "1").is_err());
    }

    proptest! {
        /// Whatever happens in which order, the rooms hold what a plain list of holds says, and every member that
        /// came is announced to leave exactly once.
        #[test]
        fn rooms_agree_with_a_list_of_holds(steps in prop::collection::vec((0..4, 0..2, 0..3, 0..3), 0..60)) {
            let mut rooms = MemoryRooms::default();
            let mut list: Vec<(String, String, String)> = Vec::new();
            for (what, room, member, session) in steps {
                let (room, member, session) = (format!("r{room}"), format!("m{member}"), format!("s{session}"));
                let present = |list: &[(String, String, String)], room: &str, member: &str| {
                    list.iter().any(|(r, m, _)| r == room && m == member)
                };
                if what < 2 {
                    let new = !present(&list, &room, &member);
                    prop_assert_eq!(rooms.join(seat(&room, &member, &session), "1", Hold::Route), Ok(new));
                    if !list.contains(&(room.clone(), member.clone(), session.clone())) {
                        list.push((room, member, session));
                    }
                    continue;
                }
                let before = list.clone();
                let left = if what == 2 {
                    list.retain(|hold| *hold != (room.clone(), member.clone(), session.clone()));
                    rooms.leave(&room, Some(&member), &session, None)
                } else {
                    list.retain(|(_, _, s)| *s != session);
                    rooms.end_session(&session)
                };
                let gone = left.iter().filter(|left| left.last);
                let mut gone: Vec<_> = gone.map(|left| (left.room.to_string(), left.member.id.to_string())).collect();
                gone.sort();
                let mut expected: Vec<_> = before.into_iter().map(|(r, m, _)| (r, m)).collect();
                expected.retain(|(r, m)| !present(&list, r, m));
                expected.sort();
                expected.dedup();
                prop_assert_eq!(gone, expected);
            }
            for room in ["r0", "r1"] {
                let mut expected: Vec<_> = list.iter().filter(|(r, _, _)| r == room).map(|(_, m, _)| m.clone()).collect();
                let mut found = ids(&rooms, room);
                expected.sort();
                expected.dedup();
                found.sort();
                prop_assert_eq!(found, expected);
            }
            for session in ["s0", "s1", "s2"] {
                rooms.end_session(session);
            }
            prop_assert!(rooms.is_empty() && rooms.sessions.is_empty());
        }
    }
}
