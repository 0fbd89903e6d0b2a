use serde_json::json;

use super::*;
use crate::config::rooms::{RoomConfig, RoomsConfig};
use crate::destination::Destinations;

#[derive(serde::Deserialize)]
struct File {
    room: Vec<RoomConfig>,
}

fn rooms(toml: &str) -> Rooms {
    let file: File = toml::from_str(toml).unwrap();
    let rules = check(&file.room, &Destinations::default(), toml, "t.toml").unwrap();
    Rooms::new(rules, MemoryRooms::new(RoomsConfig::default()))
}

/// Destination and body of each message.
fn told(actions: &[Action]) -> Vec<(&str, &str)> {
    let mut told = Vec::new();
    for action in actions {
        let Action::Send { destination, body, .. } = action else { panic!("rooms answer nobody: {action:?}") };
        told.push((&**destination, std::str::from_utf8(body).unwrap()));
    }
    told
}

fn join(rooms: &mut Rooms, member: &str, session: &str) -> RoomState {
    let profile = json!({ "id": member }).to_string();
    rooms.apply(session, RoomRequest::Join { room: "34".into(), member: member.into(), profile }).unwrap()
}

const ARTICLE: &str = r#"
[[room]]
match = "*"
on_join = [{ to = "/topic/log", body = "{member-id} joined {room}" }]
on_leave = [
  { to = "/user/{room}/topic/popUser", json = "{member}" },
  { to = "/user/{room}/topic/users", json = "{members}" },
]
"#;

#[test]
fn the_others_are_told_once_when_a_member_comes_and_goes() {
    let mut rooms = rooms(ARTICLE);
    assert_eq!(told(&join(&mut rooms, "1", "a").announcements), [("/topic/log", "1 joined 34")]);
    assert_eq!(told(&join(&mut rooms, "1", "b").announcements), [], "a second session is no news");
    let state = join(&mut rooms, "2", "c");
    assert_eq!(state.members, [r#"{"id":"1"}"#.into(), r#"{"id":"2"}"#.into()]);
    assert_eq!(told(&rooms.end_session("a")), []);
    let gone = rooms.end_session("b");
    assert_eq!(told(&gone), [("/user/34/topic/popUser", r#"{"id":"1"}"#), ("/user/34/topic/users", r#"[{"id":"2"}]"#)]);
    assert_eq!(rooms.end_session("b"), []);
}

#[test]
fn leaving_by_route_tells_the_same() {
    let mut rooms = rooms(ARTICLE);
    join(&mut rooms, "1", "a");
    let state = rooms.apply("a", RoomRequest::Leave { room: "34".into(), member: None }).unwrap();
    assert_eq!(state.member.as_deref(), Some(r#"{"id":"1"}"#));
    assert_eq!(
        told(&state.announcements),
        [("/user/34/topic/popUser", r#"{"id":"1"}"#), ("/user/34/topic/users", "[]")]
    );
    let again = rooms.apply("a", RoomRequest::Leave { room: "34".into(), member: None }).unwrap();
    assert_eq!(again, RoomState::default());
}

#[test]
fn a_subscription_joins_and_its_end_leaves() {
    let mut rooms = rooms(
        "[[room]]\nmatch = 'blog-{n}'\nsubscribe = '/topic/content/{room}'\n\
         profile = { name = '{user}', where = '{destination}', node = '{node}' }\non_leave = [{ to = '/topic/left', body = '{n} {member.name}' }]",
    );
    let who = Who { user: Some("amy"), claims: None, session: "n-1-5e55" };
    let destination = "/topic/content/blog-7";
    for _ in 0..2 {
        assert_eq!(rooms.subscribed(destination, &who), Ok(Vec::new()));
    }
    for other in ["/topic/content/*", "/topic/content/other", "/topic/x"] {
        assert_eq!(rooms.subscribed(other, &who), Ok(Vec::new()));
    }
    let members = rooms.members("blog-7");
    assert_eq!(&*members[0].profile, r#"{"name":"amy","where":"/topic/content/blog-7","node":"n-1"}"#);
    assert_eq!(rooms.store().len(), 1);
    assert_eq!(rooms.unsubscribed(destination, &who), []);
    assert_eq!(told(&rooms.unsubscribed(destination, &who)), [("/topic/left", "7 amy")]);
    assert_eq!(rooms.unsubscribed(destination, &who), []);
    let nobody = Who { user: None, claims: None, session: "t" };
    rooms.subscribed(destination, &nobody).unwrap();
    assert_eq!(&*rooms.members("blog-7")[0].id, "t", "without a user the session is the member");
}

#[test]
fn the_narrowest_rule_speaks_and_names_stay_in_their_segment() {
    let mut rooms = rooms(
        "[[room]]\nmatch = '*'\non_join = [{ to = '/topic/any', body = 'x' }]\n\
         [[room]]\nmatch = '34'\non_join = [{ to = ['/topic/{member-id}', '/topic/{member.none}'], body = 'x' }]",
    );
    let state = join(&mut rooms, "a/b", "s");
    assert_eq!(told(&state.announcements), [], "one address has a hole, so the announcement is not made");
    let mut rooms = self::rooms("[[room]]\nmatch = '*'\non_join = [{ to = '/topic/{member-id}', body = 'x' }]");
    assert_eq!(told(&join(&mut rooms, "a/b", "s").announcements), [("/topic/a%2Fb", "x")]);
}

#[test]
fn a_full_room_says_so() {
    let limits = RoomsConfig { max_members: 1, ..RoomsConfig::default() };
    let mut rooms = Rooms::new(RoomRules::default(), MemoryRooms::new(limits));
    join(&mut rooms, "1", "a");
    let request = RoomRequest::Join { room: "34".into(), member: "2".into(), profile: "1".into() };
    assert_eq!(rooms.apply("b", request), Err(Refusal::Room("the room is full: it has 1 members".into())));
}
