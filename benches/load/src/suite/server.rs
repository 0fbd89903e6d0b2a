//! A server as a child process that cannot outlive us.

use std::{
    fs::File,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    thread,
    time::Duration,
};

use tempfile::TempDir;

use crate::{Error, Result, scenario::Subject};

/// A running server.
///
/// Between it and us stands a shell that ends it when its own input ends: that happens when this value is dropped, and
/// also when this process is killed.
#[derive(Debug)]
pub(super) struct Server {
    guard: Child,
    /// Dropping it tells the guard to end the server.
    lifeline: Option<ChildStdin>,
    pid: u32,
    url: String,
    home: TempDir,
}

impl Server {
    /// Starts `program --listen 127.0.0.1:0` in an empty directory and waits until it says where it listens.
    pub(super) fn start(program: &Path, arguments: &[String], path: &str) -> Result<Self> {
        let what = || format!("starting {}", program.display());
        let program = program.canonicalize().map_err(Error::system(what()))?;
        let home = tempfile::tempdir().map_err(Error::system("making a directory"))?;
        let words = File::create(home.path().join(WORDS)).map_err(Error::system("making a file"))?;
        let mut guard = Command::new("/bin/sh")
            .args(["-c", GUARD, "guard"])
            .arg(program)
            .args(["--listen", "127.0.0.1:0"])
            .args(arguments)
            .current_dir(home.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(words)
            .spawn()
            .map_err(Error::system(what()))?;
        let lifeline = guard.stdin.take();
        let lines = guard.stdout.take().map(lines_of);
        let mut server = Self { guard, lifeline, pid: 0, url: String::new(), home };
        let Some(lines) = lines else { return Err(Error::Server("has no output".to_owned())) };
        // The guard and the server write to the same pipe, in any order.
        while server.url.is_empty() || server.pid == 0 {
            match lines.recv_timeout(PATIENCE) {
                Ok(line) => server.hear(&line, path),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    let words = server.last_words();
                    return Err(Error::Server(format!("did not say where it listens; its last words:\n{words}")));
                }
            }
        }
        Ok(server)
    }

    /// Where to send the load.
    pub(super) fn subject(&self) -> Result<Subject> {
        Ok(Subject { target: self.url.parse()?, pid: Some(self.pid) })
    }

    /// The end of what it wrote to its standard error.
    pub(super) fn last_words(&self) -> String {
        let words = std::fs::read(self.home.path().join(WORDS)).unwrap_or_default();
        let words = String::from_utf8_lossy(&words);
        let lines: Vec<&str> = words.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }

    fn hear(&mut self, line: &str, path: &str) {
        if let Some(pid) = line.strip_prefix(PID_MARK) {
            self.pid = pid.trim().parse().unwrap_or_default();
        } else if let Some(at) = line.find("http://127.0.0.1:") {
            let url = &line[at..];
            let host = url["http://".len()..].split(|c: char| !c.is_ascii_digit() && c != '.' && c != ':').next();
            self.url = format!("ws://{}{path}", host.unwrap_or_default());
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.lifeline = None;
        // It ends by itself now; waiting only keeps it from staying a zombie.
        let _ = self.guard.wait();
    }
}

/// Hands on the lines of the server's output, and goes on reading when nobody cares any more: a full pipe would stop it.
fn lines_of(output: impl std::io::Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(|line| line.ok()) {
            let _ = sender.send(line);
        }
    });
    receiver
}

/// Runs its arguments as a command and kills that when its own input ends. KILL: the server is thrown away, with its
/// directory, and an orderly end of thousands of connections would only take time.
const GUARD: &str = r#""$@" </dev/null & echo "guarded pid $!"; exec >&-; read -r end; kill -KILL "$!"; wait"#;
const PID_MARK: &str = "guarded pid ";
const WORDS: &str = "stderr.log";
const PATIENCE: Duration = Duration::from_secs(20);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_found_in_a_line_of_log() {
        let home = tempfile::tempdir().unwrap();
        let guard = Command::new("/bin/true").spawn().unwrap();
        let mut server = Server { guard, lifeline: None, pid: 0, url: String::new(), home };
        server.hear("guarded pid 12", "/ws");
        server.hear("  INFO listening on \x1b[3mhttp://127.0.0.1:4567/\x1b[0m", "/ws");
        assert_eq!((server.pid, server.url.as_str()), (12, "ws://127.0.0.1:4567/ws"));
    }

    #[test]
    fn a_server_that_says_nothing_is_an_error() {
        let error = Server::start(Path::new("/bin/false"), &[], "/").unwrap_err();
        assert!(error.to_string().contains("where it listens"), "{error}");
    }
}
