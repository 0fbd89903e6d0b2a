//! Each limit: exactly at it works, one beyond is a fault that names limit and value.

use super::*;

/// Steps that reach the limit, the step that passes it, and what the fault must say.
fn check(limits: SessionLimits, within: &[&str], beyond: &str, says: &[&str]) {
    for strict in [false, true] {
        let mut case = Case::new(strict);
        case.config.limits = limits;
        case.connect("1.2");
        for step in within {
            let outcome = case.step(step);
            assert!(!outcome.starts_with("fault") && !outcome.starts_with("dropped"), "{step}: {outcome}");
        }
        let (command, words) = beyond.split_once(' ').expect("a command and headers");
        let fault = case.session.handle(&case.config, frame(command, words)).expect_err(beyond);
        assert_eq!(fault.kind, FaultKind::Limit, "{beyond}");
        assert_eq!(fault.receipt.as_deref().is_some(), words.contains("receipt:"), "{beyond}");
        for word in says {
            assert!(fault.message.contains(word), "{beyond}: {}", fault.message);
        }
    }
}

#[test]
fn live_subscriptions() {
    let limits = SessionLimits { subscriptions: 2, ..SessionLimits::default() };
    check(
        limits,
        &[
            "SUBSCRIBE id:a destination:/t",
            "SUBSCRIBE id:b destination:/t",
            "UNSUBSCRIBE id:a",
            "SUBSCRIBE id:c destination:/t",
        ],
        "SUBSCRIBE id:d destination:/t receipt:r",
        &["subscriptions", "3", "2"],
    );
}

#[test]
fn lengths_of_headers() {
    let limits =
        SessionLimits { subscription_id_bytes: 3, destination_bytes: 4, receipt_bytes: 5, ..SessionLimits::default() };
    check(
        limits,
        &["SUBSCRIBE id:aaa destination:/t"],
        "SUBSCRIBE id:bbbb destination:/t",
        &["subscription id", "4", "3"],
    );
    check(limits, &["SUBSCRIBE id:a destination:/ttt"], "SUBSCRIBE id:b destination:/tttt", &["destination", "5", "4"]);
    check(limits, &["SEND destination:/ttt"], "SEND destination:/tttt receipt:r", &["destination", "5", "4"]);
    check(limits, &["SEND destination:/t receipt:12345"], "DISCONNECT receipt:123456", &["receipt", "6", "5"]);
}

#[test]
fn open_transactions() {
    let limits = SessionLimits { transactions: 2, ..SessionLimits::default() };
    check(
        limits,
        &["BEGIN transaction:a", "BEGIN transaction:b", "COMMIT transaction:a", "BEGIN transaction:c"],
        "BEGIN transaction:d",
        &["transactions", "3", "2"],
    );
}

#[test]
fn frames_of_all_transactions_together() {
    let limits = SessionLimits { transaction_frames: 3, ..SessionLimits::default() };
    check(
        limits,
        &[
            "BEGIN transaction:a",
            "BEGIN transaction:b",
            "SEND destination:/t transaction:a",
            "SEND destination:/t transaction:b",
            "SUBSCRIBE id:s destination:/q ack:client",
            "deliver 0 m1",
            "ACK id:0-0 transaction:a",
        ],
        "SEND destination:/t transaction:b receipt:r",
        &["frames", "4", "3"],
    );
}

#[test]
fn octets_of_all_transactions_together() {
    // Two ids of one octet; a SEND weighs its body, the 25 octets of its headers, and two entries of the header table.
    let head = 25 + 2 * 64;
    let limits = SessionLimits { transaction_bytes: 2 + head + 4 + head, ..SessionLimits::default() };
    let steps = ["BEGIN transaction:a", "BEGIN transaction:b", "SEND destination:/t transaction:a =1234"];
    let mut within = steps.to_vec();
    within.push("SEND destination:/t transaction:b");
    check(limits, &within, "BEGIN transaction:c", &["octets", "313", "312"]);
    check(limits, &steps, "SEND destination:/t transaction:b =1", &["octets", "313", "312"]);
}
