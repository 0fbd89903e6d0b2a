//! Any `X-Forwarded-For`: nobody chooses an address for himself.
#![no_main]

#[path = "../../tests/it/checks.rs"]
#[allow(dead_code, reason = "each target calls one of the checks")]
mod checks;

libfuzzer_sys::fuzz_target!(|data: &[u8]| checks::forwarded_for_input(data));
