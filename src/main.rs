//! The `stampede` command.

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use stampede::config::load::load;
use stampede::identity::mint;
use stampede::node::{self, Node};
use stampede::telemetry;
use stampede::{conformance, dev, talk};

/// mimalloc gives the memory of closed connections back; glibc's allocator keeps most of it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// STOMP over WebSocket and SockJS for front ends that outgrew Spring's simple broker.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100, after_help = AFTER_HELP)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: Serve,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server (the default).
    Serve(Serve),
    /// Run several nodes on this machine, with a private Redis and a private RabbitMQ, to try them.
    Dev(Dev),
    Bench(Box<stampede_load::cli::Bench>),
    Conformance(Box<conformance::cli::Conformance>),
    Send(Box<talk::send::Send>),
    Subscribe(Box<talk::subscribe::Subscribe>),
    /// Read the configuration, say what is wrong with it, and leave with status 0 or 1.
    CheckConfig {
        /// The file to check.
        #[arg(long, short, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// Print the documented configuration file: every key with its default.
    PrintConfig,
    /// Print the hash of a password for [[identity.user]]; reads it from the terminal, or a line of standard input.
    HashPassword,
    /// Print a token that a configuration with identity.jwt.secret accepts: for development.
    Token(Token),
}

#[derive(Debug, Args)]
struct Serve {
    /// Configuration file; without one every key has its default.
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Address and port to listen on, instead of `server.listen`; port 0 takes a free one.
    #[arg(long, short, value_name = "ADDR:PORT")]
    listen: Option<std::net::SocketAddr>,
}

#[derive(Debug, Args)]
struct Dev {
    /// How many nodes.
    #[arg(long, short, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=16))]
    nodes: u16,
    /// Configuration of all nodes; what makes them a cluster is set without it.
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Port of the first node, the others follow; 0 takes free ones [default: from 8080 on, without those that are taken].
    #[arg(long, short, value_name = "PORT")]
    port: Option<u16>,
    /// Only print the pages' addresses, do not open them.
    #[arg(long)]
    no_open: bool,
}

#[derive(Debug, Args)]
struct Token {
    /// The configuration whose identity.jwt signs it.
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Whom it names.
    #[arg(long, short)]
    user: String,
    /// A further claim, as JSON or text; may be repeated.
    #[arg(long, value_name = "NAME=VALUE", value_parser = claim)]
    claim: Vec<(String, serde_json::Value)>,
    /// How long it is good, such as "10m".
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = humantime::parse_duration)]
    expires: std::time::Duration,
}

const AFTER_HELP: &str = "\
Examples:
  stampede                                     one node on http://127.0.0.1:8080 with a demo page, nothing to set up
  stampede --config stampede.toml              with your destinations, routes and limits
  stampede dev                                 two nodes that work together, to try
  stampede --listen 0.0.0.0:8080               reachable from other machines
  stampede bench ws://127.0.0.1:8080/ws        how fast is it, and does every message arrive once and in order
  stampede conformance ws://127.0.0.1:8080/ws  which clauses of STOMP and SockJS a server keeps
  stampede subscribe ws://127.0.0.1:8080/ws /topic/news         prints what comes
  stampede send ws://127.0.0.1:8080/ws /topic/news hello
  stampede check-config --config stampede.toml
  stampede print-config > stampede.toml        a file to start from
  stampede token --config stampede.toml --user ann

Clients connect to ws://HOST:PORT/ws (STOMP over WebSocket) or http://HOST:PORT/ws (SockJS).
Any key can come from the environment: STAMPEDE__SERVER__LISTEN=0.0.0.0:8080 stampede";

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match arguments.command {
        None => serve(arguments.serve),
        Some(Command::Serve(serve_arguments)) => serve(serve_arguments),
        Some(Command::Dev(dev_arguments)) => develop(dev_arguments),
        Some(Command::Bench(bench)) => bench.run(),
        Some(Command::Conformance(asked)) => conform(*asked),
        Some(Command::Send(asked)) => converse(asked.run()),
        Some(Command::Subscribe(asked)) => converse(asked.run()),
        Some(Command::CheckConfig { config }) => check(config),
        Some(Command::PrintConfig) => {
            say(stampede::config::DOCUMENTED.trim_end());
            ExitCode::SUCCESS
        }
        Some(Command::HashPassword) => tell(read_password().and_then(|password| mint::hash(&password))),
        Some(Command::Token(token_arguments)) => tell(token(token_arguments)),
    }
}

/// Plays the clauses: 0 nothing failed, 1 something did, 2 the server could not be asked.
fn conform(asked: conformance::cli::Conformance) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let outcome = runtime.map_err(|error| error.to_string()).and_then(|runtime| runtime.block_on(asked.run()));
    match outcome {
        Ok(conformance::cli::End::Good) => ExitCode::SUCCESS,
        Ok(conformance::cli::End::Failed) => ExitCode::FAILURE,
        Err(problem) => {
            complain(&problem);
            ExitCode::from(2)
        }
    }
}

