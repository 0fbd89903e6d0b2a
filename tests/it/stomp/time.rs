//! Heart-beats against the clock. `/beat` offers and wants 200 ms; a client counts as dead after three silent periods.

use std::time::{Duration, Instant};

use super::SERVER;
use crate::support::client::{Client, header, topic};
use crate::support::ws::Event;

const BEAT: Duration = Duration::from_millis(200);

fn connect(heart_beat: &[&str]) -> Client {
    Client::connect(SERVER.get().address, "/beat", "1.2", heart_beat)
}

/// Writes an octet of what follows every `pause`, and shows what the server wrote meanwhile.
fn write_slowly(client: &mut Client, octets: &str, pause: Duration) -> Vec<Event> {
    let mut events = Vec::new();
    for octet in octets.split_inclusive(|_| true) {
        client.send(octet);
        events.extend(client.during(pause));
    }
    events
}

#[test]
fn b02_b03_without_heart_beat_nobody_beats_and_nobody_dies() {
    let _server = SERVER.get();
    let mut clients = [connect(&[]), connect(&["heart-beat:0,0"]), connect(&["heart-beat:0,60000"])];
    assert_eq!(clients[0].during(BEAT * 5), []);
    for client in &mut clients {
        client.is_quiet();
    }
}

#[test]
fn b04_the_longer_period_counts_for_the_client() {
    let _server = SERVER.get();
    let mut client = connect(&["heart-beat:1000,0"]);
    assert_eq!(client.during(BEAT * 5), []);
    client.is_quiet();
}

#[test]
fn b05_b07_b08_b09_b10_an_idle_server_beats_in_time_with_one_line_feed() {
    let _server = SERVER.get();
    for (version, wanted, period) in [("1.2", 100, BEAT), ("1.1", 400, BEAT * 2)] {
        let heart_beat = format!("heart-beat:0,{wanted}");
        let mut client = Client::connect(SERVER.get().address, "/beat", version, &[&heart_beat]);
        let start = Instant::now();
        let beats = 5;
        for _ in 0..beats {
            assert_eq!(client.socket.next(), Event::Text(b"\n".to_vec()));
        }
        // Three periods are the slack of a busy test machine.
        assert!(start.elapsed() <= period * (beats + 3), "{beats} beats took {:?}", start.elapsed());
        assert!(start.elapsed() >= period * beats / 2, "{beats} beats in {:?} are too many", start.elapsed());
    }
}

#[test]
fn b11_data_counts_as_a_beat() {
    let _server = SERVER.get();
    let topic = topic();
    let mut client = connect(&["heart-beat:0,1000"]);
    client.subscribe("a", &topic);
    let mut sender = connect(&[]);
    for _ in 0..15 {
        sender.send(&format!("SEND\ndestination:{topic}\n\nx\0"));
        client.message("x");
        assert_eq!(client.during(Duration::from_millis(100)), []);
    }
}

#[test]
fn b12_a_silent_client_is_dead_after_three_periods() {
    let _server = SERVER.get();
    let start = Instant::now();
    let mut client = connect(&["heart-beat:200,0"]);
    let error = client.error(1002);
    assert!(header(&error, "message").unwrap().contains("heart-beat"), "{error:?}");
    assert!(start.elapsed() >= BEAT * 3 - Duration::from_millis(20), "after {:?}", start.elapsed());
    assert!(start.elapsed() <= BEAT * 10, "only after {:?}", start.elapsed());
}

#[test]
fn b13_a_client_may_be_late() {
    let _server = SERVER.get();
    let mut client = connect(&["heart-beat:200,0"]);
    assert_eq!(write_slowly(&mut client, "\n\n\n\n\n", BEAT * 11 / 10), []);
    client.is_quiet();
}

#[test]
fn b14_half_a_frame_counts() {
    let _server = SERVER.get();
    let mut client = connect(&["heart-beat:200,0"]);
    assert_eq!(write_slowly(&mut client, "SEND\nk:", BEAT), []);
    client.send("v\ndestination:/topic/x\nreceipt:r\n\n\0");
    assert_eq!(header(&client.expect("RECEIPT"), "receipt-id"), Some("r"));
}

#[test]
fn b15_a_client_of_1_0_that_asks_for_heart_beats_gets_them() {
    let _server = SERVER.get();
    let mut client = Client::connect(SERVER.get().address, "/beat", "1.0", &["heart-beat:0,200"]);
    assert_eq!(client.socket.next(), Event::Text(b"\n".to_vec()));
}

#[test]
fn b16_a_client_with_large_numbers_lives() {
    let _server = SERVER.get();
    let mut client = connect(&["heart-beat:99999999999,99999999999"]);
    assert_eq!(client.during(BEAT * 5), []);
    client.is_quiet();
}
