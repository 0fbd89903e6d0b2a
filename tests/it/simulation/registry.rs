//! A registry in memory: what several nodes in one process share. For tests, which run by the clock of `tokio::time`.

use std::collections::{BTreeMap, BTreeSet};
use std::future::ready;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use stampede::ids::Boot;
use stampede::registry::{Change, Lease, Located, Name, NodeState, Patterns, Registry, RegistryError};
use stampede::relay::Later;

/// See the module.
#[derive(Debug)]
pub(super) struct MemoryRegistry {
    lease: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    runs: BTreeMap<Boot, Run>,
    entries: BTreeMap<Name, BTreeSet<Boot>>,
    patterns_version: u64,
}

#[derive(Debug)]
struct Run {
    info: String,
    until: Instant,
}

impl MemoryRegistry {
    /// Nobody is there; a run lives for `lease` after each sign of life.
    pub(super) fn new(lease: Duration) -> Self {
        Self { lease, state: Mutex::default() }
    }
}

impl State {
    fn change(&mut self, boot: &Boot, name: &Name, present: bool) {
        let changed = if present {
            self.entries.entry(name.clone()).or_default().insert(boot.clone())
        } else if let Some(boots) = self.entries.get_mut(name) {
            let removed = boots.remove(boot);
            if boots.is_empty() {
                self.entries.remove(name);
            }
            removed
        } else {
            false
        };
        self.patterns_version += u64::from(changed && matches!(name, Name::Pattern(_)));
    }
}

fn answer<'a, T: Send + 'a>(value: T) -> Later<'a, Result<T, RegistryError>> {
    Box::pin(ready(Ok(value)))
}

impl Registry for MemoryRegistry {
    fn renew<'a>(&'a self, boot: &'a Boot, info: &'a str) -> Later<'a, Result<Lease, RegistryError>> {
        let now = Instant::now();
        let run = Run { info: info.to_owned(), until: now + self.lease };
        let before = self.state.lock().runs.insert(boot.clone(), run);
        answer(if before.is_some_and(|run| run.until > now) { Lease::Renewed } else { Lease::New })
    }

    fn nodes(&self) -> Later<'_, Result<Vec<NodeState>, RegistryError>> {
        let now = Instant::now();
        let state = self.state.lock();
        let states = state.runs.iter().map(|(boot, run)| NodeState {
            boot: boot.clone(),
            alive: run.until > now,
            info: run.info.clone(),
        });
        answer(states.collect())
    }

    fn change<'a>(&'a self, boot: &'a Boot, changes: &'a [Change]) -> Later<'a, Result<(), RegistryError>> {
        let mut state = self.state.lock();
        for Change { name, present } in changes {
            state.change(boot, name, *present);
        }
        answer(())
    }

    fn locate<'a>(&'a self, names: &'a [Name]) -> Later<'a, Result<Located, RegistryError>> {
        let state = self.state.lock();
        let boots = |name| state.entries.get(name).into_iter().flatten().cloned().collect();
        answer(Located { nodes: names.iter().map(boots).collect(), patterns_version: state.patterns_version })
    }

    fn patterns(&self) -> Later<'_, Result<Patterns, RegistryError>> {
        let state = self.state.lock();
        let mut entries = Vec::new();
        for (name, boots) in &state.entries {
            if let Name::Pattern(pattern) = name {
                entries.extend(boots.iter().map(|boot| (pattern.clone(), boot.clone())));
            }
        }
        answer(Patterns { version: state.patterns_version, entries })
    }

    fn remove<'a>(&'a self, boot: &'a Boot) -> Later<'a, Result<(), RegistryError>> {
        let mut state = self.state.lock();
        let names: Vec<Name> = state.entries.keys().cloned().collect();
        for name in names {
            state.change(boot, &name, false);
        }
        state.runs.remove(boot);
        answer(())
    }
}
