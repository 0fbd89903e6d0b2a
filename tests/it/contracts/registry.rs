//! What [`Registry`] promises.

use std::collections::BTreeSet;
use std::time::Duration;

use proptest::prelude::*;
use stampede::ids::Boot;
use stampede::registry::{Change, Lease, Located, Name, Registry};

use super::{boot, until_it_is};
use crate::simulation::registry::MemoryRegistry;

/// How long the registry lets a lease hold in these tests.
pub(super) const LEASE: Duration = Duration::from_secs(1);

/// Texts that a client may choose.
const TEXTS: [&str; 8] = ["ann", "/topic/a", "{x}y", "}{", "a\nb", "", " \u{e4}\u{1f600}", "u:ann"];

fn user(text: &str) -> Name {
    Name::User(text.into())
}

fn destination(text: &str) -> Name {
    Name::Destination(text.into())
}

fn pattern(text: &str) -> Name {
    Name::Pattern(text.into())
}

fn comes(name: Name) -> Change {
    Change { name, present: true }
}

fn goes(name: Name) -> Change {
    Change { name, present: false }
}

async fn change(registry: &dyn Registry, boot: &Boot, changes: &[Change]) {
    registry.change(boot, changes).await.unwrap();
}

async fn runs(registry: &dyn Registry, name: Name) -> BTreeSet<String> {
    let located = registry.locate(&[name]).await.unwrap();
    located.nodes[0].iter().map(Boot::to_string).collect()
}

async fn version(registry: &dyn Registry) -> u64 {
    registry.locate(&[]).await.unwrap().patterns_version
}

/// Every fact about an empty registry with leases of [`LEASE`], which may hold entries of others afterwards.
pub(super) async fn check(registry: &dyn Registry) {
    names_are_found_under_their_kind_alone(registry).await;
    many_names_are_asked_for_at_once(registry).await;
    the_last_change_of_a_name_counts(registry).await;
    patterns_have_a_version(registry).await;
    what_a_run_entered_goes_with_it(registry).await;
    a_lease_runs_out(registry).await;
}

async fn names_are_found_under_their_kind_alone(registry: &dyn Registry) {
    let (one, two) = (boot("one/1"), boot("two/1"));
    for text in TEXTS {
        for (name, other) in [(user(text), destination(text)), (destination(text), user(text))] {
            change(registry, &one, &[comes(name.clone())]).await;
            change(registry, &two, &[comes(name.clone())]).await;
            change(registry, &two, &[comes(name.clone())]).await;
            assert_eq!(
                runs(registry, name.clone()).await,
                BTreeSet::from(["one/1".into(), "two/1".into()]),
                "{text:?}"
            );
            assert_eq!(runs(registry, other).await, BTreeSet::new(), "{text:?}");
            change(registry, &one, &[goes(name.clone())]).await;
            change(registry, &one, &[goes(name.clone())]).await;
            assert_eq!(runs(registry, name.clone()).await, BTreeSet::from(["two/1".into()]), "{text:?}");
            change(registry, &two, &[goes(name.clone())]).await;
            assert_eq!(runs(registry, name).await, BTreeSet::new(), "{text:?}");
        }
    }
}

async fn many_names_are_asked_for_at_once(registry: &dyn Registry) {
    let one = boot("one/1");
    let name = |number: usize| user(&format!("many-{number}"));
    let changes: Vec<Change> = (0..1000).filter(|number| number % 3 == 0).map(|number| comes(name(number))).collect();
    change(registry, &one, &changes).await;
    let names: Vec<Name> = (0..1000).map(name).collect();
    let Located { nodes, .. } = registry.locate(&names).await.unwrap();
    assert_eq!(nodes.len(), 1000);
    for (number, nodes) in nodes.iter().enumerate() {
        assert_eq!(nodes.len(), usize::from(number % 3 == 0), "{number}");
    }
    registry.remove(&one).await.unwrap();
}

async fn the_last_change_of_a_name_counts(registry: &dyn Registry) {
    let one = boot("one/1");
    for name in [user("ann"), destination("/topic/a"), pattern("/topic/*")] {
        change(registry, &one, &[comes(name.clone()), goes(name.clone())]).await;
        change(registry, &one, &[goes(name.clone())]).await;
    }
    assert_eq!(runs(registry, user("ann")).await, BTreeSet::new());
    assert_eq!(registry.patterns().await.unwrap().entries, []);
    for name in [user("ann"), destination("/topic/a"), pattern("/topic/*")] {
        change(registry, &one, &[goes(name.clone()), comes(name)]).await;
    }
    assert_eq!(runs(registry, user("ann")).await, BTreeSet::from(["one/1".into()]));
    // What came last is listed as well.
    registry.remove(&one).await.unwrap();
    assert_eq!(runs(registry, user("ann")).await, BTreeSet::new());
    assert_eq!(runs(registry, destination("/topic/a")).await, BTreeSet::new());
    assert_eq!(registry.patterns().await.unwrap().entries, []);
}

