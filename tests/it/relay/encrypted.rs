//! A broker behind TLS.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use stampede::config::cluster::RabbitMq;

use super::Broker;
use super::contract::soon;
use crate::support::private::{Private, directory, free_port, local, until_listening};

/// HAProxy takes TLS off.
const PROXY: &str = "
defaults
    mode tcp
    timeout connect 5s
    timeout client 1m
    timeout server 1m
listen broker
    bind LISTEN ssl crt SERVER
    server broker BROKER
";

#[tokio::test(flavor = "multi_thread")]
async fn the_given_authority_is_trusted_and_no_other() {
    let mut broker = Broker::shared();
    let directory = directory();
    let (authority, server) = certificates(directory.path());
    let port = free_port();
    let config = PROXY
        .replace("LISTEN", &local(port).to_string())
        .replace("SERVER", server.to_str().unwrap())
        .replace("BROKER", &local(broker.vhost.port()).to_string());
    fs::write(directory.path().join("proxy.cfg"), config).unwrap();
    let mut proxy =
        Private::start(Command::new("haproxy").arg("-db").arg("-f").arg(directory.path().join("proxy.cfg")));
    until_listening(port, &mut proxy);

    broker.config.url = broker.vhost.url_through(port).replace("amqp://", "amqps://").into();
    let waits = tokio::time::timeout(Duration::from_secs(1), broker.node("a")).await;
    assert!(waits.is_err(), "it trusts anybody");
    broker.config.ca_file = Some(authority);
    let a = soon(broker.node("a")).await;
    a.confirmed(&[&a], "in secret").await;
    a.inbox.next_are(&["in secret"]).await;

    let missing = RabbitMq { ca_file: Some("nowhere.pem".into()), ..broker.config.clone() };
    let error = super::start::refused(&missing).await;
    assert!(error.contains("rabbitmq.ca_file nowhere.pem"), "{error}");
}

/// An authority, and a server's certificate with its key, by this authority.
fn certificates(directory: &Path) -> (PathBuf, PathBuf) {
    let file = |name: &str| directory.join(name);
    fs::write(file("names"), "subjectAltName=IP:127.0.0.1\nbasicConstraints=CA:FALSE\n").unwrap();
    let make = |arguments: &str| {
        let output = Command::new("openssl").current_dir(directory).args(arguments.split(' ')).output();
        let output = output.expect("openssl; `scripts/setup` installs what is missing");
        assert!(output.status.success(), "{arguments}: {}", String::from_utf8_lossy(&output.stderr));
    };
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
    make(&format!("req -x509 {key} -keyout ca.key -out ca.pem -days 2 -subj /CN=authority"));
    make(&format!("req {key} -keyout server.key -out server.csr -subj /CN=broker"));
    make("x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names -out server.crt");
    let both = fs::read_to_string(file("server.crt")).unwrap() + &fs::read_to_string(file("server.key")).unwrap();
    fs::write(file("server.pem"), both).unwrap();
    (file("ca.pem"), file("server.pem"))
}
