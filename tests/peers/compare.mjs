// Measures Stampede beside its peers with `stampede bench`, in turns, and writes docs/comparison.md. Started by scripts/compare.
import { execFileSync, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { cpus, release, tmpdir, totalmem } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";

import { plot } from "./plot.mjs";

const { values: options } = parseArgs({
  options: {
    sittings: { type: "string", default: "5" },
    only: { type: "string", multiple: true },
    peers: { type: "string" },
    smoke: { type: "boolean", default: false },
    output: { type: "string", default: "docs/comparison.md" },
  },
});
const SITTINGS = options.smoke ? 1 : Number(options.sittings);
const TARGET = process.env.CARGO_TARGET_DIR ?? "target";
const BINARY = join(TARGET, "release/stampede");
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

async function stop(child) {
  if (!running.delete(child)) return;
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

const version = (command, args, pattern) => pattern.exec(execFileSync(command, args, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] }))?.[1] ?? "?";
const pom = (peer, pattern) => pattern.exec(readFileSync(`tests/peers/${peer}/pom.xml`, "utf8"))?.[1] ?? "?";

/** Settings are those a careful user would choose: heap enough, no debug log, no limit that the load would meet. */
const PEERS = {
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
      const child = await start(BINARY, ["--listen", "127.0.0.1:0"], { ready: /listens on/, env: { STAMPEDE__LOG__FILTER: "warn" } });
      const listens = execFileSync("ss", ["-Hltnp"], { encoding: "utf8" });
      const port = new RegExp(`127\\.0\\.0\\.1:(\\d+) .*pid=${child.pid},`).exec(listens)[1];
      return { child, pid: child.pid, url: `ws://127.0.0.1:${port}/ws` };
    },
  },
  "Spring simple broker": {
    version: () => `Spring Boot ${pom("spring", /starter-parent<\/artifactId>\s*<version>([^<]+)/)}`,
    async start() {
      const port = await freePort();
      const args = ["-Xms1g", "-Xmx1g", "-jar", "tests/peers/spring/target/peer.jar", `--server.port=${port}`, "--server.address=127.0.0.1", "--logging.level.root=info"];
      const child = await start("java", args, { ready: /Started Peer/ });
      return { child, pid: child.pid, url: `ws://127.0.0.1:${port}/ws`, options: ["--proof", "echo"] };
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
      return { child, others: [epmd], pid: worker(child, "beam"), url: `ws://127.0.0.1:${port}/ws`, options };
    },
  },
  ActiveMQ: {
    version: () => pom("activemq", /<activemq.version>([^<]+)/),
    async start() {
      const port = await freePort();
      const jars = "tests/peers/activemq/target/peer.jar:tests/peers/activemq/target/dependency/*";
      const args = ["-Xms1g", "-Xmx1g", "-cp", jars, "peer.Peer", mkdtempSync(join(HOME, "activemq-")), `127.0.0.1:${port}`];
      const child = await start("java", args, { ready: /listening on/ });
      return { child, pid: child.pid, url: `ws://127.0.0.1:${port}/` };
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

const size = (full, small) => String(options.smoke ? small : full);
const bounds = ["--seconds", size(4, 0.3), "--warm-up", size(2, 0.1)];
const fanout = (subscribers, body, inFlight) => ({
  name: `1→${subscribers}, ${body === 128 ? "128 B" : "1 KiB"}, ${inFlight === 1 ? "one" : inFlight} in flight`,
  args: ["fanout", "--subscribers", size(subscribers, 5), "--body", String(body), "--in-flight", String(inFlight), ...bounds],
  figures: [["cpu_us", "CPU µs per delivered message", "less"], ["rate", "deliveries/s", "more"]],
});
const ROWS = [
  fanout(100, 128, 1),
  fanout(100, 128, 16),
  fanout(100, 1024, 16),
  fanout(1000, 128, 16),
  fanout(1000, 1024, 16),
  {
    name: "unicast, 100 pairs, 128 B, one in flight",
    args: ["unicast", "--pairs", size(100, 5), "--body", "128", "--in-flight", "1", ...bounds],
    figures: [["cpu_us", "CPU µs per delivered message", "less"], ["rate", "messages/s", "more"], ["p99_us", "p99 µs", "less"]],
  },
  {
    name: "connect, subscribe, leave",
    args: ["connect", "--count", size(5000, 50), "--seconds", size(15, 5)],
    figures: [["rate", "connects/s", "more"]],
  },
  {
    name: "idle subscribed connections",
    args: ["idle", "--count", size(3000, 50)],
    figures: [["kib_each", "KiB per connection", "less"]],
  },
].filter(({ name }) => !options.only || options.only.some((part) => name.includes(part)));

function bench(server, row) {
  const args = ["bench", server.url, ...row.args, "--pid", String(server.pid), "--json", ...(server.options ?? [])];
  return new Promise((done) => {
    const child = spawn(BINARY, args, { stdio: ["ignore", "pipe", "pipe"] });
    let [out, err] = ["", ""];
    child.stdout.on("data", (text) => (out += text));
    child.stderr.on("data", (text) => (err += text));
    child.once("exit", () => {
      try {
        done(JSON.parse(out.trim().split("\n").at(-1)));
      } catch {
        done({ figures: {}, notes: [err.trim().split("\n").at(-1) || "no result"], sound: false });
      }
    });
  });
}

const median = (values) => {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)];
};
const number = (value) => (value >= 100 ? Math.round(value).toLocaleString("en-US") : Number(value.toPrecision(3)).toString());

