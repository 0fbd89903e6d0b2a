//! The fuzz targets over their saved corpus: what they once found stays fixed, and the targets cannot rot.

#[path = "../../protocol/tests/it/replay.rs"]
mod files;

use std::fs;
use std::path::Path;

use proptest::prelude::*;

use crate::checks::{forwarded_for_input, lets_in, proxy_protocol_input, token_input};

#[test]
fn proxy_protocol_corpus() {
    replay("proxy_protocol", proxy_protocol_input);
}

#[test]
fn forwarded_for_corpus() {
    replay("forwarded_for", forwarded_for_input);
}

#[test]
fn token_corpus() {
    replay("token", token_input);
    assert!(lets_in(r#"{"sub":"ann","exp":32503680000}"#) && !lets_in(r#"{"sub":"ann","exp":1}"#));
}

/// The manifest, the files and the list in the README name the same targets, and each has a corpus.
#[test]
fn every_target_is_listed() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let manifest: toml::Table = fs::read_to_string(folder.join("Cargo.toml")).unwrap().parse().unwrap();
    let mut named: Vec<String> =
        manifest["bin"].as_array().unwrap().iter().map(|bin| bin["name"].as_str().unwrap().to_owned()).collect();
    named.sort();
    let mut files: Vec<String> = fs::read_dir(folder.join("fuzz_targets"))
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    files.sort();
    assert_eq!(named, files);
    let readme = fs::read_to_string(folder.join("README.md")).unwrap();
    for target in named {
        assert!(readme.contains(&format!("| `{target}` |")), "{target} is not in the README");
        assert!(folder.join("corpus").join(&target).is_dir(), "{target} has no corpus");
    }
}

/// What both versions of the PROXY protocol begin with, and nothing.
const FRONTS: [&[u8]; 4] =
    [b"", b"PROXY TCP4 ", b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c", b"\r\n\r\n\0\r\nQUIT\n\x21\x21\0\x24"];
const USERS: [&str; 5] = [r#""sub":"ann""#, r#""sub":7"#, r#""sub":[]"#, r#""sub":"""#, r#""x":1"#];
const ENDS: [&str; 7] = ["1", "-1", "1e300", "32503680000", "32503680000.5", r#""x""#, "null"];
const BEGINNINGS: [&str; 4] = ["1", "32503680000", "{}", "-1e9"];

proptest! {
    #[test]
    fn any_head_of_a_connection(
        size in 0_u8..9,
        front in proptest::sample::select(&FRONTS[..]),
        rest in proptest::collection::vec(any::<u8>(), 0..130),
    ) {
        proxy_protocol_input(&[&[size], front, &rest].concat());
    }

    #[test]
    fn any_list_of_addresses(
        choice in any::<u8>(),
        lines in "((10\\.0\\.0\\.[1-9]|203\\.0\\.113\\.[1-9](:80)?|\\[?fd00::1\\]?|x|)[, \n]){0,40}",
    ) {
        forwarded_for_input(&[&[choice], lines.as_bytes()].concat());
    }

    #[test]
    fn any_claims(
        user in proptest::sample::select(&USERS[..]),
        end in proptest::sample::select(&ENDS[..]),
        begin in proptest::sample::select(&BEGINNINGS[..]),
    ) {
        token_input(format!("\x01{{{user},\"exp\":{end},\"nbf\":{begin}}}").as_bytes());
    }
}

fn replay(target: &str, check: fn(&[u8])) {
    files::replay(&Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target), check);
}
