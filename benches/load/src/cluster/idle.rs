//! Sessions that do nothing: what they cost in Redis.

use std::{thread, time::Duration};

use super::{Bench, nodes::Nodes};
use crate::{Result, pool::Pool, report::Report, scenario::open_all};

/// So many sessions, half of them on each node, each with a user of its own
pub(super) struct Idle {
    pub(super) sessions: usize,
    pub(super) seconds: f64,
}

impl Idle {
    pub(super) fn run(&self, bench: &mut Bench) -> Result<Report> {
        let nodes = Nodes::start(&bench.program, &bench.rabbit, &[])?;
        let (a, b) = nodes.subjects()?;
        let mut pool = Pool::new()?;
        let subjects = [&a, &b].into_iter().cycle();
        let plans = subjects
            .zip(0..self.sessions)
            .map(|(node, n)| node.plan_as(&format!("idle-{n}"), Some("/user/queue/bench")));
        open_all(&mut pool, plans)?;
        let before = nodes.redis.calls()?;
        thread::sleep(Duration::from_secs_f64(self.seconds));
        let mut calls = nodes.redis.calls()?;
        for (name, count) in &mut calls {
            *count -= before.iter().find(|(other, _)| other == name).map_or(0, |(_, count)| *count);
        }
        calls.retain(|(_, count)| *count > 0);
        let total: u64 = calls.iter().map(|(_, count)| count).sum();
        let renewals = calls.iter().filter(|(name, _)| name == "evalsha").map(|(_, count)| *count).sum::<u64>();
        let mut report = Report::new(format!("{} idle sessions", self.sessions));
        report.add("commands", total as f64 / self.seconds, "/s");
        report.add("renewals", renewals as f64 / (self.seconds / INTERVAL) / 2.0, "");
        let list: Vec<String> = calls.iter().map(|(name, count)| format!("{name} {count}")).collect();
        report.note(list.join(", "));
        Ok(report)
    }
}

/// Seconds between two renewals, by default.
const INTERVAL: f64 = 3.0;
