//! Look-ups that may be a little old, for those who would rather ask Redis less (`redis.cache`).
//!
//! The price: a message sent within that time after a SUBSCRIBE was confirmed can miss the new subscription, where another
//! node asked about the same name shortly before.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::{Change, Lease, Located, Name, NodeState, Patterns, Registry, RegistryError};
use crate::ids::Boot;
use crate::relay::Later;

/// Names remembered; beyond it all are forgotten at once, and looked up again.
const MAX_NAMES: usize = 100_000;

/// A registry that remembers what it was told.
#[derive(Debug)]
pub struct Cached {
    inner: Arc<dyn Registry>,
    age: Duration,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    names: HashMap<Name, (Instant, Vec<Boot>)>,
    patterns_version: Option<(Instant, u64)>,
}

impl Cached {
    /// Answers of `inner` count for `age`.
    #[must_use]
    pub fn new(inner: Arc<dyn Registry>, age: Duration) -> Self {
        Self { inner, age, known: Mutex::default() }
    }

    /// What is known, with a hole for each name that has to be asked for.
    fn recall(&self, names: &[Name]) -> (Vec<Option<Vec<Boot>>>, Option<u64>) {
        let known = self.known.lock();
        let fresh = |at: Instant| at.elapsed() < self.age;
        let recalled = names.iter().map(|name| {
            let (at, nodes) = known.names.get(name)?;
            fresh(*at).then(|| nodes.clone())
        });
        let version = known.patterns_version.filter(|(at, _)| fresh(*at)).map(|(_, version)| version);
        (recalled.collect(), version)
    }

    fn remember(&self, asked: Instant, names: &[Name], located: &Located) {
        let mut known = self.known.lock();
        if known.names.len() + names.len() > MAX_NAMES {
            known.names.clear();
        }
        for (name, nodes) in names.iter().zip(&located.nodes) {
            known.names.insert(name.clone(), (asked, nodes.clone()));
        }
        known.patterns_version = Some((asked, located.patterns_version));
    }
}

impl Registry for Cached {
    fn renew<'a>(&'a self, boot: &'a Boot, info: &'a str) -> Later<'a, Result<Lease, RegistryError>> {
        self.inner.renew(boot, info)
    }

    fn nodes(&self) -> Later<'_, Result<Vec<NodeState>, RegistryError>> {
        self.inner.nodes()
    }

    fn change<'a>(&'a self, boot: &'a Boot, changes: &'a [Change]) -> Later<'a, Result<(), RegistryError>> {
        self.inner.change(boot, changes)
    }

    fn locate<'a>(&'a self, names: &'a [Name]) -> Later<'a, Result<Located, RegistryError>> {
        Box::pin(async move {
            let (mut recalled, version) = self.recall(names);
            let missing =
                names.iter().zip(&recalled).filter(|(_, known)| known.is_none()).map(|(name, _)| name.clone());
            let missing: Vec<Name> = missing.collect();
            let patterns_version = match version {
                Some(version) if missing.is_empty() => version,
                _ => {
                    let asked = Instant::now();
                    let located = self.inner.locate(&missing).await?;
                    self.remember(asked, &missing, &located);
                    let mut answers = located.nodes.into_iter();
                    for hole in recalled.iter_mut().filter(|known| known.is_none()) {
                        *hole = answers.next();
                    }
                    located.patterns_version
                }
            };
            Ok(Located { nodes: recalled.into_iter().map(Option::unwrap_or_default).collect(), patterns_version })
        })
    }

    fn patterns(&self) -> Later<'_, Result<Patterns, RegistryError>> {
        self.inner.patterns()
    }

    fn interruptions(&self) -> u64 {
        self.inner.interruptions()
    }

    fn remove<'a>(&'a self, boot: &'a Boot) -> Later<'a, Result<(), RegistryError>> {
        self.inner.remove(boot)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    /// Answers every look-up with a run that counts the names it was asked for.
    #[derive(Debug, Default)]
    struct Counting(AtomicU64);

    impl Registry for Counting {
        fn renew<'a>(&'a self, _: &'a Boot, _: &'a str) -> Later<'a, Result<Lease, RegistryError>> {
            unreachable!("not asked here")
        }

        fn nodes(&self) -> Later<'_, Result<Vec<NodeState>, RegistryError>> {
            unreachable!("not asked here")
        }

        fn change<'a>(&'a self, _: &'a Boot, _: &'a [Change]) -> Later<'a, Result<(), RegistryError>> {
            unreachable!("not asked here")
        }

        fn locate<'a>(&'a self, names: &'a [Name]) -> Later<'a, Result<Located, RegistryError>> {
            let answer =
                |_: &Name| vec![Boot::parse(&format!("n/{}", self.0.fetch_add(1, Ordering::Relaxed))).unwrap()];
            let nodes = names.iter().map(answer).collect();
            Box::pin(std::future::ready(Ok(Located { nodes, patterns_version: 7 })))
        }

        fn patterns(&self) -> Later<'_, Result<Patterns, RegistryError>> {
            unreachable!("not asked here")
        }

        fn remove<'a>(&'a self, _: &'a Boot) -> Later<'a, Result<(), RegistryError>> {
            unreachable!("not asked here")
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_counts_for_its_time_and_no_longer() {
        let cached = Cached::new(Arc::new(Counting::default()), Duration::from_secs(1));
        let names = |texts: &[&str]| texts.iter().map(|text| Name::User((*text).into())).collect::<Vec<_>>();
        let located = async |texts: &[&str]| {
            let located = cached.locate(&names(texts)).await.unwrap();
            assert_eq!(located.patterns_version, 7);
            located.nodes.iter().map(|nodes| nodes[0].to_string()).collect::<Vec<_>>()
        };
        assert_eq!(located(&["a", "b"]).await, ["n/0", "n/1"]);
        assert_eq!(located(&["b", "c", "a"]).await, ["n/1", "n/2", "n/0"], "only what is missing is asked for");
        assert_eq!(located(&[]).await, [""; 0]);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(located(&["a"]).await, ["n/3"]);
    }
}
