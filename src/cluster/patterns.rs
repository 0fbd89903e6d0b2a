//! Patterns of other nodes, as of the version that the registry last named.

use parking_lot::Mutex;

use crate::destination::{Pattern, PatternIndex};
use crate::ids::Boot;
use crate::registry::{Patterns, Registry, RegistryError};

/// What [`Registry::patterns`] said last.
#[derive(Debug, Default)]
pub(super) struct KnownPatterns {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    version: u64,
    index: PatternIndex<Boot>,
}

impl KnownPatterns {
    /// Reads them again unless they are of this version.
    pub(super) async fn update(&self, version: u64, registry: &dyn Registry) -> Result<(), RegistryError> {
        if self.state.lock().version == version {
            return Ok(());
        }
        let Patterns { version, entries } = registry.patterns().await?;
        let mut index = PatternIndex::new();
        for (text, boot) in entries {
            match Pattern::parse(&text) {
                Ok(pattern) => {
                    index.insert(&pattern, boot);
                }
                // A newer node may know patterns that this one does not.
                Err(error) => {
                    tracing::warn!(pattern = &*text, %boot, %error, "another node's pattern is not understood")
                }
            }
        }
        *self.state.lock() = State { version, index };
        Ok(())
    }

    /// Calls `f` for every run with a pattern that matches.
    pub(super) fn for_each_match(&self, destination: &str, f: impl FnMut(&Boot)) {
        self.state.lock().index.for_each_match(destination, f);
    }
}
