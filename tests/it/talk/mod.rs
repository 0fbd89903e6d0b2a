//! `stampede send` and `stampede subscribe`: the real tools, with the real server and with peers that do as they are told.

mod peer;
mod send;
mod subscribe;
mod tls;

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;

use serde_json::Value;

use crate::support::PATIENCE;
use crate::support::server::{Server, Shared};

/// JSONP is served where every origin is allowed.
const CONFIG: &str = "
[[endpoint]]
path = '/ws'
[endpoint.sockjs]
allowed_origins = ['*']

[[destination]]
match = '/queue/work/**'
share = true
keep = { max = 1000, overflow = 'refuse' }
";

static SERVER: Shared = Shared::new(CONFIG);

/// The server of the tests, which lives as long as somebody holds it, and its URL.
fn server() -> (Arc<Server>, String) {
    let server = SERVER.get();
    let url = format!("ws://{}/ws", server.address);
    (server, url)
}

/// A tool that runs. Nothing of it is waited for longer than [`PATIENCE`].
#[derive(Debug)]
struct Tool {
    child: Child,
    output: Receiver<Vec<u8>>,
    errors: Receiver<Vec<u8>>,
    /// Held open where nobody reads it.
    unread: Option<ChildStdout>,
}

/// How a tool ended, and what it had written that nobody had read yet.
#[derive(Debug)]
struct Ended {
    code: Option<i32>,
    output: Vec<u8>,
    errors: String,
}

impl Tool {
    fn start(arguments: &[&str]) -> Self {
        let mut tool = Self::start_unread(arguments);
        tool.output = lines(tool.unread.take().unwrap());
        tool
    }

    /// Nobody reads its standard output, which is a pipe that holds little.
    fn start_unread(arguments: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_stampede"));
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (errors, unread) = (lines(child.stderr.take().unwrap()), child.stdout.take());
        Self { child, output: lines(std::io::empty()), errors, unread }
    }

    /// Subscribes, and waits until that is in force.
    fn subscribe(url: &str, destination: &str, arguments: &[&str]) -> Self {
        let tool = Self::start(&[&["subscribe", url, destination], arguments].concat());
        tool.says(&format!("stampede: subscribed to {destination}"));
        tool
    }

    /// Writes to its standard input.
    fn write(&mut self, octets: &[u8]) {
        self.child.stdin.as_mut().unwrap().write_all(octets).unwrap();
    }

    /// The next line of its standard output.
    #[track_caller]
    fn line(&self) -> String {
        match self.output.recv_timeout(PATIENCE) {
            Ok(line) => String::from_utf8(line).unwrap().trim_end_matches('\n').to_owned(),
            Err(_) => panic!("it prints nothing, but: {:?}", self.errors.try_iter().collect::<Vec<_>>()),
        }
    }

    /// The next line as JSON.
    #[track_caller]
    fn json(&self) -> Value {
        serde_json::from_str(&self.line()).unwrap()
    }

    /// What it says next on standard error is this.
    #[track_caller]
    fn says(&self, text: &str) {
        let line = self.errors.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("it does not say {text:?}"));
        let line = String::from_utf8(line).unwrap();
        assert!(line.contains(text), "{line:?} is not {text:?}");
    }

    fn signal(&self, name: &str) {
        let status = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status().unwrap();
        assert!(status.success(), "kill -{name}");
    }

    /// Closes its standard input and waits for its end.
    #[track_caller]
    fn ends(mut self) -> Ended {
        drop(self.child.stdin.take());
        let rest = |lines: &Receiver<Vec<u8>>| {
            let mut rest = Vec::new();
            loop {
                match lines.recv_timeout(PATIENCE) {
                    Ok(line) => rest.extend(line),
                    Err(RecvTimeoutError::Disconnected) => return rest,
                    Err(RecvTimeoutError::Timeout) => panic!("it does not end"),
                }
            }
        };
        let (output, errors) = (rest(&self.output), String::from_utf8(rest(&self.errors)).unwrap());
        Ended { code: self.child.wait().unwrap().code(), output, errors }
    }
}

impl Drop for Tool {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

impl Ended {
    /// It ended so, and said no more than this.
    #[track_caller]
    fn check(&self, code: i32, errors: &str) {
        assert_eq!(
            (self.code, self.errors.as_str()),
            (Some(code), errors),
            "{}",
            String::from_utf8_lossy(&self.output)
        );
    }

    /// It ended so, and said this among others.
    #[track_caller]
    fn says(&self, code: i32, part: &str) {
        assert_eq!(self.code, Some(code), "{}", self.errors);
        assert!(self.errors.contains(part), "{:?} is not in {}", part, self.errors);
    }
}

fn lines(from: impl Read + Send + 'static) -> Receiver<Vec<u8>> {
    let (to, lines) = channel();
    thread::spawn(move || {
        let mut from = BufReader::new(from);
        let mut line = Vec::new();
        while from.read_until(b'\n', &mut line).is_ok_and(|octets| octets > 0)
            && to.send(std::mem::take(&mut line)).is_ok()
        {}
    });
    lines
}

/// `stampede send` to its end, with this on its standard input.
#[track_caller]
fn send(url: &str, destination: &str, arguments: &[&str], input: &[u8]) -> Ended {
    let mut tool = Tool::start(&[&["send", url, destination], arguments].concat());
    tool.write(input);
    tool.ends()
}
