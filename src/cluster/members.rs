//! Who lives: this node's lease, the list of the others, and what becomes of those that died.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::Shared;
use crate::ids::{Boot, NodeId};
use crate::registry::{Lease, NodeState, RegistryError};
use crate::relay::AdoptError;

/// Runs remembered as dead after they were removed: an entry that somebody wrote late still counts for nothing.
const MAX_DEAD: usize = 4096;
/// Least pause between a round and one that comes because a call has failed.
const DOUBT_AFTER: Duration = Duration::from_millis(100);
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
    /// A call has failed: the next round comes at once, and says whether that was more than one call.
    doubt: Notify,
    /// A call has failed since the last round that did not.
    doubted: AtomicBool,
    /// The lease had run out, and not everything was entered again yet.
    forgotten: AtomicBool,
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

    /// Ends when a call has failed. A while after the last round at the earliest: one that fails again and again while
    /// rounds do not must not make them follow each other without a pause.
    async fn is_in_doubt(&self) {
        tokio::time::sleep(DOUBT_AFTER).await;
        self.doubt.notified().await;
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

    /// A call of the registry failed. One that is slow for a moment is not away.
    pub(super) fn registry_failed(&self, error: &RegistryError) {
        tracing::debug!(%error, "Redis did not answer a question");
        self.members.doubted.store(true, Ordering::Release);
        self.members.doubt.notify_one();
    }

    /// Until the registry answers again nobody waits for it.
    fn registry_is_away(&self, error: &RegistryError) {
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
            // Asking made a new one, so the next round would find nothing wrong if this one ended early.
            self.members.forgotten.store(true, Ordering::Release);
        }
        let forgotten = self.members.forgotten.load(Ordering::Acquire);
        if forgotten {
            // Others may be removing what this run had entered: as a new run it does not meet them.
            let new = Boot::new(&self.node);
            tracing::warn!(old = %boot, %new, "the lease had run out; everything is entered again");
            self.registry.renew(&new, &self.info()).await?;
            *self.boot.write() = new;
            self.members.forgotten.store(false, Ordering::Release);
        }
        let seen = self.members.interruptions.swap(interruptions, Ordering::AcqRel);
        let doubted = self.members.doubted.swap(false, Ordering::AcqRel);
        if forgotten || !was_up || seen != interruptions {
            // It may have lost what it knew, also where no command failed.
            self.interests.tell_all_again();
            if let Some(local) = self.local() {
                local.look_again();
            }
        } else if doubted && let Some(local) = self.local() {
            local.answers_again();
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
        if let Some(local) = self.local()
            && !local.died(boot, alive).await
        {
            return tracing::debug!(dead = %boot, "what it has left is not all looked after");
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
        let pause = if up { shared.config.lease_renewal } else { RETRY.min(shared.config.lease_renewal) };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = shared.members.is_in_doubt(), if up => {}
        }
        let mut round = shared.round().await;
        if up && round.is_err() {
            // What was asked before a server came back fails after it has.
            round = shared.round().await;
        }
        let nodes = match round {
            Ok(nodes) => nodes,
            Err(error) => {
                shared.registry_is_away(&error);
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
