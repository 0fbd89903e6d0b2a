//! What is read again on SIGHUP. Keys of tokens: `identity::tokens`.

use std::fs;

use crate::support::openssl;
use crate::support::process::{Launch, Process, serve, until};

#[test]
fn sighup_ends_no_node() {
    let node = serve("");
    node.signal("HUP");
    // Signals come in order: had it ended the node, the next one would find nobody.
    node.signal("TERM");
    let (status, errors) = node.ended();
    assert_eq!(status.code(), Some(0), "{errors}");
}

#[test]
fn a_certificate_is_read_again_on_sighup() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str| directory.path().join(name);
    openssl::certificate(directory.path(), "first");
    openssl::certificate(directory.path(), "second");
    let copy = |name: &str| {
        fs::copy(file(&format!("{name}.key")), file("key.pem")).unwrap();
        fs::copy(file(&format!("{name}.crt")), file("cert.pem")).unwrap();
    };
    copy("first");
    let (certificate, key) = (file("cert.pem"), file("key.pem"));
    let config = format!("[server.tls]\ncertificate = {certificate:?}\nkey = {key:?}\n");
    let node = Launch::new(&[]).config(&config).env("STAMPEDE__LOG__FILTER", "info").serve();
    assert_eq!(openssl::shown_name(node.address), "first");
    assert_eq!(taken(&node), 0);
    // Unchanged files are only read because somebody asked.
    node.signal("HUP");
    until(|| (taken(&node) == 1).then_some(()), || node.errors());
    copy("second");
    node.signal("HUP");
    until(|| (openssl::shown_name(node.address) == "second").then_some(()), || node.errors());
    // What cannot be used is refused, and the old one goes on being shown.
    let refused = || node.errors().matches("the new certificate cannot be used").count();
    let before = refused();
    fs::write(&certificate, "no certificate").unwrap();
    node.signal("HUP");
    until(|| (refused() > before).then_some(()), || node.errors());
    assert_eq!(openssl::shown_name(node.address), "second");
    node.signal("TERM");
    assert_eq!(node.ended().0.code(), Some(0));
}

fn taken(node: &Process) -> usize {
    node.errors().matches("a new certificate is in force").count()
}
