//! Any octets: the same frames at any cut, within bounds, no panic.
#![no_main]

#[path = "../../protocol/tests/it/checks.rs"]
#[allow(dead_code, reason = "each target calls one of the checks")]
mod checks;

libfuzzer_sys::fuzz_target!(|data: &[u8]| checks::decoder_input(data));
