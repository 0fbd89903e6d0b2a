//! No clause is forgotten: each of `fixtures/transcripts/clauses.txt` is shown by a transcript or by a test.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::support::transcript::parse;

/// Each is a part of the list, a folder of transcripts and a folder of tests.
const SECTIONS: [&str; 3] = ["stomp", "spring", "kept"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(file: &str) -> String {
    fs::read_to_string(root().join(file)).unwrap()
}

fn files(folder: &str) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> =
        fs::read_dir(root().join(folder)).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// The names of the tests in a folder.
fn tests(folder: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for file in files(folder) {
        let text = fs::read_to_string(file).unwrap();
        let mut lines = text.lines().skip_while(|line| !is_test(line));
        while let Some(line) = lines.next() {
            if is_test(line) {
                let name = lines.next().unwrap().split_once("fn ").unwrap().1;
                names.insert(name.split('(').next().unwrap().to_owned());
            }
        }
    }
    names
}

fn is_test(line: &str) -> bool {
    line.starts_with("#[test]") || line.starts_with("#[tokio::test")
}

/// What transcripts and names of tests say that they show: `a03_a04_client_is_cumulative` shows A03 and A04.
fn shown(kind: &str) -> BTreeSet<String> {
    let mut shown = BTreeSet::new();
    for file in files(&format!("fixtures/transcripts/{kind}")) {
        let text = fs::read_to_string(file).unwrap();
        shown.extend(parse(&text).into_iter().flat_map(|transcript| transcript.clauses));
    }
    for name in tests(&format!("tests/it/{kind}")) {
        shown.extend(name.split('_').take_while(|part| is_clause(&part.to_uppercase())).map(str::to_uppercase));
    }
    shown
}

fn is_clause(text: &str) -> bool {
    text.len() == 3
        && text.starts_with(|c: char| c.is_ascii_uppercase())
        && text[1..].bytes().all(|c| c.is_ascii_digit())
}

/// The clauses of a section, each with what stands behind it.
fn listed(section: &str) -> Vec<(String, String)> {
    let list = read("fixtures/transcripts/clauses.txt");
    let (_, rest) = list.split_once(&format!("\n[{section}]\n")).unwrap();
    let lines = rest.lines().take_while(|line| !line.starts_with('['));
    let entries = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    entries
        .map(|line| line.split_once(' ').unwrap_or((line, "")))
        .map(|(id, where_)| (id.into(), where_.into()))
        .collect()
}

#[test]
fn every_clause_is_shown() {
    let sockjs = tests("tests/it/sockjs");
    let stomp = shown("stomp");
    let mut missing = Vec::new();
    for section in SECTIONS {
        let shown = shown(section);
        for (id, elsewhere) in listed(section) {
            let found = match elsewhere.split_once(' ') {
                Some(("as", other)) => stomp.contains(other),
                Some(("sockjs", name)) => sockjs.contains(name),
                Some(_) => false,
                None => shown.contains(&id),
            };
            if !found {
                missing.push(format!("{section} {id} {elsewhere}"));
            }
        }
    }
    assert!(missing.is_empty(), "nothing shows {missing:#?}");
}

#[test]
fn nothing_shows_a_clause_that_is_not_listed() {
    for section in SECTIONS {
        let listed: BTreeSet<String> = listed(section).into_iter().map(|(id, _)| id).collect();
        let unknown: Vec<String> = shown(section).into_iter().filter(|id| !listed.contains(id)).collect();
        assert!(unknown.is_empty(), "{section}: {unknown:?}");
    }
}

/// A row of a table in `docs/differences.md` begins with the clauses it is about: `| P49, D01 | …`.
#[test]
fn differences_name_clauses_that_exist() {
    let known: BTreeSet<String> = SECTIONS.iter().flat_map(|section| listed(section)).map(|(id, _)| id).collect();
    let text = read("docs/differences.md");
    let rows = text.lines().filter_map(|line| line.strip_prefix("| ")).filter_map(|row| row.split(" |").next());
    let named: Vec<&str> = rows.flat_map(|cell| cell.split(", ")).filter(|id| is_clause(id)).collect();
    assert!(named.len() > 30, "the tables of docs/differences.md were not found");
    let unknown: Vec<&&str> = named.iter().filter(|id| !known.contains(**id)).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}
