//! Mailboxes over SockJS polling: the next poll is the proof.

use super::{is_redelivered, receive, send, settled, subscribe, user};
use crate::support::process::{Process, ask, serve};

const KEEP: &str = "
[[endpoint]]
path = '/ws'
[endpoint.sockjs]
disconnect_delay = '300ms'
[[destination]]
match = '/user/*/queue/**'
keep = {}
";

/// A SockJS session that polls.
struct Polling<'a> {
    server: &'a Process,
    id: &'a str,
}

impl<'a> Polling<'a> {
    /// Opened, connected as Ann, and subscribed to her mailbox.
    fn open(server: &'a Process, id: &'a str) -> Self {
        let polling = Self { server, id };
        assert_eq!(polling.poll(), "o\n");
        polling.send("CONNECT\\naccept-version:1.2\\nhost:a\\nlogin:ann\\nheart-beat:0,0\\n\\n\\u0000");
        let connected = polling.poll();
        assert!(connected.starts_with("a[\"CONNECTED\\n"), "{connected}");
        polling.send("SUBSCRIBE\\nid:0\\ndestination:/user/queue/chat\\n\\n\\u0000");
        polling
    }

    fn post(&self, transport: &str, body: &str) -> (u16, String) {
        let (id, length) = (self.id, body.len());
        let head = "HTTP/1.1\r\nHost: a\r\nConnection: close\r\n";
        let request = format!("POST /ws/000/{id}/{transport} {head}Content-Length: {length}\r\n\r\n{body}");
        ask(self.server.address, request)
    }

    fn poll(&self) -> String {
        let (status, body) = self.post("xhr", "");
        assert_eq!(status, 200, "{body}");
        body
    }

    fn send(&self, frame: &str) {
        let (status, body) = self.post("xhr_send", &format!("[\"{frame}\"]"));
        assert_eq!(status, 204, "{body}");
    }
}

#[test]
fn a_poll_that_was_never_followed_by_another_proves_nothing() {
    let server = serve(KEEP);
    send(&server, "/user/ann/queue/chat", &["1"]);
    let lost = Polling::open(&server, "lost");
    let first = lost.poll();
    assert!(first.contains("\\n\\n1\\u0000"), "{first}");
    // It never comes back.
    server.until_metric("stampede_sessions_open", 0);
    let mut ann = user(&server, "ann");
    subscribe(&mut ann, "/user/queue/chat", "auto");
    let again = receive(&mut ann, &["1"]);
    assert!(is_redelivered(&again[0]), "{again:?}");
    let id = crate::support::client::header(&again[0], "message-id").unwrap();
    assert!(first.contains(id), "{first} is another message than {id}");
    settled(&mut ann);
}

#[test]
fn the_next_poll_is_the_proof() {
    let server = serve(KEEP);
    send(&server, "/user/ann/queue/chat", &["1"]);
    let polling = Polling::open(&server, "proves");
    let message = polling.poll();
    assert!(message.contains("\\n\\n1\\u0000"), "{message}");
    polling.send("SEND\\ndestination:/topic/none\\nreceipt:7\\n\\n\\u0000");
    let receipt = polling.poll();
    assert!(receipt.starts_with("a[\"RECEIPT\\nreceipt-id:7"), "{receipt}");
    // And one more, so that the proof was looked at before Ann comes elsewhere.
    polling.send("SEND\\ndestination:/topic/none\\nreceipt:8\\n\\n\\u0000");
    polling.poll();
    let mut ann = user(&server, "ann");
    subscribe(&mut ann, "/user/queue/chat", "auto");
    ann.is_quiet();
}
