//! One node's part in rooms that all nodes share.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use futures_util::future::join_all;
use parking_lot::Mutex;

use super::{Away, Joined, Left, Listed, SharedRooms, Stay};
use crate::config::rooms::RoomsConfig;
use crate::ids::Boot;
use crate::message::ListVersion;
use crate::rooms::{Departure, Hold, Member, MemoryRooms, RoomError, RoomRules, RoomStore, Rooms, Seat};
use crate::routes::{Action, Refusal, RoomRequest, RoomState, Who};

/// Stays entered again at once.
const BATCH: usize = 128;

/// Who is in which room on this node, and the store that knows it of all nodes.
///
/// What changes a room is to be called in turn, so that the store hears of a member's comings and goings in their order.
#[derive(Debug)]
pub struct Together {
    rules: RoomRules,
    limits: RoomsConfig,
    store: Arc<dyn SharedRooms>,
    mine: Mutex<Mine>,
}

/// Room and member.
type Place = (Arc<str>, Arc<str>);
/// Dropped when what was waited for has happened.
type Waiter = Arc<dyn Send + Sync>;

#[derive(Default)]
struct Mine {
    sessions: MemoryRooms,
    stays: HashMap<Place, Stay>,
    next: u64,
    /// Ended, and the store may not know: no more than it knew stays of.
    to_end: Vec<(Stay, Option<Waiter>)>,
    /// The last failure of the store that nobody has asked for.
    failure: Option<Away>,
}

/// This node at this time.
#[derive(Debug, Clone)]
pub struct Here {
    /// The run.
    pub boot: Boot,
    /// Whether the store answered lately; if not, it is not asked.
    pub up: bool,
}

/// What became of a request, and what is to be published.
#[derive(Debug, Default)]
pub struct Change {
    /// The room, and what is said about the change.
    pub state: RoomState,
    /// To be given to [`Together::told`] when everybody who is to be told has been.
    pub ended: Vec<Stay>,
}

/// What became of a stay of a dead run.
#[derive(Debug)]
pub enum Ended {
    /// It is gone, and nobody has to be told.
    Quietly,
    /// It was the member's last.
    Tell(Change),
    /// Another node is about to tell it.
    ByAnother,
}

impl Together {
    /// The same rules and bounds, in `store`. Each bound but `max_members` is one of this node.
    pub fn new(rooms: Rooms, store: Arc<dyn SharedRooms>) -> Self {
        let (rules, sessions) = rooms.into_parts();
        let limits = sessions.limits().clone();
        Self { rules, limits, store, mine: Mutex::new(Mine { sessions, ..Mine::default() }) }
    }

    /// Whether the session is in any room.
    pub fn is_anywhere(&self, session: &str) -> bool {
        self.mine.lock().sessions.is_anywhere(session)
    }

    /// Whether this node has no member, and the store knows.
    pub fn is_empty(&self) -> bool {
        let mine = self.mine.lock();
        mine.stays.is_empty() && mine.to_end.is_empty()
    }

    /// The last failure of the store, once.
    pub fn take_failure(&self) -> Option<Away> {
        self.mine.lock().failure.take()
    }

    /// Does what a route asks for on behalf of `session`.
    ///
    /// # Errors
    ///
    /// If a bound is reached or the store does not answer. A leave is done when it does.
    pub async fn apply(&self, here: &Here, session: &str, request: RoomRequest) -> Result<Change, Refusal> {
        match request {
            RoomRequest::Join { room, member, profile } => {
                let seat = Seat { room: &room, member: &member, session };
                self.join(here, seat, &profile, Hold::Route).await
            }
            RoomRequest::Leave { room, member } => {
                let left = self.mine.lock().sessions.leave(&room, member.as_deref(), session, None);
                let profile = left.first().map(|departure| Arc::clone(&departure.member.profile));
                let (mut change, reached) = self.end(here, left, None).await;
                if reached.is_err() {
                    let text = "the rooms of all nodes cannot be reached; the leave is told when they can be";
                    return Err(Refusal::Room(text.into()));
                }
                let listed = self.read(here, &room).await?;
                change.state = RoomState { member: profile, announcements: change.state.announcements, ..listed };
                Ok(change)
            }
            RoomRequest::Read { room } => Ok(Change { state: self.read(here, &room).await?, ended: Vec::new() }),
        }
    }

    /// To be called after a SUBSCRIBE was accepted: it may join a room.
    ///
    /// # Errors
    ///
    /// If the room refuses the member, the configuration needs something that this session has not, or the store does not
    /// answer.
    pub async fn subscribed(&self, here: &Here, destination: &str, who: &Who<'_>) -> Result<Change, Refusal> {
        let Some(joining) = self.rules.joining(destination, who)? else { return Ok(Change::default()) };
        let seat = Seat { room: &joining.room, member: &joining.member, session: who.session };
        self.join(here, seat, &joining.profile, Hold::Subscription).await
    }

