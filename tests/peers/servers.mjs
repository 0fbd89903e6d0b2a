// The servers that are compared: how each is started and where it then listens.
import { execFileSync, spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

const TARGET = process.env.CARGO_TARGET_DIR ?? "target";
export const BINARY = join(TARGET, "release/stampede");
const HOME = mkdtempSync(join(tmpdir(), "stampede-compare-"));

/** Every process that was started here leads a group of its own, which ends with us. */
const running = new Set();
process.on("exit", () => {
  for (const child of running) kill(child, "SIGKILL");
  rmSync(HOME, { recursive: true, force: true });
});
for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => process.exit(130));

function kill(child, signal) {
  try {
    process.kill(-child.pid, signal);
  } catch {
    // It has ended.
  }
}

const freePort = () =>
  new Promise((done) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const { port } = server.address();
      server.close(() => done(port));
    });
  });

/** Starts a program; ready when `ready` matches what it prints. */
async function start(command, args, { env = {}, ready, patience = 120_000 }) {
  const child = spawn(command, args, { detached: true, env: { ...process.env, ...env }, stdio: ["ignore", "pipe", "pipe"] });
  running.add(child);
  let said = "";
  const listening = new Promise((done, failed) => {
    const timer = setTimeout(() => failed(new Error(`${command} does not listen:\n${said}`)), patience);
    for (const stream of [child.stdout, child.stderr]) {
      stream.on("data", (text) => {
        said = (said + text).slice(-4000);
        if (ready.test(said)) done(clearTimeout(timer));
      });
    }
    child.once("error", failed);
    child.once("exit", () => failed(new Error(`${command} ended:\n${said}`)));
  });
  await listening;
  return child;
}

async function end(child) {
  if (!running.delete(child)) return;
  // What was sent to it may have ended it.
  if (child.exitCode !== null || child.signalCode !== null) return kill(child, "SIGKILL");
  const ended = new Promise((done) => child.once("exit", done));
  kill(child, "SIGTERM");
  const timer = setTimeout(() => kill(child, "SIGKILL"), 10_000);
  await ended;
  clearTimeout(timer);
}

/** The process that does the work: programs in Java and Erlang are started through scripts. */
function worker(child, name) {
  const listed = execFileSync("ps", ["-eo", "pid,pgid,comm"], { encoding: "utf8" }).trim().split("\n").slice(1);
  const rows = listed.map((line) => line.trim().split(/\s+/));
  const found = rows.find(([, group, comm]) => Number(group) === child.pid && comm.startsWith(name));
  if (!found) throw new Error(`no ${name} in the group of ${child.pid}`);
  return Number(found[0]);
}

export const version = (command, args, pattern) => pattern.exec(execFileSync(command, args, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] }))?.[1] ?? "?";
const pom = (peer, pattern) => pattern.exec(readFileSync(`tests/peers/${peer}/pom.xml`, "utf8"))?.[1] ?? "?";

/** Ends what a peer has started. */
export async function stop(server) {
  for (const child of [server.child, ...(server.others ?? [])]) await end(child);
}

async function stampede(args) {
  const child = await start(BINARY, ["--listen", "127.0.0.1:0", ...args], { ready: /listens on/, env: { STAMPEDE__LOG__FILTER: "warn" } });
  const listens = execFileSync("ss", ["-Hltnp"], { encoding: "utf8" });
  return { child, port: new RegExp(`127\\.0\\.0\\.1:(\\d+) .*pid=${child.pid},`).exec(listens)[1] };
}

