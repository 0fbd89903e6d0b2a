//! The `stampede` command.
fn main() {}
