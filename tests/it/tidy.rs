//! Facts about the tree that no compiler checks.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// The rooms of `src/` from the top down, as `ARCHITECTURE.md` lists them: a room names only rooms of later rows.
const ROOMS: [&[&str]; 17] = [
    &["main"],
    &["dev", "conformance", "talk"],
    &["node"],
    &["transport", "web", "identity"],
    &["session"],
    &["broker"],
    &["cluster"],
    &["rooms", "permissions"],
    &["routes", "mailbox", "revocation"],
    &["registry"],
    &["relay"],
    &["telemetry"],
    &["config"],
    &["outbox"],
    &["client"],
    &["message", "destination"],
    &["close", "timers", "ids", "addresses", "reload"],
];

/// Longest source file in lines, tests included.
const LONG: usize = 500;

/// What `stampede-protocol` is built from, build-time helpers of `thiserror` included. Nothing of it opens a socket,
/// starts a task or reads a clock.
const PROTOCOL_IS_BUILT_FROM: [&str; 11] = [
    "bytes",
    "bytestring",
    "memchr",
    "nom",
    "proc-macro2",
    "quote",
    "slab",
    "syn",
    "thiserror",
    "thiserror-impl",
    "unicode-ident",
];

/// Directories that hold what tools make.
const MADE_BY_TOOLS: [&str; 7] = [".git", "target", "node_modules", ".venv", "output", "artifacts", "coverage"];

#[test]
fn imports_point_downward() {
    let level: BTreeMap<&str, usize> =
        ROOMS.iter().enumerate().flat_map(|(level, rooms)| rooms.iter().map(move |room| (*room, level))).collect();
    let mut wrong = String::new();
    let mut known = BTreeSet::new();
    for file in files("src", "rs") {
        let room = room_of(&file);
        if room == "lib" {
            continue;
        }
        let Some(own) = level.get(room.as_str()) else {
            let _ = writeln!(wrong, "{}: the room {room} stands in no row", file.display());
            continue;
        };
        for named in rooms_named(&code(&file)) {
            // The library's name for itself in `main.rs`, and modules of dependencies, are no rooms.
            let Some(other) = level.get(named.as_str()) else { continue };
            if other <= own && named != room {
                let _ = writeln!(wrong, "{}: {room} names {named}, which is not below it", file.display());
            }
        }
        known.insert(room);
    }
    assert!(wrong.is_empty(), "{wrong}");
    let listed: BTreeSet<String> = level.keys().map(|room| (*room).to_owned()).collect();
    assert_eq!(known, listed, "a row names a room that does not exist");
}

