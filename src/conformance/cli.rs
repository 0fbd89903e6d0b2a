//! `stampede conformance`: its arguments, and what it prints.

use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::known::Known;
use super::plan::{Library, VERSIONS, Wanted};
use super::report::Report;
use super::requests::Features;
use super::run;
use super::server::Server;
use crate::client::carrier::Carrier;
use crate::client::entrance::Entrance;

/// Play the clauses of STOMP 1.0, 1.1, 1.2 and of SockJS against any server.
///
/// The exit status is 0 if nothing fails but what is known to, 1 if something does, 2 if it could not be asked.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Conformance {
    /// ws://HOST:PORT/PATH (or wss, http, https), or tcp://HOST:PORT (or stomp+ssl) without WebSocket
    #[arg(required_unless_present = "list")]
    url: Option<String>,
    #[command(flatten)]
    choice: Choice,
    #[command(flatten)]
    entrance: Entrance,
    #[command(flatten)]
    destinations: Destinations,
    /// What the server is known to do otherwise: lines of ID, two blanks, the reason; versions and carriers may follow the id
    #[arg(long, value_name = "FILE")]
    known: Option<PathBuf>,
    /// How long what must come may take
    #[arg(long, value_name = "DURATION", default_value = "3s", value_parser = humantime::parse_duration)]
    patience: Duration,
    /// How long nothing must come where nothing may
    #[arg(long, value_name = "DURATION", default_value = "300ms", value_parser = humantime::parse_duration)]
    quiet_time: Duration,
    /// How much later than promised a heart-beat may come
    #[arg(long, value_name = "DURATION", default_value = "250ms", value_parser = humantime::parse_duration)]
    margin: Duration,
    /// How many transcripts to play at a time
    #[arg(long, value_name = "N", default_value_t = 24)]
    jobs: usize,
    /// Print the results as JSON
    #[arg(long)]
    json: bool,
    /// Write the results as JUnit's XML too
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Only print what would be played
    #[arg(long)]
    list: bool,
}

/// What to play.
#[derive(Debug, Args)]
#[command(next_help_heading = "What to play")]
struct Choice {
    /// Only transcripts whose id begins so (F, H05), or whose section has it in its title; may be repeated
    #[arg(long, value_name = "ID|SECTION", value_delimiter = ',')]
    only: Vec<String>,
    /// Only these versions
    #[arg(long, value_name = "VERSION", value_delimiter = ',', default_values = VERSIONS, hide_default_value = true)]
    versions: Vec<String>,
    /// Only over these: tcp, websocket, sockjs, xhr-streaming, xhr-polling, eventsource, htmlfile, jsonp-polling [default: all that the server has]
    #[arg(long, value_name = "CARRIER", value_delimiter = ',')]
    over: Vec<Carrier>,
    /// Only what the specifications demand, not what they recommend
    #[arg(long)]
    must: bool,
    /// Also what takes long: heart-beats of many seconds
    #[arg(long)]
    slow: bool,
    /// Leave out what SockJS asks of HTTP
    #[arg(long)]
    no_sockjs: bool,
}

/// What destinations are called there.
#[derive(Debug, Args)]
#[command(next_help_heading = "Destinations")]
struct Destinations {
    /// Destinations that give each subscriber a copy, {} standing for a word that is new each time
    #[arg(long, value_name = "DESTINATION", default_value = "/topic/conformance-{}", value_parser = template)]
    topic: String,
    /// Destinations that give each message to one subscriber, and to the next one if it goes without an ACK
    #[arg(long, value_name = "DESTINATION", value_parser = template)]
    queue: Option<String>,
    /// A destination that clients may neither send nor subscribe to
    #[arg(long, value_name = "DESTINATION")]
    refused: Option<String>,
}

const EXAMPLES: &str = "\
Examples:
  stampede conformance ws://127.0.0.1:8080/ws
  stampede conformance ws://127.0.0.1:15674/ws --login guest --passcode guest --vhost / --queue '/queue/c-{}'
  stampede conformance tcp://127.0.0.1:61613 --versions 1.2 --only heart,H
  stampede conformance --list";

fn template(text: &str) -> Result<String, String> {
    if text.contains("{}") {
        return Ok(text.to_owned());
    }
    Err("{} must stand where a word goes that is new each time".to_owned())
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Nothing failed but what is known to.
    Good,
    /// Something did.
    Failed,
}

