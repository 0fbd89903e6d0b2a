//! The conformance kit: the binary passes it, servers with a fault do not, and each of its transcripts can fail.

mod command;
mod faults;
mod proxy;
mod sockjs;
mod spoiled;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use stampede::client::entrance::Way;
use stampede::client::wire::Access;
use stampede::conformance::server::Server;

use crate::support::server::Shared;

/// One endpoint as Spring's clients expect it, one by the text of STOMP.
static SERVER: Shared = Shared::new(include_str!("../../peers/stampede/conformance.toml"));

/// How to ask what listens here.
fn server(address: SocketAddr, path: &str) -> Server {
    let target = format!("ws://{address}{path}").parse().unwrap();
    Server {
        way: Way {
            target: Arc::new(target),
            access: Access::default(),
            host: "localhost".to_owned(),
            login: None,
            connect: Vec::new(),
        },
        topic: "/topic/conformance-{}".to_owned(),
        queue: Some("/queue/work/{}".to_owned()),
        refused: Some("/nowhere/x".to_owned()),
        patience: Duration::from_secs(10),
        quiet: Duration::from_millis(300),
        margin: Duration::from_secs(5),
        settle: Duration::from_millis(300),
        receipts: true,
        slow: false,
    }
}
