//! `stampede bench`: one scenario, or a short round of them, against any server.

use std::{
    error::Error as _,
    io::{self, Write},
    net::IpAddr,
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
};

use clap::{Args, Subcommand};

use crate::{
    Error, Result,
    progress::Progress,
    report::Report,
    scenario::{
        Proof, Subject, connect::Connect, fanout::Fanout, flow::Bounds, heart_beat::HeartBeat, idle::Idle,
        reconnect::Reconnect, slow::Slow, topics::Topics, unicast::Unicast,
    },
    target::{Headers, Target},
    trust::Trust,
};

/// Measure any STOMP server that speaks WebSocket.
///
/// Without a scenario a short round of the most telling ones runs. Every message is checked: what is lost, comes twice or
/// out of order is counted, said, and makes the exit status 1.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Bench {
    /// The endpoint: ws://HOST:PORT/PATH or wss://…; with --sockjs that of the SockJS service
    url: String,
    #[command(subcommand)]
    scenario: Option<Scenario>,
    #[command(flatten)]
    server: Server,
    /// Print one JSON object per run instead of one line
    #[arg(long, global = true)]
    json: bool,
    /// Show no progress, not even on a terminal
    #[arg(long, short, global = true)]
    quiet: bool,
}

/// How to get in, and how to load it.
#[derive(Debug, Args)]
#[command(next_help_heading = "The server")]
struct Server {
    /// Process id of the server, to read its CPU time and memory (it must run on this machine)
    #[arg(long, global = true)]
    pid: Option<u32>,
    /// The login header of CONNECT
    #[arg(long, global = true)]
    login: Option<String>,
    /// The passcode header of CONNECT
    #[arg(long, global = true, requires = "login")]
    passcode: Option<String>,
    /// The host header of CONNECT, which is the virtual host for some servers [default: that of the URL]
    #[arg(long, global = true, value_name = "NAME")]
    vhost: Option<String>,
    /// A further header of CONNECT; may be repeated, as all of these
    #[arg(long = "header", visible_alias = "connect-header", global = true, value_name = "NAME:VALUE", value_parser = stomp_header)]
    connect: Vec<String>,
    /// A further header of every SUBSCRIBE
    #[arg(long = "subscribe-header", global = true, value_name = "NAME:VALUE", value_parser = stomp_header)]
    subscribe: Vec<String>,
    /// A further header of every SEND
    #[arg(long = "send-header", global = true, value_name = "NAME:VALUE", value_parser = stomp_header)]
    send: Vec<String>,
    /// A further header of the WebSocket handshake, such as Origin or Cookie
    #[arg(long = "handshake-header", global = true, value_name = "NAME:VALUE", value_parser = stomp_header)]
    handshake: Vec<String>,
    /// What stands in front of the destinations
    #[arg(long, global = true, value_name = "PREFIX", default_value = "/topic")]
    topic_prefix: String,
    /// The destination, {n} standing for its number where a scenario has several [default: PREFIX/bench-{n}]
    #[arg(long, global = true)]
    destination: Option<String>,
    /// Where messages are sent, if a route of the server takes them from there to the destination; {n} as there
    #[arg(long, global = true, value_name = "DESTINATION")]
    send_to: Option<String>,
    /// Speak SockJS over its WebSocket transport
    #[arg(long, global = true)]
    sockjs: bool,
    /// Certificates to believe, in PEM form, instead of the system's
    #[arg(long, global = true, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// Believe any certificate
    #[arg(long, global = true, conflicts_with = "ca_file")]
    insecure: bool,
    /// How a subscription is known to be in force [default: receipt if the server gives one, else echo]
    #[arg(long, global = true)]
    proof: Option<Proof>,
    /// Threads of the load generator [default: half of the machine's cores]
    #[arg(long, global = true)]
    threads: Option<usize>,
    /// An address of this machine to connect from; may be repeated. On loopback many are used anyway
    #[arg(long, global = true, value_name = "IP")]
    source: Vec<IpAddr>,
}

#[derive(Debug, Subcommand)]
enum Scenario {
    /// One destination with many subscribers
    Fanout(Fanout),
    /// Pairs of one publisher and one subscriber, each with a destination of its own
    Unicast(Unicast),
    /// Many destinations with few subscribers each
    Topics(Topics),
    /// Connects, subscribes and leaves, again and again
    Connect(Connect),
    /// All connections are lost at once and come back
    Reconnect(Reconnect),
    /// Memory per idle subscribed connection (needs --pid)
    Idle(Idle),
    /// CPU share of a server with idle connections and heart-beats both ways
    Heartbeat(HeartBeat),
    /// A subscriber that never reads beside others that do
    Slow(Slow),
}

