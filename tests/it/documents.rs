//! The examples in the documents work: every TOML block is read and checked as `stampede check-config` does.

use std::path::{Path, PathBuf};

use stampede::config::load::parse;
use stampede::node;

#[test]
fn every_configuration_example_is_good() {
    let mut examples = 0;
    for document in documents() {
        let text = std::fs::read_to_string(&document).unwrap();
        for (line, example) in blocks(&text, "toml") {
            examples += 1;
            let name = format!("{}:{line}", document.display());
            let mut config = parse(&example, &name, []).unwrap_or_else(|error| panic!("{error}"));
            // Its files are the reader's.
            config.server.tls = None;
            node::check(&config, &example, &name).unwrap_or_else(|problems| panic!("{problems:#?}"));
        }
    }
    assert!(examples > 5, "only {examples} examples were found");
}

#[test]
fn a_block_begins_behind_its_fence() {
    let text = "a\n```toml\nx = 1\n```\n```sh\nno\n```\n```toml\ny = 2\nz = 3\n```\n";
    assert_eq!(blocks(text, "toml"), [(3, "x = 1\n".to_owned()), (9, "y = 2\nz = 3\n".to_owned())]);
}

fn documents() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = vec![root.join("README.md"), root.join("ARCHITECTURE.md")];
    for entry in std::fs::read_dir(root.join("docs")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|end| end == "md") {
            found.push(path);
        }
    }
    found
}

/// Fenced blocks in `language`, each with the line it begins at.
fn blocks(text: &str, language: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut open: Option<(bool, usize, String)> = None;
    for (number, line) in text.lines().enumerate() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(info)) => open = Some((info.trim() == language, number + 2, String::new())),
            (Some(_), Some(_)) => {
                if let Some((true, start, block)) = open.take() {
                    found.push((start, block));
                }
            }
            (Some((_, _, block)), None) => {
                block.push_str(line);
                block.push('\n');
            }
            (None, None) => {}
        }
    }
    found
}
