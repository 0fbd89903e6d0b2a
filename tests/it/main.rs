//! Behaviour tests against the real binary.
#![allow(clippy::unwrap_used, reason = "tests")]

mod sockjs;
mod support;
