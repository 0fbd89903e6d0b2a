//! The files in `deploy/`: they say the same thing, their programs accept them, and balancers set up by them do what a
//! SockJS session and a drain need.

mod addresses;
mod balancers;
mod facts;
mod proxy;

use std::path::PathBuf;

/// A file of `deploy/`.
fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("deploy").join(name)
}

fn read(name: &str) -> String {
    std::fs::read_to_string(path(name)).unwrap_or_else(|error| panic!("deploy/{name}: {error}"))
}
