//! Who lives: this node's lease, the list of the others, and what becomes of those that died.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use tokio::time::Instant;

use super::Shared;
use crate::ids::{Boot, NodeId};
use crate::registry::{Lease, NodeState, RegistryError};
use crate::relay::AdoptError;

/// Runs remembered as dead after they were removed: an entry that somebody wrote late still counts for nothing.
const MAX_DEAD: usize = 4096;
/// Pause between attempts while the registry does not answer.
const RETRY: Duration = Duration::from_millis(500);

#[derive(Debug, Default)]
pub(super) struct Members {
    live: AtomicUsize,
    dead: RwLock<HashSet<Boot>>,
    /// Dead runs that this node is looking after right now.
    burying: Mutex<HashSet<Boot>>,
    /// As of the last round, see [`crate::registry::Registry::interruptions`].
    interruptions: AtomicU64,
    trust: Mutex<Trust>,
}

/// Whether look-ups can be believed: a registry that was away may have forgotten what other nodes had entered, and each of
/// them finds that out for itself, within a lease at the latest.
#[derive(Debug, Default)]
struct Trust {
    /// Interruptions that are known of.
    interruptions: u64,
    again_at: Option<Instant>,
}

impl Members {
    /// Nodes that live, this one included.
    pub(super) fn live(&self) -> usize {
        self.live.load(Ordering::Relaxed).max(1)
    }

    /// Whether this run was buried here, or is being. One without a lease may be cut off from the registry alone; it is still
    /// sent to, and what is sent to one that is dead is found in its queue or among the orphans.
    pub(super) fn is_dead(&self, boot: &Boot) -> bool {
        let dead = self.dead.read();
        !dead.is_empty() && dead.contains(boot)
    }

    fn learn(&self, nodes: &[NodeState]) {
        self.live.store(nodes.iter().filter(|node| node.alive).count(), Ordering::Relaxed);
    }

    fn lives(&self, boot: &Boot) {
        self.dead.write().remove(boot);
    }

    fn died(&self, boot: &Boot) {
        let mut dead = self.dead.write();
        if dead.len() > MAX_DEAD {
            dead.clear();
        }
        dead.insert(boot.clone());
    }
}

impl Shared {
    /// Enters this run in the registry for the first time.
    pub(super) async fn enter(&self) -> Result<(), RegistryError> {
        self.registry.renew(&self.boot(), &self.info()).await?;
        let nodes = self.registry.nodes().await?;
        self.members.learn(&nodes);
        Ok(())
    }

    /// The registry failed: until it answers again, nobody waits for it.
    pub(super) fn registry_failed(&self, error: &RegistryError) {
        if self.registry_up.swap(false, Ordering::AcqRel) {
            tracing::warn!(%error, "Redis does not answer; messages go to every node, kept destinations refuse");
        }
    }

    /// Whether the registry can be asked who has receivers.
    pub(super) fn trusts_registry(&self) -> bool {
        let up = self.registry_up.load(Ordering::Acquire);
        let interruptions = self.registry.interruptions();
        let mut trust = self.members.trust.lock();
        if !up || interruptions != trust.interruptions {
            trust.interruptions = interruptions;
            trust.again_at = Some(Instant::now() + self.config.lease);
        }
        if trust.again_at.is_some_and(|again_at| again_at <= Instant::now()) {
            trust.again_at = None;
        }
        up && trust.again_at.is_none()
    }

    fn info(&self) -> String {
        format!("stampede {}", env!("CARGO_PKG_VERSION"))
    }

    /// Renews the lease and looks at the others.
    async fn round(&self) -> Result<Vec<NodeState>, RegistryError> {
        let boot = self.boot();
        let interruptions = self.registry.interruptions();
        let lease = self.registry.renew(&boot, &self.info()).await?;
        let was_up = self.registry_up.load(Ordering::Acquire);
        if lease == Lease::New {
            // Others may be removing what this run had entered: as a new run it does not meet them.
            let new = Boot::new(&self.node);
            tracing::warn!(old = %boot, %new, "the lease had run out; everything is entered again");
            self.registry.renew(&new, &self.info()).await?;
            *self.boot.write() = new;
        }
        let seen = self.members.interruptions.swap(interruptions, Ordering::AcqRel);
        if lease == Lease::New || !was_up || seen != interruptions {
            // It may have lost what it knew, also where no command failed.
            self.interests.tell_all_again();
            if let Some(local) = self.local() {
                local.look_again();
            }
        }
        if !was_up {
            self.registry_up.store(true, Ordering::Release);
            tracing::info!("Redis answers again");
        }
        let nodes = self.registry.nodes().await?;
        self.members.learn(&nodes);
        Ok(nodes)
    }

    /// Looks after what a dead run left.
    async fn bury(&self, boot: &Boot, alive: &HashMap<NodeId, Boot>) {
        let node = boot.node();
        // From now on, so that what is found in its queue is not sent there again.
        self.members.died(boot);
        if !alive.contains_key(&node) && node != self.node {
            match self.router.relay().adopt(node).await {
                Ok(envelopes) => tracing::info!(dead = %boot, envelopes, "a node died; its queue was adopted"),
                // It lives, cut off from the registry; or another node is at it.
                Err(AdoptError::InUse) => {
                    self.members.lives(boot);
                    return tracing::debug!(%boot, "no lease, but its queue is read by somebody");
                }
                Err(error) => {
                    return tracing::warn!(dead = %boot, %error, "the queue of a dead node cannot be adopted now");
                }
            }
        }
        if let Some(local) = self.local() {
            local.died(boot);
        }
        let removed = async {
            self.store.forget(boot).await.map_err(|error| error.to_string())?;
            self.registry.remove(boot).await.map_err(|error| error.to_string())
        };
        if let Err(error) = removed.await {
            tracing::warn!(dead = %boot, error, "what a dead node had entered cannot be removed now");
        }
    }
}

/// Gives signs of life and looks for those that give none, as long as the node takes part.
pub(super) async fn run(shared: Arc<Shared>) {
    loop {
        let up = shared.registry_up.load(Ordering::Acquire);
        tokio::time::sleep(if up { shared.config.lease_renewal } else { RETRY.min(shared.config.lease_renewal) }).await;
        let nodes = match shared.round().await {
            Ok(nodes) => nodes,
            Err(error) => {
                shared.registry_failed(&error);
                continue;
            }
        };
        let alive = nodes.iter().filter(|node| node.alive).map(|node| (node.boot.node(), node.boot.clone())).collect();
        let own = shared.boot();
        for dead in nodes.iter().filter(|node| !node.alive && node.boot != own) {
            // One at a time, and beside the lease, which goes on meanwhile.
            shared.members.bury_in_background(&shared, dead.boot.clone(), &alive);
        }
    }
}

impl Members {
    fn bury_in_background(&self, shared: &Arc<Shared>, boot: Boot, alive: &HashMap<NodeId, Boot>) {
        if !self.burying.lock().insert(boot.clone()) {
            return;
        }
        let (shared, alive) = (Arc::clone(shared), alive.clone());
        tokio::spawn(async move {
            shared.bury(&boot, &alive).await;
            shared.members.burying.lock().remove(&boot);
        });
    }
}
