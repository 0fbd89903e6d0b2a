//! Revocations of a node that is alone: in a file of its data directory, or for as long as it runs.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::{Change, MAX_REVOCATIONS, Revocation, RevocationError, RevocationStore, Subject, unix_millis};
use crate::relay::Later;

/// Its name in the data directory.
const FILE: &str = "revocations.json";

/// See the module.
#[derive(Debug, Clone, Default)]
pub struct FileRevocations {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// None where nothing outlives the process.
    directory: Option<PathBuf>,
    known: Mutex<BTreeMap<Subject, Revocation>>,
}

impl FileRevocations {
    /// Reads what an earlier run has left; blocks.
    ///
    /// # Errors
    ///
    /// When there is a file that cannot be read: a node that forgot whom it must not let in would be worse than none.
    pub fn open(directory: &Path) -> Result<Self, String> {
        let path = directory.join(FILE);
        let list: Vec<Revocation> = match std::fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text).map_err(|error| format!("{}: {error}", path.display()))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(format!("{}: {error}", path.display())),
        };
        let known = list.into_iter().map(|revocation| (revocation.subject.clone(), revocation)).collect();
        Ok(Self { inner: Arc::new(Inner { directory: Some(directory.to_owned()), known: Mutex::new(known) }) })
    }
}

impl RevocationStore for FileRevocations {
    fn all(&self) -> Later<'_, Result<Vec<Revocation>, RevocationError>> {
        Box::pin(async { Ok(self.inner.known.lock().values().cloned().collect()) })
    }

    fn change<'a>(&'a self, change: &'a Change) -> Later<'a, Result<(), RevocationError>> {
        let (inner, change) = (Arc::clone(&self.inner), change.clone());
        Box::pin(async move {
            let written = tokio::task::spawn_blocking(move || inner.change(change)).await;
            written.map_err(|error| RevocationError::Failed(error.to_string()))?
        })
    }
}

impl Inner {
    fn change(&self, change: Change) -> Result<(), RevocationError> {
        // Held while the file is written: what is kept last is what was changed last.
        let mut known = self.known.lock();
        let now = unix_millis(std::time::SystemTime::now());
        let mut next = known.clone();
        next.retain(|_, revocation| !revocation.is_over(now));
        match change {
            Change::Revoke(revocation) => {
                if next.len() >= MAX_REVOCATIONS && !next.contains_key(&revocation.subject) {
                    return Err(RevocationError::Full { actual: next.len(), limit: MAX_REVOCATIONS });
                }
                next.insert(revocation.subject.clone(), revocation);
            }
            Change::Lift(subject) => {
                next.remove(&subject);
            }
        }
        if let Some(directory) = &self.directory {
            write(directory, &next.values().collect::<Vec<_>>())
                .map_err(|error| RevocationError::Failed(format!("{}: {error}", directory.join(FILE).display())))?;
        }
        *known = next;
        Ok(())
    }
}

/// Whole or not at all, also when the machine fails in the middle.
fn write(directory: &Path, list: &[&Revocation]) -> std::io::Result<()> {
    let (path, new) = (directory.join(FILE), directory.join(format!("{FILE}.new")));
    let mut file = std::fs::File::create(&new)?;
    file.write_all(&serde_json::to_vec(list)?)?;
    file.sync_all()?;
    std::fs::rename(&new, &path)?;
    std::fs::File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn revoked(name: &str) -> Change {
        Change::Revoke(Revocation::now(Subject::User(name.into()), Duration::from_secs(60)))
    }

    #[tokio::test]
    async fn what_was_revoked_is_revoked_after_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        let store = FileRevocations::open(directory.path()).unwrap();
        store.change(&revoked("ann")).await.unwrap();
        store.change(&revoked("ben")).await.unwrap();
        store.change(&Change::Lift(Subject::User("ann".into()))).await.unwrap();
        let again = FileRevocations::open(directory.path()).unwrap();
        let all = again.all().await.unwrap();
        assert_eq!(all.len(), 1);
        assert_eq!(all[0].subject, Subject::User("ben".into()));
    }

    #[test]
    fn a_file_that_cannot_be_read_is_not_taken_for_none() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join(FILE), "[").unwrap();
        assert!(FileRevocations::open(directory.path()).unwrap_err().contains(FILE));
    }

    #[test]
    fn no_more_than_the_limit_are_kept() {
        let inner = Inner::default();
        for number in 0..MAX_REVOCATIONS {
            let subject = Subject::Token(number.to_string().into());
            let revocation = Revocation::now(subject.clone(), Duration::from_secs(60));
            inner.known.lock().insert(subject, revocation);
        }
        let full = RevocationError::Full { actual: MAX_REVOCATIONS, limit: MAX_REVOCATIONS };
        assert_eq!(inner.change(revoked("ann")), Err(full));
        let again = Revocation::now(Subject::Token("7".into()), Duration::from_secs(60));
        assert_eq!(inner.change(Change::Revoke(again)), Ok(()));
    }
}
