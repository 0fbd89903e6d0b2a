//! What goes wrong between a node and what the nodes share.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use stampede::ids::Boot;
use stampede::mailbox::shared::{Append, Appended, Contents, SharedStore};
use stampede::mailbox::{Refused, StoreError};
use stampede::registry::{Change, Lease, Located, Name, NodeState, Patterns, Registry, RegistryError};
use stampede::relay::Later;

use tokio::time::sleep;

use super::bus::Weather;

/// How long a call waits for an answer that does not come.
const TIMEOUT: Duration = Duration::from_secs(1);

/// Numbers from a seed.
#[derive(Debug, Clone)]
pub(super) struct Chance(Arc<AtomicU64>);

impl Chance {
    pub(super) fn new(seed: u64) -> Self {
        Self(Arc::new(AtomicU64::new(seed)))
    }

    /// The next number below `limit` (splitmix64).
    pub(super) fn below(&self, limit: u64) -> u64 {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut number = self.0.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (number ^ (number >> 31)) % limit
    }

    pub(super) fn per_mille(&self, often: u64) -> bool {
        often > 0 && self.below(1000) < often
    }

    pub(super) fn pick<'a, T>(&self, from: &'a [T]) -> &'a T {
        &from[usize::try_from(self.below(from.len() as u64)).unwrap()]
    }

    pub(super) fn millis(&self, limit: u64) -> Duration {
        Duration::from_millis(self.below(limit))
    }
}

/// How often what goes wrong on the way, in a thousand.
#[derive(Debug, Clone)]
pub(super) struct Rough {
    pub(super) chance: Chance,
    pub(super) delay_ms: u64,
    pub(super) breaks: u64,
    pub(super) loses: u64,
}

impl Rough {
    pub(super) fn calm(chance: Chance) -> Self {
        Self { chance, delay_ms: 3, breaks: 0, loses: 0 }
    }
}

impl Weather for Rough {
    fn delay(&self) -> Duration {
        self.chance.millis(self.delay_ms)
    }

    fn breaks(&self) -> bool {
        self.chance.per_mille(self.breaks)
    }

    fn loses_confirm(&self) -> bool {
        self.chance.per_mille(self.loses)
    }
}

/// The way from one node to the registry and the store.
#[derive(Debug)]
pub(super) struct Link {
    weather: Rough,
    down: AtomicBool,
    dead: AtomicBool,
    look_ups: AtomicU64,
}

impl Link {
    pub(super) fn new(weather: Rough) -> Arc<Self> {
        let (down, dead) = (AtomicBool::new(false), AtomicBool::new(false));
        Arc::new(Self { weather, down, dead, look_ups: AtomicU64::new(0) })
    }

    /// How often the registry was asked who has receivers.
    pub(super) fn look_ups(&self) -> u64 {
        self.look_ups.load(Ordering::Relaxed)
    }

    pub(super) fn set_down(&self, down: bool) {
        self.down.store(down, Ordering::Relaxed);
    }

    /// Whoever waits for an answer waits for ever: its node is dead.
    pub(super) fn kill(&self) {
        self.dead.store(true, Ordering::Relaxed);
    }

    async fn travel(&self) -> Result<(), ()> {
        sleep(self.weather.delay()).await;
        if self.dead.load(Ordering::Relaxed) {
            pending::<()>().await;
        }
        if self.down.load(Ordering::Relaxed) || self.weather.breaks() {
            sleep(TIMEOUT).await;
            return Err(());
        }
        Ok(())
    }

    /// There and back; what was asked may have been done although no answer comes.
    async fn call<T>(&self, ask: impl FnOnce() -> Later<'static, T>) -> Result<T, ()> {
        self.travel().await?;
        let answer = ask().await;
        self.travel().await?;
        Ok(answer)
    }
}

/// What is at the other end of a link.
#[derive(Debug)]
pub(super) struct Remote<T> {
    pub(super) inner: Arc<T>,
    pub(super) link: Arc<Link>,
}

