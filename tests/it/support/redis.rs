//! A private Redis.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use super::private::{Private, directory, free_port, local, patiently, until_free};

/// A running `redis-server`; what `cli` says is about this one.
#[derive(Debug)]
pub(crate) struct Redis {
    port: u16,
    /// Besides those that all have.
    options: Vec<String>,
    /// None while it is down.
    server: Option<Private>,
    directory: TempDir,
}

impl Redis {
    /// One that forgets everything when it ends.
    pub(crate) fn start() -> Self {
        Self::with(&[])
    }

    /// One that has written to disk whatever it has confirmed.
    pub(crate) fn durable() -> Self {
        Self::with(&["--appendonly", "yes", "--appendfsync", "always"])
    }

    /// One that takes TLS as well, see [`Redis::tls_port`].
    pub(crate) fn encrypted(certificate: &Path, key: &Path) -> Self {
        let (port, [certificate, key]) =
            (free_port().to_string(), [certificate, key].map(|file| file.to_str().unwrap()));
        let tls = ["--tls-port", &port, "--tls-cert-file", certificate, "--tls-key-file", key];
        Self::with(&[&tls[..], &["--tls-ca-cert-file", certificate, "--tls-auth-clients", "no"]].concat())
    }

    /// Three that share the keys between them.
    pub(crate) fn cluster() -> Vec<Self> {
        const SLOTS: [&str; 3] = ["0 5000", "5001 10000", "10001 16383"];
        let bus = || free_port().to_string();
        let one = || {
            Self::with(&["--cluster-enabled", "yes", "--cluster-port", &bus(), "--cluster-announce-ip", "127.0.0.1"])
        };
        let redis: Vec<Self> = SLOTS.iter().map(|_| one()).collect();
        for (redis, slots) in redis.iter().zip(SLOTS) {
            redis.cli(&[&["CLUSTER", "ADDSLOTSRANGE"], &*slots.split(' ').collect::<Vec<_>>()].concat());
        }
        for other in &redis[1..] {
            let bus = other.cli(&["CONFIG", "GET", "cluster-port"]);
            let bus = bus.lines().last().unwrap();
            redis[0].cli(&["CLUSTER", "MEET", "127.0.0.1", &other.port.to_string(), bus]);
        }
        let knows_all = |redis: &Self| {
            let info = redis.cli(&["CLUSTER", "INFO"]);
            info.contains("cluster_state:ok") && info.contains("cluster_size:3")
        };
        patiently("they do not meet", || redis.iter().all(knows_all).then_some(()));
        redis
    }

    /// One with further options.
    pub(crate) fn with(options: &[&str]) -> Self {
        let options: Vec<String> = options.iter().map(|&option| option.to_owned()).collect();
        let (port, directory) = (free_port(), directory());
        let server = Some(serve(port, &options, directory.path()));
        Self { port, options, server, directory }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn tls_port(&self) -> Option<u16> {
        let at = self.options.iter().position(|option| option == "--tls-port")?;
        self.options[at + 1].parse().ok()
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port)
    }

    /// Ends it as a crash does.
    pub(crate) fn kill(&mut self) {
        self.server = None;
        until_free(self.port);
    }

    /// Starts it again where it was, after a crash if it still runs.
    pub(crate) fn restart(&mut self) {
        self.kill();
        self.server = Some(serve(self.port, &self.options, self.directory.path()));
    }

    /// Keeps its connections open and answers nothing.
    pub(crate) fn freeze(&self) {
        self.server.as_ref().unwrap().signal("STOP");
    }

    pub(crate) fn thaw(&self) {
        self.server.as_ref().unwrap().signal("CONT");
    }

    /// What `redis-cli` prints for a command.
    #[track_caller]
    pub(crate) fn cli(&self, arguments: &[&str]) -> String {
        ask(self.port, None, arguments)
    }

    /// All keys and all that is in them, as text.
    pub(crate) fn text(&self) -> String {
        self.cli(&["EVAL", EVERYTHING, "0"])
    }

    /// The keys that match, in order.
    pub(crate) fn keys(&self, pattern: &str) -> Vec<String> {
        let mut keys: Vec<String> = self.cli(&["--raw", "KEYS", pattern]).lines().map(str::to_owned).collect();
        keys.sort();
        keys
    }
}

/// What `redis-cli` prints for a command to whoever listens on this port, with a password where one is asked for.
#[track_caller]
pub(crate) fn ask(port: u16, password: Option<&str>, arguments: &[&str]) -> String {
    let mut command = Command::new("redis-cli");
    if let Some(password) = password {
        command.env("REDISCLI_AUTH", password);
    }
    let output = command.args(["-p", &port.to_string()]).args(arguments).output();
    let output = output.expect("redis-cli comes with redis-server; `scripts/setup` installs it");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stdout));
    // What is kept is not text all through.
    String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
}

const EVERYTHING: &str = "
local all = {}
for _, key in ipairs(redis.call('KEYS', '*')) do
    all[#all + 1] = key
    local kind = redis.call('TYPE', key).ok
    local found = {}
    if kind == 'string' then found = { redis.call('GET', key) }
    elseif kind == 'hash' then found = redis.call('HGETALL', key)
    elseif kind == 'set' then found = redis.call('SMEMBERS', key)
    elseif kind == 'zset' then found = redis.call('ZRANGE', key, 0, -1)
    elseif kind == 'list' then found = redis.call('LRANGE', key, 0, -1)
    else error('what is in a ' .. kind .. '?') end
    for _, value in ipairs(found) do all[#all + 1] = '  ' .. value end
end
return all
";

fn serve(port: u16, options: &[String], directory: &Path) -> Private {
    let mut command = Command::new("redis-server");
    command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--dir"]).arg(directory);
    let mut server = Private::start(command.args(options));
    patiently("Redis does not answer", || {
        assert!(!server.has_ended(), "Redis ended at once");
        pong(port)
    });
    server
}

/// Whether it serves: while it reads its data it answers, but not with this.
fn pong(port: u16) -> Option<()> {
    let mut stream = TcpStream::connect(local(port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(1))).ok()?;
    stream.write_all(b"PING\r\n").ok()?;
    let mut answer = [0; 7];
    stream.read_exact(&mut answer).ok()?;
    (answer == *b"+PONG\r\n").then_some(())
}
