//! Every pair of `fixtures/stomp`, whole and at every cut. The form is described in `fixtures/README.md`.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use stampede_protocol::Limits;
use stampede_protocol::stomp::{Command, Fault, Frame, HeartBeat, Item, Version, encode};

use crate::checks::{Setup, decode, same_at_cut, same_by_octets};
use crate::replay::Shown;

#[test]
fn valid_octets_are_read() {
    let cases = cases("valid");
    assert!(cases.len() > 80, "only {} cases found", cases.len());
    for path in cases {
        check(&path, |expected, fault| {
            assert!(expected["fault"].is_null(), "belongs to invalid/");
            assert_eq!(fault, None);
        });
    }
}

#[test]
fn invalid_octets_are_refused() {
    let cases = cases("invalid");
    assert!(cases.len() > 50, "only {} cases found", cases.len());
    for path in cases {
        check(&path, |expected, fault| {
            let fault = fault.expect("a fault");
            let expected = &expected["fault"];
            assert_eq!(expected["kind"], fault.kind.as_str());
            assert_eq!(expected["receipt"].as_str(), fault.receipt.as_deref());
            if let Some(message) = expected["message"].as_str() {
                assert_eq!(fault.message, message);
            }
        });
    }
}

#[test]
fn no_expectation_is_without_its_octets() {
    for kind in ["valid", "invalid"] {
        for entry in fs::read_dir(folder(kind)).unwrap() {
            let path = entry.unwrap().path();
            let other = if path.extension().unwrap() == "frame" { "expected" } else { "frame" };
            assert!(path.with_extension(other).exists(), "{} stands alone", path.display());
        }
    }
}

fn folder(kind: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/stomp").join(kind)
}

fn cases(kind: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder(kind)).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.extension().is_some_and(|extension| extension == "frame")).collect()
}

fn check(path: &Path, check_fault: impl Fn(&Value, Option<Fault>)) {
    let _shown = Shown(path);
    let wire = fs::read(path).unwrap();
    let expected: Value = serde_json::from_slice(&fs::read(path.with_extension("expected")).unwrap()).unwrap();
    assert!(expected["clauses"].as_array().is_some_and(|ids| !ids.is_empty()), "names no requirement");
    let setup = setup(&expected);

    let outcome = decode(setup, [&wire[..]]);
    let items: Vec<Value> = outcome.items.iter().map(item_json).collect();
    assert_eq!(json!(items), normal_items(&expected["items"]));
    let waits = outcome.fault.is_none() && outcome.buffered > 0;
    assert_eq!(waits, expected["pending"].as_bool().unwrap_or(false));
    check_fault(&expected, outcome.fault);
    for item in &outcome.items {
        let Item::Frame(frame) = item else { continue };
        check_negotiation(&expected, frame);
    }
    if let Some(written) = expected["written"].as_str() {
        assert_eq!(String::from_utf8(write(setup.version, &outcome.items)).unwrap(), written);
    }

    for cut in 0..=wire.len() {
        same_at_cut(setup, &wire, cut);
    }
    same_by_octets(setup, &wire);
}

fn setup(expected: &Value) -> Setup {
    let limit = |name: &str, default: usize| {
        expected["limits"][name].as_u64().map_or(default, |limit| usize::try_from(limit).unwrap())
    };
    let default = Limits::default();
    Setup {
        version: expected["version"].as_str().map(|text| Version::parse(text).unwrap()),
        client: match expected["role"].as_str().unwrap() {
            "client" => true,
            "server" => false,
            other => panic!("no such role: {other}"),
        },
        strict: expected["strict"].as_bool().unwrap(),
        limits: Limits {
            head_bytes: limit("head_bytes", default.head_bytes),
            headers: limit("headers", default.headers),
            header_line_bytes: limit("header_line_bytes", default.header_line_bytes),
            body_bytes: limit("body_bytes", default.body_bytes),
        },
    }
}

fn item_json(item: &Item) -> Value {
    let Item::Frame(frame) = item else { return json!("heart-beat") };
    let headers: Vec<[&str; 2]> = frame.headers.iter().map(|(name, value)| [&**name, &**value]).collect();
    json!({ "command": frame.command.as_str(), "headers": headers, "body": hex(&frame.body) })
}

/// Expected items with every body in hex.
fn normal_items(items: &Value) -> Value {
    let normal = items.as_array().unwrap().iter().map(|item| {
        if item.is_string() {
            return item.clone();
        }
        let body = match (item["body"].as_str(), item["body_hex"].as_str()) {
            (Some(text), None) => hex(text.as_bytes()),
            (None, Some(hex)) => hex.to_owned(),
            (None, None) => String::new(),
            (Some(_), Some(_)) => panic!("two bodies: {item}"),
        };
        json!({ "command": item["command"], "headers": item["headers"], "body": body })
    });
    normal.collect()
}

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

fn write(version: Option<Version>, items: &[Item]) -> Vec<u8> {
    let mut out = Vec::new();
    for item in items {
        let Item::Frame(frame) = item else { continue };
        encode(frame, version.expect("written at a version"), &mut out);
    }
    out
}

fn check_negotiation(expected: &Value, frame: &Frame) {
    if frame.command != Command::Connect {
        return;
    }
    if let Some(negotiated) = expected.get("negotiated") {
        let chosen = Version::highest_in(frame.header("accept-version").unwrap());
        assert_eq!(chosen.map(Version::as_str), negotiated.as_str());
    }
    if let Some(readings) = expected.get("heart_beat") {
        for (reading, strict) in [("lenient", false), ("strict", true)] {
            let beat = HeartBeat::parse(frame.header("heart-beat").unwrap(), strict).ok();
            let pair = beat.map_or(Value::Null, |beat| json!([beat.can_ms, beat.want_ms]));
            assert_eq!(pair, readings[reading], "{reading}");
        }
    }
}
