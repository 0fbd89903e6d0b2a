//! A Redis with a replica, and three sentinels that let the replica take over.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use tempfile::TempDir;

use super::private::{Private, directory, free_port, patiently, until_listening};
use super::redis::{Redis, ask};

/// The name under which the sentinels know the two.
const SERVICE: &str = "stampede";
const SENTINELS: usize = 3;

/// Two servers, one of them the primary, and those that watch them.
#[derive(Debug)]
pub(crate) struct Sentinels {
    servers: [Redis; 2],
    ports: Vec<u16>,
    _sentinels: Vec<Private>,
    _directory: TempDir,
    /// What the servers ask for.
    password: Option<&'static str>,
    /// What the sentinels ask for.
    own_password: Option<&'static str>,
}

impl Sentinels {
    pub(crate) fn start() -> Self {
        Self::with(None, None)
    }

    /// With passwords of the servers and of the sentinels themselves.
    pub(crate) fn with(password: Option<&'static str>, own_password: Option<&'static str>) -> Self {
        let primary = Redis::with(&["--repl-diskless-sync-delay", "0"]);
        let port = primary.port().to_string();
        let replica = Redis::with(&["--repl-diskless-sync-delay", "0", "--replicaof", "127.0.0.1", &port]);
        let servers = [primary, replica];
        if let Some(password) = password {
            for server in &servers {
                server.cli(&["CONFIG", "SET", "masterauth", password, "requirepass", password]);
            }
        }
        let directory = directory();
        let (mut sentinels, mut ports) = (Vec::new(), Vec::new());
        for _ in 0..SENTINELS {
            let port = free_port();
            let mut text = format!(
                "port {port}\nbind 127.0.0.1\ndir {}\nsentinel monitor {SERVICE} 127.0.0.1 {} 2\n\
                 sentinel down-after-milliseconds {SERVICE} 500\nsentinel failover-timeout {SERVICE} 2000\n",
                directory.path().display(),
                servers[0].port(),
            );
            if let Some(password) = password {
                text += &format!("sentinel auth-pass {SERVICE} {password}\n");
            }
            if let Some(password) = own_password {
                text += &format!("requirepass {password}\nsentinel sentinel-pass {password}\n");
            }
            // They write into it what they learn.
            let file = directory.path().join(format!("{port}.conf"));
            fs::write(&file, text).unwrap();
            let mut sentinel = Private::start(Command::new("redis-server").arg(file).arg("--sentinel"));
            until_listening(port, &mut sentinel);
            sentinels.push(sentinel);
            ports.push(port);
        }
        let it = Self { servers, ports, _sentinels: sentinels, _directory: directory, password, own_password };
        it.until_replicated();
        it
    }

    /// Where clients ask for the primary; what comes before the host is as in any URL.
    pub(crate) fn url(&self, scheme: &str, userinfo: &str) -> String {
        let nodes: String = self.ports[1..].iter().map(|port| format!("&node=127.0.0.1:{port}")).collect();
        format!("{scheme}://{userinfo}127.0.0.1:{}/0?sentinelServiceName={SERVICE}{nodes}", self.ports[0])
    }

    /// Which of the two the sentinels agree on.
    pub(crate) fn primary(&self) -> usize {
        patiently("the sentinels do not agree", || {
            let named = |&port: &u16| self.ask_sentinel(port, "GET-MASTER-ADDR-BY-NAME");
            let named: BTreeSet<String> = self.ports.iter().map(named).collect();
            let [Some(one), None] = [named.first(), named.iter().nth(1)] else { return None };
            self.servers.iter().position(|server| one.ends_with(&format!("\n{}", server.port())))
        })
    }

    /// The primary ends as by a crash; its number.
    pub(crate) fn crash_primary(&mut self) -> usize {
        let primary = self.primary();
        self.servers[primary].kill();
        primary
    }

    /// The primary keeps its connections open and answers nothing; its number.
    pub(crate) fn freeze_primary(&self) -> usize {
        let primary = self.primary();
        self.servers[primary].freeze();
        primary
    }

    /// Goes on where it stopped, as a replica of the other.
    pub(crate) fn thaw(&self, server: usize) {
        self.servers[server].thaw();
        self.until_replicated();
    }

    /// The primary changes places with its replica because an operator wants it; gives its number.
    pub(crate) fn hand_over(&self) -> usize {
        let primary = self.primary();
        self.ask_sentinel(self.ports[0], "FAILOVER");
        primary
    }

    /// Waits until another one than this is the primary.
    pub(crate) fn until_taken_over_from(&self, before: usize) {
        patiently("nobody takes over", || (self.primary() != before).then_some(()));
    }

    /// A server that crashed starts again, empty, and becomes a replica of the other.
    pub(crate) fn restart(&mut self, server: usize) {
        self.servers[server].restart();
        self.until_replicated();
    }

    /// Waits until the replica has all that the primary has, and every sentinel knows of it and of the others.
    pub(crate) fn until_replicated(&self) {
        patiently("nothing is replicated", || {
            let primary = self.primary();
            let [of_primary, of_replica] = [primary, 1 - primary].map(|server| self.info(server));
            let offset = field(&of_primary, "master_repl_offset")?;
            let linked = field(&of_replica, "master_link_status") == Some("up")
                && field(&of_replica, "slave_repl_offset") == Some(offset);
            let known = self.ports.iter().all(|&port| {
                let state = self.ask_sentinel(port, "MASTER");
                let value = |key| state.lines().skip_while(|&line| line != key).nth(1);
                value("num-slaves") == Some("1")
                    && value("num-other-sentinels") == Some("2")
                    && value("flags") == Some("master")
            });
            (linked && known).then_some(())
        });
    }

    fn info(&self, server: usize) -> String {
        ask(self.servers[server].port(), self.password, &["INFO", "replication"])
    }

    fn ask_sentinel(&self, port: u16, what: &str) -> String {
        ask(port, self.own_password, &["--raw", "SENTINEL", what, SERVICE])
    }
}

/// A value of an answer to INFO.
fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines().find_map(|line| line.trim_end().strip_prefix(name)?.strip_prefix(':'))
}
