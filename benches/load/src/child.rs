//! Child processes that cannot outlive us.

use std::{
    fs::File,
    io::{BufRead, BufReader, Read},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    thread,
    time::Duration,
};

use crate::{Error, Result};

/// A running server, with whatever processes it starts itself.
///
/// Between it and us stands a shell that ends it when its own input ends: that happens when this value is dropped, and
/// also when this process is killed.
#[derive(Debug)]
pub struct Guarded {
    guard: Child,
    /// Dropping it tells the guard to end the server.
    lifeline: Option<ChildStdin>,
    pid: u32,
    lines: Receiver<String>,
}

impl Guarded {
    /// Starts what `command` says; its standard error goes to `words`.
    ///
    /// # Errors
    ///
    /// Where it cannot be started.
    pub fn start(command: &Command, words: File) -> Result<Self> {
        let what = format!("starting {}", command.get_program().display());
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", GUARD, "guard"]).arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => shell.env(name, value),
                None => shell.env_remove(name),
            };
        }
        if let Some(directory) = command.get_current_dir() {
            shell.current_dir(directory);
        }
        let mut guard = shell
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(words)
            .spawn()
            .map_err(Error::system(what.clone()))?;
        let lifeline = guard.stdin.take();
        let lines = guard.stdout.take().map(lines_of).ok_or_else(|| Error::Server("has no output".to_owned()))?;
        let pid = match lines.recv_timeout(Duration::from_secs(5)) {
            Ok(line) => line.trim().parse().map_err(|_| Error::Server(format!("{what}: the guard said {line:?}")))?,
            Err(_) => return Err(Error::Server(format!("{what}: the guard said nothing"))),
        };
        Ok(Self { guard, lifeline, pid, lines })
    }

    /// Its process id, which is also that of its process group.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// The next line of its output.
    ///
    /// # Errors
    ///
    /// Where none comes in that time.
    pub fn line(&self, patience: Duration) -> Result<String, RecvTimeoutError> {
        self.lines.recv_timeout(patience)
    }

    /// Sends a signal by its name to all its processes.
    ///
    /// # Errors
    ///
    /// Where it has ended.
    pub fn signal(&self, name: &str) -> Result<()> {
        let group = format!("-{}", self.pid);
        let status = Command::new("kill").args([&format!("-{name}"), "--", &group]).status();
        match status.map_err(Error::system("running kill"))?.success() {
            true => Ok(()),
            false => Err(Error::Server(format!("kill -{name} {group} failed"))),
        }
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        self.lifeline = None;
        // It ends by itself now; waiting only keeps it from staying a zombie.
        let _ = self.guard.wait();
    }
}

/// Hands on the lines of the server's output, and goes on reading when nobody cares any more: a full pipe would stop it.
fn lines_of(output: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(|line| line.ok()) {
            let _ = sender.send(line);
        }
    });
    receiver
}

/// Runs its arguments as a command in a process group of its own and kills that when its own input ends. KILL: the server
/// is thrown away, with its directory, and an orderly end of thousands of connections would only take time. The id comes
/// first: the server waits until it is said. Ctrl-C reaches this shell as well, which then has its work still before it.
const GUARD: &str = r#"
trap : HUP INT TERM
setsid sh -c 'echo $$; exec "$@"' start "$@" </dev/null & exec >&-; read -r end; env kill -KILL -- "-$!"; wait"#;
