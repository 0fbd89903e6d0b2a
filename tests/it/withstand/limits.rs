//! Every limit of `[limits]`: exactly at it all is well; one more is an ERROR that names the limit and what was found.

use super::{Bystanders, client};
use crate::support::client::{Client, header};
use crate::support::process::{Process, serve, until};
use crate::support::tcp::Tcp;

const LIMITS: &str = "
[limits]
message_size_limit = 1000
header_size_limit = 2000
headers = 10
header_line_limit = 500
connect_size_limit = 600
subscriptions = 3
transactions = 2
transaction_frames = 4
transaction_size_limit = 5000
destination_size_limit = 100
";

/// The same frames with `size` at the limit and one beyond it; `limit` and the actual value must stand in the ERROR.
#[track_caller]
fn check(server: &Process, limit: usize, frames: impl Fn(usize) -> Vec<String>) {
    let mut bystanders = Bystanders::new(server);
    let mut within = client(server);
    frames(limit).iter().for_each(|frame| within.send(frame));
    within.is_quiet();
    let mut beyond = client(server);
    let frames = frames(limit + 1);
    let (last, before) = frames.split_last().unwrap();
    before.iter().for_each(|frame| beyond.send(frame));
    beyond.is_quiet();
    beyond.send(last);
    let error = beyond.error(1002);
    names(&error, &[limit, limit + 1]);
    bystanders.are_undisturbed();
    server.is_well();
}

/// The ERROR's text has these numbers.
#[track_caller]
fn names(error: &str, numbers: &[usize]) {
    let text = header(error, "message").unwrap();
    let found: Vec<&str> = text.split(|c: char| !c.is_ascii_digit()).collect();
    for number in numbers {
        assert!(found.contains(&&*number.to_string()), "{number} is not named: {text:?}");
    }
}

/// SEND whose head, from the command to the empty line, has `size` octets in lines that are short enough.
fn head_of(size: usize) -> String {
    let mut head = "SEND\ndestination:/topic/none\n".to_owned();
    let mut line = 0;
    while size - head.len() > 401 {
        head += &format!("h{line}:{}\n", "x".repeat(300));
        line += 1;
    }
    let rest = size - head.len() - "last:\n\n".len();
    head + "last:" + &"x".repeat(rest) + "\n\n\0"
}

#[test]
fn bodies_with_and_without_a_length() {
    let server = serve(LIMITS);
    check(&server, 1000, |size| vec![format!("SEND\ndestination:/topic/none\n\n{}\0", "x".repeat(size))]);
    check(&server, 1000, |size| {
        vec![format!("SEND\ndestination:/topic/none\ncontent-length:{size}\n\n{}\0", "x".repeat(size))]
    });
}

#[test]
fn a_body_is_refused_by_its_length_alone() {
    let server = serve(LIMITS);
    let mut announced = client(&server);
    announced.send("SEND\ndestination:/topic/none\ncontent-length:1001\nreceipt:7\n\n");
    let error = announced.error(1002);
    names(&error, &[1000, 1001]);
    assert_eq!(header(&error, "receipt-id"), Some("7"), "{error}");
}

#[test]
fn heads_lines_and_numbers_of_headers() {
    let server = serve(LIMITS);
    check(&server, 2000, |size| vec![head_of(size)]);
    check(&server, 500, |size| {
        vec![format!("SEND\ndestination:/topic/none\nlong:{}\n\n\0", "x".repeat(size - "long:".len()))]
    });
    check(&server, 10, |count| {
        let headers: String = (1..count).map(|n| format!("h{n}:v\n")).collect();
        vec![format!("SEND\ndestination:/topic/none\n{headers}\n\0")]
    });
}

#[test]
fn a_head_is_refused_before_it_ends() {
    let server = serve(LIMITS);
    let mut endless = client(&server);
    endless.send(&format!("SEND\nlong:{}", "x".repeat(600)));
    names(&endless.error(1002), &[500]);
}

