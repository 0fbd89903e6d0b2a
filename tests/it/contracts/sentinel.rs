//! The implementations in Redis, found through sentinels, also while another server takes over.

use stampede::mailbox::shared::SharedStore;
use stampede::registry::{Name, Registry};

use super::redis::{ann, both, comes_back, keep_one};
use super::{boot, registry, store};
use crate::support::sentinel::Sentinels;

#[tokio::test]
async fn they_keep_the_contracts_behind_sentinels() {
    let sentinels = Sentinels::start();
    for scheme in ["redis-sentinel", "valkey-sentinel"] {
        let (registry, store) = both(&sentinels.url(scheme, "")).await;
        registry::check(&registry).await;
        store::check(&store).await;
        store::no_reader_misses_a_message(&store).await;
    }
}

#[tokio::test]
async fn a_replica_that_takes_over_has_what_was_there_and_is_told_as_an_interruption() {
    let mut sentinels = Sentinels::start();
    let (registry, store) = both(&sentinels.url("redis-sentinel", "")).await;
    let (run, names) = (boot("one/1"), [Name::User("ann".into())]);
    for round in 0..2 {
        registry.change(&run, &ann()).await.unwrap();
        let first = keep_one(&store).await.unwrap();
        sentinels.until_replicated();
        let before = registry.interruptions();
        let crashed = sentinels.crash_primary();
        sentinels.until_taken_over_from(crashed);
        comes_back(&registry, &store).await;
        assert!(registry.interruptions() > before, "it may have forgotten the last changes");
        assert_eq!(registry.locate(&names).await.unwrap().nodes, [vec![run.clone()]], "round {round}");
        let contents = store.open("/q", &run).await.unwrap();
        assert!(contents.entries.iter().any(|(seq, _)| *seq == first), "round {round}: {contents:?}");
        assert!(keep_one(&store).await.unwrap() > first);
        sentinels.restart(crashed);
    }
}

#[tokio::test]
async fn a_primary_that_freezes_is_left_for_the_other() {
    let sentinels = Sentinels::start();
    let (registry, store) = both(&sentinels.url("redis-sentinel", "")).await;
    comes_back(&registry, &store).await;
    let before = registry.interruptions();
    let frozen = sentinels.freeze_primary();
    sentinels.until_taken_over_from(frozen);
    comes_back(&registry, &store).await;
    assert!(registry.interruptions() > before);
    sentinels.thaw(frozen);
    comes_back(&registry, &store).await;
}

#[tokio::test]
async fn an_operator_can_let_the_servers_change_places() {
    let sentinels = Sentinels::start();
    let (registry, store) = both(&sentinels.url("redis-sentinel", "")).await;
    let first = keep_one(&store).await.unwrap();
    let before = registry.interruptions();
    let old = sentinels.hand_over();
    sentinels.until_taken_over_from(old);
    // What is written to the old one from now on would be lost; it ends its connections when it is told of its new place.
    sentinels.until_replicated();
    comes_back(&registry, &store).await;
    assert!(keep_one(&store).await.unwrap() > first);
    assert!(registry.interruptions() > before);
}

#[tokio::test]
async fn servers_and_sentinels_have_passwords_of_their_own() {
    for own in [None, Some("own-word")] {
        let sentinels = Sentinels::with(Some("right-word"), own);
        let url = sentinels.url("redis-sentinel", ":right-word@");
        let url = own.map_or(url.clone(), |own| format!("{url}&sentinelPassword={own}"));
        let (registry, store) = both(&url).await;
        comes_back(&registry, &store).await;
    }
}
