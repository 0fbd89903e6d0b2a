//! Several nodes with a Redis of their own and a virtual host of their own.

use std::process::ExitStatus;
use std::thread;

use super::client::Client;
use super::process::{Launch, Process, until};
use super::rabbit::{Rabbit, Vhost};
use super::redis::Redis;

/// Nodes that know each other, by the order in which they were started.
#[derive(Debug)]
pub(crate) struct Cluster {
    /// None where a node has ended.
    nodes: Vec<Option<Process>>,
    setup: Setup,
}

/// A cluster about to be started. A node is dead after a shorter time than in production.
#[derive(Debug)]
pub(crate) struct Setup {
    vhost: Vhost,
    redis: Redis,
    config: String,
    environment: Vec<(String, String)>,
}

impl Setup {
    pub(crate) fn new() -> Self {
        Self {
            vhost: Rabbit::shared().vhost(),
            redis: Redis::start(),
            config: String::new(),
            environment: vec![("STAMPEDE__SERVER__SHUTDOWN_GRACE".into(), "5s".into())],
        }
    }

    pub(crate) fn redis(self, redis: Redis) -> Self {
        Self { redis, ..self }
    }

    pub(crate) fn vhost(self, vhost: Vhost) -> Self {
        Self { vhost, ..self }
    }

    /// Further configuration, the same on every node; not of the sections `redis` and `rabbitmq`.
    pub(crate) fn config(self, text: &str) -> Self {
        Self { config: text.to_owned(), ..self }
    }

    /// One key by its name in the environment, for every node.
    pub(crate) fn set(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn start(self, nodes: usize) -> Cluster {
        let nodes = thread::scope(|scope| {
            let starting: Vec<_> = (0..nodes).map(|_| scope.spawn(|| self.node(&[]))).collect();
            starting.into_iter().map(|node| Some(node.join().unwrap())).collect()
        });
        Cluster { nodes, setup: self }
    }

    fn node(&self, environment: &[(&str, &str)]) -> Process {
        let config = format!(
            "[redis]\nurl = '{}'\nlease = '3s'\nlease_renewal = '500ms'\n[rabbitmq]\nurl = '{}'\n{}",
            self.redis.url(),
            self.vhost.url(),
            self.config
        );
        let all = self.environment.iter().map(|(name, value)| (&**name, &**value)).chain(environment.iter().copied());
        let launch = Launch::new(&[]).config(&config).env("STAMPEDE__LOG__FILTER", "warn");
        let node = all.fold(launch, |launch, (name, value)| launch.env(name, value)).serve();
        until(|| (node.get("/ready").0 == 200).then_some(()), || format!("not ready: {}", node.errors()));
        node
    }
}

impl Cluster {
    pub(crate) fn start(nodes: usize) -> Self {
        Setup::new().start(nodes)
    }

    /// With further configuration.
    pub(crate) fn with(config: &str, nodes: usize) -> Self {
        Setup::new().config(config).start(nodes)
    }

    /// One node more; its number.
    pub(crate) fn add_node(&mut self) -> usize {
        self.add_node_with(&[])
    }

    /// One node more, with keys of its own, by their names in the environment.
    pub(crate) fn add_node_with(&mut self, environment: &[(&str, &str)]) -> usize {
        self.nodes.push(Some(self.setup.node(environment)));
        self.nodes.len() - 1
    }

    #[track_caller]
    pub(crate) fn node(&self, number: usize) -> &Process {
        self.nodes[number].as_ref().expect("this node has ended")
    }

    pub(crate) fn redis(&self) -> &Redis {
        &self.setup.redis
    }

    pub(crate) fn redis_mut(&mut self) -> &mut Redis {
        &mut self.setup.redis
    }

    pub(crate) fn vhost(&self) -> &Vhost {
        &self.setup.vhost
    }

    /// A session of a user on a node.
    #[track_caller]
    pub(crate) fn user(&self, node: usize, name: &str) -> Client {
        let headers = ["heart-beat:0,0", &format!("login:{name}")];
        Client::connect(self.node(node).address, "/ws", "1.2", &headers)
    }

    /// Ends a node as a crash does.
    pub(crate) fn crash(&mut self, number: usize) {
        drop(self.nodes[number].take());
    }

    /// Ends a node in order: its status and what it wrote to standard error.
    pub(crate) fn terminate(&mut self, number: usize) -> (ExitStatus, String) {
        self.node(number).signal("TERM");
        self.ended(number)
    }

    /// Waits for a node that was told to end.
    pub(crate) fn ended(&mut self, number: usize) -> (ExitStatus, String) {
        self.nodes[number].take().unwrap().ended()
    }

    /// Every node that runs answers, and complains of nothing that is its own fault.
    #[track_caller]
    pub(crate) fn is_well(&self) {
        for node in self.nodes.iter().flatten() {
            assert_eq!(node.get("/health").0, 200);
            let errors = node.errors();
            assert!(!errors.contains("panicked") && !errors.contains("ERROR stampede"), "{errors}");
        }
    }
}

impl Drop for Cluster {
    #[allow(clippy::print_stderr, reason = "shown with a test that failed")]
    fn drop(&mut self) {
        if thread::panicking() {
            for (number, node) in self.nodes.iter().enumerate() {
                let errors = node.as_ref().map_or_else(|| "it has ended".to_owned(), Process::errors);
                eprintln!("node {number}: {errors}");
            }
        }
    }
}
