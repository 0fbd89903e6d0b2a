//! Everything that is built in has a licence that allows it. `deny.toml` says the same to cargo-deny, which also knows advisories
//! but needs a network for them.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::Value;

#[test]
fn every_dependency_may_be_used() {
    let deny: toml::Table = include_str!("../../deny.toml").parse().unwrap();
    let allowed: BTreeSet<&str> =
        deny["licenses"]["allow"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    assert!(packages.len() > 100, "only {} packages were found", packages.len());
    let others: Vec<String> = packages
        .iter()
        .filter_map(|package| {
            let (name, licence) = (package["name"].as_str().unwrap(), package["license"].as_str().unwrap_or("none"));
            (!is_allowed(licence, &allowed)).then(|| format!("{name}: {licence}"))
        })
        .collect();
    assert!(others.is_empty(), "licences that deny.toml does not allow: {others:#?}");
}

/// An SPDX expression without nested parentheses, or the older form with a slash for OR.
fn is_allowed(expression: &str, allowed: &BTreeSet<&str>) -> bool {
    let plain = expression.replace('/', " OR ").replace(['(', ')'], " ");
    if expression.contains('(') && expression.contains(" AND ") {
        // `(A OR B) AND C`: every part between AND must have one that is allowed.
        return plain.split(" AND ").all(|part| part.split(" OR ").any(|name| allowed.contains(name.trim())));
    }
    plain.split(" OR ").any(|part| part.split(" AND ").all(|name| allowed.contains(name.trim())))
}

#[test]
fn an_expression_says_what_it_says() {
    let allowed = BTreeSet::from(["MIT", "ISC"]);
    for (expression, expected) in [
        ("MIT", true),
        ("GPL-3.0", false),
        ("MIT OR GPL-3.0", true),
        ("MIT/GPL-3.0", true),
        ("MIT AND ISC", true),
        ("MIT AND GPL-3.0", false),
        ("(MIT OR GPL-3.0) AND ISC", true),
        ("(MIT OR GPL-3.0) AND Zlib", false),
        ("none", false),
    ] {
        assert_eq!(is_allowed(expression, &allowed), expected, "{expression}");
    }
}
