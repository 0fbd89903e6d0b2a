//! A private Redis and a private RabbitMQ: they listen on free ports of this machine alone and keep nothing.

use std::fs;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::Command;

use super::family::Family;
use super::programs::Programs;
use super::screen::{clocked, say};

/// Starts Redis; its URL.
pub(super) async fn redis(family: &mut Family, programs: &Programs) -> Result<String, String> {
    let [port] = free_ports()?;
    let home = folder(family, "redis")?;
    let mut command = Command::new(&programs.redis);
    command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir"]);
    let log = log_to(command.arg(&home), &home)?;
    let pid = family.start("Redis", false, &mut command)?.pid;
    let ready = answers(port, b"PING\r\n", b"+PONG");
    family.until("Redis", ready).await.map_err(|problem| with_log(&problem, &log))?;
    say(&format!("Redis      127.0.0.1:{port}   pid {pid}"));
    Ok(format!("redis://127.0.0.1:{port}/0"))
}

/// Starts RabbitMQ, which takes its time; its URL.
pub(super) async fn rabbitmq(family: &mut Family, programs: &Programs) -> Result<String, String> {
    let [port, among_themselves, epmd] = free_ports()?;
    let home = folder(family, "rabbitmq")?;
    write_configuration(&home).map_err(|error| format!("{}: {error}", home.display()))?;

    // Otherwise RabbitMQ starts one that outlives it, or meets the one of a broker that this machine runs anyway.
    let mut mapper = Command::new(&programs.epmd);
    mapper.args(["-address", "127.0.0.1", "-port", &epmd.to_string()]).stdout(Stdio::null()).stderr(Stdio::null());
    family.start("epmd", false, &mut mapper)?;
    family.until("epmd", listens(epmd)).await?;

    let mut command = Command::new(&programs.rabbitmq);
    for (name, _) in std::env::vars_os() {
        let own = name.as_encoded_bytes();
        if own.starts_with(b"RABBITMQ_") || own.starts_with(b"ERL_") {
            command.env_remove(name);
        }
    }
    command
        .env("HOME", &home)
        .env("ERL_EPMD_PORT", epmd.to_string())
        .env("ERL_EPMD_ADDRESS", "127.0.0.1")
        .env("RABBITMQ_NODENAME", "stampede-dev@localhost")
        .env("RABBITMQ_NODE_PORT", port.to_string())
        .env("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1")
        .env("RABBITMQ_DIST_PORT", among_themselves.to_string())
        .env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", "-kernel inet_dist_use_interface {127,0,0,1}")
        .env("RABBITMQ_CONF_ENV_FILE", home.join("env.conf"))
        .env("RABBITMQ_CONFIG_FILE", home.join("rabbitmq.conf"))
        .env("RABBITMQ_ADVANCED_CONFIG_FILE", home.join("advanced.config"))
        .env("RABBITMQ_ENABLED_PLUGINS_FILE", home.join("plugins"))
        .env("RABBITMQ_MNESIA_BASE", home.join("data"))
        .env("RABBITMQ_LOG_BASE", home.join("logs"))
        .env("RABBITMQ_PID_FILE", home.join("pid"))
        .env("RABBITMQ_GENERATED_CONFIG_DIR", home.join("generated"));
    let log = log_to(&mut command, &home)?;
    let script = family.start("RabbitMQ", false, &mut command)?.pid;
    let ready = family.until("RabbitMQ", answers(port, b"AMQP\x00\x00\x09\x01", b"\x01"));
    let (ready, taken) = clocked("starting RabbitMQ", ready).await;
    ready.map_err(|problem| with_log(&problem, &log))?;
    // The broker itself, rather than the script that waits for it.
    let pid = fs::read_to_string(home.join("pid")).map_or_else(|_| script.to_string(), |pid| pid.trim().to_owned());
    say(&format!("RabbitMQ   127.0.0.1:{port}   pid {pid}   (after {} s)", taken.as_secs()));
    Ok(format!("amqp://guest:guest@127.0.0.1:{port}/%2f"))
}

/// No plugins, and a cookie of its own.
fn write_configuration(home: &Path) -> std::io::Result<()> {
    for (name, text) in [("env.conf", ""), ("rabbitmq.conf", ""), ("advanced.config", "[]."), ("plugins", "[].")] {
        fs::write(home.join(name), text)?;
    }
    let mut cookie = fs::OpenOptions::new();
    let mut cookie = cookie.write(true).create_new(true).mode(0o400).open(home.join(".erlang.cookie"))?;
    write!(cookie, "{:016x}", crate::ids::random_u64())
}

fn folder(family: &Family, name: &str) -> Result<std::path::PathBuf, String> {
    let folder = family.directory().join(name);
    fs::create_dir(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    Ok(folder)
}

/// Where the server writes what it says.
fn log_to(command: &mut Command, home: &Path) -> Result<std::path::PathBuf, String> {
    let path = home.join("output");
    let fail = |error: std::io::Error| format!("{}: {error}", path.display());
    let file = fs::File::create(&path).map_err(fail)?;
    command.stderr(file.try_clone().map_err(fail)?).stdout(file);
    Ok(path)
}

/// A problem, and the last that the server said: its log goes with us.
fn with_log(problem: &str, log: &Path) -> String {
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let last = &lines[lines.len().saturating_sub(15)..];
    if last.is_empty() { problem.to_owned() } else { format!("{problem}. Its last words:\n{}", last.join("\n")) }
}

/// Ports on which nothing listens.
fn free_ports<const N: usize>() -> Result<[u16; N], String> {
    let fail = |error: std::io::Error| format!("no free port on 127.0.0.1: {error}");
    let mut ports = [0; N];
    let mut held = Vec::with_capacity(N);
    for port in &mut ports {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(fail)?;
        *port = listener.local_addr().map_err(fail)?.port();
        // Held until all are found, or the same one would be found again.
        held.push(listener);
    }
    Ok(ports)
}

/// Ends once something listens.
async fn listens(port: u16) {
    while TcpStream::connect(local(port)).await.is_err() {
        tokio::time::sleep(POLL).await;
    }
}

/// Ends once a server answers what it answers when it is ready.
async fn answers(port: u16, question: &[u8], expected: &[u8]) {
    let ask = async || {
        let mut stream = TcpStream::connect(local(port)).await.ok()?;
        stream.write_all(question).await.ok()?;
        let mut answer = vec![0; expected.len()];
        stream.read_exact(&mut answer).await.ok()?;
        (answer == expected).then_some(())
    };
    while !matches!(tokio::time::timeout(LONGEST_ANSWER, ask()).await, Ok(Some(()))) {
        tokio::time::sleep(POLL).await;
    }
}

fn local(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

/// Between two looks.
const POLL: Duration = Duration::from_millis(50);

/// After it the question is asked anew.
const LONGEST_ANSWER: Duration = Duration::from_secs(2);
