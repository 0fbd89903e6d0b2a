//! All scenarios against the floor and a server, in turns, as a table with the ratios.
//!
//! Every run has a fresh process of the server, so that no figure depends on what ran before it, and the two servers
//! take turns within each row, so that what else the machine does hits both.

mod cases;
pub(crate) mod server;
pub(crate) mod table;

use std::{io::Write, path::PathBuf};

use crate::{Error, Result, report::Report};
use cases::Case;
use server::Server;
use table::{Line, Row};

/// All scenarios against the floor and a server in turns
#[derive(Debug, clap::Args)]
pub struct Suite {
    /// The floor's program
    #[arg(long)]
    pub floor: PathBuf,
    /// The server's program, started with `--listen 127.0.0.1:0` in an empty directory; without it only the floor runs
    #[arg(long)]
    pub server: Option<PathBuf>,
    /// A further argument for the server; may be repeated
    #[arg(long = "server-arg", allow_hyphen_values = true)]
    pub server_args: Vec<String>,
    /// Path of the server's WebSocket endpoint
    #[arg(long, default_value = "/ws")]
    pub path: String,
    /// Sittings, whose median counts
    #[arg(long, default_value_t = 3)]
    pub sittings: usize,
    /// One sitting
    #[arg(long, conflicts_with = "sittings")]
    pub quick: bool,
    /// One sitting of a few hundred messages: shows that everything works, its figures say nothing
    #[arg(long, conflicts_with_all = ["sittings", "quick"])]
    pub smoke: bool,
    /// Only the rows whose name contains this; may be repeated
    #[arg(long)]
    pub only: Vec<String>,
    /// Print every run as a JSON object as well, before the table
    #[arg(long)]
    pub json: bool,
}

impl Suite {
    /// Runs it, printing one line per run and the table at the end.
    ///
    /// # Errors
    ///
    /// The first failure of a run.
    pub fn run(&self, out: &mut impl Write) -> Result<()> {
        let mut cases = if self.smoke { cases::smoke() } else { cases::full() };
        cases.retain(|case| self.only.is_empty() || self.only.iter().any(|part| case.name.contains(part.as_str())));
        let sittings = if self.smoke || self.quick { 1 } else { self.sittings.max(1) };
        let mut rows: Vec<Row> = cases.iter().map(|_| Row::default()).collect();
        for sitting in 0..sittings {
            for (case, row) in cases.iter().zip(&mut rows) {
                // Whoever goes first in one sitting goes second in the next.
                let first = sitting % 2 == 0;
                for floor in [first, !first] {
                    if let Some(report) = self.sit(case, floor)? {
                        self.show(out, floor, &report)?;
                        if floor { &mut row.floor } else { &mut row.server }.push(report);
                    }
                }
            }
        }
        let lines = cases.iter().zip(&rows).map(|(case, row)| Line { name: &case.name, columns: &case.columns, row });
        table::print(out, ["floor", "server"], lines).map_err(Error::system("printing"))
    }

    /// One run of one case against one of the servers, if it is for that one.
    fn sit(&self, case: &Case, floor: bool) -> Result<Option<Report>> {
        let server = match (&self.server, floor) {
            (_, true) if case.needs_broker => return Ok(None),
            (_, true) => Server::start(&self.floor, &[], &[], "/")?,
            (Some(program), false) => Server::start(program, &self.server_args, &[], &self.path)?,
            (None, false) => return Ok(None),
        };
        let sound = |report: Report| match report.is_sound() {
            true => Ok(Some(report)),
            false => Err(Error::Server(report.line())),
        };
        (case.run)(&server.subject()?).and_then(sound).map_err(|error| match server.last_words() {
            words if words.is_empty() => error,
            words => Error::Server(format!("{}: {error}; its last words:\n{words}", case.name)),
        })
    }

    fn show(&self, out: &mut impl Write, floor: bool, report: &Report) -> Result<()> {
        let who = if floor { "floor" } else { "server" };
        let text = if self.json {
            let mut object = report.json();
            object["server"] = who.into();
            object.to_string()
        } else {
            format!("{who:<6} {}", report.line())
        };
        writeln!(out, "{text}").and_then(|()| out.flush()).map_err(Error::system("printing"))
    }
}