#[test]
fn the_order_of_rooms_is_the_documented_one() {
    let text = read("ARCHITECTURE.md");
    let block = text.split("```text rooms\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let written: Vec<Vec<&str>> =
        block.lines().map(|line| line.split("  ").next().unwrap().split(", ").collect()).collect();
    assert_eq!(written, ROOMS);
}

#[test]
fn source_files_are_short() {
    let long: Vec<String> = files("src", "rs")
        .into_iter()
        .chain(files("protocol/src", "rs"))
        .filter_map(|file| {
            let lines = read(&file).lines().count();
            (lines > LONG).then(|| format!("{}: {lines} lines", file.display()))
        })
        .collect();
    assert!(long.is_empty(), "longer than {LONG} lines; which second purpose do they have? {long:#?}");
}

/// `Cargo.lock` lists what a crate is built from for any target and feature, so this is wider than
/// `cargo tree -p stampede-protocol -e normal`.
#[test]
fn protocol_does_no_io() {
    let manifest: toml::Table = read("protocol/Cargo.toml").parse().unwrap();
    let lock: toml::Table = read("Cargo.lock").parse().unwrap();
    let packages = lock["package"].as_array().unwrap();
    let mut found = BTreeSet::new();
    // As the lock file writes it: "name", or "name version" where it holds several.
    let own = packages.iter().find(|package| package["name"].as_str() == Some("stampede-protocol")).unwrap();
    let needs = |package: &toml::Value| -> Vec<String> {
        let needs = package.get("dependencies").and_then(|needs| needs.as_array()).into_iter().flatten();
        needs.map(|need| need.as_str().unwrap().to_owned()).collect()
    };
    let wanted: BTreeSet<&str> = manifest["dependencies"].as_table().unwrap().keys().map(String::as_str).collect();
    let name = |entry: &str| entry.split(' ').next().unwrap().to_owned();
    let mut waiting: Vec<String> =
        needs(own).into_iter().filter(|entry| wanted.contains(name(entry).as_str())).collect();
    while let Some(entry) = waiting.pop() {
        if !found.insert(name(&entry)) {
            continue;
        }
        let (name, version) = entry.split_once(' ').map_or((&*entry, None), |(name, version)| (name, Some(version)));
        for package in packages.iter().filter(|package| package["name"].as_str() == Some(name)) {
            if version.is_none_or(|version| package["version"].as_str() == Some(version)) {
                waiting.extend(needs(package));
            }
        }
    }
    assert_eq!(found, PROTOCOL_IS_BUILT_FROM.map(str::to_owned).into());
    for file in files("protocol/src", "rs") {
        if file.iter().any(|part| part == "tests" || part == "tests.rs") {
            continue;
        }
        let code = code(&file);
        let code = code.split("#[cfg(test)]\nmod tests").next().unwrap();
        for forbidden in ["std::net", "std::fs", "std::thread", "std::io", "Instant::now", "SystemTime", "println!"] {
            assert!(!code.contains(forbidden), "{} uses {forbidden}", file.display());
        }
    }
}

#[test]
fn relative_links_lead_somewhere() {
    let mut broken = Vec::new();
    let mut seen = 0;
    for file in tree().into_iter().filter(|file| file.extension().is_some_and(|end| end == "md")) {
        for link in links(&read(&file)) {
            seen += 1;
            let target = root().join(&file).parent().unwrap().join(&link);
            if !target.exists() {
                broken.push(format!("{}: {link}", file.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
    assert!(seen > 10, "links were not found any more");
}

/// A comment that cites a document nobody has explains nothing.
#[test]
fn cited_documents_exist() {
    let mut missing = Vec::new();
    let is_text =
        |file: &PathBuf| file.extension().is_some_and(|end| ["rs", "toml", "md"].iter().any(|kind| end == *kind));
    for file in tree().into_iter().filter(is_text) {
        for quoted in read(&file).lines().flat_map(|line| line.split('`').skip(1).step_by(2)) {
            let is_name = quoted.ends_with(".md") && quoted.chars().all(|c| c.is_alphanumeric() || "./-_".contains(c));
            let beside = root().join(&file).with_file_name(quoted);
            if is_name && !root().join(quoted).is_file() && !beside.is_file() {
                missing.push(format!("{}: {quoted}", file.display()));
            }
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
}

/// A path of somebody's machine in a file works on that machine alone.
#[test]
fn no_file_knows_the_machine_it_was_written_on() {
    let mut paths = vec![format!("{}/", root().display())];
    paths.extend(["home", "root", "Users"].map(|directory| format!("/{directory}/")));
    paths.extend(std::env::var("HOME").ok().filter(|home| home.len() > 1).map(|home| format!("{home}/")));
    let mut found = Vec::new();
    for file in tree() {
        let Ok(text) = String::from_utf8(std::fs::read(root().join(&file)).unwrap()) else { continue };
        for path in &paths {
            let begins = |at: usize| {
                let before = text[..at].chars().next_back();
                before.is_none_or(|before| !before.is_alphanumeric() && !"/*.-_}~$".contains(before))
            };
            if let Some((at, _)) = text.match_indices(path.as_str()).find(|(at, _)| begins(*at)) {
                let line = text[..at].matches('\n').count() + 1;
                found.push(format!("{}:{line}: {path}", file.display()));
            }
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(file: impl AsRef<Path>) -> String {
    let file = root().join(file);
    std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// Every file of the project, relative to its root.
fn tree() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut waiting = vec![root().to_owned()];
    while let Some(directory) = waiting.pop() {
        for entry in std::fs::read_dir(&directory).unwrap() {
            let entry = entry.unwrap();
            let kind = entry.file_type().unwrap();
            let path = entry.path();
            if kind.is_dir() && !MADE_BY_TOOLS.iter().any(|name| *name == entry.file_name()) {
                waiting.push(path);
            } else if kind.is_file() {
                found.push(path.strip_prefix(root()).unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
}

fn files(under: &str, extension: &str) -> Vec<PathBuf> {
    let mut found = tree();
    found.retain(|file| file.starts_with(under) && file.extension().is_some_and(|end| end == extension));
    assert!(!found.is_empty(), "nothing in {under}");
    found
}

/// `src/session/drive.rs` and `src/session.rs` are of the room `session`.
fn room_of(file: &Path) -> String {
    let part = file.strip_prefix("src").unwrap().iter().next().unwrap().to_str().unwrap();
    part.trim_end_matches(".rs").to_owned()
}

/// A file without its comments, which may speak of anything.
fn code(file: &Path) -> String {
    let lines = read(file);
    let lines: Vec<&str> = lines.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    lines.join("\n")
}

/// What follows `crate::`, or `stampede::` in the binary, braces of a `use` included.
fn rooms_named(code: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for start in ["crate::", " stampede::"] {
        for (at, _) in code.match_indices(start) {
            let rest = &code[at + start.len()..];
            match rest.strip_prefix('{') {
                Some(list) => {
                    let list = list.split("};").next().unwrap_or_default();
                    found.extend(list.split(',').map(word));
                }
                None => {
                    found.insert(word(rest));
                }
            }
        }
    }
    found
}

fn word(text: &str) -> String {
    text.trim_start().chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect()
}

/// Targets of Markdown links that lead to files, without their anchors.
fn links(text: &str) -> Vec<String> {
    let mut in_code = false;
    let mut found = Vec::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        }
        if in_code {
            continue;
        }
        for part in line.split("](").skip(1) {
            let target = part.split(')').next().unwrap_or_default();
            let file = target.split('#').next().unwrap_or_default();
            if !file.is_empty() && !file.contains("://") && !file.starts_with("mailto:") {
                found.push(file.to_owned());
            }
        }
    }
    found
}

#[test]
fn a_use_list_names_its_rooms() {
    let code =
        "use crate::config::{self, Config};\nuse crate::{close::CloseReason, ids};\nlet x = crate::timers::TICK;";
    let found: Vec<String> = rooms_named(code).into_iter().collect();
    assert_eq!(found, ["close", "config", "ids", "timers"]);
}
