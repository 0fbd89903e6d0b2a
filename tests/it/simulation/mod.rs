//! Several nodes in one process, over a registry, a store and a relay in memory: no sockets, and time that stands still but
//! when everybody waits. What goes wrong is decided by a seed, so that it goes wrong again.

mod bus;
mod facts;
mod faults;
mod history;
mod random;
mod registry;
mod store;
mod world;

/// Runs a test by a clock that jumps to whatever is waited for.
fn simulate(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(test);
}
