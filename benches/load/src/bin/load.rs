//! The load generator as a program: `load URL SCENARIO`, or `load suite` to compare with the floor.

use std::{
    error::Error as _,
    io::{self, Write},
    process::ExitCode,
};

use clap::{Parser, Subcommand};
use stampede_load::{
    Error, Result,
    cluster::ClusterSuite,
    report::Report,
    scenario::{
        Subject, connect::Connect, fanout::Fanout, heart_beat::HeartBeat, idle::Idle, slow::Slow, unicast::Unicast,
    },
    suite::Suite,
    target::Target,
};

/// Loads a STOMP-over-WebSocket server, in closed loops, from one thread.
#[derive(Debug, Parser)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// One destination with many subscribers
    Fanout(Run<Fanout>),
    /// Pairs of one publisher and one subscriber
    Unicast(Run<Unicast>),
    /// Connects, subscribes and leaves, again and again
    Connect(Run<Connect>),
    /// Memory per idle subscribed connection (needs --pid)
    Idle(Run<Idle>),
    /// CPU share of a server with idle connections and heart-beats both ways
    Heartbeat(Run<HeartBeat>),
    /// A subscriber that never reads beside others that do (needs --pid)
    Slow(Run<Slow>),
    /// All of it against the floor and a server in turns, as a table
    Suite(Suite),
    /// Two nodes beside the bare clients of RabbitMQ and Redis, as a table
    Cluster(ClusterSuite),
}

#[derive(Debug, clap::Args)]
struct Run<S: clap::Args> {
    /// The endpoint, for example ws://127.0.0.1:8080/ws
    url: Target,
    /// Process id of the server, to read its CPU time and memory
    #[arg(long)]
    pid: Option<u32>,
    /// The login header of CONNECT
    #[arg(long, requires = "passcode")]
    login: Option<String>,
    /// The passcode header of CONNECT
    #[arg(long, requires = "login")]
    passcode: Option<String>,
    /// Print one JSON object instead of one line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    scenario: S,
}

fn main() -> ExitCode {
    let args = Args::parse();
    match rlimit::increase_nofile_limit(u64::MAX).map_err(Error::system("raising the limit of open files")) {
        Ok(_) => {}
        Err(error) => return fail(&error),
    }
    let result = match args.command {
        Command::Fanout(run) => run.go(Fanout::run),
        Command::Unicast(run) => run.go(Unicast::run),
        Command::Connect(run) => run.go(Connect::run),
        Command::Idle(run) => run.go(Idle::run),
        Command::Heartbeat(run) => run.go(HeartBeat::run),
        Command::Slow(run) => run.go(Slow::run),
        Command::Cluster(suite) => suite.run(&mut io::stdout().lock()),
        Command::Suite(suite) => suite.run(&mut io::stdout().lock()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

impl<S: clap::Args> Run<S> {
    fn go(self, run: impl FnOnce(&S, &Subject) -> Result<Report>) -> Result<()> {
        let login = self.login.zip(self.passcode);
        let subject = Subject { target: Target { login, ..self.url }, pid: self.pid };
        let report = run(&self.scenario, &subject)?;
        let text = if self.json { report.json().to_string() } else { report.line() };
        writeln!(io::stdout(), "{text}").map_err(Error::system("printing"))
    }
}

fn fail(error: &Error) -> ExitCode {
    let mut text = format!("load: {error}");
    let mut cause = error.source();
    while let Some(inner) = cause {
        text += &format!(": {inner}");
        cause = inner.source();
    }
    // With nowhere left to say it the exit code must do.
    let _ = writeln!(io::stderr(), "{text}");
    ExitCode::FAILURE
}
