//! The codec from outside: fixtures at every cut, properties, and the saved corpus of the fuzz targets.
#![allow(clippy::unwrap_used, reason = "Clippy exempts test functions, not what they share")]

mod bench;
mod checks;
mod corpus;
mod decoder;
mod fixtures;
mod properties;
mod replay;