/** Settings are those a careful user would choose: heap enough, no debug log, no limit that the load would meet. */
export const PEERS = {
  "bare fan-out": {
    version: () => "no STOMP",
    floor: true,
    async start() {
      const port = await freePort();
      const child = await start(join(TARGET, "release/floor"), ["--listen", `127.0.0.1:${port}`], { ready: /listening/ });
      return { child, pid: child.pid, url: `ws://127.0.0.1:${port}/ws` };
    },
  },
  Stampede: {
    version: () => version(BINARY, ["--version"], /(\d\S+)/),
    async start() {
      const { child, port } = await stampede([]);
      return { child, pid: child.pid, url: `ws://127.0.0.1:${port}/ws` };
    },
  },
  "Spring simple broker": {
    version: () => `Spring Boot ${pom("spring", /starter-parent<\/artifactId>\s*<version>([^<]+)/)}`,
    async start() {
      const port = await freePort();
      const args = ["-Xms1g", "-Xmx1g", "-jar", "tests/peers/spring/target/peer.jar", `--server.port=${port}`, "--server.address=127.0.0.1", "--logging.level.root=info"];
      const child = await start("java", args, { ready: /Started Peer/ });
      return { child, pid: child.pid, url: `ws://127.0.0.1:${port}/ws`, options: ["--proof", "echo"], conform: { url: `ws://127.0.0.1:${port}/ws`, sockjs: `http://127.0.0.1:${port}/sockjs`, options: [] } };
    },
  },
  "RabbitMQ Web-STOMP": {
    version: () => version("dpkg-query", ["-W", "-f", "${Version}", "rabbitmq-server"], /^([^-]+)/),
    async start() {
      const [port, amqp, dist, mapper] = [await freePort(), await freePort(), await freePort(), await freePort()];
      const home = mkdtempSync(join(HOME, "rabbit-"));
      const file = (name, text) => {
        writeFileSync(join(home, name), text);
        return join(home, name);
      };
      const epmd = spawn("epmd", ["-address", "127.0.0.1", "-port", String(mapper)], { detached: true, stdio: "ignore" });
      running.add(epmd);
      const env = {
        HOME: home,
        ERL_EPMD_PORT: String(mapper),
        ERL_EPMD_ADDRESS: "127.0.0.1",
        RABBITMQ_NODENAME: "compare@localhost",
        RABBITMQ_NODE_PORT: String(amqp),
        RABBITMQ_NODE_IP_ADDRESS: "127.0.0.1",
        RABBITMQ_DIST_PORT: String(dist),
        RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS: "-kernel inet_dist_use_interface {127,0,0,1}",
        RABBITMQ_CONF_ENV_FILE: file("env.conf", ""),
        RABBITMQ_CONFIG_FILE: file("rabbitmq.conf", `web_stomp.tcp.port = ${port}\nweb_stomp.tcp.ip = 127.0.0.1\n`),
        RABBITMQ_ADVANCED_CONFIG_FILE: file("advanced.config", "[]."),
        RABBITMQ_ENABLED_PLUGINS_FILE: file("plugins", "[rabbitmq_web_stomp]."),
        ERL_CRASH_DUMP: "/dev/null",
        RABBITMQ_MNESIA_BASE: join(home, "mnesia"),
        RABBITMQ_LOG_BASE: join(home, "log"),
        RABBITMQ_PID_FILE: join(home, "pid"),
        RABBITMQ_GENERATED_CONFIG_DIR: join(home, "generated"),
      };
      const child = await start("/usr/lib/rabbitmq/bin/rabbitmq-server", [], { env, ready: /Server startup complete|completed with \d+ plugins/ });
      const options = ["--login", "guest", "--passcode", "guest", "--vhost", "/"];
      const url = `ws://127.0.0.1:${port}/ws`;
      const conform = { url, options: [...options, "--queue", "/queue/conformance-{}", "--refused", "/nowhere/x"] };
      return { child, others: [epmd], pid: worker(child, "beam"), url, options, conform };
    },
  },
  ActiveMQ: {
    version: () => pom("activemq", /<activemq.version>([^<]+)/),
    async start() {
      const port = await freePort();
      const jars = "tests/peers/activemq/target/peer.jar:tests/peers/activemq/target/dependency/*";
      const args = ["-Xms1g", "-Xmx1g", "-cp", jars, "peer.Peer", mkdtempSync(join(HOME, "activemq-")), `127.0.0.1:${port}`];
      const child = await start("java", args, { ready: /listening on/ });
      const url = `ws://127.0.0.1:${port}/`;
      return { child, pid: child.pid, url, conform: { url, options: ["--queue", "/queue/conformance-{}"] } };
    },
  },
  "stomp-broker-js": {
    version: () => JSON.parse(readFileSync("tests/peers/stomp-broker-js/package.json", "utf8")).dependencies["stomp-broker-js"],
    async start() {
      const port = await freePort();
      const child = await start("node", ["tests/peers/stomp-broker-js/peer.js", "127.0.0.1", String(port)], { ready: /listening/ });
      return { child, pid: child.pid, url: `ws://127.0.0.1:${port}/ws` };
    },
  },
};

/** What the conformance kit is pointed at, each with what it is known to do otherwise. */
export const CONFORM = {
  "Stampede, strict": { known: "stampede-strict", start: () => conforming("/strict") },
  Stampede: { known: "stampede", start: () => conforming("/ws") },
  ...Object.fromEntries(Object.entries(PEERS).filter(([name, { floor }]) => !floor && name !== "Stampede")),
};

async function conforming(path) {
  const { child, port } = await stampede(["--config", "tests/peers/stampede/conformance.toml"]);
  return { child, conform: { url: `ws://127.0.0.1:${port}${path}`, options: ["--queue", "/queue/work/{}", "--refused", "/nowhere/x"] } };
}
