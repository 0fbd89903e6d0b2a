//! A private Redis and a private RabbitMQ: on free ports, in directories of their own, ended with us.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::{Error, Result, child::Guarded};

/// A Redis that forgets everything when it ends.
#[derive(Debug)]
pub(super) struct Redis {
    port: u16,
    /// None while it is down.
    server: Option<Guarded>,
    home: TempDir,
}

impl Redis {
    pub(super) fn start() -> Result<Self> {
        let mut redis = Self { port: free_port()?, server: None, home: directory()? };
        redis.restart()?;
        Ok(redis)
    }

    pub(super) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port)
    }

    pub(super) fn pid(&self) -> u32 {
        self.server.as_ref().map_or(0, Guarded::pid)
    }

    /// Ends it as a crash does and starts it again, empty; returns when it answers.
    pub(super) fn restart(&mut self) -> Result<()> {
        self.server = None;
        until("the port stays taken", || TcpListener::bind(local(self.port)).ok())?;
        let mut command = Command::new("redis-server");
        command.args(["--port", &self.port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
        command.arg("--dir").arg(self.home.path());
        self.server = Some(Guarded::start(&command, words(self.home.path())?)?);
        until("Redis does not answer; is redis-server installed?", || {
            self.ask("PING").ok().filter(|answer| answer == "PONG")
        })
        .map(drop)
    }

    /// How often each command was called, those that scripts call included.
    pub(super) fn calls(&self) -> Result<Vec<(String, u64)>> {
        let stats = self.ask("INFO commandstats").map_err(Error::system("asking Redis"))?;
        let calls = stats.lines().filter_map(|line| {
            let (name, rest) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
            Some((name.to_owned(), rest.split(',').next()?.parse().ok()?))
        });
        Ok(calls.filter(|(name, _)| name != "info").collect())
    }

    /// The answer to a command, a simple or a bulk string.
    fn ask(&self, command: &str) -> std::io::Result<String> {
        let mut stream = TcpStream::connect(local(self.port))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.write_all(format!("{command}\r\n").as_bytes())?;
        let mut answer = BufReader::new(stream);
        let mut head = String::new();
        answer.read_line(&mut head)?;
        match head.trim_end().split_at_checked(1) {
            Some(("$", length)) => {
                let mut text = vec![0; length.parse().unwrap_or(0)];
                answer.read_exact(&mut text)?;
                Ok(String::from_utf8_lossy(&text).into_owned())
            }
            Some((_, text)) => Ok(text.to_owned()),
            None => Ok(String::new()),
        }
    }
}

/// A RabbitMQ broker with a port mapper of its own, so that it knows nothing of others on this machine.
#[derive(Debug)]
pub(super) struct Rabbit {
    port: u16,
    mapper_port: u16,
    /// None while it is down.
    server: Option<Guarded>,
    home: TempDir,
    _mapper: Guarded,
}

impl Rabbit {
    pub(super) fn start() -> Result<Self> {
        let (home, mapper_port) = (directory()?, free_port()?);
        for (name, text) in [("env.conf", ""), ("rabbitmq.conf", ""), ("advanced.config", "[]."), ("plugins", "[].")] {
            fs::write(home.path().join(name), text).map_err(Error::system("writing a file"))?;
        }
        let mut command = Command::new("epmd");
        command.args(["-address", "127.0.0.1", "-port", &mapper_port.to_string()]);
        let mapper = Guarded::start(&command, words(home.path())?)?;
        let mut rabbit = Self { port: free_port()?, mapper_port, server: None, home, _mapper: mapper };
        rabbit.restart()?;
        Ok(rabbit)
    }

    pub(super) fn url(&self) -> String {
        format!("amqp://guest:guest@127.0.0.1:{}/%2f", self.port)
    }

    pub(super) fn pid(&self) -> u32 {
        self.server.as_ref().map_or(0, Guarded::pid)
    }

    /// Ends it as a crash does and starts it again with what it has on disk; returns when it greets a client.
    pub(super) fn restart(&mut self) -> Result<()> {
        self.server = None;
        until("the port stays taken", || TcpListener::bind(local(self.port)).ok())?;
        let home = self.home.path();
        let mut command = Command::new(RABBITMQ);
        command
            .env("HOME", home)
            .env("ERL_EPMD_PORT", self.mapper_port.to_string())
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            .env("RABBITMQ_NODENAME", "bench@localhost")
            .env("RABBITMQ_NODE_PORT", self.port.to_string())
            .env("RABBITMQ_DIST_PORT", free_port()?.to_string())
            .env("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1")
            .env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", "-kernel inet_dist_use_interface {127,0,0,1}");
        for (name, file) in [
            ("CONF_ENV_FILE", "env.conf"),
            ("CONFIG_FILE", "rabbitmq.conf"),
            ("ADVANCED_CONFIG_FILE", "advanced.config"),
            ("ENABLED_PLUGINS_FILE", "plugins"),
            ("MNESIA_BASE", "mnesia"),
            ("LOG_BASE", "log"),
            ("PID_FILE", "pid"),
            ("GENERATED_CONFIG_DIR", "generated"),
        ] {
            command.env(format!("RABBITMQ_{name}"), home.join(file));
        }
        self.server = Some(Guarded::start(&command, words(home)?)?);
        until("RabbitMQ does not start; is it installed?", || greets(self.port).ok()?.then_some(())).map(drop)
    }
}

/// Whether it answers the protocol header with its first frame, on channel 0.
fn greets(port: u16) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect(local(port))?;
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    stream.write_all(b"AMQP\0\0\x09\x01")?;
    let mut frame = [0; 3];
    stream.read_exact(&mut frame)?;
    Ok(frame == [1, 0, 0])
}

/// A port on which nothing listens, below those that the kernel gives to outgoing connections.
fn free_port() -> Result<u16> {
    use std::sync::atomic::{AtomicU16, Ordering};
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let begin = (std::process::id() as u16).wrapping_mul(61);
    (0..COUNT)
        .map(|_| FIRST + begin.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % COUNT)
        .find(|&port| TcpListener::bind(local(port)).is_ok())
        .ok_or_else(|| Error::Usage("no port is free".to_owned()))
}

fn local(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

fn directory() -> Result<TempDir> {
    tempfile::tempdir().map_err(Error::system("making a directory"))
}

fn words(home: &Path) -> Result<File> {
    File::options().append(true).create(true).open(home.join("words")).map_err(Error::system("making a file"))
}

/// Looks again and again, as long as a big server takes to start on a busy machine.
pub(super) fn until<T>(otherwise: &str, mut look: impl FnMut() -> Option<T>) -> Result<T> {
    let deadline = Instant::now() + Duration::from_secs(120);
    loop {
        if let Some(found) = look() {
            return Ok(found);
        }
        if Instant::now() > deadline {
            return Err(Error::Stalled(otherwise.to_owned()));
        }
        thread::sleep(Duration::from_millis(10));
    }
}

const FIRST: u16 = 12_000;
const COUNT: u16 = 20_000;
/// The commands on the path switch users.
const RABBITMQ: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";
