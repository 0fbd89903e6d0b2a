//! A node that speaks TLS, looked at with the `openssl` command.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

/// Makes a certificate that names `name` and is good for 127.0.0.1, and its key: `NAME.crt` and `NAME.key` in the directory.
pub(crate) fn certificate(directory: &Path, name: &str) {
    let kind = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
    let arguments =
        format!("req -x509 {kind} -keyout {name}.key -out {name}.crt -days 2 -subj /CN={name} {ALTERNATIVES}");
    run(directory, &arguments, "");
}

/// What clients ask of a certificate that nobody else has signed.
const ALTERNATIVES: &str = "-addext subjectAltName=IP:127.0.0.1 -addext basicConstraints=critical,CA:FALSE";

/// The name in the certificate that a client is shown.
pub(crate) fn shown_name(by: SocketAddr) -> String {
    let said = run(Path::new("."), &format!("s_client -connect {by}"), "");
    let name = said.split_once("CN = ").or_else(|| said.split_once("CN=")).unwrap_or_else(|| panic!("{said}")).1;
    name.split(|c: char| !c.is_alphanumeric()).next().unwrap().to_owned()
}

/// Sends a request over TLS and reads to the end of the connection.
pub(crate) fn ask(to: SocketAddr, request: &str) -> String {
    run(Path::new("."), &format!("s_client -quiet -connect {to}"), request)
}

fn run(directory: &Path, arguments: &str, input: &str) -> String {
    let mut command = Command::new("openssl");
    command.current_dir(directory).args(arguments.split(' '));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("openssl; `scripts/setup` installs what is missing");
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments}: {errors}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}
