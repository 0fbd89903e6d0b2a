//! What every store of shared rooms keeps to.

use std::sync::Arc;

use super::{Boot, Joined, Left, Listed, NodeId, SharedRooms, Stay};

/// A stay of `member` in room `name`.
fn stay(boot: &Boot, name: &str, member: &str, number: u64) -> Stay {
    Stay { room: name.into(), member: member.into(), boot: boot.clone(), number }
}

fn boot(name: &str) -> Boot {
    Boot::new(&NodeId::named(name).unwrap())
}

fn members(listed: &Listed) -> Vec<(&str, &str)> {
    listed.members.iter().map(|member| (&*member.id, &*member.profile)).collect()
}

#[track_caller]
fn joined(joined: Joined) -> (bool, bool, Listed) {
    let Joined::In { first, created, listed } = joined else { panic!("it was full") };
    (first, created, listed)
}

/// Goes through all of it; the store is empty.
pub(super) async fn check(store: &dyn SharedRooms) {
    for name in ["r", "a {b} 50%", "}", "é/x"] {
        a_list(store, name).await;
    }
    ends(store).await;
}

async fn a_list(store: &dyn SharedRooms, name: &str) {
    let (a, b) = (boot("a"), boot("b"));
    assert_eq!(store.members(name).await.unwrap(), Listed::default());
    let (zoe, ann) = (stay(&a, name, "zoe", 1), stay(&a, name, "ann", 2));
    let (first, created, listed) = joined(store.join(&zoe, "{\"id\":1}", 2).await.unwrap());
    assert_eq!((first, created, members(&listed)), (true, true, vec![("zoe", "{\"id\":1}")]));
    let one = listed.version;
    // Asked again, because the answer got lost.
    let (first, created, listed) = joined(store.join(&zoe, "{\"id\":1}", 2).await.unwrap());
    assert_eq!((first, created, listed.version), (true, false, one));
    let (_, _, listed) = joined(store.join(&ann, "\"x\"", 2).await.unwrap());
    assert_eq!(members(&listed), [("zoe", "{\"id\":1}"), ("ann", "\"x\"")], "as they came");
    assert!(listed.version > one);
    assert_eq!(store.join(&stay(&b, name, "max", 1), "1", 2).await.unwrap(), Joined::Full);
    assert_eq!(store.stays(&b).await.unwrap(), []);
    // On a second node, with a new profile.
    let elsewhere = stay(&b, name, "zoe", 2);
    let (first, created, listed) = joined(store.join(&elsewhere, "{}", 2).await.unwrap());
    assert_eq!((first, created, members(&listed)), (false, false, vec![("zoe", "{}"), ("ann", "\"x\"")]));
    assert_eq!(store.members(name).await.unwrap(), listed);
    assert_eq!(store.leave(&elsewhere, &b, None).await.unwrap(), (Left::Stays, listed.clone()));
    assert_eq!(store.leave(&elsewhere, &b, None).await.unwrap(), (Left::Stays, listed.clone()));
    assert_eq!(store.stays(&b).await.unwrap(), []);
    let (left, after) = store.leave(&zoe, &a, None).await.unwrap();
    assert_eq!(left, Left::Gone { profile: Arc::from("{}") });
    assert_eq!(members(&after), [("ann", "\"x\"")]);
    assert!(after.version > listed.version);
    let (left, last) = store.leave(&ann, &a, None).await.unwrap();
    assert_eq!((left, members(&last)), (Left::Gone { profile: Arc::from("\"x\"") }, vec![]));
    // It comes again before it was told that it had left.
    let again = stay(&a, name, "ann", 3);
    let (first, _, listed) = joined(store.join(&again, "2", 2).await.unwrap());
    assert!(first && listed.version > last.version);
    for stay in [&zoe, &ann] {
        store.told(stay).await.unwrap();
    }
    assert_eq!(store.stays(&a).await.unwrap(), std::slice::from_ref(&again));
    store.leave(&again, &a, None).await.unwrap();
    store.told(&again).await.unwrap();
    assert_eq!(store.members(name).await.unwrap(), Listed::default());
    assert_eq!(store.stays(&a).await.unwrap(), []);
    // Versions go on although the room was forgotten.
    let (_, _, newer) = joined(store.join(&stay(&a, name, "ann", 4), "2", 2).await.unwrap());
    assert!(newer.version > listed.version);
    store.leave(&stay(&a, name, "ann", 4), &a, None).await.unwrap();
    store.told(&stay(&a, name, "ann", 4)).await.unwrap();
}

async fn ends(store: &dyn SharedRooms) {
    let [dead, a, b] = ["dead", "a", "b"].map(boot);
    let here = stay(&dead, "r", "ann", 7);
    joined(store.join(&here, "{\"n\":1}", 9).await.unwrap());
    let gone = Left::Gone { profile: Arc::from("{\"n\":1}") };
    assert_eq!(store.leave(&here, &a, None).await.unwrap().0, gone);
    assert_eq!(store.leave(&here, &a, None).await.unwrap().0, gone, "its answer may have got lost");
    assert_eq!(store.leave(&here, &b, None).await.unwrap().0, Left::ToldBy(a.clone()));
    assert_eq!(store.leave(&here, &b, Some(&dead)).await.unwrap().0, Left::ToldBy(a.clone()));
    assert_eq!(store.stays(&dead).await.unwrap(), std::slice::from_ref(&here), "until it was told");
    assert_eq!(store.leave(&here, &b, Some(&a)).await.unwrap().0, gone);
    assert_eq!(store.leave(&here, &a, None).await.unwrap().0, Left::ToldBy(b.clone()));
    store.told(&here).await.unwrap();
    store.told(&here).await.unwrap();
    assert_eq!(store.leave(&here, &b, None).await.unwrap().0, Left::Stays);
    assert_eq!(store.stays(&dead).await.unwrap(), []);
}