/// An answer that is there already.
fn now<'a, T: Send + 'static>(answer: T) -> Later<'a, T> {
    Box::pin(std::future::ready(answer))
}

/// The implementations in memory answer when they are asked.
fn at_once<T: Send + 'static>(answer: Later<'_, T>) -> Later<'static, T> {
    use futures_util::FutureExt as _;
    now(answer.now_or_never().expect("what is in memory answers at once"))
}

fn silent(_: ()) -> RegistryError {
    RegistryError("no answer".into())
}

fn store_silent() -> StoreError {
    StoreError::Failed(Arc::new(silent(())))
}

impl<T: Registry> Registry for Remote<T> {
    fn renew<'a>(&'a self, boot: &'a Boot, info: &'a str) -> Later<'a, Result<Lease, RegistryError>> {
        Box::pin(async move { self.link.call(|| at_once(self.inner.renew(boot, info))).await.map_err(silent)? })
    }

    fn nodes(&self) -> Later<'_, Result<Vec<NodeState>, RegistryError>> {
        Box::pin(async move { self.link.call(|| at_once(self.inner.nodes())).await.map_err(silent)? })
    }

    fn change<'a>(&'a self, boot: &'a Boot, changes: &'a [Change]) -> Later<'a, Result<(), RegistryError>> {
        Box::pin(async move { self.link.call(|| at_once(self.inner.change(boot, changes))).await.map_err(silent)? })
    }

    fn locate<'a>(&'a self, names: &'a [Name]) -> Later<'a, Result<Located, RegistryError>> {
        self.link.look_ups.fetch_add(1, Ordering::Relaxed);
        Box::pin(async move { self.link.call(|| at_once(self.inner.locate(names))).await.map_err(silent)? })
    }

    fn patterns(&self) -> Later<'_, Result<Patterns, RegistryError>> {
        Box::pin(async move { self.link.call(|| at_once(self.inner.patterns())).await.map_err(silent)? })
    }

    fn remove<'a>(&'a self, boot: &'a Boot) -> Later<'a, Result<(), RegistryError>> {
        Box::pin(async move { self.link.call(|| at_once(self.inner.remove(boot))).await.map_err(silent)? })
    }
}

impl<T: SharedStore> SharedStore for Remote<T> {
    fn append(&self, appends: Vec<Append>) -> Later<'_, Vec<Result<Appended, Refused>>> {
        Box::pin(async move {
            let number = appends.len();
            let appended = self.link.call(|| at_once(self.inner.append(appends))).await;
            appended.unwrap_or_else(|()| (0..number).map(|_| Err(Refused::Store(store_silent()))).collect())
        })
    }

    fn open<'a>(&'a self, queue: &'a str, boot: &'a Boot) -> Later<'a, Result<Contents, StoreError>> {
        Box::pin(
            async move { self.link.call(|| at_once(self.inner.open(queue, boot))).await.map_err(|()| store_silent())? },
        )
    }

    fn close<'a>(&'a self, queue: &'a str, boot: &'a Boot, handed: u64) -> Later<'a, Result<(), StoreError>> {
        Box::pin(async move {
            self.link.call(|| at_once(self.inner.close(queue, boot, handed))).await.map_err(|()| store_silent())?
        })
    }

    fn remove<'a>(&'a self, removals: &'a [(Box<str>, Vec<u64>)]) -> Later<'a, Result<(), StoreError>> {
        Box::pin(
            async move { self.link.call(|| at_once(self.inner.remove(removals))).await.map_err(|()| store_silent())? },
        )
    }

    fn forget<'a>(&'a self, boot: &'a Boot) -> Later<'a, Result<(), StoreError>> {
        Box::pin(async move { self.link.call(|| at_once(self.inner.forget(boot))).await.map_err(|()| store_silent())? })
    }
}
