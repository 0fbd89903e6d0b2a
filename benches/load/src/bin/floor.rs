//! The bare fan-out server as a program: prints its address and serves until it is ended.

use std::{
    io::{self, Write},
    net::SocketAddr,
};

use clap::Parser;
use stampede_load::floor::Floor;

/// Fans WebSocket frames out and does nothing else: the cost to compare a broker's with.
#[derive(Debug, Parser)]
struct Args {
    /// Address and port to listen on; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
}

fn main() -> io::Result<()> {
    let args = Args::parse();
    rlimit::increase_nofile_limit(u64::MAX)?;
    let mut floor = Floor::bind(args.listen)?;
    writeln!(io::stdout(), "floor: listening on http://{}", floor.local_addr()?)?;
    floor.run()
}
