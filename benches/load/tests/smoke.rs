//! Every scenario, in small, against the floor in this process's own children.

use std::path::PathBuf;

use stampede_load::suite::Suite;

#[test]
fn the_suite_runs_against_the_floor() {
    let suite = Suite {
        floor: PathBuf::from(env!("CARGO_BIN_EXE_floor")),
        server: None,
        server_args: Vec::new(),
        path: "/".to_owned(),
        sittings: 1,
        quick: false,
        smoke: true,
        only: Vec::new(),
        json: false,
    };
    let mut out = Vec::new();
    suite.run(&mut out).unwrap();
    let out = String::from_utf8(out).unwrap();
    let runs = out.lines().filter(|line| line.starts_with("floor ")).count();
    assert_eq!(runs, 6, "{out}");
    assert!(out.contains("| 1->10, 128 B, 1 in flight, CPU µs "), "{out}");
}
