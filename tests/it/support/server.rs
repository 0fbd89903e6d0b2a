//! The real binary: started with a configuration, ended when the last test lets go of it.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex, Weak};

use tempfile::NamedTempFile;

/// A running server.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
    /// Held open: the server must be able to print.
    _output: BufReader<ChildStdout>,
    _config: NamedTempFile,
}

impl Server {
    /// Starts the server with this configuration, on a port of its own.
    pub(crate) fn start(config: &str) -> Self {
        let mut file = NamedTempFile::with_suffix(".toml").unwrap();
        file.write_all(config.as_bytes()).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_stampede"));
        command.args(["--listen", "127.0.0.1:0", "--config"]).arg(file.path());
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("STAMPEDE__")) {
            command.env_remove(name);
        }
        command.env("STAMPEDE__LOG__FILTER", "warn").env("STAMPEDE__SERVER__CONNECTIONS", "2000");
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let address = loop {
            let mut line = String::new();
            assert!(output.read_line(&mut line).unwrap() > 0, "the server ended at once");
            if let Some((_, address)) = line.trim_end().split_once("http://") {
                break address.trim_end_matches('/').parse().unwrap();
            }
        };
        Self { child, address, _output: output, _config: file }
    }

    /// Asks it to shut down, as an operator does.
    pub(crate) fn terminate(&self) {
        let status = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap();
        assert!(status.success());
    }

    /// Waits until it has ended by itself; says whether it was content.
    pub(crate) fn ends(mut self) -> bool {
        self.child.wait().unwrap().success()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// One server for all tests that want this configuration at the same time.
#[derive(Debug)]
pub(crate) struct Shared {
    config: &'static str,
    running: Mutex<Weak<Server>>,
}

impl Shared {
    pub(crate) const fn new(config: &'static str) -> Self {
        Self { config, running: Mutex::new(Weak::new()) }
    }

    /// The server; it lives as long as somebody holds it.
    pub(crate) fn get(&self) -> Arc<Server> {
        let mut running = self.running.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        running.upgrade().unwrap_or_else(|| {
            let server = Arc::new(Server::start(self.config));
            *running = Arc::downgrade(&server);
            server
        })
    }
}
