//! `stampede conformance` on the command line.

use std::process::{Command, Output};

use super::SERVER;

fn conformance(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_stampede")).arg("conformance").args(arguments).output().unwrap()
}

/// Plays all against an endpoint of the binary; nothing may fail but what its list explains.
fn all_passes(path: &str, known: &str, least: u64) {
    let server = SERVER.get();
    let url = format!("ws://{}{path}", server.address);
    let known = format!("{}/fixtures/conformance/known/{known}.txt", env!("CARGO_MANIFEST_DIR"));
    let folder = tempfile::tempdir().unwrap();
    let junit = folder.path().join("junit.xml");
    let output = conformance(&[
        &url,
        "--queue=/queue/work/{}",
        "--refused=/nowhere/x",
        "--patience=5s",
        "--margin=5s",
        // Mostly they wait for what does not come.
        "--jobs=100",
        "--json",
        "--known",
        &known,
        "--junit",
        junit.to_str().unwrap(),
    ]);
    let text = String::from_utf8(output.stdout).unwrap();
    let report: serde_json::Value = serde_json::from_str(&text).unwrap();
    let results = report["results"].as_array().unwrap();
    let failed: Vec<_> = results.iter().filter(|result| result["outcome"] == "failed").collect();
    assert!(failed.is_empty(), "{failed:#?}");
    assert_eq!(output.status.code(), Some(0));
    // A list of deviations without the deviation is out of date; what the server does not have is said.
    assert_eq!(report["notes"].as_array().unwrap().len(), 0, "{:?}", report["notes"]);
    assert!(report["passed"].as_u64().unwrap() > least, "{}", report["passed"]);
    for carrier in ["websocket", "sockjs", "xhr-streaming", "xhr-polling", "eventsource", "htmlfile", "jsonp-polling"] {
        assert!(results.iter().any(|result| result["carrier"] == carrier), "{carrier}");
    }
    let xml = std::fs::read_to_string(junit).unwrap();
    assert_eq!(xml.matches("<testcase ").count(), results.len());
}

#[test]
fn an_endpoint_by_the_text_passes() {
    all_passes("/strict", "stampede-strict", 2000);
}

#[test]
fn an_endpoint_as_springs_clients_expect_it_passes_but_for_what_is_explained() {
    all_passes("/ws", "stampede", 1900);
}

#[test]
fn a_deviation_that_nobody_explained_fails() {
    let server = SERVER.get();
    let url = format!("ws://{}/ws", server.address);
    let output = conformance(&[&url, "--over=websocket", "--no-sockjs", "--only=U05", "--patience=500ms"]);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stdout).unwrap();
    for part in ["SUBSCRIBE and UNSUBSCRIBE", "0/1", "expected  ERROR", "seen      nothing within 500ms", "1 failed"] {
        assert!(text.contains(part), "{part:?} in\n{text}");
    }
}

#[test]
fn what_cannot_be_asked_is_said() {
    let refused = conformance(&["ws://127.0.0.1:1/ws"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8(refused.stderr).unwrap().contains("127.0.0.1:1"));
    let nonsense = conformance(&["gopher://x"]);
    assert_eq!(nonsense.status.code(), Some(2));
    assert!(String::from_utf8(nonsense.stderr).unwrap().contains("stomp+ssl://"));
}

#[test]
fn the_list_needs_no_server() {
    let output = conformance(&["--list", "--only=escapes"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && text.contains("\nEscapes in headers\n  H01   MUST   1.1 1.2"), "{text}");
}
