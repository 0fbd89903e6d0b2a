//! What is read again on SIGHUP. Keys of tokens: `identity::tokens`.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

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
    certificate(directory.path(), "first");
    certificate(directory.path(), "second");
    let copy = |name: &str| {
        fs::copy(file(&format!("{name}.key")), file("key.pem")).unwrap();
        fs::copy(file(&format!("{name}.crt")), file("cert.pem")).unwrap();
    };
    copy("first");
    let (certificate, key) = (file("cert.pem"), file("key.pem"));
    let config = format!("[server.tls]\ncertificate = {certificate:?}\nkey = {key:?}\n");
    let node = Launch::new(&[]).config(&config).env("STAMPEDE__LOG__FILTER", "info").serve();
    assert_eq!(shown(&node), "first");
    assert_eq!(taken(&node), 0);
    // Unchanged files are only read because somebody asked.
    node.signal("HUP");
    until(|| (taken(&node) == 1).then_some(()), || node.errors());
    copy("second");
    node.signal("HUP");
    until(|| (shown(&node) == "second").then_some(()), || node.errors());
    // What cannot be used is refused, and the old one goes on being shown.
    let refused = || node.errors().matches("the new certificate cannot be used").count();
    let before = refused();
    fs::write(&certificate, "no certificate").unwrap();
    node.signal("HUP");
    until(|| (refused() > before).then_some(()), || node.errors());
    assert_eq!(shown(&node), "second");
    node.signal("TERM");
    assert_eq!(node.ended().0.code(), Some(0));
}

fn taken(node: &Process) -> usize {
    node.errors().matches("a new certificate is in force").count()
}

/// A certificate that names `name`, and its key.
fn certificate(directory: &Path, name: &str) {
    let arguments = format!(
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout {name}.key -out {name}.crt -days 2 -subj /CN={name}"
    );
    openssl(directory, &arguments);
}

/// The name in the certificate that a client is shown.
fn shown(node: &Process) -> String {
    let said = openssl(Path::new("."), &format!("s_client -connect {}", node.address));
    let name = said.split_once("CN = ").or_else(|| said.split_once("CN=")).unwrap_or_else(|| panic!("{said}")).1;
    name.split(|c: char| !c.is_alphanumeric()).next().unwrap().to_owned()
}

fn openssl(directory: &Path, arguments: &str) -> String {
    let mut command = Command::new("openssl");
    command.current_dir(directory).args(arguments.split(' ')).stdin(Stdio::null());
    let output = command.output().expect("openssl; `scripts/setup` installs what is missing");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments}: {errors}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}