/// Talks to a server as a client: 0 all went well, 1 the server refused, 2 it could not be asked.
fn converse(asked: impl Future<Output = Result<(), talk::Failure>>) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return complain(&format!("no runtime: {error}")),
    };
    let outcome = runtime.block_on(asked);
    // Standard input may never end, and standard output may be stuck.
    runtime.shutdown_background();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            complain(&failure.to_string());
            ExitCode::from(failure.status())
        }
    }
}

fn check(file: Option<PathBuf>) -> ExitCode {
    match load(file.as_deref(), std::env::vars()).map_err(|error| error.to_string()).and_then(|(config, text)| {
        let name = file.as_ref().map_or_else(|| "the defaults".into(), |file| file.display().to_string());
        node::check(&config, &text, &name).map_err(|problems| problems.join("\n"))
    }) {
        Ok(()) => {
            say("The configuration is good.");
            ExitCode::SUCCESS
        }
        Err(problems) => complain(&problems),
    }
}

/// Prints a result, or why there is none.
fn tell(result: Result<String, String>) -> ExitCode {
    match result {
        Ok(text) => {
            say(&text);
            ExitCode::SUCCESS
        }
        Err(problem) => complain(&problem),
    }
}

/// A password as a person types it, unseen; or as a script gives it.
fn read_password() -> Result<String, String> {
    let password = if std::io::stdin().is_terminal() {
        let first = rpassword::prompt_password("Password: ").map_err(|error| error.to_string())?;
        let again = rpassword::prompt_password("Again: ").map_err(|error| error.to_string())?;
        if first != again {
            return Err("the two are not the same".into());
        }
        first
    } else {
        let mut line = String::new();
        std::io::stdin().read_line(&mut line).map_err(|error| error.to_string())?;
        line.trim_end_matches(['\r', '\n']).to_owned()
    };
    if password.is_empty() { Err("an empty password protects nothing".into()) } else { Ok(password) }
}

fn token(arguments: Token) -> Result<String, String> {
    let Token { config, user, claim, expires } = arguments;
    let (config, _) = load(config.as_deref(), std::env::vars()).map_err(|error| error.to_string())?;
    let jwt = config.identity.jwt.ok_or("there is no [identity.jwt]; --config names the file that has it")?;
    mint::token(&jwt, mint::Wish { user, claims: claim.into_iter().collect(), lasts: expires })
}

fn claim(text: &str) -> Result<(String, serde_json::Value), String> {
    let (name, value) = text.split_once('=').ok_or("NAME=VALUE is expected")?;
    Ok((name.to_owned(), serde_json::from_str(value).unwrap_or_else(|_| value.into())))
}

fn serve(arguments: Serve) -> ExitCode {
    let (mut config, text) = match load(arguments.config.as_deref(), std::env::vars()) {
        Ok(loaded) => loaded,
        Err(error) => return complain(&error.to_string()),
    };
    if let Some(listen) = arguments.listen {
        config.server.listen = listen;
    }
    if let Err(error) = telemetry::start(&config.log) {
        return complain(&error);
    }
    raise_file_limit(config.server.connections);
    let name = arguments.config.as_ref().map_or_else(|| "the defaults".into(), |file| file.display().to_string());
    let workers = match config.server.workers {
        0 => std::thread::available_parallelism().map_or(1, |cores| cores.get().saturating_sub(1).max(1)),
        workers => workers,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(workers).enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return complain(&format!("no runtime: {error}")),
    };
    let ended = runtime.block_on(async {
        // On the heap: what it takes to start is no longer needed when it runs.
        let node = Box::pin(Node::start(config, &text, &name)).await?;
        // Before anybody can know that the node is there, and end it.
        let shutdown = node::shutdown_signal();
        for line in node.greeting() {
            say(&line);
        }
        node.run(shutdown).await;
        Ok::<_, String>(())
    });
    // Whatever still runs is a closing connection whose time is up.
    runtime.shutdown_background();
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => complain(&error),
    }
}

fn develop(arguments: Dev) -> ExitCode {
    let Dev { nodes, config, port, no_open } = arguments;
    let options = dev::Options { nodes, config, port, open: !no_open };
    // One thread: it waits for others and passes on what they say.
    let outcome = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("no runtime: {error}"))
        .and_then(|runtime| runtime.block_on(dev::run(options)));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => complain(&error),
    }
}

/// Every connection is an open file; shells and service managers often start with room for 1024.
fn raise_file_limit(connections: usize) {
    let wanted = connections as u64 + 1024;
    match rlimit::increase_nofile_limit(wanted) {
        Ok(limit) if limit < wanted => {
            tracing::warn!(
                limit,
                wanted,
                "fewer files may be open than server.connections needs; raise LimitNOFILE or ulimit -n"
            );
        }
        Ok(_) => {}
        Err(error) => tracing::warn!(%error, "the limit of open files could not be raised"),
    }
}

#[allow(clippy::print_stdout, reason = "this is the command's own output")]
fn say(line: &str) {
    println!("{line}");
}

#[allow(clippy::print_stderr, reason = "the command says why it fails")]
fn complain(problem: &str) -> ExitCode {
    eprintln!("stampede: {problem}");
    ExitCode::FAILURE
}
