//! What this node has receivers for, and what the registry has been told of it.
//!
//! The wanted state and the told state of each name are kept; a task tells the difference, many names at once, and tells
//! everything again when the registry may have forgotten. So a change that failed is simply a difference that stays.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::{Outcome, Shared};
use crate::registry::{Change, Name};

/// Changes told in one call.
const BATCH: usize = 1024;
/// Pause after a call that failed.
const PAUSE: Duration = Duration::from_millis(200);

#[derive(Debug, Default)]
pub(super) struct Interests {
    state: Mutex<State>,
    changed: Notify,
    /// One call at a time: a second one could overtake the first.
    telling: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    names: HashMap<Name, Interest>,
    /// Names whose wanted and told states differ, or may.
    dirty: HashSet<Name>,
    /// Being told right now.
    under_way: bool,
}

#[derive(Default)]
struct Interest {
    receivers: usize,
    told: bool,
    /// Who waits for the next answer.
    waiting: Vec<Arc<dyn Outcome>>,
}

/// What is told in one call, and who waits for it: those who came before the state was read, and nobody else.
struct Batch {
    changes: Vec<Change>,
    waiting: Vec<(Name, Vec<Arc<dyn Outcome>>)>,
}

impl Interests {
    pub(super) fn add(&self, name: Name, outcome: Option<Arc<dyn Outcome>>) {
        let mut state = self.state.lock();
        let state = &mut *state;
        let interest = state.names.entry(name.clone()).or_default();
        interest.receivers += 1;
        if interest.told && !state.dirty.contains(&name) && !state.under_way {
            return;
        }
        interest.waiting.extend(outcome);
        state.dirty.insert(name);
        self.changed.notify_one();
    }

    pub(super) fn remove(&self, name: Name) {
        let mut state = self.state.lock();
        let Some(interest) = state.names.get_mut(&name) else { return };
        interest.receivers = interest.receivers.saturating_sub(1);
        if interest.receivers == 0 {
            state.dirty.insert(name);
            self.changed.notify_one();
        }
    }

    /// Whether anybody here has receivers for the name.
    pub(super) fn holds(&self, name: &Name) -> bool {
        self.state.lock().names.get(name).is_some_and(|interest| interest.receivers > 0)
    }

    /// The registry may know nothing of all this: everything is told again.
    pub(super) fn tell_all_again(&self) {
        let mut state = self.state.lock();
        let state = &mut *state;
        for (name, interest) in &mut state.names {
            interest.told = false;
            state.dirty.insert(name.clone());
        }
        self.changed.notify_one();
    }

    /// Names in use.
    pub(super) fn len(&self) -> usize {
        self.state.lock().names.len()
    }

    /// Tells what differs until nothing does; returns early when the registry fails.
    pub(super) async fn flush(&self, shared: &Shared) {
        let _alone = self.telling.lock().await;
        while let Some(batch) = self.next_batch() {
            if !self.tell(shared, batch).await {
                return;
            }
        }
    }

    fn next_batch(&self) -> Option<Batch> {
        let mut state = self.state.lock();
        let state = &mut *state;
        let batch: Vec<Name> = state.dirty.iter().take(BATCH).cloned().collect();
        let (mut changes, mut waiting) = (Vec::with_capacity(batch.len()), Vec::new());
        for name in batch {
            state.dirty.remove(&name);
            let mut present = false;
            if let Some(interest) = state.names.get_mut(&name) {
                present = interest.receivers > 0;
                waiting.push((name.clone(), std::mem::take(&mut interest.waiting)));
            }
            changes.push(Change { name, present });
        }
        state.under_way = !changes.is_empty();
        state.under_way.then_some(Batch { changes, waiting })
    }

    /// Tells one batch; whether that worked.
    async fn tell(&self, shared: &Shared, batch: Batch) -> bool {
        let Batch { changes, mut waiting } = batch;
        let boot = shared.boot();
        let told = shared.registry.change(&boot, &changes).await;
        let ok = told.is_ok() && shared.boot() == boot;
        let mut state = self.state.lock();
        let state = &mut *state;
        state.under_way = false;
        for change in changes {
            let Some(interest) = state.names.get_mut(&change.name) else { continue };
            if ok {
                interest.told = change.present;
            } else {
                interest.told = false;
            }
            let wanted = interest.receivers > 0;
            if !ok || interest.told != wanted {
                state.dirty.insert(change.name);
            } else if !wanted && interest.waiting.is_empty() {
                state.names.remove(&change.name);
            }
        }
        if !ok {
            for (name, outcomes) in waiting.drain(..) {
                if let Some(interest) = state.names.get_mut(&name) {
                    interest.waiting.extend(outcomes);
                }
            }
            if let Err(error) = told {
                shared.registry_failed(&error);
            }
        }
        if state.names.is_empty() {
            state.names.shrink_to_fit();
        }
        if state.dirty.is_empty() {
            state.dirty.shrink_to_fit();
        }
        ok
    }
}

/// Tells the registry what changes, as long as the node takes part.
pub(super) async fn run(shared: Arc<Shared>) {
    let interests = &shared.interests;
    loop {
        interests.changed.notified().await;
        loop {
            interests.flush(&shared).await;
            if interests.state.lock().dirty.is_empty() {
                break;
            }
            tokio::time::sleep(PAUSE).await;
        }
        if !shared.registry_up.load(Ordering::Acquire) {
            tokio::time::sleep(PAUSE).await;
        }
    }
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").field("names", &self.names.len()).field("dirty", &self.dirty.len()).finish()
    }
}
