//! A cluster of two nodes beside the bare clients of RabbitMQ and Redis, as a table with the ratios.
//!
//! The broker is started once, everything else anew for every run. Node `a` is where messages are sent, node `b` where they
//! are received, but where a row says otherwise.

mod adoption;
mod backends;
mod bare;
mod cases;
mod flows;
mod hold;
mod idle;
mod nodes;
mod storm;

use std::{io::Write, path::PathBuf};

use crate::{
    Error, Result,
    report::Report,
    suite::table::{self, Line, Row},
};
use backends::Rabbit;

pub use hold::Hold;

/// Two nodes beside the bare clients of RabbitMQ and Redis
#[derive(Debug, clap::Args)]
pub struct ClusterSuite {
    /// The server's program
    #[arg(long)]
    pub server: PathBuf,
    /// Sittings, whose median counts
    #[arg(long, default_value_t = 3)]
    pub sittings: usize,
    /// One sitting
    #[arg(long, conflicts_with = "sittings")]
    pub quick: bool,
    /// One sitting in small: shows that everything works, its figures say nothing
    #[arg(long, conflicts_with_all = ["sittings", "quick"])]
    pub smoke: bool,
    /// Only the rows whose name contains this; may be repeated
    #[arg(long)]
    pub only: Vec<String>,
    /// Print every run as a JSON object as well, before the table
    #[arg(long)]
    pub json: bool,
}

impl ClusterSuite {
    /// Runs it, printing one line per run and the table at the end.
    ///
    /// # Errors
    ///
    /// The first failure of a run.
    pub fn run(&self, out: &mut impl Write) -> Result<()> {
        let mut cases = cases::all(self.smoke);
        cases.retain(|case| self.only.is_empty() || self.only.iter().any(|part| case.name.contains(part.as_str())));
        let sittings = if self.smoke || self.quick { 1 } else { self.sittings.max(1) };
        let mut rows: Vec<Row> = cases.iter().map(|_| Row::default()).collect();
        let mut bench = Bench { program: self.server.clone(), rabbit: Rabbit::start()? };
        for sitting in 0..sittings {
            for (case, row) in cases.iter().zip(&mut rows) {
                // Whoever goes first in one sitting goes second in the next.
                let first = sitting % 2 == 0;
                for bare in [first, !first] {
                    let run = match (bare, &case.bare) {
                        (true, Some(run)) => run,
                        (true, None) => continue,
                        (false, _) => &case.cluster,
                    };
                    let load = machine_load();
                    let mut report =
                        run(&mut bench).map_err(|error| Error::Server(format!("{}: {error}", case.name)))?;
                    report.add("machine_load", load, "");
                    self.show(out, bare, &report)?;
                    if bare { &mut row.floor } else { &mut row.server }.push(report);
                }
            }
        }
        let lines = cases.iter().zip(&rows).map(|(case, row)| Line { name: &case.name, columns: &case.columns, row });
        table::print(out, ["bare", "cluster"], lines).map_err(Error::system("printing"))
    }

    fn show(&self, out: &mut impl Write, bare: bool, report: &Report) -> Result<()> {
        let who = if bare { "bare" } else { "cluster" };
        let text = if self.json {
            let mut object = report.json();
            object["server"] = who.into();
            object.to_string()
        } else {
            format!("{who:<7} {}", report.line())
        };
        writeln!(out, "{text}").and_then(|()| out.flush()).map_err(Error::system("printing"))
    }
}

/// What all runs share.
#[derive(Debug)]
struct Bench {
    program: PathBuf,
    rabbit: Rabbit,
}

/// Processes that ran or wanted to, on average over the last minute: what else this machine does.
fn machine_load() -> f64 {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().and_then(|first| first.parse().ok()).unwrap_or(0.0)
}
