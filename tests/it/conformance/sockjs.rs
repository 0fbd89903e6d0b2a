//! The clauses of SockJS against the real binary.

use std::sync::Arc;
use std::time::Duration;

use stampede::client::wire::Access;
use stampede::conformance::requests;
use stampede::conformance::server::Server as Asked;
use stampede::conformance::verdict::Outcome;

use crate::support::server::Server;

/// How the server is asked.
fn asked(server: &Server) -> Asked {
    let target = format!("http://{}/ws", server.address).parse().unwrap();
    Asked {
        target: Arc::new(target),
        access: Access::default(),
        host: "localhost".to_owned(),
        login: None,
        connect: Vec::new(),
        topic: "/topic/conformance.{}".to_owned(),
        queue: None,
        refused: None,
        patience: Duration::from_secs(10),
        quiet: Duration::from_millis(300),
        settle: Duration::from_millis(300),
        receipts: true,
        slow: false,
    }
}

/// Plays all; nothing may fail. Gives what did not apply.
async fn check(config: &str) -> Vec<(String, String)> {
    let server = Server::start(config);
    let outcomes = requests::all(&asked(&server)).await.unwrap();
    let mut failures = Vec::new();
    let mut skipped = Vec::new();
    for (id, outcome) in outcomes {
        match outcome {
            Outcome::Passed => {}
            Outcome::NotApplicable(why) => skipped.push((id, why)),
            Outcome::Failed(failure) | Outcome::Known(failure, _) => failures.push((id, failure)),
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
    skipped
}

#[tokio::test]
async fn every_clause_holds_with_the_defaults() {
    check("").await;
}

#[tokio::test]
async fn every_clause_holds_where_pages_of_all_origins_are_let_in() {
    let config = "[[endpoint]]\npath = \"/ws\"\n[endpoint.sockjs]\nallowed_origins = [\"*\"]\n";
    let skipped = check(config).await;
    assert!(!skipped.iter().any(|(id, _)| id == "K31" || id == "K57"), "{skipped:#?}");
}

#[tokio::test]
async fn every_clause_holds_with_cookies() {
    let config =
        "[[endpoint]]\npath = \"/ws\"\n[endpoint.sockjs]\nallowed_origins = [\"*\"]\nsession_cookie_needed = true\n";
    let skipped = check(config).await;
    assert!(!skipped.iter().any(|(id, _)| id == "K66"), "{skipped:#?}");
}
