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
    durable: bool,
    /// None while it is down.
    server: Option<Private>,
    directory: TempDir,
}

impl Redis {
    /// One that forgets everything when it ends.
    pub(crate) fn start() -> Self {
        Self::with(false)
    }

    /// One that has written to disk whatever it has confirmed.
    pub(crate) fn durable() -> Self {
        Self::with(true)
    }

    fn with(durable: bool) -> Self {
        let (port, directory) = (free_port(), directory());
        let server = Some(serve(port, durable, directory.path()));
        Self { port, durable, server, directory }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
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
        self.server = Some(serve(self.port, self.durable, self.directory.path()));
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
        let mut command = Command::new("redis-cli");
        let output = command.args(["-p", &self.port.to_string()]).args(arguments).output();
        let output = output.expect("redis-cli comes with redis-server; `scripts/setup` installs it");
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stdout));
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
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

fn serve(port: u16, durable: bool, directory: &Path) -> Private {
    let mut command = Command::new("redis-server");
    command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--dir"]).arg(directory);
    let durable = if durable { "yes" } else { "no" };
    let mut server = Private::start(command.args(["--appendonly", durable, "--appendfsync", "always"]));
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
