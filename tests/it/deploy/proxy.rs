//! HAProxy and nginx, run with the configuration of `deploy/`.

use std::fs::File;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::{path, read};
use crate::support::PATIENCE;
use crate::support::process::{ask, until};

/// A balancer in front of three nodes.
#[derive(Debug)]
pub(super) struct Proxy {
    pub(super) address: SocketAddr,
    /// Where HAProxy tells about itself.
    pub(super) admin: SocketAddr,
    _running: Running,
    _directory: TempDir,
}

/// A process that ends with the test.
#[derive(Debug)]
pub(super) struct Running(Child);

impl Proxy {
    pub(super) fn haproxy(nodes: [SocketAddr; 3]) -> Self {
        Self::start(|address, admin, _| haproxy(address, admin, nodes, &["-db"]))
    }

    pub(super) fn nginx(nodes: [SocketAddr; 3]) -> Self {
        Self::start(|address, _, directory| nginx(address, nodes, directory, &["-g", "daemon off; pid nginx.pid;"]))
    }

    /// HAProxy with this section behind `bind`, and this `server` line.
    pub(super) fn haproxy_with(mode: &str, server: &str) -> Self {
        Self::start(|address, _, directory| {
            let text = format!(
                "defaults\n    timeout connect 5s\n    timeout client 30s\n    timeout server 30s\n\
                 listen in\n    bind {address}\n    {mode}\n    server node {server}\n"
            );
            let file = directory.join("haproxy.cfg");
            std::fs::write(&file, text).unwrap();
            let mut command = program("haproxy");
            command.args(["-db", "-f"]).arg(file);
            command
        })
    }

    /// Waits until HAProxy sees this node, of both backends, in this state.
    #[track_caller]
    pub(super) fn sees(&self, node: usize, state: &str) {
        let request = "GET /;csv;norefresh HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        let look = || {
            let (_, table) = ask(self.admin, request);
            let is_it = |backend: &&str| {
                let line = table.lines().find(|line| line.starts_with(&format!("{backend},node{node},")));
                line.is_some_and(|line| line.contains(&format!(",{state}")))
            };
            ["any", "sessions"].iter().all(is_it).then_some(())
        };
        until(look, || format!("node{node} is not {state}: {}", ask(self.admin, request).1));
    }

    /// Status and body of an answer.
    pub(super) fn get(&self, path: &str) -> (u16, String) {
        ask(self.address, format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"))
    }

    /// Neither program says which port it took, so free ones are looked for, again if somebody else was faster.
    fn start(command: impl Fn(SocketAddr, SocketAddr, &Path) -> Command) -> Self {
        for _ in 0..5 {
            let directory = directory();
            let (address, admin) = (free_address(), free_address());
            let errors = directory.path().join("errors");
            let mut command = command(address, admin, directory.path());
            command.stdout(Stdio::null()).stderr(File::create(&errors).unwrap());
            let mut running = Running(run(&mut command, Command::spawn));
            let listens = || {
                let ended = running.0.try_wait().unwrap().is_some();
                (ended || TcpStream::connect(address).is_ok()).then_some(!ended)
            };
            let said = || std::fs::read_to_string(&errors).unwrap_or_default();
            if until(listens, said) {
                return Self { address, admin, _running: running, _directory: directory };
            }
            let said = said();
            assert!(said.contains("cannot bind") || said.contains("Address already in use"), "{said}");
        }
        panic!("no port is free for long enough");
    }
}

impl Running {
    /// A node at this address, as soon as it is ready.
    pub(super) fn node(address: SocketAddr) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_stampede"));
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("STAMPEDE__")) {
            command.env_remove(name);
        }
        command.env("STAMPEDE__LOG__FILTER", "off").args(["--listen", &address.to_string()]).stdout(Stdio::null());
        let running = Self(command.spawn().unwrap());
        until(|| TcpStream::connect(address).ok(), || format!("nothing listens on {address}"));
        running
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // nginx ends its workers when it is asked to end; killed, it would leave them behind.
        let _asked = Command::new("kill").arg(self.0.id().to_string()).status();
        let deadline = Instant::now() + PATIENCE;
        while matches!(self.0.try_wait(), Ok(None)) && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(5));
        }
        let _gone = self.0.kill();
        let _reaped = self.0.wait();
    }
}

/// What `haproxy -c` says.
pub(super) fn check_haproxy(nodes: [SocketAddr; 3]) -> Output {
    let any = SocketAddr::from(([127, 0, 0, 1], 1));
    run(&mut haproxy(any, any, nodes, &["-c"]), Command::output)
}

/// What `nginx -t` says.
pub(super) fn check_nginx(nodes: [SocketAddr; 3]) -> Output {
    let directory = directory();
    let mut command = nginx(free_address(), nodes, directory.path(), &["-t", "-g", "pid nginx.pid;"]);
    run(&mut command, Command::output)
}

/// An address where nothing listens, as far as anybody can know.
pub(super) fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// Workers of nginx that are started by root run as somebody else, who has to get in.
fn directory() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    directory
}

fn haproxy(address: SocketAddr, admin: SocketAddr, nodes: [SocketAddr; 3], arguments: &[&str]) -> Command {
    let mut command = program("haproxy");
    command.args(arguments).arg("-f").arg(path("haproxy.cfg"));
    command.env("BIND", address.to_string()).env("ADMIN_BIND", admin.to_string());
    for (number, node) in (1..).zip(nodes) {
        command.env(format!("NODE{number}"), node.to_string());
    }
    command
}

/// nginx has no variables for addresses, so its file is a template; and it wants to write below `/var` unless told.
fn nginx(address: SocketAddr, nodes: [SocketAddr; 3], directory: &Path, arguments: &[&str]) -> Command {
    let mut text = read("nginx.conf").replace("${BIND}", &address.to_string());
    for (number, node) in (1..).zip(nodes) {
        text = text.replace(&format!("${{NODE{number}}}"), &node.to_string());
    }
    let mut own = String::from("http {\n");
    for kind in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"] {
        own += &format!("    {kind}_temp_path {};\n", directory.join(kind).display());
    }
    let text = text.replacen("http {\n", &own, 1).replace("/dev/stdout", "access.log");
    let file = directory.join("nginx.conf");
    std::fs::write(&file, text).unwrap();
    let mut command = program("nginx");
    command.args(["-e", "stderr", "-p"]).arg(directory).arg("-c").arg(file).args(arguments);
    command
}

/// Debian keeps both where only root's shell looks.
fn program(name: &str) -> Command {
    let installed = Path::new("/usr/sbin").join(name);
    Command::new(if installed.exists() { installed.as_path() } else { Path::new(name) })
}

fn run<T>(command: &mut Command, how: impl FnOnce(&mut Command) -> std::io::Result<T>) -> T {
    how(command).unwrap_or_else(|error| {
        panic!("{:?}: {error}; install it: apt-get install haproxy nginx-light", command.get_program())
    })
}
