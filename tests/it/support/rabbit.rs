//! Private RabbitMQ brokers. One takes some ten seconds to start, so tests share them and have virtual hosts to themselves.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{LazyLock, Mutex, MutexGuard};

use tempfile::TempDir;

use super::client::unique;
use super::private::{Private, directory, free_port, patiently, until_free, until_listening};

/// A running broker.
#[derive(Debug)]
pub(crate) struct Rabbit {
    port: u16,
    control: Control,
    /// None while it is down.
    server: Option<Private>,
    directory: TempDir,
}

/// A virtual host; it goes with this value, and its queues with it.
#[derive(Debug)]
pub(crate) struct Vhost {
    port: u16,
    name: String,
    control: Control,
}

impl Rabbit {
    /// The broker for all tests that leave it alone.
    pub(crate) fn shared() -> &'static Self {
        static SHARED: LazyLock<Rabbit> = LazyLock::new(Rabbit::start);
        &SHARED
    }

    /// A broker for tests that break it: they take turns.
    pub(crate) fn own() -> MutexGuard<'static, Self> {
        static OWN: LazyLock<Mutex<Rabbit>> = LazyLock::new(|| Mutex::new(Rabbit::start()));
        let mut own = OWN.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        // Whoever failed before may have left it broken.
        if own.control.try_eval("rabbit:start(), vm_memory_monitor:set_vm_memory_high_watermark(0.4)").is_err() {
            own.restart();
        }
        own
    }

    fn start() -> Self {
        let directory = directory();
        let home = directory.path();
        for (name, text) in [("env.conf", ""), ("rabbitmq.conf", ""), ("advanced.config", "[]."), ("plugins", "[].")] {
            fs::write(home.join(name), text).unwrap();
        }
        let mut cookie = fs::OpenOptions::new();
        let cookie = cookie.write(true).create_new(true).mode(0o400).open(home.join(".erlang.cookie"));
        cookie.unwrap().write_all(b"tests").unwrap();
        let control = Control { node: format!("rabbit{}@localhost", unique()), home: home.to_owned() };
        let mut rabbit = Self { port: free_port(), control, server: None, directory };
        rabbit.restart();
        rabbit
    }

    /// Ends it as a crash does.
    pub(crate) fn kill(&mut self) {
        self.server = None;
        until_free(self.port);
        // Its name must be free as well.
        patiently("epmd still knows it", || self.control.try_eval("ok").is_err().then_some(()));
    }

    /// Starts it again where it was, after a crash if it still runs.
    pub(crate) fn restart(&mut self) {
        self.kill();
        let home = self.directory.path();
        let (port, dist) = (self.port.to_string(), free_port().to_string());
        let mut command = Command::new("/usr/lib/rabbitmq/bin/rabbitmq-server");
        environment(&mut command, home)
            .env("RABBITMQ_NODENAME", &self.control.node)
            .envs([("RABBITMQ_NODE_PORT", &*port), ("RABBITMQ_DIST_PORT", &dist)])
            .env("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1")
            .env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", "-kernel inet_dist_use_interface {127,0,0,1}")
            .env("RABBITMQ_CONF_ENV_FILE", home.join("env.conf"))
            .env("RABBITMQ_CONFIG_FILE", home.join("rabbitmq.conf"))
            .env("RABBITMQ_ADVANCED_CONFIG_FILE", home.join("advanced.config"))
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", home.join("plugins"))
            .env("RABBITMQ_MNESIA_BASE", home.join("mnesia"))
            .env("RABBITMQ_LOG_BASE", home.join("log"))
            .env("RABBITMQ_PID_FILE", home.join("pid"))
            .env("RABBITMQ_GENERATED_CONFIG_DIR", home.join("generated"));
        let mut server = Private::start(&mut command);
        until_listening(self.port, &mut server);
        self.server = Some(server);
        // It listens a moment before it is done.
        patiently("RabbitMQ does not start", || self.control.try_eval("rabbit:await_startup()").ok());
    }

    /// The broker ends, the Erlang node below it goes on.
    pub(crate) fn stop_app(&self) {
        self.control.eval("rabbit:stop()");
    }

    pub(crate) fn start_app(&self) {
        self.control.eval("rabbit:start()");
    }

    /// Raises the alarm for which the broker reads nothing more from publishers, or ends it.
    pub(crate) fn alarm(&self, on: bool) {
        let share = if on { "0.00001" } else { "0.4" };
        self.control.eval(&format!("vm_memory_monitor:set_vm_memory_high_watermark({share})"));
    }

    /// What `rabbitmqctl` prints; it takes most of a second.
    #[track_caller]
    pub(crate) fn ctl(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("/usr/lib/rabbitmq/bin/rabbitmqctl");
        environment(&mut command, self.directory.path());
        let output = command.args(["-q", "-n", &self.control.node]).args(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// A virtual host that nobody else uses. Its name begins with a slash, as the name of the usual one does.
    pub(crate) fn vhost(&self) -> Vhost {
        let name = format!("/test-{}", unique());
        self.control.eval(&format!(
            "ok = rabbit_vhost:add(<<\"{name}\">>, <<\"tests\">>), rabbit_auth_backend_internal:set_permissions(\
             <<\"guest\">>, <<\"{name}\">>, <<\".*\">>, <<\".*\">>, <<\".*\">>, <<\"tests\">>)"
        ));
        Vhost { port: self.port, name, control: self.control.clone() }
    }
}

impl Vhost {
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn url(&self) -> String {
        self.url_through(self.port)
    }

    /// The same with another port in front of it.
    pub(crate) fn url_through(&self, port: u16) -> String {
        format!("amqp://guest:guest@127.0.0.1:{port}/{}", self.name.replace('/', "%2f"))
    }

    /// The port of the broker.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Its queues, in order.
    pub(crate) fn queues(&self) -> Vec<String> {
        let name = &self.name;
        let names = self.control.eval(&format!(
            "lists:sort([binary_to_list(N) || {{resource, _, queue, N}} <- rabbit_amqqueue:list_names(<<\"{name}\">>)])"
        ));
        serde_json::from_str(&names).unwrap()
    }

    /// How many messages lie in all its queues, those that a consumer has and did not acknowledge included.
    pub(crate) fn messages(&self) -> u64 {
        let name = &self.name;
        let sum =
            format!("lists:sum([N || [{{messages, N}}] <- rabbit_amqqueue:info_all(<<\"{name}\">>, [messages])])");
        self.control.eval(&sum).parse().unwrap()
    }

    pub(crate) fn delete_queue(&self, queue: &str) {
        let name = &self.name;
        self.control.eval(&format!(
            "{{ok, Q}} = rabbit_amqqueue:lookup(rabbit_misc:r(<<\"{name}\">>, queue, <<\"{queue}\">>)), \
             rabbit_amqqueue:delete(Q, false, false, <<\"tests\">>)"
        ));
    }

    /// A queue takes nothing any more: the broker answers what it would get with a refusal.
    pub(crate) fn refuse_all(&self, queue: &str) {
        let name = &self.name;
        self.control.eval(&format!(
            "ok = rabbit_policy:set(<<\"{name}\">>, <<\"full\">>, <<\"^{queue}$\">>, [{{<<\"max-length\">>, 0}}, \
             {{<<\"overflow\">>, <<\"reject-publish\">>}}], 0, <<\"queues\">>, <<\"tests\">>)"
        ));
    }

    /// Ends all connections to it from the broker's side.
    pub(crate) fn close_connections(&self) {
        let name = &self.name;
        self.control.eval(&format!(
            "[rabbit_networking:close_connection(P, \"a test wants it\") || [{{pid, P}}, {{vhost, <<\"{name}\">>}}] \
             <- rabbit_networking:connection_info_all([pid, vhost])]"
        ));
    }
}

impl Drop for Vhost {
    fn drop(&mut self) {
        // The broker may be down.
        let _left = self.control.try_eval(&format!("rabbit_vhost:delete(<<\"{}\">>, <<\"tests\">>)", self.name));
    }
}

/// Talks to a node in Erlang: in milliseconds what `rabbitmqctl` does in a second.
#[derive(Debug, Clone)]
struct Control {
    node: String,
    home: PathBuf,
}

impl Control {
    /// Evaluates expressions; the value as Erlang prints it.
    #[track_caller]
    fn eval(&self, expressions: &str) -> String {
        self.try_eval(expressions).unwrap_or_else(|error| panic!("{expressions} {error}"))
    }

    fn try_eval(&self, expressions: &str) -> Result<String, String> {
        let mut command = Command::new("erl_call");
        // A second caller of the same name would be refused while the node still knows the first.
        let own_name = format!("call{}", unique());
        environment(&mut command, &self.home).args(["-h", &own_name, "-n", &self.node, "-e"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut call = command.spawn().expect("erl_call comes with Erlang; `scripts/setup` installs it");
        // It may have ended at once, without reading.
        let _unread = call.stdin.take().unwrap().write_all(format!("{expressions}.\n").as_bytes());
        let output = call.wait_with_output().unwrap();
        let answer = String::from_utf8_lossy(&output.stdout);
        let value = answer.trim().strip_prefix("{ok, ").and_then(|rest| rest.strip_suffix('}'));
        value.map(str::to_owned).ok_or_else(|| format!("{answer} {}", String::from_utf8_lossy(&output.stderr)))
    }
}

/// What every command of Erlang needs to find the node: the directory with the cookie, and the port of a private epmd,
/// which knows nothing of brokers that this machine may run otherwise.
fn environment<'a>(command: &'a mut Command, home: &Path) -> &'a mut Command {
    static EPMD: LazyLock<(u16, Mutex<Private>)> = LazyLock::new(|| {
        let port = free_port();
        let mut epmd = Private::start(Command::new("epmd").args(["-address", "127.0.0.1", "-port", &port.to_string()]));
        until_listening(port, &mut epmd);
        (port, Mutex::new(epmd))
    });
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("RABBITMQ_") || name.starts_with("ERL_")) {
        command.env_remove(name);
    }
    command.env("HOME", home).env("ERL_EPMD_PORT", EPMD.0.to_string()).env("ERL_EPMD_ADDRESS", "127.0.0.1")
}
