//! `stampede dev`: several nodes on one machine, to see them work together and to develop against them.
//!
//! ```text
//! programs   what must be installed, found before anything is started
//! servers    a private Redis and a private RabbitMQ on free ports of this machine
//! nodes      this binary again, once per node, told by its environment where the servers are
//! family     everything that was started, in one process group, with a warden that outlives us
//! ```
//!
//! Nothing of it stays: neither a process nor a file, also when this process is killed.

mod family;
mod nodes;
mod programs;
mod screen;
mod servers;

use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::time::Duration;

use self::family::{Family, Member};
use self::nodes::{Node, Plan};
use self::programs::Programs;
use self::screen::say;
use crate::node::shutdown_signal;

/// What `stampede dev` was asked for.
#[derive(Debug, Clone)]
pub struct Options {
    /// How many nodes.
    pub nodes: u16,
    /// Configuration of the nodes beside what makes them a cluster.
    pub config: Option<PathBuf>,
    /// Port of the first node, the others follow; 0 takes free ones. By default from 8080 on, past those that are taken.
    pub port: Option<u16>,
    /// Whether to open the pages where there is a desktop.
    pub open: bool,
}

/// Runs the nodes until SIGTERM or Ctrl-C.
///
/// # Errors
///
/// Says what is missing, or what did not start.
pub async fn run(options: Options) -> Result<(), String> {
    let shutdown = shutdown_signal();
    let programs = Programs::find()?;
    let plan = Plan::new(&options, ports(options.port, options.nodes)?)?;
    let mut family = Family::new()?;
    let outcome = tokio::select! {
        () = shutdown => Ok(()),
        Err(problem) = live(&mut family, &programs, plan) => Err(problem),
    };
    let impatient = shutdown_signal();
    say("Ending.");
    tokio::select! {
        () = family.end_nodes(PATIENCE_AT_END) => {}
        () = impatient => {}
    }
    outcome
}

/// Longer than the nodes' own grace.
const PATIENCE_AT_END: Duration = Duration::from_secs(15);

/// Starts everything, tells what to do with it, and tells what ends; returns only if it cannot go on.
async fn live(family: &mut Family, programs: &Programs, plan: Plan) -> Result<std::convert::Infallible, String> {
    let redis = servers::redis(family, programs).await?;
    let rabbitmq = servers::rabbitmq(family, programs).await?;
    let nodes = nodes::start(family, &plan, &redis, &rabbitmq).await?;
    for line in introduction(&nodes, &plan) {
        say(&line);
    }
    if plan.open {
        nodes.iter().for_each(|node| screen::open(&node.page));
    }
    let mut left = nodes.len();
    loop {
        let (member, how) = family.next_end().await;
        let Member { name, pid, .. } = &member;
        if !member.is_node {
            say(&format!("{name} (pid {pid}) has ended: {how}. The nodes do what they can without it."));
            continue;
        }
        left -= 1;
        if left == 0 {
            return Err(format!("{name} (pid {pid}) has ended: {how}; no node is left"));
        }
        say(&format!("{name} (pid {pid}) has ended: {how}. The others go on."));
    }
}

/// What a person can do now.
fn introduction(nodes: &[Node], plan: &Plan) -> Vec<String> {
    let mut lines = vec![String::new()];
    for Node { name, pid, page, .. } in nodes {
        lines.push(format!("  {name:<8} {page}   pid {pid}"));
    }
    lines.push(String::new());
    if !plan.pages {
        lines.push(
            "The demo page is switched off (demo.enabled): these are the addresses for STOMP clients.".to_owned(),
        );
    } else if let [first, .., last] = nodes {
        let (Node { user: one, .. }, Node { name, user: other, pid, .. }) = (first, last);
        lines.extend([
            "Try:".to_owned(),
            format!("  Open the pages side by side: {one} on {}, {other} on {name}, in the same room.", first.name),
            "  Chat, write into the shared text, and click a name to whisper: all of it goes from node to node.".to_owned(),
            format!("  kill -9 {pid}   {name} is gone, and a few seconds later {other} leaves the lists. A whisper to {other} waits:"),
            format!("      {}   brings {other} back on {}.", first.page_of(other), first.name),
            format!("  kill {pid}      the same in order: its clients are asked to leave first."),
        ]);
    } else if let [only] = nodes {
        lines.push(format!("Try it with a second user: {}", only.page_of("ben")));
    }
    lines.push("Ctrl-C ends all of it and leaves nothing behind.".to_owned());
    lines
}

/// Where the nodes are to listen.
fn ports(wanted: Option<u16>, count: u16) -> Result<Vec<u16>, String> {
    let is_free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    match wanted {
        Some(0) => Ok(vec![0; count.into()]),
        Some(first) => (0..count)
            .map(|number| {
                let port =
                    first.checked_add(number).ok_or_else(|| format!("--port {first}: there is no port above 65535"))?;
                is_free(&port).then_some(port).ok_or_else(|| {
                    format!("--port {first}: port {port} is taken, and {count} nodes need as many ports in a row")
                })
            })
            .collect(),
        None => {
            Ok((FIRST_PORT..FIRST_PORT + 100).filter(is_free).chain(std::iter::repeat(0)).take(count.into()).collect())
        }
    }
}

/// What a node without configuration takes.
const FIRST_PORT: u16 = 8080;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_that_are_taken_are_left_out_or_named() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        let refused = ports(Some(port), 1).unwrap_err();
        assert!(refused.contains(&format!("port {port} is taken")), "{refused}");
        assert_eq!(ports(Some(0), 3), Ok(vec![0, 0, 0]));
        assert!(ports(Some(u16::MAX), 2).is_err());
        assert_eq!(ports(None, 4).unwrap().len(), 4);
    }
}