impl Bench {
    /// Runs it, prints what was measured, and tells whether all went well.
    #[must_use]
    pub fn run(self) -> ExitCode {
        match self.try_run() {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::FAILURE,
            Err(error) => {
                say_why(&error);
                ExitCode::FAILURE
            }
        }
    }

    fn try_run(self) -> Result<bool> {
        let Self { url, scenario, server, json, quiet } = self;
        rlimit::increase_nofile_limit(u64::MAX).map_err(Error::system("raising the limit of open files"))?;
        let destination = server.destination();
        let mut subject = server.subject(&url, if quiet { Progress::silent() } else { Progress::on_terminal() })?;
        match server.proof {
            Some(proof) => subject.proof = proof,
            None => subject.find_proof(&crate::scenario::destination(&destination, 0))?,
        }
        let scenarios = match scenario {
            Some(scenario) => vec![scenario],
            None => Scenario::round(subject.pid.is_some()),
        };
        let mut sound = true;
        for mut scenario in scenarios {
            scenario.set_destination(&destination);
            subject.progress.title(&scenario.title());
            let mut report = scenario.run(&subject).inspect_err(|_| subject.progress.clear())?;
            if subject.proof == Proof::Echo && scenario.counts_connections() {
                report.note("the server confirms no SUBSCRIBE: a connection counted as ready when CONNECTED came");
            }
            sound &= report.is_sound();
            let text = if json { report.json().to_string() } else { report.text() };
            writeln!(io::stdout(), "{text}").map_err(Error::system("printing"))?;
        }
        Ok(sound)
    }
}

impl Server {
    fn destination(&self) -> String {
        let prefix = self.topic_prefix.trim_end_matches('/');
        self.destination.clone().unwrap_or_else(|| format!("{prefix}/bench-{{n}}"))
    }

    fn subject(&self, url: &str, progress: Progress) -> Result<Subject> {
        let target: Target = url.parse()?;
        let trust = Trust { ca_file: self.ca_file.clone(), insecure: self.insecure };
        let target = Target {
            sockjs: self.sockjs,
            vhost: self.vhost.clone().unwrap_or_else(|| target.vhost.clone()),
            login: self.login.clone().map(|login| (login, self.passcode.clone().unwrap_or_default())),
            headers: Headers {
                handshake: self.handshake.clone(),
                connect: self.connect.clone(),
                subscribe: self.subscribe.clone(),
                send: self.send.clone(),
            },
            ..target
        };
        let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
        Ok(Subject {
            pid: self.pid,
            proof: Proof::Receipt,
            send_to: self.send_to.clone(),
            threads: self.threads.unwrap_or(cores / 2).max(1),
            sources: Arc::from(&*self.source),
            progress,
            target: target.secured(&trust)?,
        })
    }
}

impl Scenario {
    /// What runs where none is named: seconds each.
    fn round(with_pid: bool) -> Vec<Self> {
        let bounds = || Bounds { seconds: 3.0, ..Bounds::lasting(3.0, 1.0) };
        let destination = String::new;
        let fanout = |in_flight| {
            let (subscribers, publishers, body) = (100, 1, 128);
            let (rate, bounds) = (None, bounds());
            Self::Fanout(Fanout { subscribers, publishers, in_flight, rate, body, destination: destination(), bounds })
        };
        let unicast =
            Unicast { pairs: 100, in_flight: 1, rate: None, body: 128, destination: destination(), bounds: bounds() };
        let connect = Connect { count: 2_000, concurrency: 64, rate: None, seconds: 10.0, destination: destination() };
        let idle = Idle { count: 2_000, destination: destination(), seconds: 20.0, settle: None };
        let mut round = vec![fanout(1), fanout(16), Self::Unicast(unicast), Self::Connect(connect)];
        round.extend(with_pid.then_some(Self::Idle(idle)));
        round
    }

