//! `load suite` compares a server with the floor, `load cluster` a cluster with bare clients. One scenario against one
//! server is `stampede bench`.

use std::{io, process::ExitCode};

use clap::{Parser, Subcommand};
use stampede_load::{
    Error,
    cli::say_why,
    cluster::{ClusterSuite, Hold},
    suite::Suite,
};

/// Starts servers and compares what they cost.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Every scenario against the floor and a server in turns, as a table
    Suite(Suite),
    /// Two nodes beside the bare clients of RabbitMQ and Redis, as a table
    Cluster(ClusterSuite),
    /// What a row of `cluster` starts beside itself.
    #[command(hide = true)]
    Hold(Hold),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = rlimit::increase_nofile_limit(u64::MAX)
        .map_err(Error::system("raising the limit of open files"))
        .and_then(|_| match arguments.command {
            Command::Cluster(suite) => suite.run(&mut io::stdout().lock()),
            Command::Hold(hold) => hold.run(&mut io::stdout().lock()),
            Command::Suite(suite) => suite.run(&mut io::stdout().lock()),
        });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say_why(&error);
            ExitCode::FAILURE
        }
    }
}