#[test]
fn connect_is_held_to_less() {
    let server = serve(LIMITS);
    let connect = |size: usize| {
        let head = "CONNECT\naccept-version:1.2\nhost:localhost\npasscode:";
        let pad = "x".repeat(450);
        let rest = size - head.len() - pad.len() - "\nx:\n\n".len();
        format!("{head}{pad}\nx:{}\n\n\0", "y".repeat(rest))
    };
    let mut within = Client::open(server.address, "/ws");
    within.send(&connect(600));
    within.expect("CONNECTED");
    within.is_quiet();
    let mut beyond = Client::open(server.address, "/ws");
    beyond.send(&connect(601));
    names(&beyond.error(1002), &[600, 601]);
}

#[test]
fn subscriptions_and_destinations() {
    let server = serve(LIMITS);
    check(&server, 3, |count| {
        (0..count).map(|n| format!("SUBSCRIBE\nid:{n}\ndestination:/topic/l{n}\n\n\0")).collect()
    });
    let named = |size: usize| format!("/topic/{}", "x".repeat(size - "/topic/".len()));
    check(&server, 100, |size| vec![format!("SEND\ndestination:{}\n\n\0", named(size))]);
    check(&server, 100, |size| vec![format!("SUBSCRIBE\nid:0\ndestination:{}\n\n\0", named(size))]);
    server.until_metric("stampede_subscriptions_open", 0);
}

#[test]
fn transactions_their_frames_and_octets() {
    let server = serve(LIMITS);
    check(&server, 2, |count| (0..count).map(|n| format!("BEGIN\ntransaction:t{n}\n\n\0")).collect());
    let begin = || vec!["BEGIN\ntransaction:t\n\n\0".to_owned()];
    let send = |body: &str| format!("SEND\ndestination:/topic/none\ntransaction:t\n\n{body}\0");
    check(&server, 4, |count| begin().into_iter().chain((0..count).map(|_| send("x"))).collect());
    // What a held frame costs beside its body is the server's business, so only the limit is named exactly.
    let mut beyond = client(&server);
    beyond.send(&begin()[0]);
    for _ in 0..4 {
        beyond.send(&send(&"x".repeat(1000)));
    }
    beyond.is_quiet();
    let mut beyond = client(&server);
    beyond.send("BEGIN\ntransaction:t\n\n\0");
    let big = format!("SEND\ndestination:/topic/none\ntransaction:t\nh:{}\n\n{}\0", "h".repeat(450), "x".repeat(1000));
    (0..4).for_each(|_| beyond.send(&big));
    names(&beyond.error(1002), &[5000]);
}

#[test]
fn a_committed_transaction_frees_its_room() {
    let server = serve(LIMITS);
    let mut one = client(&server);
    for _ in 0..5 {
        one.send("BEGIN\ntransaction:t\n\n\0");
        (0..4).for_each(|_| one.send("SEND\ndestination:/topic/none\ntransaction:t\n\nx\0"));
        one.confirmed("COMMIT\ntransaction:t", "");
    }
}

#[test]
fn a_message_over_the_limit_of_the_transport() {
    let server = serve(LIMITS);
    let mut bystanders = Bystanders::new(&server);
    // One WebSocket message may hold several frames, but not any number of octets.
    let mut huge = client(&server);
    huge.send(&"\n".repeat(1 << 20));
    let error = huge.expect("ERROR");
    names(&error, &[1 << 20]);
    huge.closed(1009);
    bystanders.are_undisturbed();
}

#[test]
fn connections_over_the_limit_are_closed_and_leave_room_when_they_go() {
    let server = serve("[server]\nconnections = 4\n");
    let mut clients: Vec<_> = (0..4).map(|_| client(&server)).collect();
    let refused = Tcp::connect(server.address).rest();
    assert!(refused.starts_with(b"HTTP/1.1 503 "), "one more is told and closed: {}", refused.escape_ascii());
    clients.iter_mut().for_each(Client::is_quiet);
    clients.pop();
    let metrics = until(
        || Some(server.get("/metrics")).filter(|(status, _)| *status == 200),
        || "there is no room again".to_owned(),
    );
    assert!(metrics.1.contains("stampede_connections_refused_total{reason=\"too-many\"}"), "{}", metrics.1);
    clients.iter_mut().for_each(Client::is_quiet);
}
