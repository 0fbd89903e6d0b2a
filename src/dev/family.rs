//! All processes of `stampede dev`, and their end.
//!
//! They share one process group, so that they end with one signal, whatever they have started themselves. A shell outside
//! that group, the warden, reads from a pipe that only we can write to: its end is our end, also after `kill -9`. Then the
//! warden kills the group and removes the directory.

use std::collections::BTreeMap;
use std::fs::DirBuilder;
use std::io::Write;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ExitStatus, Stdio};
use std::time::Duration;

use tokio::process::{ChildStderr, ChildStdout, Command};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;

use crate::ids::random_u64;

/// Everything that was started.
#[derive(Debug)]
pub(super) struct Family {
    warden: Warden,
    running: BTreeMap<u32, Member>,
    ends: (UnboundedSender<End>, UnboundedReceiver<End>),
    outputs: JoinSet<()>,
}

/// The number of a process, and how it ended.
type End = (u32, ExitStatus);

/// One process.
#[derive(Debug, Clone)]
pub(super) struct Member {
    pub(super) name: String,
    pub(super) pid: u32,
    /// Whether it is one of ours, which end in order.
    pub(super) is_node: bool,
}

/// A process that has just been started, with its output where that was asked for.
#[derive(Debug)]
pub(super) struct Started {
    pub(super) pid: u32,
    pub(super) stdout: Option<ChildStdout>,
    pub(super) stderr: Option<ChildStderr>,
}

impl Family {
    pub(super) fn new() -> Result<Self, String> {
        let warden = Warden::new().map_err(|error| format!("the shell that cleans up does not start: {error}"))?;
        Ok(Self { warden, running: BTreeMap::new(), ends: unbounded_channel(), outputs: JoinSet::new() })
    }

    /// Where its members write.
    pub(super) fn directory(&self) -> &Path {
        &self.warden.directory
    }

    /// Starts a member.
    pub(super) fn start(&mut self, name: &str, is_node: bool, command: &mut Command) -> Result<Started, String> {
        let spawned = command.stdin(Stdio::null()).process_group(self.warden.group).spawn();
        let program = command.as_std().get_program().display();
        let mut child = spawned.map_err(|error| format!("{name} does not start: {program}: {error}"))?;
        let pid = child.id().ok_or_else(|| format!("{name} ended at once"))?;
        self.running.insert(pid, Member { name: name.to_owned(), pid, is_node });
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let ends = self.ends.0.clone();
        tokio::spawn(async move {
            // Waiting for a child of ours fails only if somebody else did.
            if let Ok(status) = child.wait().await {
                let _told = ends.send((pid, status));
            }
        });
        Ok(Started { pid, stdout, stderr })
    }

    /// Follows what a member says to its end.
    pub(super) fn follow(&mut self, output: impl Future<Output = ()> + Send + 'static) {
        self.outputs.spawn(output);
    }

    /// Waits until `ready`; an error if a member ends first, or if it takes too long.
    pub(super) async fn until<T>(&mut self, what: &str, ready: impl Future<Output = T>) -> Result<T, String> {
        tokio::select! {
            ready = ready => Ok(ready),
            (Member { name, .. }, how) = self.next_end() => Err(format!("{name} ended while it was needed: {how}")),
            () = tokio::time::sleep(LONGEST_START) => Err(format!("{what} took longer than {LONGEST_START:?}")),
        }
    }

    /// The next member that ends.
    pub(super) async fn next_end(&mut self) -> (Member, ExitStatus) {
        loop {
            // We hold a sender ourselves.
            let Some((pid, how)) = self.ends.1.recv().await else { return std::future::pending().await };
            if let Some(member) = self.running.remove(&pid) {
                return (member, how);
            }
        }
    }

    /// Asks all nodes to end, and waits for it and for their last words.
    pub(super) async fn end_nodes(&mut self, limit: Duration) {
        let nodes: Vec<u32> = self.running.values().filter(|member| member.is_node).map(|member| member.pid).collect();
        nodes.iter().for_each(|pid| self.warden.signal("TERM", *pid));
        let all = async {
            while self.running.values().any(|member| member.is_node) {
                self.next_end().await;
            }
            while self.outputs.join_next().await.is_some() {}
        };
        // Who takes longer is killed with the rest.
        let _late = tokio::time::timeout(limit, all).await;
    }
}

/// On a machine that has other things to do.
const LONGEST_START: Duration = Duration::from_secs(120);

/// Ends the group and removes the directory when it is dropped, or when this process is gone.
#[derive(Debug)]
struct Warden {
    group: i32,
    directory: PathBuf,
    /// None while it is being dropped.
    orders: Option<ChildStdin>,
    shell: Child,
    /// Holds the number of the group; waits for the end of its input, as the shell does.
    first: Child,
}

impl Warden {
    fn new() -> std::io::Result<Self> {
        let directory = std::env::temp_dir().join(format!("stampede-dev-{:016x}", random_u64()));
        // What lies in it opens the private servers.
        DirBuilder::new().mode(0o700).create(&directory)?;
        let mut first = std::process::Command::new("cat");
        first.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        let first = first.spawn()?;
        let group = i32::try_from(first.id()).map_err(std::io::Error::other)?;
        let mut shell = std::process::Command::new("sh");
        shell.args(["-c", WARDEN, "stampede-dev-warden", &group.to_string()]).arg(&directory);
        shell.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        let mut shell = shell.spawn()?;
        Ok(Self { group, directory, orders: shell.stdin.take(), shell, first })
    }

    /// Sends a signal by name.
    fn signal(&mut self, name: &str, pid: u32) {
        if let Some(orders) = &mut self.orders {
            // Without its warden the family cannot be asked, only be left.
            let _gone = writeln!(orders, "{name} {pid}");
        }
    }
}

impl Drop for Warden {
    fn drop(&mut self) {
        drop(self.orders.take());
        let _done = self.shell.wait();
        let _reaped = self.first.wait();
    }
}

/// Its arguments: group, directory. Whoever was killed may still be writing its last file.
const WARDEN: &str = r#"
trap '' HUP INT TERM
while read -r signal pid; do kill -s "$signal" "$pid"; done
kill -s KILL -- "-$1"
for attempt in 1 2 3 4 5 6 7 8 9 10; do rm -rf -- "$2" && break; sleep 0.1; done
"#;