    fn set_destination(&mut self, destination: &str) {
        // Where all subscribe to the same, its name has but one number.
        let one = crate::scenario::destination(destination, 0);
        match self {
            Self::Unicast(scenario) => destination.clone_into(&mut scenario.destination),
            Self::Topics(scenario) => destination.clone_into(&mut scenario.destination),
            Self::Fanout(scenario) => scenario.destination = one,
            Self::Slow(scenario) => scenario.destination = one,
            Self::Connect(scenario) => scenario.destination = one,
            Self::Reconnect(scenario) => scenario.destination = one,
            Self::Idle(scenario) => scenario.destination = one,
            Self::Heartbeat(scenario) => scenario.destination = one,
        }
    }

    fn title(&self) -> String {
        match self {
            Self::Fanout(scenario) => scenario.title(),
            Self::Unicast(scenario) => scenario.title(),
            Self::Topics(scenario) => scenario.title(),
            Self::Connect(scenario) => scenario.title(),
            Self::Reconnect(scenario) => scenario.title(),
            Self::Idle(scenario) => format!("idle {}", scenario.count),
            Self::Heartbeat(scenario) => format!("heart-beats of {}", scenario.count),
            Self::Slow(scenario) => scenario.title(),
        }
    }

    fn counts_connections(&self) -> bool {
        matches!(self, Self::Connect(_) | Self::Reconnect(_) | Self::Idle(_))
    }

    fn run(&self, subject: &Subject) -> Result<Report> {
        match self {
            Self::Fanout(scenario) => scenario.run(subject),
            Self::Unicast(scenario) => scenario.run(subject),
            Self::Topics(scenario) => scenario.run(subject),
            Self::Connect(scenario) => scenario.run(subject),
            Self::Reconnect(scenario) => scenario.run(subject),
            Self::Idle(scenario) => scenario.run(subject),
            Self::Heartbeat(scenario) => scenario.run(subject),
            Self::Slow(scenario) => scenario.run(subject),
        }
    }
}

/// Says why there is no result, with every cause.
pub fn say_why(error: &Error) {
    let mut text = format!("bench: {error}");
    let mut cause = error.source();
    while let Some(inner) = cause {
        text += &format!(": {inner}");
        cause = inner.source();
    }
    // With nowhere left to say it the exit code must do.
    let _ = writeln!(io::stderr(), "{text}");
}

fn stomp_header(text: &str) -> Result<String, String> {
    match text.split_once(':') {
        Some((name, value)) if !name.is_empty() && !value.contains(['\r', '\n']) => Ok(text.to_owned()),
        _ => Err("a header is written NAME:VALUE".to_owned()),
    }
}

const EXAMPLES: &str = "\
Examples:
  stampede bench ws://127.0.0.1:8080/ws                              a short round
  stampede bench ws://127.0.0.1:8080/ws --pid 4711                   with the server's CPU time and memory
  stampede bench ws://127.0.0.1:8080/ws fanout --subscribers 1000 --in-flight 16
  stampede bench ws://127.0.0.1:8080/ws fanout --rate 500            open loop: 500 messages per second
  stampede bench ws://127.0.0.1:8080/ws unicast --destination /topic/b-{n} --send-to /app/b/{n}
  stampede bench wss://broker.test/ws connect --count 50000 --ca-file ca.pem --login me --passcode secret
  stampede bench ws://127.0.0.1:15674/ws unicast --vhost / --login guest --passcode guest
  stampede bench http://127.0.0.1:8080/ws topics --sockjs --topics 20000
  stampede bench ws://127.0.0.1:8080/ws idle --pid 4711 --count 20000 --json

Closed loop (--in-flight, --concurrency): the next is sent when the ones before have arrived; says what a server can do.
Open loop (--rate): sent when due, whatever the server does; latency counts from when it was due, so waiting is not hidden.";

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Command {
        #[command(flatten)]
        bench: Bench,
    }

    #[test]
    fn the_arguments_make_sense() {
        <Command as clap::CommandFactory>::command().debug_assert();
        let parsed = Command::try_parse_from("x ws://a:1/ws fanout --rate 10 --header a:b --json".split(' ')).unwrap();
        assert_eq!(parsed.bench.server.connect, ["a:b"]);
        assert!(parsed.bench.json);
        assert!(Command::try_parse_from("x ws://a:1/ws fanout --rate 10 --in-flight 3".split(' ')).is_err());
        assert!(Command::try_parse_from("x ws://a:1/ws --header ab".split(' ')).is_err());
    }
}
