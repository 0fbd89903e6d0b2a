//! A server that says where it listens.

use std::{
    fs::File,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::{Error, Result, child::Guarded, scenario::Subject};

/// A running server.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) process: Guarded,
    url: String,
    home: TempDir,
}

impl Server {
    /// Starts `program --listen 127.0.0.1:0` in an empty directory and waits until it says where it listens.
    pub(crate) fn start(
        program: &Path,
        arguments: &[String],
        environment: &[(String, String)],
        path: &str,
    ) -> Result<Self> {
        let program = program.canonicalize().map_err(Error::system(format!("starting {}", program.display())))?;
        let home = tempfile::tempdir().map_err(Error::system("making a directory"))?;
        let words = File::create(home.path().join(WORDS)).map_err(Error::system("making a file"))?;
        let mut command = Command::new(program);
        command.args(["--listen", "127.0.0.1:0"]).args(arguments).current_dir(home.path());
        command.envs(environment.iter().map(|(name, value)| (name, value)));
        let mut server = Self { process: Guarded::start(&command, words)?, url: String::new(), home };
        let deadline = Instant::now() + PATIENCE;
        while server.url.is_empty() {
            match server.process.line(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => server.url = url_in(&line, path).unwrap_or_default(),
                Err(_) => {
                    let words = server.last_words();
                    return Err(Error::Server(format!("did not say where it listens; its last words:\n{words}")));
                }
            }
        }
        Ok(server)
    }

    /// Its endpoint.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Where to send the load.
    pub(crate) fn subject(&self) -> Result<Subject> {
        Ok(Subject::new(self.url.parse()?, Some(self.process.pid())))
    }

    /// The end of what it wrote to its standard error.
    pub(crate) fn last_words(&self) -> String {
        let words = std::fs::read(self.home.path().join(WORDS)).unwrap_or_default();
        let words = String::from_utf8_lossy(&words);
        let lines: Vec<&str> = words.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

/// The endpoint in a line of log that names an address.
fn url_in(line: &str, path: &str) -> Option<String> {
    let rest = &line[line.find(ADDRESS)? + "http://".len()..];
    let host = rest.split(|c: char| !c.is_ascii_digit() && c != '.' && c != ':').next()?;
    Some(format!("ws://{host}{path}"))
}

const ADDRESS: &str = "http://127.0.0.1:";
const WORDS: &str = "stderr.log";
const PATIENCE: Duration = Duration::from_secs(20);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_found_in_a_line_of_log() {
        let line = "  INFO listening on \x1b[3mhttp://127.0.0.1:4567/\x1b[0m";
        assert_eq!(url_in(line, "/ws").as_deref(), Some("ws://127.0.0.1:4567/ws"));
        assert_eq!(url_in("nothing yet", "/ws"), None);
    }

    #[test]
    fn a_server_that_says_nothing_is_an_error() {
        let error = Server::start(Path::new("/bin/false"), &[], &[], "/").unwrap_err();
        assert!(error.to_string().contains("where it listens"), "{error}");
    }
}
