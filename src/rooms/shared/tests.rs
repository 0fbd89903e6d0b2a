use std::sync::Arc;

use super::*;
use crate::config::rooms::{RoomConfig, RoomsConfig};
use crate::destination::Destinations;
use crate::ids::NodeId;
use crate::rooms::{MemoryRooms, Rooms, check};
use crate::routes::{Action, Refusal, RoomRequest, Who};

#[path = "../../../tests/it/cluster/room_stores/contract.rs"]
mod contract;

#[tokio::test]
async fn the_store_in_memory_keeps_the_contract() {
    contract::check(&Memory::default()).await;
}

const RULES: &str = "
[[room]]
match = '*'
subscribe = '/topic/room/{room}'
on_join = [{ to = '/topic/joined', body = '{member-id}' }]
on_leave = [{ to = '/topic/left', body = '{member-id}' }, { to = '/topic/all', json = '{members}' }]
";

#[derive(serde::Deserialize)]
struct Sections {
    room: Vec<RoomConfig>,
}

struct Node {
    rooms: Together,
    here: Here,
}

impl Node {
    fn new(store: &Arc<Memory>, name: &str) -> Self {
        let sections: Sections = toml::from_str(RULES).unwrap();
        let rules = check(&sections.room, &Destinations::default(), RULES, "t.toml").unwrap();
        let limits = RoomsConfig { max_members: 3, ..RoomsConfig::default() };
        let rooms = Together::new(Rooms::new(rules, MemoryRooms::new(limits)), Arc::clone(store) as _);
        Self { rooms, here: Here { boot: Boot::new(&NodeId::named(name).unwrap()), up: true } }
    }

    async fn join(&self, session: &str, member: &str) -> Result<Vec<String>, Refusal> {
        let profile = format!("\"{member}\"");
        let request = RoomRequest::Join { room: "r".into(), member: member.into(), profile };
        let mut change = self.rooms.apply(&self.here, session, request).await?;
        let mut told = told(change.take_announcements());
        told.push(change.state.members.join(","));
        Ok(told)
    }

    /// What is told when a session ends; the store is told as well.
    async fn end(&self, session: &str) -> Vec<String> {
        let mut change = self.rooms.end_session(&self.here, session).await;
        self.rooms.told(&change.ended).await.unwrap();
        told(change.take_announcements())
    }

    async fn bury(&self, dead: &Boot, alive: &[&Boot]) -> Vec<String> {
        let mut all = Vec::new();
        for stay in self.rooms.stays_of(dead).await.unwrap() {
            let ended = self.rooms.end_of_dead(&stay, &self.here.boot, &|boot| alive.contains(&boot)).await.unwrap();
            if let Ended::Tell(mut change) = ended {
                all.extend(told(change.take_announcements()));
            }
        }
        all
    }
}

fn told(actions: Vec<Action>) -> Vec<String> {
    let text = |action| match action {
        Action::Send { destination, body, .. } => {
            format!("{} {}", &destination["/topic/".len()..], String::from_utf8(body.to_vec()).unwrap())
        }
        Action::Reply { .. } => panic!("rooms answer nobody"),
    };
    actions.into_iter().map(text).collect()
}

#[tokio::test]
async fn two_nodes_have_one_list_and_the_last_session_on_either_leaves() {
    let store = Arc::new(Memory::default());
    let (a, b) = (Node::new(&store, "a"), Node::new(&store, "b"));
    assert_eq!(a.join("s1", "ann").await.unwrap(), ["joined ann", "\"ann\""]);
    assert_eq!(b.join("s2", "bob").await.unwrap(), ["joined bob", "\"ann\",\"bob\""]);
    assert_eq!(b.join("s3", "ann").await.unwrap(), ["\"ann\",\"bob\""], "she is there already");
    assert_eq!(a.end("s1").await, Vec::<String>::new());
    assert_eq!(b.end("s3").await, ["left ann", "all [\"bob\"]"]);
    assert_eq!(b.end("s2").await, ["left bob", "all []"]);
    assert!(a.rooms.is_empty() && b.rooms.is_empty());
    assert_eq!(store.members("r").await.unwrap(), Listed::default());
}

