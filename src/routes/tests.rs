use serde_json::json;

use super::*;
use crate::config::routes::RouteConfig;
use crate::destination::Destinations;

#[derive(serde::Deserialize)]
struct File {
    route: Vec<RouteConfig>,
}

fn routes(toml: &str) -> Routes {
    let file: File = toml::from_str(toml).unwrap();
    check(&file.route, &Destinations::default(), toml, "t.toml").unwrap_or_else(|problems| panic!("{problems:?}"))
}

/// Rooms that note what they are asked and answer with two members.
#[derive(Default)]
struct Asked(Vec<RoomRequest>);

impl RoomsView for Asked {
    fn apply(&mut self, _: &str, request: RoomRequest) -> Result<RoomState, Refusal> {
        self.0.push(request);
        let announcements = vec![send("/topic/announced", "", None)];
        Ok(RoomState {
            member: Some("{\"n\":1}".into()),
            members: vec!["1".into(), "[2]".into()],
            announcements,
            version: None,
        })
    }
}

fn send(destination: &str, body: &str, content_type: Option<&str>) -> Action {
    let (destination, content_type) = (destination.to_owned(), content_type.map(str::to_owned));
    Action::Send { destination, content_type, body: body.to_owned().into(), headers: Headers::new(), list: None }
}

fn run(routes: &Routes, destination: &str, body: &str) -> (Result<Vec<Action>, Refusal>, Vec<RoomRequest>) {
    let claims = Arc::new(json!({"username": "Alice", "roles": ["editor"], "id": 12}));
    let headers = [("destination", destination), ("x-a", "1"), ("x-a", "2"), ("x-b", "3")].into_iter().collect();
    let body = Bytes::from(body.to_owned());
    let input = SendInput {
        who: Who { user: Some("alice"), claims: Some(claims), session: "node-1-5e55" },
        destination,
        headers: &headers,
        body: &body,
        content_type: Some("text/x"),
        sent_at: 77,
    };
    let mut rooms = Asked::default();
    let matched = routes.find(destination).or_else(|| routes.find_subscribe(destination)).unwrap();
    let actions = matched.run(&input, &mut rooms);
    (actions, rooms.0)
}

const CHAT: &str = r#"
[[route]]
on    = "/app/chat/{from}/{to}/{blogId}"
to    = "/user/{to}/{blogId}/queue/chat"
json  = { message = "{body}", from = "{from}", to = "{to}", blogId = "{blogId}" }
allow = "from == user || from == user.username"
"#;

#[test]
fn the_articles_chat_becomes_json_in_the_order_of_the_configuration() {
    let (actions, rooms) = run(&routes(CHAT), "/app/chat/Alice/bob/34", "say \"hi\"\n");
    let body = r#"{"message":"say \"hi\"\n","from":"Alice","to":"bob","blogId":"34"}"#;
    assert_eq!(actions.unwrap(), [send("/user/bob/34/queue/chat", body, Some("application/json"))]);
    assert_eq!(rooms, []);
}

#[test]
fn a_guard_refuses_and_says_why() {
    let (actions, _) = run(&routes(CHAT), "/app/chat/bob/alice/34", "hi");
    let text = actions.unwrap_err().to_string();
    assert_eq!(text, "not allowed to use /app/chat/bob/alice/34: it needs from == user || from == user.username");
}

#[test]
fn without_a_template_the_body_passes_as_it_came() {
    let routes = routes("[[route]]\non = '/app/{x}'\nto = ['/topic/{x}', '/queue/all']\nforward_headers = ['x-a']");
    let (actions, _) = run(&routes, "/app/a", "b");
    let headers: Headers = [("x-a", "1"), ("x-a", "2")].into_iter().collect();
    let sent = |destination: &str| Action::Send {
        destination: destination.into(),
        content_type: Some("text/x".into()),
        body: "b".into(),
        headers: headers.clone(),
        list: None,
    };
    assert_eq!(actions.unwrap(), [sent("/topic/a"), sent("/queue/all")]);
}

#[test]
fn json_bodies_are_embedded_and_taken_apart() {
    let toml = "[[route]]\non = '/app/x'\nto = '/topic/{body.room}'\n\
                json = { all = '{body.json}', n = '{body.list.1}', none = '{body.no}', at = '{timestamp}' }";
    let (actions, _) =
        run(&routes(toml), "/app/x", " {\"room\": \"a/b\", \"list\": [0, 1.50, 12345678901234567890123]} ");
    let body = r#"{"all":{"room": "a/b", "list": [0, 1.50, 12345678901234567890123]},"n":1.5,"none":null,"at":77}"#;
    assert_eq!(actions.unwrap(), [send("/topic/a%2Fb", body, Some("application/json"))]);

    let refused = |body: &str| run(&routes(toml), "/app/x", body).0.unwrap_err();
    assert!(refused("").to_string().starts_with("the body is not JSON: EOF while parsing a value"));
    assert!(matches!(refused(&"[".repeat(100_000)), Refusal::NotJson { .. }));
    assert_eq!(refused("{}").to_string(), "{body.room} is empty or missing, and /topic/{body.room} needs it");
}

