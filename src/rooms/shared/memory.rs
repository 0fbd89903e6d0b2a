//! Shared rooms in the memory of one process, for tests with several nodes in it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use parking_lot::Mutex;

use super::{Away, Joined, Left, Listed, SharedRooms, Stay};
use crate::ids::Boot;
use crate::relay::Later;
use crate::rooms::Member;

/// See [`SharedRooms`].
#[derive(Debug, Default)]
pub struct Memory {
    all: Mutex<All>,
}

#[derive(Debug, Default)]
struct All {
    rooms: BTreeMap<Arc<str>, Vec<Entry>>,
    /// Ended, and not told: by whom, and the profile.
    untold: BTreeMap<Stay, (Boot, Arc<str>)>,
    version: u64,
    /// Whether every call fails.
    away: bool,
}

/// One member; a room holds them in the order in which they came.
#[derive(Debug)]
struct Entry {
    member: Member,
    first: Stay,
    stays: BTreeSet<Stay>,
}

impl Memory {
    /// Lets every call fail, or none.
    pub fn set_away(&self, away: bool) {
        self.all.lock().away = away;
    }

    fn with<'a, T: Send + 'a>(&'a self, change: impl FnOnce(&mut All) -> T + Send + 'a) -> Later<'a, Result<T, Away>> {
        Box::pin(async move {
            let mut all = self.all.lock();
            if all.away {
                return Err(Away("it was taken away".into()));
            }
            Ok(change(&mut all))
        })
    }
}

impl All {
    fn listed(&self, room: &str) -> Listed {
        let members: Vec<_> = self.rooms.get(room).into_iter().flatten().map(|entry| entry.member.clone()).collect();
        let told = self.untold.keys().any(|stay| *stay.room == *room);
        Listed { version: if members.is_empty() && !told { 0 } else { self.version }, members }
    }

    fn join(&mut self, stay: &Stay, profile: &str, max_members: usize) -> Joined {
        let entries = self.rooms.entry(Arc::clone(&stay.room)).or_default();
        let (first, created) = if let Some(entry) = entries.iter_mut().find(|entry| entry.member.id == stay.member) {
            entry.stays.insert(stay.clone());
            if *entry.member.profile != *profile {
                entry.member.profile = profile.into();
                self.version += 1;
            }
            (entry.first == *stay, false)
        } else if entries.len() >= max_members {
            return Joined::Full;
        } else {
            let member = Member { id: Arc::clone(&stay.member), profile: profile.into() };
            entries.push(Entry { member, first: stay.clone(), stays: [stay.clone()].into() });
            self.version += 1;
            (true, true)
        };
        Joined::In { first, created, listed: self.listed(&stay.room) }
    }

    fn leave(&mut self, stay: &Stay, by: &Boot, instead_of: Option<&Boot>) -> Left {
        if let Some((owner, profile)) = self.untold.get_mut(stay) {
            if owner == by || Some(&*owner) == instead_of {
                *owner = by.clone();
                return Left::Gone { profile: Arc::clone(profile) };
            }
            return Left::ToldBy(owner.clone());
        }
        let Some(entries) = self.rooms.get_mut(&stay.room) else { return Left::Stays };
        let Some(at) = entries.iter().position(|entry| entry.stays.contains(stay)) else { return Left::Stays };
        entries[at].stays.remove(stay);
        if !entries[at].stays.is_empty() {
            return Left::Stays;
        }
        let profile = entries.remove(at).member.profile;
        if entries.is_empty() {
            self.rooms.remove(&stay.room);
        }
        self.version += 1;
        self.untold.insert(stay.clone(), (by.clone(), Arc::clone(&profile)));
        Left::Gone { profile }
    }
}

impl SharedRooms for Memory {
    fn join<'a>(&'a self, stay: &'a Stay, profile: &'a str, max_members: usize) -> Later<'a, Result<Joined, Away>> {
        self.with(move |all| all.join(stay, profile, max_members))
    }

    fn leave<'a>(
        &'a self,
        stay: &'a Stay,
        by: &'a Boot,
        instead_of: Option<&'a Boot>,
    ) -> Later<'a, Result<(Left, Listed), Away>> {
        self.with(move |all| (all.leave(stay, by, instead_of), all.listed(&stay.room)))
    }

    fn told<'a>(&'a self, stay: &'a Stay) -> Later<'a, Result<(), Away>> {
        self.with(move |all| drop(all.untold.remove(stay)))
    }

    fn members<'a>(&'a self, room: &'a str) -> Later<'a, Result<Listed, Away>> {
        self.with(move |all| all.listed(room))
    }

    fn stays<'a>(&'a self, boot: &'a Boot) -> Later<'a, Result<Vec<Stay>, Away>> {
        self.with(move |all| {
            let held = all.rooms.values().flatten().flat_map(|entry| &entry.stays);
            held.chain(all.untold.keys()).filter(|stay| stay.boot == *boot).cloned().collect()
        })
    }
}
