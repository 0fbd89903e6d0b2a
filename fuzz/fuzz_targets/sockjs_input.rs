//! Any SockJS payload is read as JSON says, or refused for the right reason.
#![no_main]

#[path = "../../protocol/tests/it/checks.rs"]
#[allow(dead_code, reason = "each target calls one of the checks")]
mod checks;

libfuzzer_sys::fuzz_target!(|data: &[u8]| checks::sockjs_input(data));