#[test]
fn a_room_is_joined_before_its_members_are_listed() {
    let toml = "[[route]]\non = '/app/join/{id}/{room}'\nto = '/topic/{room}.{member.n}'\njson = ['{members}', '{member.n}']\n\
                join = { room = '{room}', member = '{id}', profile = '{body.json}' }";
    let (actions, rooms) = run(&routes(toml), "/app/join/1/r", "{\"n\":1}");
    let list = send("/topic/r.1", "[[1,[2]],1]", Some("application/json"));
    assert_eq!(actions.unwrap(), [send("/topic/announced", "", None), list]);
    assert_eq!(rooms, [RoomRequest::Join { room: "r".into(), member: "1".into(), profile: "{\"n\":1}".into() }]);

    let (actions, rooms) = run(&routes(toml), "/app/join/1/r", "{");
    assert!(matches!(actions, Err(Refusal::NotJson { .. })));
    assert_eq!(rooms, [], "nobody joins with a bad profile");
}

#[test]
fn the_node_is_what_the_session_id_begins_with() {
    let toml = "[[route]]\non = '/app/where'\nto = '/topic/{node}'\njson = { node = '{node}' }";
    let (actions, _) = run(&routes(toml), "/app/where", "");
    assert_eq!(actions.unwrap(), [send("/topic/node-1", r#"{"node":"node-1"}"#, Some("application/json"))]);
}

#[test]
fn nothing_changes_if_a_later_template_cannot_be_filled() {
    let toml = "[[route]]\non = '/app/join'\nto = '/topic/{headers.x}'\nbody = 'x'\njoin = { room = 'r' }";
    let (actions, rooms) = run(&routes(toml), "/app/join", "");
    assert!(matches!(actions, Err(Refusal::Missing { .. })));
    assert_eq!(rooms, []);
}

#[test]
fn by_default_the_user_joins_and_the_session_leaves() {
    let toml =
        "[[route]]\non = '/app/join'\njoin = { room = 'r' }\n[[route]]\non = '/app/leave'\nleave = { room = 'r' }";
    let (_, rooms) = run(&routes(toml), "/app/join", "");
    assert_eq!(
        rooms,
        [RoomRequest::Join { room: "r".into(), member: "alice".into(), profile: "{\"id\":\"alice\"}".into() }]
    );
    let (_, rooms) = run(&routes(toml), "/app/leave", "");
    assert_eq!(rooms, [RoomRequest::Leave { room: "r".into(), member: None }]);
}

#[test]
fn a_subscription_is_answered_directly() {
    let toml = "[[route]]\non = '/app/members/{room}'\nsubscribe = true\nroom = '{room}'\njson = '{members}'";
    let routes = routes(toml);
    assert!(routes.find("/app/members/r").is_none(), "a SEND takes another way");
    let (actions, rooms) = run(&routes, "/app/members/r", "");
    assert_eq!(rooms, [RoomRequest::Read { room: "r".into() }]);
    let reply = Action::Reply {
        content_type: Some("application/json".into()),
        body: "[1,[2]]".into(),
        headers: Headers::new(),
    };
    assert_eq!(actions.unwrap()[1], reply);
}

#[test]
fn of_several_routes_the_narrowest_is_taken() {
    let toml = "[[route]]\non = '/app/**'\nto = '/topic/all'\n[[route]]\non = '/app/{x}'\nto = '/topic/var'\n\
                [[route]]\non = '/app/plain'\nto = '/topic/plain'";
    let routes = routes(toml);
    for (destination, pattern) in [("/app/plain", "/app/plain"), ("/app/x", "/app/{x}"), ("/app/x/y", "/app/**")] {
        assert_eq!(routes.find(destination).unwrap().pattern(), pattern);
    }
    assert!(routes.find("/other").is_none());
}

#[test]
fn a_body_that_is_no_text_is_refused_where_text_is_needed() {
    let routes = routes("[[route]]\non = '/app/x'\nto = '/topic/x'\nbody = '{user}: {body}'");
    let body = Bytes::from_static(b"\xff");
    let headers = Headers::new();
    let who = Who { user: Some("a"), claims: None, session: "s" };
    let input =
        SendInput { who, destination: "/app/x", headers: &headers, body: &body, content_type: None, sent_at: 0 };
    let matched = routes.find("/app/x").unwrap();
    assert_eq!(matched.run(&input, &mut Asked::default()), Err(Refusal::NotText));
    let body = Bytes::from_static(b"hi");
    let actions = matched.run(&SendInput { body: &body, ..input }, &mut Asked::default());
    assert_eq!(actions.unwrap(), [send("/topic/x", "a: hi", Some("text/plain;charset=UTF-8"))]);
}