impl Conformance {
    /// Plays, and prints how it went.
    ///
    /// # Errors
    ///
    /// Why the server could not be asked.
    pub async fn run(self) -> Result<End, String> {
        let Self { url, choice, entrance, destinations, known, patience, quiet_time, margin, jobs, json, junit, list } =
            self;
        let library = Library::default();
        let mut wanted = Wanted {
            versions: choice.versions,
            carriers: choice.over,
            sockjs: !choice.no_sockjs,
            only: choice.only,
            must: choice.must,
        };
        if let Some(unknown) = wanted.versions.iter().find(|version| !VERSIONS.contains(&version.as_str())) {
            return Err(format!("there is no STOMP {unknown}; the versions are {}", VERSIONS.join(", ")));
        }
        let Some(url) = url.filter(|_| !list) else {
            wanted.carriers = if wanted.carriers.is_empty() { vec![Carrier::WebSocket] } else { wanted.carriers };
            print(&listed(&library, &wanted));
            return Ok(End::Good);
        };
        let known = match &known {
            None => Known::default(),
            Some(file) => std::fs::read_to_string(file)
                .map_err(|error| error.to_string())
                .and_then(|text| Known::parse(&text))
                .map_err(|problem| format!("{}: {problem}", file.display()))?,
        };
        let Destinations { topic, queue, refused } = destinations;
        let mut server = Server {
            way: entrance.way(&url)?,
            topic,
            queue,
            refused,
            patience,
            quiet: quiet_time,
            settle: quiet_time,
            margin,
            receipts: true,
            slow: choice.slow,
        };
        let (name, notes) = settle(&mut server, &mut wanted).await?;
        let plan = library.plan(&wanted);
        if plan.is_empty() {
            return Err("nothing fits: see --list for what there is".to_owned());
        }
        let screen = std::io::stderr().is_terminal();
        let outcomes = run::play(&server, &plan, &known, jobs, |done| {
            if screen {
                let _ = write!(std::io::stderr(), "\r{done}/{}", plan.len());
            }
        })
        .await;
        if screen {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
        let results = plan.iter().cloned().zip(outcomes).collect();
        let mut report = Report { url: &url, server: &name, notes, results };
        let stale = report.stale(&known);
        report.notes.extend(stale.into_iter().map(|entry| format!("known to differ, but does not: {entry}")));
        if let Some(file) = junit {
            std::fs::write(&file, report.junit()).map_err(|error| format!("{}: {error}", file.display()))?;
        }
        print(&if json { report.json() + "\n" } else { report.table() });
        Ok(if report.is_good() { End::Good } else { End::Failed })
    }
}

/// Finds out over what the server can be reached, and what it does not do at all. Tells its name, and what to know of the run.
async fn settle(server: &mut Server, wanted: &mut Wanted) -> Result<(String, Vec<String>), String> {
    let mut notes = Vec::new();
    let without = if server.way.target.bare { None } else { Features::ask(server).await.err() };
    let asked = match (wanted.carriers.is_empty(), server.way.target.bare) {
        (false, _) => wanted.carriers.clone(),
        (true, true) => vec![Carrier::Tcp],
        (true, false) if without.is_some() => vec![Carrier::WebSocket],
        (true, false) => Carrier::ALL[1..].to_vec(),
    };
    wanted.sockjs &= !server.way.target.bare && without.is_none();
    notes.extend(without);
    let mut found = run::carriers(server, &asked).await.into_iter().peekable();
    let mut name = None;
    wanted.carriers.clear();
    while let Some((carrier, about)) = found.next() {
        match about {
            Ok(about) => {
                server.receipts &= about.receipts;
                name.get_or_insert(about.name);
                wanted.carriers.push(carrier);
            }
            // Without its first carrier there is nothing to say about a server.
            Err(why) if wanted.carriers.is_empty() && found.peek().is_none() => return Err(why),
            Err(why) => notes.push(format!("not over {carrier}: {why}")),
        }
    }
    if !server.receipts {
        notes.push(format!(
            "no RECEIPT for SUBSCRIBE: taken as in force after {}",
            humantime::format_duration(server.settle)
        ));
    }
    Ok((name.unwrap_or_default(), notes))
}

/// What would be played, a line each.
fn listed(library: &Library, wanted: &Wanted) -> String {
    let mut text = String::new();
    let mut section = "";
    let plan = library.plan(wanted);
    for cases in plan.chunk_by(|one, other| one.id() == other.id()) {
        let case = &cases[0];
        if case.file.section.title != section {
            section = &case.file.section.title;
            text.push_str(&format!("\n{section}\n"));
        }
        let versions: Vec<&str> = cases.iter().filter_map(|case| Some(case.stomp?.0)).collect();
        let (id, level, title) = (case.id(), case.level.name(), &case.transcript.title);
        text.push_str(&format!("  {id:<5} {level:<6} {:<11}  {title}\n", versions.join(" ")));
    }
    text
}

/// Whoever listens may have gone, as `head` does.
fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
