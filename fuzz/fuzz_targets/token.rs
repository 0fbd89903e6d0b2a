//! Any token, signed or not: who is let in is whom it names.
#![no_main]

#[path = "../../tests/it/checks.rs"]
#[allow(dead_code, reason = "each target calls one of the checks")]
mod checks;

libfuzzer_sys::fuzz_target!(|data: &[u8]| checks::token_input(data));
