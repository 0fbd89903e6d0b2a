//! Sessions that do nothing: what they cost in Redis.

use std::{
    thread,
    time::{Duration, Instant},
};

use super::{Bench, hold::Holder, nodes::Nodes};
use crate::{Error, Result, report::Report};

/// So many sessions, each with a user of its own, on as many nodes as their limit of open files asks for
pub(super) struct Idle {
    pub(super) sessions: usize,
    pub(super) seconds: f64,
}

impl Idle {
    pub(super) fn run(&self, bench: &mut Bench) -> Result<Report> {
        let mut nodes = Nodes::start(&bench.program, &bench.rabbit, &[])?;
        let (_, limit) = rlimit::Resource::NOFILE.get().map_err(Error::system("reading the limit of open files"))?;
        let room = usize::try_from(limit).unwrap_or(usize::MAX).saturating_sub(OTHER_FILES).max(1);
        let count = self.sessions.div_ceil(room).max(2);
        for n in 2..count {
            nodes.join(&format!("node-{}", n + 1))?;
        }
        // One process beside each node: it may open as few files.
        let until = Instant::now() + PATIENCE;
        let mut holders = Vec::new();
        for (n, node) in nodes.all().enumerate() {
            let users = self.sessions * n / count..self.sessions * (n + 1) / count;
            holders.push(Holder::start(n, node.url(), users)?);
        }
        holders.iter().try_for_each(|holder| holder.wait_until_open(until))?;
        let before = nodes.redis.calls()?;
        thread::sleep(Duration::from_secs_f64(self.seconds));
        let mut calls = nodes.redis.calls()?;
        holders.iter().try_for_each(Holder::check)?;
        for (name, count) in &mut calls {
            *count -= before.iter().find(|(other, _)| other == name).map_or(0, |(_, count)| *count);
        }
        calls.retain(|(_, count)| *count > 0);
        let total: u64 = calls.iter().map(|(_, count)| count).sum();
        let renewals = calls.iter().filter(|(name, _)| name == "evalsha").map(|(_, count)| *count).sum::<u64>();
        let mut report = Report::new(format!("{} idle sessions on {count} nodes", self.sessions));
        report.add("nodes", count as f64, "");
        report.add("commands", total as f64 / self.seconds, "/s");
        report.add("renewals", renewals as f64 / (self.seconds / INTERVAL) / count as f64, "");
        let list: Vec<String> = calls.iter().map(|(name, count)| format!("{name} {count}")).collect();
        report.note(list.join(", "));
        Ok(report)
    }
}

/// Seconds between two renewals, by default.
const INTERVAL: f64 = 3.0;
/// Files that a process has open beside its sessions, at most.
const OTHER_FILES: usize = 500;
/// What opening all of them may take.
const PATIENCE: Duration = Duration::from_secs(120);
