//! The nodes of one cluster, and what all its processes spend.

use std::{
    io::{Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use super::backends::{Rabbit, Redis, until};
use crate::{Error, Result, process, report::Report, scenario::Subject, suite::server::Server};

/// A cluster of two or more, with a Redis of its own; the broker is everybody's, the names in it are its own.
#[derive(Debug)]
pub(super) struct Nodes {
    pub(super) a: Server,
    pub(super) b: Server,
    more: Vec<Server>,
    pub(super) redis: Redis,
    rabbit_pid: u32,
    names: String,
    program: PathBuf,
    /// What all nodes are told.
    environment: Vec<(String, String)>,
}

impl Nodes {
    /// Starts two; `settings` are further ones by their names in the environment.
    pub(super) fn start(program: &Path, rabbit: &Rabbit, settings: &[(&str, &str)]) -> Result<Self> {
        let redis = Redis::start()?;
        let names = format!("bench{}", redis.pid());
        let mut environment = vec![
            ("STAMPEDE__REDIS__URL".to_owned(), redis.url()),
            ("STAMPEDE__RABBITMQ__URL".to_owned(), rabbit.url()),
        ];
        for name in ["TOPIC_EXCHANGE", "FANOUT_EXCHANGE", "QUEUE_PREFIX", "ORPHAN_EXCHANGE", "ORPHAN_QUEUE"] {
            let value = format!("{names}_{}", name.to_lowercase());
            environment.push((format!("STAMPEDE__RABBITMQ__{name}"), value));
        }
        environment.extend(settings.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())));
        let (a, b) = (node(program, &environment, "a")?, node(program, &environment, "b")?);
        for node in [&a, &b] {
            wait_until_ready(node)?;
        }
        let (program, rabbit_pid) = (program.to_owned(), rabbit.pid());
        Ok(Self { a, b, more: Vec::new(), redis, rabbit_pid, names, program, environment })
    }

    /// Starts one more.
    pub(super) fn join(&mut self, id: &str) -> Result<()> {
        let node = node(&self.program, &self.environment, id)?;
        wait_until_ready(&node)?;
        self.more.push(node);
        Ok(())
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Server> {
        [&self.a, &self.b].into_iter().chain(&self.more)
    }

    /// The queue of node b.
    pub(super) fn queue_of_b(&self) -> String {
        format!("{}_queue_prefixb", self.names)
    }

    /// Both nodes and what has to live as long as they do.
    pub(super) fn into_parts(self) -> (Server, Server, Redis) {
        (self.a, self.b, self.redis)
    }

    pub(super) fn subjects(&self) -> Result<(Subject, Subject)> {
        Ok((self.a.subject()?, self.b.subject()?))
    }

    /// Starts to count what they spend.
    pub(super) fn costs(&self) -> Result<Costs> {
        let nodes = vec![self.a.process.pid(), self.b.process.pid()];
        Costs::start(vec![
            ("nodes_us", nodes),
            ("redis_us", vec![self.redis.pid()]),
            ("rabbit_us", vec![self.rabbit_pid]),
        ])
    }

    /// Envelopes that node a has sent so far.
    pub(super) fn envelopes(&self) -> Result<u64> {
        let metrics = get(&self.a.subject()?, "/metrics").map_err(Error::system("reading metrics"))?;
        let counts = metrics.lines().filter(|line| line.starts_with("stampede_envelopes_published"));
        Ok(counts.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum())
    }

    /// The last words of both, where something went wrong.
    pub(super) fn last_words(&self) -> String {
        format!("a: {}\nb: {}", self.a.last_words(), self.b.last_words())
    }
}

fn node(program: &Path, environment: &[(String, String)], id: &str) -> Result<Server> {
    let mut environment = environment.to_vec();
    environment.push(("STAMPEDE__SERVER__NODE_ID".to_owned(), id.to_owned()));
    Server::start(program, &[], &environment, "/ws")
}

fn wait_until_ready(node: &Server) -> Result<()> {
    let subject = node.subject()?;
    until("a node does not become ready", || is_ready(&subject).ok()?.then_some(()))
}

fn is_ready(subject: &Subject) -> std::io::Result<bool> {
    Ok(get(subject, "/ready")?.starts_with("HTTP/1.1 200"))
}

/// A whole answer, its head included.
fn get(subject: &Subject, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(subject.target.addr)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// CPU time by kind of process.
#[derive(Debug)]
pub(super) struct Costs {
    since: Instant,
    groups: Vec<(&'static str, Vec<u32>)>,
    before: Vec<Duration>,
    own: Duration,
    machine: Duration,
}

impl Costs {
    pub(super) fn start(groups: Vec<(&'static str, Vec<u32>)>) -> Result<Self> {
        let before = spent(&groups)?;
        let own = process::cpu(std::process::id())?;
        Ok(Self { since: Instant::now(), groups, before, own, machine: process::machine()? })
    }

    /// Seconds since the start.
    pub(super) fn seconds(&self) -> f64 {
        self.since.elapsed().as_secs_f64()
    }

    /// Cores that were at work meanwhile, on average, whoever used them.
    pub(super) fn busy(&self) -> Result<f64> {
        Ok(process::machine()?.saturating_sub(self.machine).as_secs_f64() / self.seconds())
    }

    /// Cores that something else on this machine has had meanwhile, on average: figures taken beside it say little.
    pub(super) fn others(&self) -> Result<f64> {
        let ours: Duration =
            spent(&self.groups)?.iter().zip(&self.before).map(|(now, before)| now.saturating_sub(*before)).sum();
        let own = process::cpu(std::process::id())?.saturating_sub(self.own);
        let machine = process::machine()?.saturating_sub(self.machine);
        Ok(machine.saturating_sub(ours + own).as_secs_f64() / self.seconds())
    }

    /// Adds rate and cost of `count` things done since the start.
    pub(super) fn add(&self, report: &mut Report, count: u64) -> Result<()> {
        let seconds = self.since.elapsed().as_secs_f64();
        let own = process::cpu(std::process::id())?.saturating_sub(self.own);
        report.add("count", count as f64, "");
        report.add("rate", count as f64 / seconds, "/s");
        let each = |spent: Duration| spent.as_secs_f64() * 1e6 / count.max(1) as f64;
        for ((name, _), (before, now)) in self.groups.iter().zip(self.before.iter().zip(spent(&self.groups)?)) {
            report.add(name, each(now.saturating_sub(*before)), "µs each");
        }
        report.add("load_us", each(own), "µs each");
        Ok(())
    }
}

fn spent(groups: &[(&'static str, Vec<u32>)]) -> Result<Vec<Duration>> {
    groups.iter().map(|(_, pids)| pids.iter().map(|&pid| process::cpu_of_group(pid)).sum()).collect()
}
