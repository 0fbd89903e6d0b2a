// Measures Stampede beside its peers with `stampede bench`, in turns, plays the conformance kit against each, and writes
// docs/comparison.md. Started by scripts/compare.
import { spawn } from "node:child_process";
import { parseArgs } from "node:util";

import { number, write } from "./report.mjs";
import { BINARY, CONFORM, PEERS, stop } from "./servers.mjs";

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
  return report;
}

const asked = (name) => !options.peers || options.peers.split(",").some((part) => name.toLowerCase().includes(part.trim().toLowerCase()));
const chosen = Object.entries(PEERS).filter(([name]) => asked(name));
/** results[row][peer] = one result per sitting */
const results = ROWS.map(() => Object.fromEntries(chosen.map(([name]) => [name, []])));
for (let sitting = 1; sitting <= SITTINGS; sitting += 1) {
  for (const [index, row] of ROWS.entries()) {
    for (const [name, peer] of chosen) {
      // A process of its own for every figure: none carries what an earlier load has left.
      const server = await peer.start();
      const result = await bench(server, row);
      await stop(server);
      results[index][name].push(result);
      const figures = row.figures.map(([key, unit]) => `${unit} ${key in result.figures ? number(result.figures[key]) : "-"}`);
      const notes = `${result.sound ? "" : "  NOT SOUND"}  ${result.notes.join("; ")}`;
      console.log(`${sitting}/${SITTINGS}  ${row.name}  ${name}: ${figures.join(", ")}${notes}`);
    }
  }
}
const reports = {};
if (!options.only || options.only.some((part) => "conformance".includes(part))) {
  for (const [name, peer] of Object.entries(CONFORM).filter(([name]) => asked(name))) {
    const report = await conform(peer);
    reports[name] = report;
    console.log(`conformance  ${name}: ${report.passed} passed, ${report.failed} failed, ${report.known} known, ${report.not_applicable} not applicable`);
  }
}
if (!options.smoke) {
  const versions = chosen.map(([name, peer]) => `${name} ${peer.version()}`);
  const names = chosen.map(([name]) => name);
  const date = new Date().toISOString().slice(0, 10);
  write(options.output, { rows: ROWS, names, versions, sittings: SITTINGS, results, reports, date });
  console.log(`\nwritten: ${options.output}`);
}
const own = results.flatMap((row) => row.Stampede ?? []);
const fails = ["Stampede, strict", "Stampede"].some((name) => reports[name]?.failed > 0);
process.exit(fails || own.some(({ sound }) => !sound) ? 1 : 0);
