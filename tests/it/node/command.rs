//! The command line and the configuration.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::process::{Ended, Launch, serve};

fn run(arguments: &[&str]) -> Ended {
    Launch::new(arguments).run()
}

fn check(config: &str) -> Ended {
    Launch::new(&["check-config"]).config(config).run()
}

fn fixtures(kind: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/config").join(kind);
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let files: Vec<_> = files.filter(|path| path.extension().is_some_and(|extension| extension == "toml")).collect();
    assert!(!files.is_empty());
    files
}

#[test]
fn the_help_teaches() {
    let help = run(&["--help"]);
    assert_eq!((help.code, &*help.errors), (Some(0), ""));
    for taught in [
        "STOMP over WebSocket",
        "--config <FILE>",
        "--listen <ADDR:PORT>",
        "check-config",
        "print-config > stampede.toml",
        "ws://HOST:PORT/ws",
        "http://HOST:PORT/ws",
        "STAMPEDE__SERVER__LISTEN=0.0.0.0:8080",
    ] {
        assert!(help.output.contains(taught), "{taught:?} is not taught:\n{}", help.output);
    }
    for command in ["serve", "dev", "check-config", "print-config"] {
        assert_eq!(run(&[command, "--help"]).code, Some(0), "{command}");
    }
    let version = run(&["--version"]);
    assert_eq!(version.output, format!("stampede {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn what_it_does_not_know_is_refused_with_a_hint() {
    for arguments in [&["--lisen", "127.0.0.1:0"][..], &["serv"], &["--listen", "here"], &["check-config", "x.toml"]] {
        let ended = run(arguments);
        assert_eq!(ended.code, Some(2), "{arguments:?}");
        assert!(
            ended.errors.contains(arguments.last().unwrap()) || ended.errors.contains("--lisen"),
            "{}",
            ended.errors
        );
        assert!(ended.errors.contains("--help") || ended.errors.contains("tip:"), "{}", ended.errors);
    }
}

#[test]
fn the_printed_configuration_is_the_documented_one_and_good() {
    let printed = run(&["print-config"]);
    let documented = include_str!("../../../src/config/stampede.toml");
    assert_eq!((printed.code, printed.output.trim_end()), (Some(0), documented.trim_end()));
    let checked = check(&printed.output);
    assert_eq!(checked.code, Some(0), "{}", checked.errors);
}

#[test]
fn good_configurations_are_good() {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/co-editing/stampede.toml");
    for path in fixtures("valid").into_iter().chain([example]) {
        let ended = run(&["check-config", "--config", path.to_str().unwrap()]);
        assert_eq!((ended.code, &*ended.errors), (Some(0), ""), "{}", path.display());
        assert!(ended.output.contains("good"), "{}", ended.output);
    }
    assert_eq!(run(&["check-config"]).code, Some(0), "the defaults");
}

#[test]
fn every_mistake_is_named_with_file_line_and_key() {
    for path in fixtures("invalid") {
        let ended = run(&["check-config", "--config", path.to_str().unwrap()]);
        assert_eq!(ended.code, Some(1), "{}", path.display());
        let expected = fs::read_to_string(path.with_extension("expected")).unwrap();
        for problem in expected.lines() {
            assert!(ended.errors.contains(problem), "{problem}\nis not in\n{}", ended.errors);
        }
        // The server refuses it too, before it listens.
        let served = run(&["--listen", "127.0.0.1:0", "--config", path.to_str().unwrap()]);
        assert_eq!((served.code, &*served.output), (Some(1), ""), "{}", path.display());
    }
}

#[test]
fn mistakes_in_any_section_are_found_by_the_check() {
    for (config, place, key) in [
        ("[server]\nlisten = 'here'\n", ":2: ", "listen"),
        ("[server]\nlisten_on = '1'\n", ":2: ", "listen_on"),
        ("\n[servers]\n", ":2: ", "servers"),
        ("[[endpoint]]\npath = 'ws'\n", ":2: ", "endpoint.path"),
        ("[limits]\nheart_beat_tolerance = 1\n", ":2: ", "limits.heart_beat_tolerance"),
        ("[outbox]\noverflow = 'sometimes'\n", ":2: ", "overflow"),
        ("[outbox]\nsend_time_limit = '10'\n", ":2: ", "send_time_limit"),
        ("[log]\nfilter = 'stampede=loud'\n", ":2: ", "log.filter"),
        ("[[destination]]\nmatch = '/queue/{x:[0-9]+}'\nshare = true\n", ":2: ", "destination.match"),
        ("[[destination]]\nmatch = '/queue/**'\nkeep = { for = '0s' }\n", ":3: ", "destination.keep"),
        ("[limits]\nheaders = 1\nconnect_size_limit = 1\n", ":3: ", "limits.connect_size_limit"),
        ("[[endpoint]]\npath = '/a'\n[[endpoint]]\npath = '/a'\n", ":4: ", "endpoint.path"),
        ("[mailbox]\nwindow = 0\n", ":1: ", "mailbox: window"),
        ("[server\n", ":1: ", ""),
    ] {
        let ended = check(config);
        assert_eq!(ended.code, Some(1), "{config}");
        assert!(ended.errors.contains(place) && ended.errors.contains(key), "{config}: {}", ended.errors);
        assert!(ended.errors.contains(".toml:"), "{}", ended.errors);
    }
    let missing = run(&["check-config", "--config", "there-is-no-such-file.toml"]);
    assert_eq!(missing.code, Some(1));
    assert!(missing.errors.contains("there-is-no-such-file.toml: cannot be read"), "{}", missing.errors);
}

#[test]
fn the_environment_wins_over_the_file() {
    let server = Launch::new(&[])
        .config("[[endpoint]]\npath = '/file'\n[demo]\nenabled = true\n")
        .env("STAMPEDE__ENDPOINT__0__PATH", "/environment")
        .env("STAMPEDE__DEMO__ENABLED", "false")
        .env("STAMPEDE__LOG__FILTER", "warn")
        .serve();
    assert_eq!(server.get("/environment/info").0, 200);
    assert_eq!(server.get("/file/info").0, 404);
    assert_eq!(server.get("/").0, 404);
    server.prints("/environment");
    assert!(!server.output().contains("demo"), "{}", server.output());
    let bad = Launch::new(&["check-config"]).env("STAMPEDE__LIMITS__HEADERS", "many").run();
    assert_eq!(bad.code, Some(1));
    assert!(bad.errors.contains("STAMPEDE__LIMITS__HEADERS"), "{}", bad.errors);
}

#[test]
fn a_port_in_use_is_named_with_the_way_out() {
    let first = serve("");
    let address = first.address.to_string();
    let second = run(&["--listen", &address]);
    assert_eq!((second.code, &*second.output), (Some(1), ""));
    assert!(second.errors.contains(&format!("cannot listen on {address}")), "{}", second.errors);
    assert!(second.errors.contains("--listen"), "{}", second.errors);
    first.is_well();
}

#[test]
fn the_greeting_says_where_it_is_and_who_can_reach_it() {
    let server = serve("[[endpoint]]\npath = '/one'\n[[endpoint]]\npath = '/two'\n");
    let address = server.address;
    for line in [
        format!("listens on http://{address}"),
        format!("ws://{address}/one"),
        format!("http://{address}/two"),
        "Only this machine can connect".to_owned(),
    ] {
        server.prints(&line);
    }
}
