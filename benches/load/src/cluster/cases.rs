//! The rows of the table.

use super::{
    Bench,
    adoption::Adoption,
    bare,
    flows::{Fanout, Latency, Throughput},
    idle::Idle,
    storm::Storm,
};
use crate::{Result, report::Report, suite::table::Column};

/// One row, or several of the same run.
pub(super) struct Case {
    pub(super) name: String,
    /// The bare clients.
    pub(super) bare: Option<Run>,
    /// The two nodes.
    pub(super) cluster: Run,
    pub(super) columns: Vec<Column>,
}

pub(super) type Run = Box<dyn Fn(&mut Bench) -> Result<Report>>;

/// All of them; the same in `small` says nothing but that it works.
pub(super) fn all(small: bool) -> Vec<Case> {
    let size = |full: usize, small_one: usize| if small { small_one } else { full };
    let seconds = if small { 0.5 } else { 5.0 };
    vec![
        latency(100.0, if small { 1.0 } else { 10.0 }),
        throughput(size(50, 5), size(200, 20), seconds),
        fanout(size(100, 10), seconds),
        storm(size(10_000, 200)),
        adoption(size(100_000, 500), small),
        idle(size(50_000, 200), if small { 1.0 } else { 15.0 }),
    ]
}

fn latency(rate: f64, seconds: f64) -> Case {
    let mut columns = vec![column("p50 µs", "p50_us", true, "ratio <= 1.5"), column("p99 µs", "p99_us", true, "")];
    columns.extend(costs());
    Case {
        name: format!("user message, {rate}/s"),
        bare: Some(Box::new(move |bench| bare::latency(&bench.rabbit, rate, seconds))),
        cluster: Box::new(move |bench| Latency { rate, seconds }.run(bench)),
        columns,
    }
}

fn throughput(pairs: usize, in_flight: usize, seconds: f64) -> Case {
    let mut columns = vec![column("messages/s", "rate", true, "ratio >= 5")];
    columns.extend(costs());
    columns.extend([
        column("cores at work at half of that", "half_busy", false, ""),
        column("messages per envelope then", "half_envelope", false, ""),
        column("RECEIPT p50 µs then", "half_receipt_p50_us", false, ""),
        column("RECEIPT p99 µs then", "half_receipt_p99_us", false, "< 50,000"),
        column("cores that others had meanwhile", "half_others", false, "0"),
        column("cores at work at 50,000/s", "aim_busy", false, ""),
        column("messages per envelope then", "aim_envelope", false, ""),
        column("RECEIPT p50 µs then", "aim_receipt_p50_us", false, ""),
        column("RECEIPT p99 µs then", "aim_receipt_p99_us", false, "< 50,000"),
        column("cores that others had meanwhile", "aim_others", false, "0"),
    ]);
    Case {
        name: format!("user messages, {pairs} pairs"),
        bare: Some(Box::new(move |bench| bare::throughput(&bench.rabbit, WINDOW, seconds))),
        cluster: Box::new(move |bench| Throughput { pairs, in_flight, seconds }.run(bench)),
        columns,
    }
}

fn fanout(subscribers: usize, seconds: f64) -> Case {
    let mut columns = vec![column("messages/s", "rate", false, "")];
    columns.extend(costs());
    Case {
        name: format!("topic, 1->{subscribers}"),
        bare: None,
        cluster: Box::new(move |bench| Fanout { subscribers, seconds }.run(bench)),
        columns,
    }
}

fn storm(subscriptions: usize) -> Case {
    Case {
        name: format!("{subscriptions} new destinations"),
        bare: None,
        cluster: Box::new(move |bench| Storm { subscriptions }.run(bench)),
        columns: vec![
            column("s to the last RECEIPT", "storm_s", false, "< 2"),
            column("s after an empty Redis is up", "redis_s", false, ""),
            column("s after RabbitMQ is up", "rabbit_s", false, ""),
        ],
    }
}

fn adoption(messages: usize, small: bool) -> Case {
    Case {
        name: format!("{messages} in a dead node's queue"),
        bare: None,
        cluster: Box::new(move |bench| Adoption { messages, small }.run(bench)),
        columns: vec![
            column("s from kill to gone", "gone_s", false, ""),
            column("s beyond the lease, at most", "beyond_s", false, "< 30"),
        ],
    }
}

fn idle(sessions: usize, seconds: f64) -> Case {
    Case {
        name: format!("{sessions} idle sessions"),
        bare: None,
        cluster: Box::new(move |bench| Idle { sessions, seconds }.run(bench)),
        columns: vec![
            column("nodes", "nodes", false, ""),
            column("Redis commands/s", "commands", false, ""),
            column("renewals per interval and node", "renewals", false, "1"),
        ],
    }
}

const fn column(label: &'static str, figure: &'static str, ratio: bool, aim: &'static str) -> Column {
    Column { label, figure, ratio, aim }
}

fn costs() -> [Column; 3] {
    [
        column("CPU µs, nodes", "nodes_us", false, ""),
        column("CPU µs, Redis", "redis_us", false, ""),
        column("CPU µs, RabbitMQ", "rabbit_us", false, ""),
    ]
}

/// Unconfirmed messages of the bare publisher: more bring no more throughput.
const WINDOW: usize = 500;
