//! The `stampede` command as an operator sees it: output, exit status, signals, memory.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tempfile::NamedTempFile;

use super::PATIENCE;
use super::tcp::Tcp;

/// A command that was started.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    pub(crate) address: SocketAddr,
    output: Arc<Mutex<String>>,
    errors: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
    _config: Option<NamedTempFile>,
}

/// What a command that ended by itself has said.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) output: String,
    pub(crate) errors: String,
}

/// A command about to be started.
#[derive(Debug)]
pub(crate) struct Launch {
    command: Command,
    config: Option<NamedTempFile>,
    input: Option<String>,
}

impl Launch {
    /// `stampede` without the environment of whoever runs the tests.
    pub(crate) fn new(arguments: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_stampede"));
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("STAMPEDE__")) {
            command.env_remove(name);
        }
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self { command, config: None, input: None }
    }

    /// With this on its standard input.
    pub(crate) fn input(mut self, text: &str) -> Self {
        self.input = Some(text.to_owned());
        self
    }

    /// With a configuration file of this text.
    pub(crate) fn config(mut self, text: &str) -> Self {
        let mut file = NamedTempFile::with_suffix(".toml").unwrap();
        file.write_all(text.as_bytes()).unwrap();
        self.command.arg("--config").arg(file.path());
        self.config = Some(file);
        self
    }

    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// Runs it to its end.
    pub(crate) fn run(mut self) -> Ended {
        if self.input.is_some() {
            self.command.stdin(Stdio::piped());
        }
        let mut child = self.command.spawn().unwrap();
        if let (Some(mut stdin), Some(text)) = (child.stdin.take(), &self.input) {
            stdin.write_all(text.as_bytes()).unwrap();
        }
        let ended = child.wait_with_output().unwrap();
        let text = |octets: Vec<u8>| String::from_utf8(octets).unwrap();
        Ended { code: ended.status.code(), output: text(ended.stdout), errors: text(ended.stderr) }
    }

    /// Starts it as a server, on a port of its own, and waits until it listens.
    pub(crate) fn serve(self) -> Process {
        self.serve_at("127.0.0.1:0")
    }

    /// As [`Launch::serve`], on this address.
    pub(crate) fn serve_at(mut self, address: &str) -> Process {
        self.command.args(["--listen", address]);
        let mut child = self.command.spawn().unwrap();
        let (output, errors) = (Arc::default(), Arc::default());
        collect(child.stdout.take().unwrap(), Arc::clone(&output));
        let reader = collect(child.stderr.take().unwrap(), Arc::clone(&errors));
        let listens = || {
            let output = output.lock().unwrap();
            let (_, rest) = output.split_once("listens on http")?;
            rest.split_once("://")?.1.split_once('\n')?.0.parse().ok()
        };
        let address = until(listens, || format!("it does not listen: {}", errors.lock().unwrap()));
        Process { child, address, output, errors, reader: Some(reader), _config: self.config }
    }
}

/// A server with this configuration that logs warnings.
pub(crate) fn serve(config: &str) -> Process {
    Launch::new(&[]).config(config).env("STAMPEDE__LOG__FILTER", "warn").serve()
}

impl Process {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal by name.
    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status().unwrap();
        assert!(status.success(), "kill -{name}");
    }

    /// Waits for its end; says how it ended and all it wrote to standard error.
    pub(crate) fn ended(mut self) -> (ExitStatus, String) {
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < deadline, "it does not end: {}", self.errors());
            thread::sleep(POLL);
        };
        self.reader.take().unwrap().join().unwrap();
        (status, self.errors())
    }

    /// Standard output so far.
    pub(crate) fn output(&self) -> String {
        self.output.lock().unwrap().clone()
    }

    /// Waits until it has printed this.
    #[track_caller]
    pub(crate) fn prints(&self, text: &str) {
        until(|| self.output().contains(text).then_some(()), || format!("{text:?} is not in {}", self.output()));
    }

    /// Standard error so far.
    pub(crate) fn errors(&self) -> String {
        self.errors.lock().unwrap().clone()
    }

    /// Resident memory in octets.
    pub(crate) fn resident_bytes(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
    }

    /// One request on a connection of its own: status and body.
    pub(crate) fn get(&self, path: &str) -> (u16, String) {
        ask(self.address, format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"))
    }

    /// A request to `/api/revocations`, as an operator makes it.
    pub(crate) fn revocations(&self, method: &str, token: &str, body: &str) -> (u16, String) {
        let head = format!("{method} /api/revocations HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n");
        let length = body.len();
        let request = format!("{head}Authorization: Bearer {token}\r\nContent-Length: {length}\r\n\r\n{body}");
        ask(self.address, request)
    }

    /// The sum of a metric over its labels; 0 where it was never touched.
    pub(crate) fn metric(&self, name: &str) -> u64 {
        let (status, text) = self.get("/metrics");
        assert_eq!(status, 200, "{text}");
        let value = |line: &str| {
            let rest = line.strip_prefix(name)?;
            let value = rest.strip_prefix(' ').or_else(|| rest.strip_prefix('{')?.split_once("} ").map(|(_, v)| v))?;
            Some(value.parse::<u64>().unwrap())
        };
        text.lines().filter_map(value).sum()
    }

    /// Waits until a metric has this value.
    #[track_caller]
    pub(crate) fn until_metric(&self, name: &str, expected: u64) {
        until(|| (self.metric(name) == expected).then_some(()), || format!("{name} is {}", self.metric(name)));
    }

    /// It lives, answers, and has not complained of itself.
    #[track_caller]
    pub(crate) fn is_well(&self) {
        assert_eq!(self.get("/health").0, 200);
        let errors = self.errors();
        assert!(!errors.contains("panicked") && !errors.contains("ERROR"), "{errors}");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// Sends one request as it stands and reads to the end of the connection: status (0 if there was no answer) and body.
pub(crate) fn ask(to: SocketAddr, request: impl AsRef<[u8]>) -> (u16, String) {
    let mut connection = Tcp::connect(to);
    connection.write(request.as_ref());
    let answer = String::from_utf8_lossy(&connection.rest()).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    (status, body.to_owned())
}

/// Looks again and again for what must happen sooner or later.
#[track_caller]
pub(crate) fn until<T>(mut look: impl FnMut() -> Option<T>, otherwise: impl Fn() -> String) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "{}", otherwise());
        thread::sleep(POLL);
    }
}

/// Between two looks at something that cannot tell by itself.
const POLL: Duration = Duration::from_millis(10);

fn collect(from: impl Read + Send + 'static, into: Arc<Mutex<String>>) -> JoinHandle<()> {
    thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            let mut into = into.lock().unwrap();
            into.push_str(&line);
            into.push('\n');
        }
    })
}