async fn patterns_have_a_version(registry: &dyn Registry) {
    let (one, two) = (boot("one/1"), boot("two/1"));
    let mut versions = vec![version(registry).await];
    for text in TEXTS {
        for boot in [&one, &two] {
            for _ in 0..2 {
                change(registry, boot, &[comes(pattern(text))]).await;
                versions.push(version(registry).await);
            }
        }
    }
    // Each change is a new version, and each repetition is none.
    assert!(versions.iter().skip(1).step_by(2).eq(versions.iter().skip(2).step_by(2)), "{versions:?}");
    versions.dedup();
    assert_eq!(versions.iter().collect::<BTreeSet<_>>().len(), 1 + 2 * TEXTS.len());
    change(registry, &one, &[comes(destination("/topic/none")), goes(pattern("never entered"))]).await;
    let patterns = registry.patterns().await.unwrap();
    assert_eq!(patterns.version, version(registry).await);
    assert_eq!(versions.last(), Some(&patterns.version));
    let found: BTreeSet<_> = patterns.entries.into_iter().collect();
    let expected = TEXTS.iter().flat_map(|text| [(Box::from(*text), one.clone()), (Box::from(*text), two.clone())]);
    assert_eq!(found, expected.collect());
    registry.remove(&two).await.unwrap();
    assert!(!versions.contains(&version(registry).await));
    assert!(registry.patterns().await.unwrap().entries.iter().all(|(_, boot)| *boot == one));
    registry.remove(&one).await.unwrap();
    assert_eq!(registry.patterns().await.unwrap().entries, []);
}

async fn what_a_run_entered_goes_with_it(registry: &dyn Registry) {
    let (old, new) = (boot("one/1"), boot("one/2"));
    let names = || (0..2500).map(|number| destination(&format!("/topic/{number}"))).chain(TEXTS.map(user));
    registry.renew(&old, "old").await.unwrap();
    for boot in [&old, &new] {
        change(registry, boot, &names().map(comes).collect::<Vec<_>>()).await;
    }
    for _ in 0..2 {
        registry.remove(&old).await.unwrap();
        assert!(registry.nodes().await.unwrap().iter().all(|node| node.boot != old));
        let located = registry.locate(&names().collect::<Vec<_>>()).await.unwrap();
        assert!(located.nodes.iter().all(|runs| *runs == [new.clone()]));
    }
    registry.remove(&new).await.unwrap();
    assert_eq!(runs(registry, user("ann")).await, BTreeSet::new());
}

async fn a_lease_runs_out(registry: &dyn Registry) {
    let run = boot("leased/1");
    let state = async || {
        let nodes = registry.nodes().await.unwrap();
        nodes.into_iter().find(|node| node.boot == run).map(|node| (node.alive, node.info))
    };
    assert_eq!(state().await, None);
    assert_eq!(registry.renew(&run, "first").await.unwrap(), Lease::New);
    assert_eq!(registry.renew(&run, "second").await.unwrap(), Lease::Renewed);
    assert_eq!(state().await, Some((true, "second".into())));
    until_it_is(Some((false, "second".into())), state).await;
    assert_eq!(registry.renew(&run, "third").await.unwrap(), Lease::New, "others may have removed what it entered");
    assert_eq!(state().await, Some((true, "third".into())));
    registry.remove(&run).await.unwrap();
    assert_eq!(state().await, None);
    assert_eq!(registry.renew(&run, "fourth").await.unwrap(), Lease::New);
    registry.remove(&run).await.unwrap();
}

/// What may be done to a registry.
#[derive(Debug, Clone)]
pub(super) enum Step {
    Change(usize, Vec<(Name, bool)>),
    Remove(usize),
}

/// Sequences of steps of three runs with few names, so that they meet.
pub(super) fn steps() -> impl Strategy<Value = Vec<Step>> {
    let name = prop_oneof![
        (0..3).prop_map(|number: i32| user(&number.to_string())),
        (0..3).prop_map(|number: i32| destination(&number.to_string())),
        (0..3).prop_map(|number: i32| pattern(&number.to_string())),
    ];
    let changes = prop::collection::vec((name, prop::bool::weighted(0.7)), 1..6);
    let step = prop_oneof![
        6 => (0..3_usize, changes).prop_map(|(run, changes)| Step::Change(run, changes)),
        1 => (0..3_usize).prop_map(Step::Remove),
    ];
    prop::collection::vec(step, 1..30)
}

/// After these steps the registry says what one in memory says.
pub(super) async fn agrees_with_memory(registry: &dyn Registry, steps: &[Step]) {
    let memory = MemoryRegistry::new(LEASE);
    let runs = ["a/1", "b/1", "b/2"].map(boot);
    let everything = async |registry: &dyn Registry| {
        let all = |make: fn(&str) -> Name| (0..3).map(move |number| make(&number.to_string()));
        let mut located = registry.locate(&all(user).chain(all(destination)).collect::<Vec<_>>()).await.unwrap();
        located.nodes.iter_mut().for_each(|runs| runs.sort());
        let mut patterns = registry.patterns().await.unwrap();
        patterns.entries.sort();
        assert_eq!(patterns.version, located.patterns_version);
        (located.nodes, patterns.entries, patterns.version)
    };
    let mut before = everything(registry).await;
    for step in steps {
        for registry in [registry, &memory] {
            match step {
                Step::Change(run, changes) => {
                    let changes =
                        changes.iter().map(|(name, present)| Change { name: name.clone(), present: *present });
                    change(registry, &runs[*run], &changes.collect::<Vec<_>>()).await;
                }
                Step::Remove(run) => registry.remove(&runs[*run]).await.unwrap(),
            }
        }
        let (found, expected) = (everything(registry).await, everything(&memory).await);
        assert_eq!((&found.0, &found.1), (&expected.0, &expected.1), "{step:?}");
        assert!(found.2 > before.2 || found.1 == before.1, "other patterns of the same version after {step:?}");
        before = found;
    }
    for run in &runs {
        registry.remove(run).await.unwrap();
    }
}

#[tokio::test]
async fn the_registry_in_memory_keeps_the_contract() {
    check(&MemoryRegistry::new(LEASE)).await;
}
