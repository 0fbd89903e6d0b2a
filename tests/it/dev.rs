//! `stampede dev`: it starts what it says, the nodes work together, and nothing of it stays.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use tempfile::TempDir;

use crate::support::client::{Client, body};
use crate::support::private::patiently;
use crate::support::process::Launch;

/// RabbitMQ takes its time, on a busy machine most of all.
const PATIENCE: Duration = Duration::from_secs(120);

/// A `stampede dev`, with all the files of its in a directory of the test.
struct Dev {
    child: Child,
    lines: Receiver<String>,
    said: Vec<String>,
    files: TempDir,
}

impl Dev {
    fn start(arguments: &[&str]) -> Self {
        let files = TempDir::with_prefix("stampede-").unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_stampede"));
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("STAMPEDE__")) {
            command.env_remove(name);
        }
        command.args(["dev", "--no-open"]).args(arguments).env("TMPDIR", files.path());
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let (sender, lines) = channel();
        let output = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Self { child, lines, said: Vec::new(), files }
    }

    /// The next line that contains this.
    #[track_caller]
    fn says(&mut self, text: &str) -> String {
        loop {
            let Ok(line) = self.lines.recv_timeout(PATIENCE) else { panic!("no {text:?} after {:#?}", self.said) };
            self.said.push(line.clone());
            if line.contains(text) {
                return line;
            }
        }
    }

    fn signal(&self, name: &str) {
        signal(name, self.child.id());
    }

    fn ended(&mut self) -> ExitStatus {
        patiently("it does not end", || self.child.try_wait().unwrap())
    }

    /// All processes it has named are gone, and its files.
    #[track_caller]
    fn is_clean(&self) {
        let pids: Vec<u32> =
            self.said.iter().filter(|line| line.contains("127.0.0.1")).filter_map(|line| pid(line)).collect();
        assert!(!pids.is_empty(), "{:#?}", self.said);
        for pid in pids {
            patiently("a process stays", || (!lives(pid)).then_some(()));
        }
        patiently("files stay", || fs::read_dir(self.files.path()).unwrap().next().is_none().then_some(()));
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        // Its own warden does the rest.
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

fn signal(name: &str, pid: u32) {
    let status = Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).status().unwrap();
    assert!(status.success(), "kill -{name} {pid}");
}

fn pid(line: &str) -> Option<u32> {
    let (_, rest) = line.split_once("pid ")?;
    rest.chars().take_while(char::is_ascii_digit).collect::<String>().parse().ok()
}

/// A zombie that nobody has buried yet does not.
fn lives(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

/// Where the demo page of a node is, and the user it is for.
fn page(line: &str) -> (SocketAddr, String) {
    let (_, rest) = line.split_once("http://").unwrap();
    let (address, rest) = rest.split_once("/?user=").unwrap();
    (address.parse().unwrap(), rest.split_once('&').unwrap().0.to_owned())
}

fn connect(page: &(SocketAddr, String)) -> Client {
    Client::connect(page.0, "/ws", "1.2", &["heart-beat:0,0", &format!("login:{}", page.1)])
}

fn whisper(from: &mut Client, to: &str, text: &str) {
    from.confirmed(&format!("SEND\ndestination:/app/demo/whisper/{to}"), text);
}

#[test]
fn two_nodes_work_together_and_leave_nothing() {
    let mut dev = Dev::start(&["--nodes", "2", "--port", "0"]);
    let (first, second) = (dev.says("  node-1 "), dev.says("  node-2 "));
    dev.says("Ctrl-C");
    let (ann, ben) = (page(&first), page(&second));
    assert_eq!((&*ann.1, &*ben.1), ("ann", "ben"));
    let (mut at_first, mut at_second) = (connect(&ann), connect(&ben));
    for (client, node) in [(&mut at_first, "node-1"), (&mut at_second, "node-2")] {
        client.subscribe("w", "/user/queue/whispers");
        client.send("SUBSCRIBE\nid:n\ndestination:/app/demo/node\n\n\0");
        client.message(&format!("\"{node}\""));
    }
    whisper(&mut at_first, "ben", "psst");
    at_second.message(r#"{"from":"ann","message":"psst"}"#);
    whisper(&mut at_second, "ann", "yes?");
    at_first.message(r#"{"from":"ben","message":"yes?"}"#);

    let second = pid(&second).unwrap();
    signal("KILL", second);
    let told = dev.says("has ended");
    assert!(told.contains("node-2") && told.contains(&second.to_string()), "{told}");
    // Of a session that its node did not end nobody knows that it is gone before the lease of the node is over; whatever
    // the whisper has met until then comes when its receiver comes back.
    whisper(&mut at_first, "ben", "for later");
    let mut back = connect(&(ann.0, "ben".to_owned()));
    back.send("SUBSCRIBE\nid:w\ndestination:/user/queue/whispers\n\n\0");
    assert_eq!(body(&back.expect("MESSAGE")), r#"{"from":"ann","message":"for later"}"#);

    dev.signal("TERM");
    assert!(dev.ended().success());
    dev.is_clean();
}

#[test]
fn nothing_outlives_it_even_where_it_is_killed() {
    let mut dev = Dev::start(&["--port", "0"]);
    dev.says("Redis ");
    dev.says("starting RabbitMQ");
    dev.signal("KILL");
    dev.ended();
    dev.is_clean();
}

#[test]
fn it_ends_in_order_while_it_is_still_starting() {
    let mut dev = Dev::start(&["--port", "0"]);
    dev.says("starting RabbitMQ");
    dev.signal("INT");
    assert!(dev.ended().success());
    dev.is_clean();
}

#[test]
fn a_node_that_does_not_start_says_why() {
    let unusable = TempDir::with_prefix("stampede-").unwrap();
    let config = unusable.path().join("stampede.toml");
    fs::write(&config, "[redis]\nurl = 'redis://127.0.0.1/0'\nca_file = '/no/such/file.pem'\n").unwrap();
    let mut dev = Dev::start(&["--nodes", "1", "--port", "0", "--config", config.to_str().unwrap()]);
    let told = dev.says("/no/such/file.pem");
    assert!(told.starts_with("node-1 | "), "{told}");
    assert_eq!(dev.ended().code(), Some(1));
    dev.is_clean();
}

#[test]
fn what_is_missing_is_said_before_anything_is_started() {
    let ended = Launch::new(&["dev", "--no-open"]).env("PATH", "").run();
    assert_eq!((ended.code, &*ended.output), (Some(1), ""));
    assert!(ended.errors.contains("this machine has no redis-server"), "{}", ended.errors);
    assert!(ended.errors.contains("apt-get install redis-server"), "{}", ended.errors);
}

#[test]
fn what_is_wrong_with_the_configuration_is_said_before_anything_is_started() {
    let ended = Launch::new(&["dev", "--no-open"]).config("[server]\nlisen = 1\n").run();
    assert_eq!((ended.code, &*ended.output), (Some(1), ""));
    assert!(ended.errors.contains("lisen"), "{}", ended.errors);
}
