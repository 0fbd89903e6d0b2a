//! Small helpers of the behaviour tests.

pub(crate) mod client;
pub(crate) mod cluster;
pub(crate) mod http;
pub(crate) mod openssl;
pub(crate) mod private;
pub(crate) mod process;
pub(crate) mod proxy;
pub(crate) mod rabbit;
pub(crate) mod redis;
pub(crate) mod sentinel;
pub(crate) mod server;
pub(crate) mod tcp;
pub(crate) mod transcript;
pub(crate) mod ws;

use std::time::Duration;

/// How long a test waits for what must happen, on a slow machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// Waits for what must happen.
#[track_caller]
pub(crate) fn soon<F: Future>(what: F) -> impl Future<Output = F::Output> {
    let caller = std::panic::Location::caller();
    async move {
        let Ok(outcome) = tokio::time::timeout(PATIENCE, what).await else { panic!("nothing happened, {caller}") };
        outcome
    }
}
