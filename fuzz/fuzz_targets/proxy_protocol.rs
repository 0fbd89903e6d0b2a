//! The head of any connection through a balancer: the same at any cut, and not an octet too much.
#![no_main]

#[path = "../../tests/it/checks.rs"]
#[allow(dead_code, reason = "each target calls one of the checks")]
mod checks;

libfuzzer_sys::fuzz_target!(|data: &[u8]| checks::proxy_protocol_input(data));
