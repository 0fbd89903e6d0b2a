//! The tools over TLS: whom they believe, over each kind of carrier.

use super::{Tool, send};
use crate::support::openssl;
use crate::support::process::Launch;

#[test]
fn only_a_server_that_is_believed_is_asked() {
    let directory = tempfile::tempdir().unwrap();
    for name in ["node", "other"] {
        openssl::certificate(directory.path(), name);
    }
    let file = |name: &str| directory.path().join(name);
    let (certificate, key) = (file("node.crt"), file("node.key"));
    let config = format!("[server.tls]\ncertificate = {certificate:?}\nkey = {key:?}\n");
    let node = Launch::new(&[]).config(&config).env("STAMPEDE__LOG__FILTER", "warn").serve();
    let trusted = format!("--ca-file={}", certificate.display());
    for (scheme, carrier) in [("wss", "websocket"), ("wss", "sockjs"), ("https", "xhr-streaming")] {
        let url = format!("{scheme}://{}/ws", node.address);
        let (over, destination) = (format!("--over={carrier}"), format!("/topic/{carrier}"));
        let subscriber = Tool::subscribe(&url, &destination, &[&over, &trusted, "--body", "--count=2"]);
        send(&url, &destination, &[&over, &trusted, "secret"], b"").check(0, "stampede: 1 message confirmed\n");
        send(&url, &destination, &[&over, "--insecure", "as well"], b"").check(0, "stampede: 1 message confirmed\n");
        assert_eq!([subscriber.line(), subscriber.line()], ["secret", "as well"]);
        subscriber.ends().check(0, "");
        let another = format!("--ca-file={}", file("other.crt").display());
        send(&url, &destination, &[&over, &another, "never"], b"").says(2, "certificate");
        let none = format!("--ca-file={}", file("none").display());
        send(&url, &destination, &[&over, &none, "never"], b"").says(2, "none");
    }
}
