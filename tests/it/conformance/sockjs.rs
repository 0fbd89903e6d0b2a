//! What SockJS asks of HTTP and WebSocket, against the binary in several set-ups.

use stampede::conformance::known::Known;
use stampede::conformance::plan::{Library, Wanted};
use stampede::conformance::run;
use stampede::conformance::verdict::Outcome;

use crate::support::server::Server;

/// Plays all; nothing may fail. Gives the ids of what did not apply.
async fn check(config: &str) -> Vec<String> {
    let binary = Server::start(config);
    let server = super::server(binary.address, "/ws");
    let wanted = Wanted { versions: Vec::new(), carriers: Vec::new(), sockjs: true, only: Vec::new(), must: false };
    let library = Library::default();
    let plan = library.plan(&wanted);
    assert!(plan.len() > 100, "{}", plan.len());
    let outcomes = run::play(&server, &plan, &Known::default(), 8, |_| {}).await;
    let mut failures = Vec::new();
    let mut skipped = Vec::new();
    for (case, outcome) in plan.iter().zip(outcomes) {
        match outcome {
            Outcome::Passed => {}
            Outcome::NotApplicable(_) => skipped.push(case.id().to_owned()),
            Outcome::Failed(failure) | Outcome::Known(failure, _) => failures.push((case.id().to_owned(), failure)),
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
    assert!(skipped.len() < plan.len() / 2, "{skipped:?}");
    skipped
}

fn has(ids: &[String], id: &str) -> bool {
    ids.iter().any(|found| found == id)
}

#[tokio::test]
async fn every_clause_holds_with_the_defaults() {
    let skipped = check("").await;
    // Who lets in only pages of the same origin has no JSONP, and must refuse the others.
    assert!(has(&skipped, "K57") && has(&skipped, "K31") && !has(&skipped, "K103"), "{skipped:?}");
}

#[tokio::test]
async fn every_clause_holds_where_pages_of_all_origins_are_let_in() {
    let skipped = check("[[endpoint]]\npath = \"/ws\"\nsockjs = { allowed_origins = [\"*\"] }\n").await;
    assert!(!has(&skipped, "K57") && !has(&skipped, "K31") && has(&skipped, "K66"), "{skipped:?}");
}

#[tokio::test]
async fn every_clause_holds_with_cookies() {
    let sockjs = "sockjs = { allowed_origins = [\"*\"], session_cookie_needed = true }";
    let skipped = check(&format!("[[endpoint]]\npath = \"/ws\"\n{sockjs}\n")).await;
    assert!(!has(&skipped, "K66") && has(&skipped, "K68"), "{skipped:?}");
}

#[tokio::test]
async fn every_clause_holds_without_websockets() {
    let skipped = check("[[endpoint]]\npath = \"/ws\"\nsockjs = { web_socket_enabled = false }\n").await;
    assert!(has(&skipped, "K74") && !has(&skipped, "K17"), "{skipped:?}");
}
