//! What every implementation of a trait must do: each is asked the same.

mod redis;
mod registry;
mod sentinel;
mod store;

use std::time::Duration;

use stampede::ids::Boot;

fn boot(text: &str) -> Boot {
    Boot::parse(text).unwrap()
}

/// Asks again and again until the answer is this one.
#[track_caller]
fn until_it_is<T: PartialEq + std::fmt::Debug, F: Future<Output = T>>(
    expected: T,
    ask: impl Fn() -> F,
) -> impl Future<Output = ()> {
    let caller = std::panic::Location::caller();
    async move {
        let deadline = tokio::time::Instant::now() + crate::support::PATIENCE;
        loop {
            let answer = ask().await;
            if answer == expected {
                return;
            }
            assert!(tokio::time::Instant::now() < deadline, "{answer:?} instead of {expected:?}, {caller}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}
