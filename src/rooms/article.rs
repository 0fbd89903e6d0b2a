//! The configuration of `examples/co-editing`, frame by frame.

use bytes::Bytes;
use stampede_protocol::stomp::Headers;

use super::*;
use crate::config::rooms::{RoomConfig, RoomsConfig};
use crate::config::routes::RouteConfig;
use crate::destination::Destinations;
use crate::routes::{Routes, SendInput};

const SOURCE: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/co-editing/stampede.toml"));

#[derive(serde::Deserialize)]
struct Sections {
    route: Vec<RouteConfig>,
    room: Vec<RoomConfig>,
}

struct Product {
    routes: Routes,
    rooms: Rooms,
}

impl Product {
    fn new() -> Self {
        let sections: Sections = toml::from_str(SOURCE).unwrap();
        let destinations = Destinations::default();
        let routes = crate::routes::check(&sections.route, &destinations, SOURCE, "stampede.toml").unwrap();
        let rules = check(&sections.room, &destinations, SOURCE, "stampede.toml").unwrap();
        Self { routes, rooms: Rooms::new(rules, MemoryRooms::new(RoomsConfig::default())) }
    }

    /// What a SEND of this session causes: destination and body of each message.
    fn send(&mut self, session: &str, destination: &str, body: &str) -> Vec<(String, String)> {
        let input = SendInput {
            who: Who { user: None, claims: None, session },
            destination,
            headers: &Headers::new(),
            body: &Bytes::from(body.to_owned()),
            content_type: None,
            sent_at: 0,
        };
        told(self.routes.find(destination).unwrap().run(&input, &mut self.rooms).unwrap())
    }
}

fn told(actions: Vec<Action>) -> Vec<(String, String)> {
    let mut told = Vec::new();
    for action in actions {
        let Action::Send { destination, content_type, body, .. } = action else { panic!("{action:?}") };
        assert_eq!(content_type.as_deref(), Some("application/json"));
        told.push((destination, String::from_utf8(body.to_vec()).unwrap()));
    }
    told
}

fn pairs(told: &[(String, String)]) -> Vec<(&str, &str)> {
    told.iter().map(|(destination, body)| (&**destination, &**body)).collect()
}

const ANN: &str = r#"{"id":"12","username":"Ann"}"#;
const BEN: &str = r#"{"id":"13","username":"Ben"}"#;

#[test]
fn two_users_meet_write_and_leave() {
    let mut product = Product::new();
    let users = |list: &str| ("/user/34/topic/users".to_owned(), format!("[{list}]"));
    let gone = |profile: &str| ("/user/34/topic/popUser".to_owned(), profile.to_owned());

    assert_eq!(product.send("a", "/app/pushUser/12/34", ANN), [users(ANN)]);
    assert_eq!(product.send("b", "/app/pushUser/13/34", BEN), [users(&format!("{ANN},{BEN}"))]);
    let second_window = product.send("c", "/app/pushUser/13/34", BEN);
    assert_eq!(second_window, [users(&format!("{ANN},{BEN}"))], "the new window needs the list, too");

    let chat = product.send("a", "/app/chat/12/13/34", "say \"hi\"");
    let line = r#"{"message":"say \"hi\"","from":"12","to":"13","blogId":"34"}"#;
    assert_eq!(pairs(&chat), [("/user/13/34/queue/chat", line)]);
    let sync = product.send("a", "/app/sync/12/34", "# T\n");
    assert_eq!(pairs(&sync), [("/topic/content/34", r##"{"from":"12","content":"# T\n","blogId":"34"}"##)]);
    let over = product.send("a", "/app/taskOver/12", "34");
    assert_eq!(pairs(&over), [("/topic/over", r#"{"id":"12","blogId":"34"}"#)]);

    assert_eq!(product.send("b", "/app/destroy/34", "12"), [], "nobody sends another away; 13 is there as c");
    assert_eq!(told(product.rooms.end_session("c")), [gone(BEN), users(ANN)]);
    assert_eq!(told(product.rooms.end_session("b")), []);
    assert_eq!(product.send("a", "/app/destroy/34", ""), [gone(ANN), users("")]);
    assert_eq!(told(product.rooms.end_session("a")), []);
}
