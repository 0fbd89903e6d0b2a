//! Private servers of other makes: on free ports, in directories of their own, ended with the tests however those end.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{LazyLock, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// A server in the foreground, with whatever processes it starts itself.
#[derive(Debug)]
pub(crate) struct Private {
    /// Leads a process group of its own.
    child: Child,
}

impl Private {
    /// Starts a server that says nothing on standard output.
    pub(crate) fn start(command: &mut Command) -> Self {
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0).spawn();
        let child = child.unwrap_or_else(|error| {
            let program = command.get_program().display();
            panic!("{program} does not start ({error}); `scripts/setup` installs what is missing")
        });
        warden(&format!("group {}", child.id()));
        Self { child }
    }

    /// Sends a signal by name, to all its processes.
    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill").args([&format!("-{name}"), "--", &format!("-{}", self.child.id())]).status();
        assert!(status.unwrap().success(), "kill -{name}");
    }

    /// Whether it has ended by itself.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Waits for its end.
    pub(crate) fn wait(&mut self) {
        self.child.wait().unwrap();
    }
}

impl Drop for Private {
    fn drop(&mut self) {
        if !self.has_ended() {
            self.signal("KILL");
            self.wait();
        }
        warden(&format!("gone {}", self.child.id()));
    }
}

/// A directory that goes when it is dropped, or else with the tests.
pub(crate) fn directory() -> TempDir {
    let directory = TempDir::with_prefix("stampede-").unwrap();
    warden(&format!("directory {}", directory.path().display()));
    directory
}

/// A port on which nothing listens, and which no outgoing connection gets while a server is being restarted: below the
/// range that the kernel takes for those.
pub(crate) fn free_port() -> u16 {
    const FIRST: u16 = 12_000;
    const COUNT: u16 = 20_000;
    // Two test runs at the same time begin at different places.
    static NEXT: LazyLock<AtomicU16> = LazyLock::new(|| AtomicU16::new((std::process::id() as u16).wrapping_mul(61)));
    loop {
        let port = FIRST + NEXT.fetch_add(1, Ordering::Relaxed) % COUNT;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}

/// An address of this machine.
pub(crate) fn local(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

/// Waits until a port can be bound again: nothing of an ended server is left to answer in place of the next one.
pub(crate) fn until_free(port: u16) {
    patiently("the port stays taken", || TcpListener::bind(local(port)).ok());
}

/// Waits until something listens.
pub(crate) fn until_listening(port: u16, server: &mut Private) {
    patiently("it does not listen", || {
        assert!(!server.has_ended(), "it ended instead of listening on port {port}");
        TcpStream::connect(local(port)).ok()
    });
}

/// Looks again and again, as long as a big server takes to start on a busy machine.
#[track_caller]
pub(crate) fn patiently<T>(otherwise: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(90);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "{otherwise}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Tells the warden what to clean up: a shell in its own process group that waits for the end of the tests. Statics are
/// never dropped, and a run that is interrupted drops nothing at all.
fn warden(line: &str) {
    static WARDEN: LazyLock<Mutex<ChildStdin>> = LazyLock::new(|| {
        let mut shell = Command::new("sh");
        shell.args(["-c", WARDEN_SCRIPT]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        Mutex::new(shell.process_group(0).spawn().unwrap().stdin.take().unwrap())
    });
    let mut warden = WARDEN.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    writeln!(warden, "{line}").unwrap();
}

/// Its input ends when this process does.
const WARDEN_SCRIPT: &str = r#"
groups=
while read -r verb what; do
    case $verb in
    group) groups="$groups $what" ;;
    gone)
        left=
        for group in $groups; do [ "$group" = "$what" ] || left="$left $group"; done
        groups=$left
        ;;
    directory) set -- "$@" "$what" ;;
    esac
done
for group in $groups; do kill -s KILL -- "-$group"; done
# Whoever was killed may still be writing its last file.
for attempt in 1 2 3 4 5; do rm -rf -- "$@" && break; sleep 0.2; done
"#;