#[tokio::test]
async fn the_bound_of_members_counts_all_nodes() {
    let store = Arc::new(Memory::default());
    let (a, b) = (Node::new(&store, "a"), Node::new(&store, "b"));
    for (node, session, member) in [(&a, "s1", "1"), (&b, "s2", "2"), (&a, "s3", "3")] {
        node.join(session, member).await.unwrap();
    }
    let refused = b.join("s4", "4").await.unwrap_err();
    assert_eq!(refused.to_string(), "the room is full: it has 3 members");
    assert!(!b.rooms.is_anywhere("s4"));
    b.join("s5", "3").await.unwrap();
}

#[tokio::test]
async fn without_the_store_nobody_joins_and_leaves_are_made_up_for() {
    let store = Arc::new(Memory::default());
    let node = Node::new(&store, "a");
    node.join("s1", "ann").await.unwrap();
    store.set_away(true);
    let refused = node.join("s2", "bob").await.unwrap_err().to_string();
    assert!(refused.starts_with("the rooms of all nodes cannot be reached"), "{refused}");
    assert!(node.rooms.take_failure().is_some() && node.rooms.take_failure().is_none());
    let mut change = node.rooms.end_session(&node.here, "s1").await;
    assert_eq!(told(change.take_announcements()), Vec::<String>::new());
    assert!(!node.rooms.is_empty());
    store.set_away(false);
    let mut change = node.rooms.look_again(&node.here).await;
    assert_eq!(told(change.take_announcements()), ["left ann", "all []"]);
    assert!(node.rooms.is_empty());
}

#[tokio::test]
async fn what_a_dead_node_left_is_told_once_also_if_who_tells_it_dies() {
    let store = Arc::new(Memory::default());
    let [a, b, c] = ["a", "b", "c"].map(|name| Node::new(&store, name));
    a.join("s1", "ann").await.unwrap();
    a.join("s2", "bob").await.unwrap();
    c.join("s3", "bob").await.unwrap();
    let dead = &a.here.boot;
    // It dies before it says that it was told.
    assert_eq!(b.bury(dead, &[&b.here.boot, &c.here.boot]).await, ["left ann", "all [\"bob\"]"]);
    assert_eq!(c.bury(dead, &[&b.here.boot, &c.here.boot]).await, Vec::<String>::new(), "b is at it");
    assert_eq!(c.bury(dead, &[&c.here.boot]).await, ["left ann", "all [\"bob\"]"]);
    for stay in c.rooms.stays_of(dead).await.unwrap() {
        c.rooms.told(&[stay]).await.unwrap();
    }
    assert_eq!(c.bury(dead, &[&c.here.boot]).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_node_that_was_taken_for_dead_enters_its_members_again() {
    let store = Arc::new(Memory::default());
    let (mut a, b) = (Node::new(&store, "a"), Node::new(&store, "b"));
    a.join("s1", "ann").await.unwrap();
    let old = a.here.boot.clone();
    assert_eq!(b.bury(&old, &[&b.here.boot]).await, ["left ann", "all []"]);
    a.here.boot = Boot::new(&old.node());
    let mut change = a.rooms.look_again(&a.here).await;
    assert_eq!(told(change.take_announcements()), ["joined ann"]);
    assert_eq!(a.rooms.stays_of(&a.here.boot).await.unwrap().len(), 1);
    let mut again = a.rooms.look_again(&a.here).await;
    assert_eq!(told(again.take_announcements()), Vec::<String>::new());
    // Nobody had buried it yet: it goes on without a word.
    let second = a.here.boot.clone();
    a.here.boot = Boot::new(&old.node());
    let mut change = a.rooms.look_again(&a.here).await;
    assert_eq!(told(change.take_announcements()), Vec::<String>::new());
    assert_eq!(a.rooms.stays_of(&second).await.unwrap(), []);
    assert_eq!(a.end("s1").await, ["left ann", "all []"]);
}

#[tokio::test]
async fn subscriptions_count_on_their_node() {
    let store = Arc::new(Memory::default());
    let node = Node::new(&store, "a");
    let who = Who { user: Some("amy"), claims: None, session: "s" };
    assert!(node.rooms.is_followed("/topic/room/r", &who) && !node.rooms.is_followed("/topic/x", &who));
    for expected in [vec!["joined amy".to_owned()], Vec::new()] {
        let mut change = node.rooms.subscribed(&node.here, "/topic/room/r", &who).await.unwrap();
        assert_eq!(told(change.take_announcements()), expected);
    }
    for expected in [Vec::new(), vec!["left amy".to_owned(), "all []".to_owned()]] {
        let mut change = node.rooms.unsubscribed(&node.here, "/topic/room/r", &who, None).await;
        assert_eq!(told(change.take_announcements()), expected);
    }
}
