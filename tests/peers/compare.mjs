// Measures Stampede beside its peers with `stampede bench`, in turns, plays the conformance kit against each, and writes
// docs/comparison.md. Started by scripts/compare.
import { spawn } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { parseArgs } from "node:util";

import { number, write } from "./report.mjs";
import { BINARY, CONFORM, PEERS, stop } from "./servers.mjs";

const { values: options } = parseArgs({
  options: {
    sittings: { type: "string", default: "5" },
    only: { type: "string", multiple: true },
    peers: { type: "string" },
    smoke: { type: "boolean", default: false },
    continue: { type: "boolean", default: false },
    output: { type: "string", default: "docs/comparison.md" },
  },
});
const SITTINGS = options.smoke ? 1 : Number(options.sittings);

const size = (full, small) => String(options.smoke ? small : full);
const bounds = ["--seconds", size(4, 0.3), "--warm-up", size(2, 0.1)];
const fanout = (subscribers, body, inFlight) => ({
  name: `1→${subscribers}, ${body === 128 ? "128 B" : "1 KiB"}, ${inFlight === 1 ? "one" : inFlight} in flight`,
  args: ["fanout", "--subscribers", size(subscribers, 5), "--body", String(body), "--in-flight", String(inFlight), ...bounds],
  figures: [["cpu_us", "CPU µs per delivered message", "less"], ["rate", "deliveries/s", "more"]],
});
const ALL = [
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
];
const ROWS = ALL.filter(({ name }) => !options.only || options.only.some((part) => name.includes(part)));

/** What an earlier run has left. */
function saved(file) {
  try {
    return JSON.parse(readFileSync(file, "utf8"));
  } catch {
    return undefined;
  }
}

function run(args) {
  return new Promise((done) => {
    const child = spawn(BINARY, args, { stdio: ["ignore", "pipe", "pipe"] });
    let [out, err] = ["", ""];
    child.stdout.on("data", (text) => (out += text));
    child.stderr.on("data", (text) => (err += text));
    child.once("exit", () => done({ out, err }));
  });
}

async function bench(server, row) {
  const args = ["bench", server.url, ...row.args, "--pid", String(server.pid), "--json", ...(server.options ?? [])];
  const { out, err } = await run(args);
  try {
    return JSON.parse(out.trim().split("\n").at(-1));
  } catch {
    return { figures: {}, notes: [err.trim().split("\n").at(-1) || "no result"], sound: false };
  }
}

/** Results over every carrier. A server with SockJS at another path is asked there for all but the bare WebSocket. */
async function conform({ known, start }) {
  const server = await start();
  const { url, sockjs, options: how } = server.conform ?? { url: server.url, options: [] };
  const list = known ? ["--known", `fixtures/conformance/known/${known}.txt`] : [];
  const ask = async (at, ...more) => {
    const { out, err } = await run(["conformance", at, "--json", "--slow", ...how, ...list, ...more]);
    // It could not be asked: says why.
    return out ? JSON.parse(out) : { results: [], notes: [err.trim()], passed: 0, failed: 0, known: 0, not_applicable: 0 };
  };
  const report = sockjs ? await ask(url, "--over", "websocket", "--no-sockjs") : await ask(url);
  if (sockjs) {
    const { results, notes, passed, failed, known: explained, not_applicable: out } = await ask(sockjs);
    report.results.push(...results.filter(({ carrier }) => carrier !== "websocket"));
    report.notes.push(...notes.filter((note) => !note.startsWith("not over websocket")));
    for (const [key, count] of Object.entries({ passed, failed, known: explained, not_applicable: out })) report[key] += count;
  }
  await stop(server);
  return condensed(report);
}

/** Counts by section, version and carrier, and each deviation once: thousands of results are nothing to keep. */
function condensed({ results, ...report }) {
  const counts = new Map();
  const otherwise = new Map();
  for (const { id, title, level, section, version, carrier, outcome, reason } of results) {
    if (outcome === "not_applicable") continue;
    const key = JSON.stringify([section, version, carrier]);
    const [passed, played] = counts.get(key) ?? [0, 0];
    counts.set(key, [passed + (outcome === "passed"), played + 1]);
    if (outcome === "passed") continue;
    const found = otherwise.get(id) ?? { id, title, level, reason, versions: [] };
    if (version && !found.versions.includes(version)) found.versions.push(version);
    otherwise.set(id, found);
  }
  const tallies = [...counts].map(([key, [passed, played]]) => [...JSON.parse(key), passed, played]);
  return { ...report, tallies, otherwise: [...otherwise.values()] };
}

const asked = (name) => !options.peers || options.peers.split(",").some((part) => name.toLowerCase().includes(part.trim().toLowerCase()));
const chosen = Object.entries(PEERS).filter(([name]) => asked(name));
const folder = options.output.replace(/\.md$/, "");
const file = `${folder}/results.json`;

/** What was measured: `rows[row][server]` has a result per sitting, `reports[server]` what the conformance kit found. */
const taken = (options.continue && saved(file)) || { date: new Date().toISOString().slice(0, 10), versions: {}, rows: {}, reports: {} };
function keep() {
  if (options.smoke) return;
  mkdirSync(folder, { recursive: true });
  writeFileSync(file, JSON.stringify(taken, null, 1));
}

for (let sitting = 1; sitting <= SITTINGS; sitting += 1) {
  for (const row of ROWS) {
    for (const [name, peer] of chosen) {
      const results = ((taken.rows[row.name] ??= {})[name] ??= []);
      if (results.length >= sitting) continue;
      // A process of its own for every figure: none carries what an earlier load has left.
      const server = await peer.start();
      const result = await bench(server, row);
      await stop(server);
      results.push(result);
      taken.versions[name] = peer.version();
      keep();
      const figures = row.figures.map(([key, unit]) => `${unit} ${key in result.figures ? number(result.figures[key]) : "-"}`);
      const notes = `${result.sound ? "" : "  NOT SOUND"}  ${result.notes.join("; ")}`;
      console.log(`${sitting}/${SITTINGS}  ${row.name}  ${name}: ${figures.join(", ")}${notes}`);
    }
  }
}
if (!options.only || options.only.some((part) => "conformance".includes(part))) {
  for (const [name, peer] of Object.entries(CONFORM).filter(([name]) => asked(name) && !taken.reports[name])) {
    const report = await conform(peer);
    taken.reports[name] = report;
    keep();
    console.log(`conformance  ${name}: ${report.passed} passed, ${report.failed} failed, ${report.known} known, ${report.not_applicable} not applicable`);
  }
}
if (!options.smoke) {
  write(options.output, { ...taken, of: ALL });
  console.log(`\nwritten: ${options.output}`);
}
const own = Object.values(taken.rows).flatMap((row) => row.Stampede ?? []);
const fails = ["Stampede, strict", "Stampede"].some((name) => taken.reports[name]?.failed > 0);
process.exit(fails || own.some(({ sound }) => !sound) ? 1 : 0);
