//! Messages from one node to another.

use super::{receive_numbers, send, send_asking, send_confirmed};
use crate::support::client::{Client, body, header, topic};
use crate::support::cluster::{Cluster, Setup};

#[test]
fn a_user_is_reached_on_another_node_in_both_forms() {
    let cluster = Cluster::start(2);
    let mut ann = cluster.user(0, "ann");
    ann.subscribe("own", "/user/queue/x");
    let mut reader = cluster.user(0, "reader");
    reader.subscribe("explicit", "/user/ann/x/queue/chat");
    let mut bob = cluster.user(1, "bob");
    send_confirmed(&mut bob, "/user/ann/queue/x", "own");
    let message = ann.message("own");
    assert_eq!(header(&message, "destination"), Some("/user/queue/x"));
    assert_eq!(header(&message, "subscription"), Some("own"));
    send_confirmed(&mut bob, "/user/ann/x/queue/chat", "explicit");
    let message = reader.message("explicit");
    assert_eq!(header(&message, "destination"), Some("/user/ann/x/queue/chat"));
    // And back, while nothing of it came twice or to somebody else.
    bob.subscribe("0", "/user/queue/x");
    send_confirmed(&mut ann, "/user/bob/queue/x", "back");
    bob.message("back");
    [&mut ann, &mut bob, &mut reader].into_iter().for_each(Client::is_quiet);
    cluster.is_well();
}

#[test]
fn a_topic_reaches_every_node_in_order() {
    let cluster = Cluster::start(3);
    let topic = topic();
    let mut readers: Vec<Client> = (0..3).map(|node| cluster.user(node, "reader")).collect();
    readers.iter_mut().for_each(|reader| reader.subscribe("0", &topic));
    let mut sender = cluster.user(0, "sender");
    (0..300).for_each(|number| send(&mut sender, &topic, &number.to_string()));
    sender.is_quiet();
    readers.iter_mut().for_each(|reader| receive_numbers(reader, 0..300));
    readers.iter_mut().for_each(Client::is_quiet);
}

#[test]
fn patterns_match_what_other_nodes_send() {
    for broadcast in ["fanout", "interest"] {
        let open = "[[permissions.rule]]\nmatch = '/user/*/blog/queue/chat'\nsubscribe = 'allow'\n";
        let cluster = Setup::new().config(open).set("STAMPEDE__RELAY__BROADCAST", broadcast).start(3);
        let mut prices = cluster.user(1, "prices");
        prices.subscribe("0", "/topic/price/*");
        let mut all = cluster.user(2, "all");
        all.subscribe("0", "/topic/**");
        let mut chats = cluster.user(1, "chats");
        chats.subscribe("0", "/user/*/blog/queue/chat");
        let mut sender = cluster.user(0, "sender");
        send_confirmed(&mut sender, "/topic/price/a", "price");
        send_confirmed(&mut sender, "/topic/news", "news");
        send_confirmed(&mut sender, "/user/ann/blog/queue/chat", "chat");
        prices.message("price");
        all.message("price");
        all.message("news");
        let chat = chats.message("chat");
        assert_eq!(header(&chat, "destination"), Some("/user/ann/blog/queue/chat"));
        prices.is_quiet();
        chats.is_quiet();
    }
}

#[test]
fn one_session_is_heard_in_order_whatever_it_sends() {
    let cluster = Cluster::start(3);
    let topic = topic();
    let destinations = [&*topic, "/user/ann/queue/x"];
    let mut near = cluster.user(1, "ann");
    let mut far = cluster.user(2, "ann");
    for reader in [&mut near, &mut far] {
        reader.subscribe("0", &topic);
        reader.subscribe("1", "/user/queue/x");
    }
    let mut sender = cluster.user(0, "sender");
    for number in 0..1000 {
        // Some are so large that they travel alone.
        let padding = if number % 100 == 7 { 20_000 } else { number % 50 };
        send(&mut sender, destinations[number % 2], &format!("{number} {}", "x".repeat(padding)));
    }
    for reader in [&mut near, &mut far] {
        let mut next = [0, 1];
        for _ in 0..1000 {
            let message = reader.expect("MESSAGE");
            let number: usize = body(&message).split(' ').next().unwrap().parse().unwrap();
            assert_eq!(number, next[number % 2]);
            next[number % 2] += 2;
        }
    }
}

#[test]
fn a_confirmed_message_arrives_although_its_sender_s_node_dies() {
    let mut cluster = Cluster::start(2);
    let topic = topic();
    let mut ann = cluster.user(1, "ann");
    ann.subscribe("0", "/user/queue/x");
    ann.subscribe("1", &topic);
    let mut sender = cluster.user(0, "sender");
    for number in 0..50 {
        send_asking(&mut sender, ["/user/ann/queue/x", &topic][number % 2], number);
    }
    super::receipts(&mut sender, 0..50);
    cluster.crash(0);
    let mut found: Vec<usize> = (0..50).map(|_| super::number(&ann.expect("MESSAGE"))).collect();
    found.sort_unstable();
    assert_eq!(found, (0..50).collect::<Vec<_>>());
}

#[test]
fn a_receipt_comes_where_nobody_listens() {
    let cluster = Cluster::start(2);
    let mut sender = cluster.user(0, "sender");
    for destination in [&*topic(), "/user/nobody/queue/x", "/user/nobody/blog/queue/chat"] {
        send_confirmed(&mut sender, destination, "");
    }
}

#[test]
fn every_session_of_a_user_gets_one_copy() {
    let cluster = Cluster::start(3);
    let mut sessions: Vec<Client> = [0, 0, 1, 2].map(|node| cluster.user(node, "ann")).into();
    sessions.iter_mut().for_each(|session| session.subscribe("0", "/user/queue/x"));
    let mut sender = cluster.user(1, "sender");
    send_confirmed(&mut sender, "/user/ann/queue/x", "1");
    sessions.iter_mut().for_each(|session| drop(session.message("1")));
    // The last session of a node goes, and the first of another.
    drop(sessions.pop());
    sessions.remove(0).confirmed("DISCONNECT", "");
    send_confirmed(&mut sender, "/user/ann/queue/x", "2");
    sessions.iter_mut().for_each(|session| drop(session.message("2")));
    sessions.iter_mut().for_each(Client::is_quiet);
}

#[test]
fn an_answer_finds_the_session_that_asked() {
    let ask = "[[route]]\non = '/app/ask'\nto = '/topic/questions'\njson = { from = '{session}', text = '{body}' }\n";
    let answer = "[[route]]\non = '/app/answer/{session-id}'\nto = '/user/{session-id}/queue/answers'\n";
    let cluster = Cluster::with(&format!("{ask}{answer}"), 2);
    let mut service = cluster.user(1, "service");
    service.subscribe("0", "/topic/questions");
    let mut sessions = [cluster.user(0, "ann"), cluster.user(0, "ann")];
    sessions.iter_mut().for_each(|session| session.subscribe("0", "/user/queue/answers"));
    send_confirmed(&mut sessions[0], "/app/ask", "why");
    let question = service.expect("MESSAGE");
    let question: serde_json::Value = serde_json::from_str(body(&question)).unwrap();
    let asked_by = question["from"].as_str().unwrap();
    send_confirmed(&mut service, &format!("/app/answer/{asked_by}"), "because");
    let answer = sessions[0].message("because");
    assert_eq!(header(&answer, "destination"), Some("/user/queue/answers"));
    sessions.iter_mut().for_each(Client::is_quiet);
}
