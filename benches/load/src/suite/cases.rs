//! The rows of the table.

use super::table::Column;
use crate::{
    Result,
    report::Report,
    scenario::{
        Subject, connect::Connect, fanout::Fanout, flow::Bounds, heart_beat::HeartBeat, idle::Idle, slow::Slow,
        unicast::Unicast,
    },
};

/// One scenario with fixed parameters.
pub(super) struct Case {
    /// Its name in the table.
    pub(super) name: String,
    /// Runs it once.
    pub(super) run: Run,
    /// What of it stands in the table.
    pub(super) columns: Vec<Column>,
    /// The floor cannot do it.
    pub(super) needs_broker: bool,
}

type Run = Box<dyn Fn(&Subject) -> Result<Report>>;

/// The real thing.
pub(super) fn full() -> Vec<Case> {
    let bounds = || Bounds::lasting(4.0, 1.0);
    vec![
        fanout(100, 128, 1, bounds(), "ratio <= 1.4"),
        fanout(100, 128, 16, bounds(), "ratio <= 2"),
        fanout(1000, 128, 16, bounds(), "ratio <= 2"),
        fanout(100, 1024, 16, bounds(), "ratio <= 2"),
        unicast(100, bounds()),
        connect(20_000),
        idle(10_000, 40.0),
        heart_beat(5_000, 10_000, 30.0),
        slow(20, 15.0),
    ]
}

/// The same in small: every scenario, every check, no figure worth reading.
pub(super) fn smoke() -> Vec<Case> {
    let bounds = || Bounds { messages: 300, ..Bounds::lasting(10.0, 0.0) };
    vec![
        fanout(10, 128, 1, bounds(), ""),
        fanout(20, 1024, 16, bounds(), ""),
        unicast(5, bounds()),
        connect(200),
        idle(100, 0.5),
        heart_beat(50, 1_000, 2.5),
        slow(3, 1.0),
    ]
}

fn fanout(subscribers: usize, body: usize, in_flight: usize, bounds: Bounds, aim: &'static str) -> Case {
    let destination = "/topic/bench".to_owned();
    let scenario = Fanout { subscribers, publishers: 1, in_flight, rate: None, body, destination, bounds };
    Case {
        name: format!("1->{subscribers}, {body} B, {in_flight} in flight"),
        run: Box::new(move |subject| scenario.run(subject)),
        columns: vec![cost(aim), rate("messages/s", "")],
        needs_broker: false,
    }
}

fn unicast(pairs: usize, bounds: Bounds) -> Case {
    let destination = "/queue/bench-{}".to_owned();
    let scenario = Unicast { pairs, in_flight: 1, rate: None, body: 128, destination, bounds };
    Case {
        name: format!("unicast, {pairs} pairs"),
        run: Box::new(move |subject| scenario.run(subject)),
        columns: vec![cost(""), rate("messages/s", "")],
        needs_broker: false,
    }
}

fn connect(count: usize) -> Case {
    let scenario =
        Connect { count, concurrency: 64, rate: None, seconds: 60.0, destination: "/topic/bench".to_owned() };
    Case {
        name: "connect".to_owned(),
        run: Box::new(move |subject| scenario.run(subject)),
        columns: vec![cost(""), rate("connects/s", ">= 8,000/s")],
        needs_broker: false,
    }
}

fn idle(count: usize, seconds: f64) -> Case {
    let scenario = Idle { count, destination: "/topic/bench".to_owned(), seconds, settle: None };
    let column = |label, figure, aim| Column { label, figure, ratio: false, aim };
    Case {
        name: format!("idle, {count} connections"),
        run: Box::new(move |subject| scenario.run(subject)),
        columns: vec![
            column("KiB each", "kib_each", "<= 6, better 4"),
            column("KiB kept after closing", "kept_kib", "given back"),
        ],
        needs_broker: false,
    }
}

fn heart_beat(count: usize, interval: u64, seconds: f64) -> Case {
    let scenario = HeartBeat { count, interval, seconds, destination: "/topic/bench".to_owned() };
    let column = |label, figure, aim| Column { label, figure, ratio: false, aim };
    Case {
        name: format!("heart-beats, {count} connections"),
        run: Box::new(move |subject| scenario.run(subject)),
        columns: vec![column("% of a core", "server_cpu", "< 2"), column("late", "late", "0")],
        needs_broker: true,
    }
}

fn slow(subscribers: usize, seconds: f64) -> Case {
    let destination = "/topic/bench".to_owned();
    let scenario = Slow { subscribers, body: 8192, rate: 100.0, seconds, in_flight: None, destination };
    let column = |label, figure, aim| Column { label, figure, ratio: false, aim };
    Case {
        name: format!("1 of {} never reads", subscribers + 1),
        run: Box::new(move |subject| scenario.run(subject)),
        columns: vec![
            column("messages/s without", "rate_without", ""),
            column("messages/s with", "rate_with", "the same"),
            column("growth KiB", "growth_kib", "its limit"),
        ],
        needs_broker: false,
    }
}

fn cost(aim: &'static str) -> Column {
    Column { label: "CPU µs", figure: "cpu_us", ratio: true, aim }
}

fn rate(label: &'static str, aim: &'static str) -> Column {
    Column { label, figure: "rate", ratio: true, aim }
}