const chosen = Object.entries(PEERS).filter(([name]) => !options.peers || options.peers.split(",").some((part) => name.toLowerCase().includes(part.trim().toLowerCase())));
/** results[row][peer] = one result per sitting */
const results = ROWS.map(() => Object.fromEntries(chosen.map(([name]) => [name, []])));
for (let sitting = 1; sitting <= SITTINGS; sitting += 1) {
  for (const [index, row] of ROWS.entries()) {
    for (const [name, peer] of chosen) {
      // A process of its own for every figure: none carries what an earlier load has left.
      const server = await peer.start();
      const result = await bench(server, row);
      await stop(server.child);
      for (const other of server.others ?? []) await stop(other);
      results[index][name].push(result);
      const figures = row.figures.map(([key, unit]) => `${unit} ${key in result.figures ? number(result.figures[key]) : "-"}`);
      console.log(`${sitting}/${SITTINGS}  ${row.name}  ${name}: ${figures.join(", ")}${result.sound ? "" : "  NOT SOUND"}  ${result.notes.join("; ")}`);
    }
  }
}

const lines = [];
const versions = chosen.map(([name, peer]) => `${name} ${peer.version()}`);
const plots = [];
for (const [index, row] of ROWS.entries()) {
  lines.push("", `## ${row.name}`, "", `\`stampede bench URL ${row.args.join(" ")}\``, "");
  for (const [key, unit, better] of row.figures) {
    const taken = chosen.map(([name]) => {
      const values = results[index][name].map(({ figures }) => figures[key]).filter((value) => value !== undefined);
      const unsound = results[index][name].find(({ sound }) => !sound);
      return { name, values, note: unsound?.notes.join("; ") ?? "" };
    });
    const own = taken.find(({ name }) => name === "Stampede");
    const ratio = ({ values, name }) => {
      if (!own?.values.length || !values.length || name === "Stampede") return "";
      const [mine, other] = [median(own.values), median(values)];
      return `${number(better === "less" ? other / mine : mine / other)} ×`;
    };
    lines.push(`| ${unit} (${better} is better) | median | least to most | Stampede is better by | |`, "| --- | --: | --: | --: | --- |");
    for (const peer of taken) {
      const [low, high] = [Math.min(...peer.values), Math.max(...peer.values)];
      const spread = peer.values.length > 1 ? `${number(low)} to ${number(high)}` : "";
      lines.push(`| ${peer.name} | ${peer.values.length ? number(median(peer.values)) : "-"} | ${spread} | ${ratio(peer)} | ${peer.note} |`);
    }
    lines.push("");
    const bars = taken.filter(({ values }) => values.length).map(({ name, values }) => ({ name, value: median(values), low: Math.min(...values), high: Math.max(...values) }));
    if (bars.length > 1) plots.push({ file: `${index}-${key}.svg`, svg: plot(`${row.name}: ${unit}`, bars, number), title: `${row.name}: ${unit}`, at: lines.length });
  }
}
const folder = options.output.replace(/\.md$/, "");
if (!options.smoke) {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  for (const { file, svg } of plots) writeFileSync(join(folder, file), svg);
  for (const { file, title, at } of plots.reverse()) lines.splice(at, 0, `![${title}](${folder.split("/").at(-1)}/${file})`, "");
  const head = `# Comparison

Written by \`scripts/compare --sittings ${SITTINGS}\`: \`stampede bench\` against every server, in turns, each figure with a server process of its
own. Medians of ${SITTINGS} sittings, and their spread. CPU is user and system time of the server's process; "bare fan-out" writes one ready
frame per subscriber and speaks no STOMP, which is the least that can be done.

- ${new Date().toISOString().slice(0, 10)}, ${cpus().length} cores (${cpus()[0].model.trim()}), ${Math.round(totalmem() / 2 ** 30)} GiB, Linux ${release()}, loopback; load and servers share the cores
- ${versions.join("; ")}
- Java ${version("sh", ["-c", "java -version 2>&1"], /version "([^"]+)"/)} with 1 GiB heap; each peer with settings as in \`tests/peers\`: heart-beats on, limits above the load, order kept
- A row that is "not sound" lost, doubled or disordered messages, or did not end; its figures stand here all the same, with the reason
`;
  writeFileSync(options.output, `${head}${lines.join("\n").replace(/\n{3,}/g, "\n\n").trimEnd()}\n`);
  console.log(`\nwritten: ${options.output}`);
}
const failed = results.flatMap((row) => row.Stampede ?? []).some(({ sound }) => !sound);
process.exit(failed ? 1 : 0);
