//! Who may come in, and for how long.

mod life;
mod services;
mod start;
mod tokens;
mod users;
mod web;

use crate::support::client::{Client, header};
use crate::support::process::{Launch, Process};

/// The secret of all tokens here.
const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// A configuration with tokens, and more below `[identity.jwt]`.
fn with_tokens(more: &str) -> String {
    format!("[permissions]\nprofile = 'spring'\n[identity.jwt]\nsecret = '{SECRET}'\n{more}\n")
}

/// A token for the configuration, as `stampede token` makes it.
#[track_caller]
fn token(config: &str, arguments: &[&str]) -> String {
    let mut all = vec!["token", "--user"];
    all.extend(arguments);
    let ended = Launch::new(&all).config(config).run();
    assert_eq!(ended.code, Some(0), "{}", ended.errors);
    ended.output.trim().to_owned()
}

/// The frame of a CONNECT with further header lines.
fn connect_frame(headers: &[&str]) -> String {
    let lines: String = headers.iter().map(|line| format!("{line}\n")).collect();
    format!("CONNECT\naccept-version:1.2\nhost:localhost\n{lines}\n\0")
}

/// A CONNECT with these header lines is accepted for this user; none for an anonymous session.
#[track_caller]
fn accepted(node: &Process, headers: &[&str], user: Option<&str>) -> Client {
    let client = Client::connect(node.address, "/ws", "1.2", headers);
    assert_eq!(header(&client.connected, "user-name"), user, "{}", client.connected);
    client
}

/// A CONNECT with these header lines is refused, and told this.
#[track_caller]
fn refused(node: &Process, headers: &[&str], told: &str) {
    let mut client = Client::open(node.address, "/ws");
    client.send(&connect_frame(headers));
    let error = client.error(1002);
    assert!(error.contains(told), "{headers:?}: {error:?}");
}
