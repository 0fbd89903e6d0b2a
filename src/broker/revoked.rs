//! Users and tokens that were revoked: their sessions end, and no new ones begin.

use std::sync::Arc;
use std::time::Instant;

use super::{Broker, SessionHandle};
use crate::close::CloseReason;
use crate::cluster::Cluster;
use crate::revocation::{Change, Claimant, Revocation, RevocationError, RevocationStore, Revocations};

/// What this node knows, and where it is kept.
#[derive(Debug)]
pub(super) struct Revoked {
    known: Revocations,
    store: Arc<dyn RevocationStore>,
}

impl Revoked {
    pub(super) fn new(store: Arc<dyn RevocationStore>) -> Self {
        Self { known: Revocations::default(), store }
    }
}

impl Broker {
    /// Whether what the session has proved counts no more. Ask after it was identified, so that either this or
    /// [`Broker::change_revocations`] finds it.
    #[must_use]
    pub fn is_revoked(&self, session: &SessionHandle) -> bool {
        let identity = session.identity();
        let identity = identity.as_deref();
        self.revoked.known.refuse(&Claimant {
            user: session.user().map(|user| &**user),
            token: identity.and_then(|identity| identity.token.as_deref()),
            issued: identity.and_then(|identity| identity.issued),
        })
    }

    /// Revokes a user or a token on all nodes, or lifts that again. Gives how many sessions of this node end by it.
    ///
    /// Other nodes are told at once; one that cannot be reached finds out when it asks Redis the next time.
    ///
    /// # Errors
    ///
    /// Nothing has changed then.
    pub async fn change_revocations(&self, change: Change) -> Result<usize, RevocationError> {
        self.revoked.store.change(&change).await?;
        if let Some(cluster) = &self.cluster {
            match serde_json::to_vec(&change) {
                Ok(record) => cluster.tell_everyone(record.into(), None),
                Err(error) => tracing::error!(%error, "other nodes are not told who is revoked"),
            }
        }
        self.revoked.known.apply(change);
        Ok(self.end_revoked())
    }

    /// What is revoked now, as far as this node knows.
    #[must_use]
    pub fn revocations(&self) -> Vec<Revocation> {
        self.revoked.known.list()
    }

    /// Reads what is revoked from where it is kept: before the first session, and then now and again.
    ///
    /// # Errors
    ///
    /// What this node knew stays.
    pub async fn read_revocations(&self) -> Result<(), RevocationError> {
        let asked = Instant::now();
        let all = self.revoked.store.all().await?;
        if self.revoked.known.replace(all, asked) {
            self.end_revoked();
        }
        Ok(())
    }

    /// Asks the store again and again; never ends.
    pub(super) async fn keep_revocations(&self, cluster: &Cluster) {
        loop {
            tokio::time::sleep(cluster.lease_renewal()).await;
            if let Err(error) = self.read_revocations().await {
                cluster.registry_failed(&error.to_string());
            }
        }
    }

    /// Another node has changed the list.
    pub(super) fn hear_of_revocation(&self, record: &[u8]) {
        match serde_json::from_slice::<Change>(record) {
            Ok(change) => {
                self.revoked.known.apply(change);
                self.end_revoked();
            }
            // Of a newer version: the store has it in a form that this one reads, or not at all.
            Err(error) => tracing::debug!(%error, "a notice of another node cannot be read"),
        }
    }

    fn end_revoked(&self) -> usize {
        let ended = self.sessions().into_iter().filter(|session| self.is_revoked(session));
        ended.map(|session| session.outbox.close(CloseReason::Revoked)).count()
    }
}