    /// Whether a subscription to this destination concerns a room.
    pub fn is_followed(&self, destination: &str, who: &Who<'_>) -> bool {
        // A rule that needs what this session has not is a refusal, for [`Together::subscribed`] to tell.
        !matches!(self.rules.joining(destination, who), Ok(None))
    }

    /// To be called after an UNSUBSCRIBE. `waiter` is dropped when the store knows.
    pub async fn unsubscribed(&self, here: &Here, destination: &str, who: &Who<'_>, waiter: Option<Waiter>) -> Change {
        // What could not join has nothing to leave.
        let Ok(Some(joining)) = self.rules.joining(destination, who) else { return Change::default() };
        let hold = Some(Hold::Subscription);
        let left = self.mine.lock().sessions.leave(&joining.room, Some(&joining.member), who.session, hold);
        self.end(here, left, waiter).await.0
    }

    /// To be called once when a session ends, for whatever reason.
    pub async fn end_session(&self, here: &Here, session: &str) -> Change {
        let left = self.mine.lock().sessions.end_session(session);
        self.end(here, left, None).await.0
    }

    /// Tells the store again what this node has: it may have lost it, or may not have heard it.
    pub async fn look_again(&self, here: &Here) -> Change {
        let mut change = Change::default();
        let (to_end, stays) = {
            let mut mine = self.mine.lock();
            let stays = mine.sessions.places().filter_map(|(room, member)| {
                let stay = mine.stays.get(&(Arc::clone(room), Arc::clone(&member.id)))?.clone();
                Some((stay, Arc::clone(&member.profile)))
            });
            let stays: Vec<_> = stays.collect();
            (std::mem::take(&mut mine.to_end), stays)
        };
        for (stay, waiter) in to_end {
            // Whether it is reached or not: what is not done is remembered again.
            let _reached = self.end_one(here, stay, waiter, &mut change).await;
        }
        for some in stays.chunks(BATCH) {
            let entered = join_all(some.iter().map(|(stay, profile)| self.enter_again(here, stay, profile))).await;
            for change_of_one in entered.into_iter().flatten() {
                change.add(change_of_one);
            }
        }
        change
    }

    /// Stays that a dead run has left.
    ///
    /// # Errors
    ///
    /// When the store does not answer.
    pub async fn stays_of(&self, dead: &Boot) -> Result<Vec<Stay>, Away> {
        self.store.stays(dead).await
    }

    /// Ends a stay of a dead run, unless another node is at it that lives.
    ///
    /// # Errors
    ///
    /// When the store does not answer.
    pub async fn end_of_dead(
        &self,
        stay: &Stay,
        by: &Boot,
        is_alive: &(dyn Fn(&Boot) -> bool + Sync),
    ) -> Result<Ended, Away> {
        let (mut left, mut listed) = self.store.leave(stay, by, None).await?;
        if let Left::ToldBy(owner) = &left
            && !is_alive(owner)
        {
            (left, listed) = self.store.leave(stay, by, Some(owner)).await?;
        }
        Ok(match left {
            Left::Stays => Ended::Quietly,
            Left::ToldBy(_) => Ended::ByAnother,
            Left::Gone { profile } => Ended::Tell(self.gone(stay.clone(), profile, &listed)),
        })
    }

    /// Ends a stay whose end could not be told, once more.
    ///
    /// # Errors
    ///
    /// When the store does not answer.
    pub async fn tell_again(&self, here: &Here, stay: &Stay) -> Result<Ended, Away> {
        self.end_of_dead(stay, &here.boot, &|owner| *owner != stay.boot).await
    }

    /// The end of these stays was told.
    ///
    /// # Errors
    ///
    /// When the store does not answer; it is not wrong to repeat it.
    pub async fn told(&self, stays: &[Stay]) -> Result<(), Away> {
        join_all(stays.iter().map(|stay| self.store.told(stay))).await.into_iter().collect()
    }

    async fn join(&self, here: &Here, seat: Seat<'_>, profile: &str, hold: Hold) -> Result<Change, Refusal> {
        let place: Place = (seat.room.into(), seat.member.into());
        let (stay, fresh) = {
            let mut mine = self.mine.lock();
            mine.sessions.admit(seat, profile)?;
            mine.stay(&place, &here.boot)
        };
        let joined = match self.ask(here, || self.store.join(&stay, profile, self.limits.max_members)).await {
            Ok(joined) => joined,
            Err(away) => {
                if fresh && here.up {
                    // It may have happened all the same.
                    self.mine.lock().to_end.push((stay, None));
                }
                return Err(refused(&away));
            }
        };
        let Joined::In { first, listed, .. } = joined else {
            return Err(RoomError::Members { limit: self.limits.max_members }.into());
        };
        {
            let mut mine = self.mine.lock();
            mine.sessions.join(seat, profile, hold)?;
            mine.stays.insert(place, stay);
        }
        let member = Member { id: seat.member.into(), profile: profile.into() };
        let mut state = state(seat.room, &listed);
        if fresh && first {
            state.announcements = self.rules.announce_join(seat.room, &member, &state.members, state.version.as_ref());
        }
        state.member = Some(member.profile);
        Ok(Change { state, ended: Vec::new() })
    }

