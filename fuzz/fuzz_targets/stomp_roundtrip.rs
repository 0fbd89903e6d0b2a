//! Any frame that can be read can be written and comes back as it was.
#![no_main]

#[path = "../../protocol/tests/it/checks.rs"]
#[allow(dead_code, reason = "each target calls one of the checks")]
mod checks;

libfuzzer_sys::fuzz_target!(|data: &[u8]| checks::round_trip_input(data));
