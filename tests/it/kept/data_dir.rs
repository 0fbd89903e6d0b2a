//! The embedded store: what was confirmed survives `kill -9`.

use std::path::Path;

use tempfile::TempDir;

use super::{bodies_until, numbers, receive, send, settled, subscribe, user};
use crate::support::client::{Client, header};
use crate::support::process::{Launch, Process, serve};
use crate::support::ws::Event;

fn config(data: &Path) -> String {
    format!(
        "[server]\ndata_dir = '{}'\n
        [[destination]]\nmatch = '/user/*/queue/**'\nkeep = {{ max = 100000, max_bytes = '64MiB' }}\n
        [[destination]]\nmatch = '/queue/work/**'\nshare = true\nkeep = {{ max = 100000, max_bytes = '64MiB' }}\n",
        data.display()
    )
}

/// Sends numbered messages, pipelined, until the server is killed; how many were confirmed.
fn send_until_killed(server: Process, destination: &str) -> usize {
    let mut sender = Client::connect(server.address, "/ws", "1.2", &["heart-beat:0,0"]);
    let mut server = Some(server);
    let mut confirmed = 0;
    for start in (0..).step_by(20) {
        let frames: String =
            (start..start + 20).map(|n| format!("SEND\ndestination:{destination}\nreceipt:{n}\n\n{n}\0")).collect();
        sender.send(&frames);
        // Behind by some batches, so that there is always something in the middle.
        while start >= confirmed + 100 || server.is_none() {
            match sender.socket.next() {
                Event::Text(frame) => {
                    let frame = String::from_utf8(frame).unwrap();
                    assert_eq!(header(&frame, "receipt-id"), Some(&*confirmed.to_string()), "{frame}");
                    confirmed += 1;
                }
                Event::Lost => return confirmed,
                other => panic!("{other:?}"),
            }
            if confirmed == 500 {
                let server = server.take().unwrap();
                server.signal("KILL");
                assert!(!server.ended().0.success());
            }
        }
    }
    unreachable!("the sender goes on until the server is gone")
}

#[test]
fn what_was_confirmed_survives_a_kill_in_order() {
    let data = TempDir::new().unwrap();
    let config = config(data.path());
    let confirmed = send_until_killed(serve(&config), "/user/ann/queue/chat");
    assert!(confirmed >= 500, "{confirmed}");
    let server = serve(&config);
    let mut ann = user(&server, "ann");
    subscribe(&mut ann, "/user/queue/chat", "auto");
    send(&server, "/user/ann/queue/chat", &["last"]);
    let found = bodies_until(&mut ann, "last");
    // What was not confirmed may have been kept too, but nothing is missing and nothing is out of order.
    assert!(found.len() >= confirmed, "{} of {confirmed}", found.len());
    assert_eq!(found, numbers(0..found.len()));
    settled(&mut ann);
    server.signal("TERM");
    assert!(server.ended().0.success());
    // And what was proved is gone for good.
    let server = serve(&config);
    let mut ann = user(&server, "ann");
    subscribe(&mut ann, "/user/queue/chat", "auto");
    ann.is_quiet();
}

#[test]
fn a_work_queue_survives_a_kill_in_order() {
    let data = TempDir::new().unwrap();
    let config = config(data.path());
    let confirmed = send_until_killed(serve(&config), "/queue/work/a");
    let server = serve(&config);
    let mut worker = user(&server, "worker");
    subscribe(&mut worker, "/queue/work/a", "auto");
    send(&server, "/queue/work/a", &["last"]);
    let found = bodies_until(&mut worker, "last");
    assert!(found.len() >= confirmed, "{} of {confirmed}", found.len());
    assert_eq!(found, numbers(0..found.len()));
}

#[test]
fn an_id_survives_with_its_message() {
    let data = TempDir::new().unwrap();
    let config = config(data.path());
    let server = serve(&config);
    let mut sender = user(&server, "sender");
    sender.confirmed("SEND\ndestination:/user/ann/queue/chat\ncontent-type:text/x\npriority:9", "hello");
    let mut ann = user(&server, "ann");
    subscribe(&mut ann, "/user/queue/chat", "client");
    let before = receive(&mut ann, &["hello"]).remove(0);
    server.signal("KILL");
    server.ended();
    let server = serve(&config);
    let mut ann = user(&server, "ann");
    subscribe(&mut ann, "/user/queue/chat", "client");
    let after = receive(&mut ann, &["hello"]).remove(0);
    for name in ["message-id", "content-type", "priority", "destination"] {
        assert!(header(&before, name).is_some());
        assert_eq!(header(&before, name), header(&after, name), "{name}");
    }
}

#[test]
fn two_processes_do_not_share_a_store() {
    let data = TempDir::new().unwrap();
    let config = config(data.path());
    let first = serve(&config);
    let second = Launch::new(&["--listen", "127.0.0.1:0"]).config(&config).run();
    assert_eq!((second.code, &*second.output), (Some(1), ""));
    for said in ["server.data_dir", data.path().to_str().unwrap(), "in use by another process"] {
        assert!(second.errors.contains(said), "{said} is not in {}", second.errors);
    }
    send(&first, "/user/ann/queue/chat", &["still here"]);
    first.is_well();
}

#[test]
fn a_directory_that_cannot_be_is_named() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let ended = Launch::new(&["--listen", "127.0.0.1:0"]).config(&config(&file.path().join("below"))).run();
    assert_eq!(ended.code, Some(1));
    assert!(ended.errors.contains("server.data_dir") && ended.errors.contains("below"), "{}", ended.errors);
}
