//! The nodes: this binary again, once per node.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{ChildStderr, ChildStdout, Command};
use tokio::sync::oneshot;

use super::Options;
use super::family::{Family, Started};
use super::screen::say;
use crate::config::load::load;
use crate::node;

/// What was decided before anything was started.
#[derive(Debug)]
pub(super) struct Plan {
    config: Option<PathBuf>,
    /// One per node; 0 for any that is free.
    ports: Vec<u16>,
    /// Whether the nodes have the demo page.
    pub(super) pages: bool,
    /// Path of the first endpoint.
    endpoint: String,
    pub(super) open: bool,
    /// Whether operators have a port of their own: then each node has to have another one.
    admin: bool,
}

/// A node that takes clients.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) name: String,
    pub(super) pid: u32,
    /// Who is to use its page.
    pub(super) user: &'static str,
    address: SocketAddr,
    /// The demo page for that user, or where clients connect if there is none.
    pub(super) page: String,
}

/// One for each node that there can be.
const USERS: [&str; 16] =
    ["ann", "ben", "cleo", "dan", "eve", "finn", "gia", "hugo", "ida", "jon", "kim", "leo", "mia", "ned", "ola", "pia"];

impl Plan {
    /// Checks the configuration as the nodes will read it: what is wrong with it is said before RabbitMQ takes its time.
    pub(super) fn new(options: &Options, ports: Vec<u16>) -> Result<Self, String> {
        let file = options.config.as_deref();
        let environment = std::env::vars().chain(environment("node-1", "redis://127.0.0.1", "amqp://127.0.0.1"));
        let (config, text) = load(file, environment).map_err(|error| error.to_string())?;
        let name = file.map_or_else(|| "the defaults".to_owned(), |file| file.display().to_string());
        node::check(&config, &text, &name).map_err(|problems| problems.join("\n"))?;
        let endpoint = config.endpoint.first().map_or_else(String::new, |endpoint| endpoint.path.clone());
        let pages = config.demo.enabled;
        let admin = config.server.admin_listen.is_some();
        Ok(Self { config: options.config.clone(), ports, pages, endpoint, open: options.open && pages, admin })
    }

    /// What a person opens: the demo page as this user, or else the endpoint.
    fn page(&self, address: SocketAddr, user: &str) -> String {
        if self.pages { demo_page(address, user) } else { format!("ws://{address}{}", self.endpoint) }
    }
}

impl Node {
    /// Its demo page for somebody else.
    pub(super) fn page_of(&self, user: &str) -> String {
        demo_page(self.address, user)
    }
}

fn demo_page(address: SocketAddr, user: &str) -> String {
    format!("http://{address}/?user={user}&room=notes")
}

/// Starts all nodes at once, and waits until they take clients.
pub(super) async fn start(family: &mut Family, plan: &Plan, redis: &str, rabbitmq: &str) -> Result<Vec<Node>, String> {
    let program = std::env::current_exe().map_err(|error| format!("the path of this program is unknown: {error}"))?;
    say(&format!("starting {} ...", if plan.ports.len() == 1 { "the node" } else { "the nodes" }));
    let mut starting = Vec::new();
    for (number, port) in plan.ports.iter().enumerate() {
        let name = format!("node-{}", number + 1);
        let mut command = Command::new(&program);
        command.arg("serve").args(["--listen", &SocketAddr::from((Ipv4Addr::LOCALHOST, *port)).to_string()]);
        if let Some(file) = &plan.config {
            command.arg("--config").arg(file);
        }
        if plan.admin {
            command.env("STAMPEDE__SERVER__ADMIN_LISTEN", "127.0.0.1:0");
        }
        command.envs(environment(&name, redis, rabbitmq)).stdout(Stdio::piped()).stderr(Stdio::piped());
        let Started { pid, stdout, stderr } = family.start(&name, true, &mut command)?;
        let (found, address) = oneshot::channel();
        if let Some(stdout) = stdout {
            family.follow(greeting(stdout, found));
        }
        if let Some(stderr) = stderr {
            family.follow(echo(name.clone(), stderr));
        }
        starting.push((name, pid, address));
    }
    let mut nodes = Vec::new();
    for ((name, pid, address), user) in starting.into_iter().zip(USERS) {
        let ready = async {
            let Ok(address) = address.await else { return std::future::pending().await };
            while get_ready(address).await != Some(()) {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            address
        };
        let address = family.until(&name, ready).await?;
        nodes.push(Node { page: plan.page(address, user), name, pid, user, address });
    }
    Ok(nodes)
}

/// What makes a node one of several; its lease is short, so that a killed node is missed at once.
fn environment(name: &str, redis: &str, rabbitmq: &str) -> [(String, String); 5] {
    [
        ("SERVER__NODE_ID", name),
        ("REDIS__URL", redis),
        ("REDIS__LEASE", "3s"),
        ("REDIS__LEASE_RENEWAL", "1s"),
        ("RABBITMQ__URL", rabbitmq),
    ]
    .map(|(key, value)| (format!("STAMPEDE__{key}"), value.to_owned()))
}

/// Finds the address in what a node says on standard output. We say all of it in our own words.
async fn greeting(stdout: ChildStdout, found: oneshot::Sender<SocketAddr>) {
    let mut found = Some(found);
    let mut lines = BufReader::new(stdout).split(b'\n');
    while let Ok(Some(line)) = lines.next_segment().await {
        let line = String::from_utf8_lossy(&line);
        let address = line.split_once("listens on http://").and_then(|(_, address)| address.trim().parse().ok());
        if let Some((address, found)) = address.and_then(|address| Some((address, found.take()?))) {
            let _awaited = found.send(address);
        }
    }
}

/// Passes on what a node logs, with its name.
async fn echo(name: String, from: ChildStderr) {
    let mut lines = BufReader::new(from).split(b'\n');
    while let Ok(Some(line)) = lines.next_segment().await {
        say(&format!("{name} | {}", String::from_utf8_lossy(&line)));
    }
}

/// Whether it takes clients. Where operators have a port of their own it does when it answers at all.
async fn get_ready(address: SocketAddr) -> Option<()> {
    let mut stream = TcpStream::connect(address).await.ok()?;
    stream.write_all(b"GET /ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await.ok()?;
    let mut status = [0; 12];
    stream.read_exact(&mut status).await.ok()?;
    matches!(&status, b"HTTP/1.1 200" | b"HTTP/1.1 404").then_some(())
}