    /// Ends what sessions of this node held no longer hold.
    async fn end(&self, here: &Here, left: Vec<Departure>, waiter: Option<Waiter>) -> (Change, Result<(), Away>) {
        let mut change = Change::default();
        let mut reached = Ok(());
        for departure in left.into_iter().filter(|departure| departure.last) {
            let Some(stay) = self.mine.lock().stays.remove(&(departure.room, departure.member.id)) else { continue };
            let one = self.end_one(here, stay, waiter.clone(), &mut change).await;
            reached = reached.and(one);
        }
        (change, reached)
    }

    async fn end_one(&self, here: &Here, stay: Stay, waiter: Option<Waiter>, change: &mut Change) -> Result<(), Away> {
        match self.ask(here, || self.store.leave(&stay, &here.boot, None)).await {
            Ok((Left::Gone { profile }, listed)) => change.add(self.gone(stay, profile, &listed)),
            // Who took this run for dead tells it.
            Ok((Left::Stays | Left::ToldBy(_), _)) => {}
            Err(away) => {
                self.mine.lock().to_end.push((stay, waiter));
                return Err(away);
            }
        }
        Ok(())
    }

    /// Enters a stay once more, under the run that this node is now.
    async fn enter_again(&self, here: &Here, old: &Stay, profile: &str) -> Option<Change> {
        let stay = Stay { boot: here.boot.clone(), ..old.clone() };
        // Whoever is there already stays there.
        let entered = self.ask(here, || self.store.join(&stay, profile, usize::MAX)).await.ok()?;
        let moved = stay.boot != old.boot;
        if moved {
            if let Some(known) = self.mine.lock().stays.get_mut(&(Arc::clone(&stay.room), Arc::clone(&stay.member))) {
                known.boot = stay.boot.clone();
            }
            // The member has the new one; if it cannot be ended now, it is when the old run is looked after.
            let _ended = self.ask(here, || self.store.leave(old, &here.boot, None)).await;
        }
        let Joined::In { created: true, listed, .. } = entered else { return None };
        let member = Member { id: stay.member, profile: profile.into() };
        let mut state = state(&stay.room, &listed);
        state.announcements = self.rules.announce_join(&stay.room, &member, &state.members, state.version.as_ref());
        Some(Change { state, ended: Vec::new() })
    }

    /// What is told of a member that is gone.
    fn gone(&self, stay: Stay, profile: Arc<str>, listed: &Listed) -> Change {
        let member = Member { id: Arc::clone(&stay.member), profile };
        let RoomState { members, version, .. } = state(&stay.room, listed);
        let announcements = self.rules.announce_leave(&stay.room, &member, || members, version.as_ref());
        Change { state: RoomState { announcements, ..RoomState::default() }, ended: vec![stay] }
    }

    async fn read(&self, here: &Here, room: &str) -> Result<RoomState, Refusal> {
        let listed = self.ask(here, || self.store.members(room)).await;
        listed.map(|listed| state(room, &listed)).map_err(|away| refused(&away))
    }

    async fn ask<'a, T>(
        &'a self,
        here: &Here,
        question: impl FnOnce() -> crate::relay::Later<'a, Result<T, Away>>,
    ) -> Result<T, Away> {
        if !here.up {
            return Err(Away("Redis did not answer lately".into()));
        }
        question().await.inspect_err(|away| self.mine.lock().failure = Some(away.clone()))
    }
}

impl Mine {
    /// The stay of a member on this node, and whether it is a new one.
    fn stay(&mut self, (room, member): &Place, boot: &Boot) -> (Stay, bool) {
        if let Some(stay) = self.stays.get(&(Arc::clone(room), Arc::clone(member))) {
            return (stay.clone(), false);
        }
        self.next += 1;
        let stay = Stay { room: Arc::clone(room), member: Arc::clone(member), boot: boot.clone(), number: self.next };
        (stay, true)
    }
}

impl Change {
    fn add(&mut self, other: Self) {
        self.state.announcements.extend(other.state.announcements);
        self.ended.extend(other.ended);
    }

    /// What is to be published about the change.
    #[must_use]
    pub fn take_announcements(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.state.announcements)
    }
}

impl fmt::Debug for Mine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mine").field("stays", &self.stays.len()).field("to_end", &self.to_end.len()).finish()
    }
}

fn state(room: &str, listed: &Listed) -> RoomState {
    let version = (listed.version > 0).then(|| ListVersion { room: room.into(), version: listed.version });
    let members = listed.members.iter().map(|member| Arc::clone(&member.profile)).collect();
    RoomState { members, version, ..RoomState::default() }
}

fn refused(away: &Away) -> Refusal {
    Refusal::Room(format!("{away}; try again later"))
}
