// Writes docs/comparison.md and its plots from what was measured.
import { mkdirSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { cpus, release, totalmem } from "node:os";
import { join } from "node:path";

import { plot } from "./plot.mjs";
import { version } from "./servers.mjs";

const median = (values) => {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)];
};
export const number = (value) => (value >= 100 ? Math.round(value).toLocaleString("en-US") : Number(value.toPrecision(3)).toString());


/** How many times better Stampede is in a figure, by the medians; nothing where one of the two has none. */
function ratio(results, name, [key, , better]) {
  const values = (of) => (results[of] ?? []).map(({ figures }) => figures[key]).filter((value) => value !== undefined);
  const [own, others] = [values("Stampede"), values(name)];
  if (name === "Stampede" || !own.length || !others.length) return "";
  const [mine, other] = [median(own), median(others)];
  return `${number(better === "less" ? other / mine : mine / other)} ×`;
}

/** The first figure of every row: how many times better Stampede is than each. */
function summary(measured, rows) {
  const names = Object.keys(rows[measured[0].name]).filter((name) => name !== "Stampede");
  const line = ({ name, figures: [first] }) => {
    const own = median(rows[name].Stampede.map(({ figures }) => figures[first[0]]));
    return `| ${name}: ${first[1]} | ${number(own)} | ${names.map((peer) => ratio(rows[name], peer, first) || "-").join(" | ")} |`;
  };
  const head = [`| | Stampede | ${names.map((name) => `than ${name}`).join(" | ")} |`, `| --- | --: | ${names.map(() => "--:").join(" | ")} |`];
  return ["## In short", "", "How many times better Stampede is, by the medians; below 1 the other is better.", "", ...head, ...measured.map(line), ""];
}

/** Figures of one row: a table and a plot for each kind. */
function figures(row, index, results, names, plots) {
  const lines = ["", `### ${row.name}`, "", `\`stampede bench URL ${row.args.join(" ")}\``, ""];
  for (const [key, unit, better] of row.figures) {
    const taken = names.map((name) => {
      const values = results[name].map(({ figures }) => figures[key]).filter((value) => value !== undefined);
      const unsound = results[name].find(({ sound }) => !sound);
      return { name, values, note: unsound?.notes.join("; ") ?? "" };
    });
    lines.push(`| ${unit} (${better} is better) | median | least to most | Stampede is better by | |`, "| --- | --: | --: | --: | --- |");
    for (const peer of taken) {
      const [low, high] = [Math.min(...peer.values), Math.max(...peer.values)];
      const spread = peer.values.length > 1 ? `${number(low)} to ${number(high)}` : "";
      lines.push(`| ${peer.name} | ${peer.values.length ? number(median(peer.values)) : "-"} | ${spread} | ${ratio(results, peer.name, [key, unit, better])} | ${peer.note} |`);
    }
    lines.push("");
    const bars = taken
      .filter(({ values }) => values.length)
      .map(({ name, values }) => ({ name, value: median(values), low: Math.min(...values), high: Math.max(...values) }));
    if (bars.length > 1) {
      const file = `${index}-${key}.svg`;
      plots.push({ file, svg: plot(`${row.name}: ${unit}`, bars, number) });
      lines.push(`![${row.name}: ${unit}](comparison/${file})`, "");
    }
  }
  return lines;
}

/** Passed out of what could be played, in those tallies that fit. */
function tally({ tallies }, fits) {
  const found = tallies.filter(([section, version, carrier]) => fits({ section, version, carrier }));
  const sum = (at) => found.reduce((sum, tally) => sum + tally[at], 0);
  return found.length ? `${sum(3)}/${sum(4)}` : "-";
}

/** Sections by servers, then what each server does otherwise. `reports` are what the conformance kit found, condensed. */
function conformance(reports) {
  const names = Object.keys(reports);
  const all = names.flatMap((name) => reports[name].tallies);
  const each = (fits, pick) => [...new Set(all.filter(fits).map(pick))];
  const row = (title, fits) => `| ${title} | ${names.map((name) => tally(reports[name], fits)).join(" | ")} |`;
  const head = (title) => ["", `| ${title} | ${names.join(" | ")} |`, `| --- | ${names.map(() => "--:").join(" | ")} |`];
  const plain = ({ carrier }) => carrier === "websocket";
  const lines = [
    "## Conformance",
    "",
    "`stampede conformance URL --slow`: passed out of what could be played. What fails is what the specifications say otherwise; what they",
    "only recommend is counted too. Every transcript can be read in `fixtures/conformance`. Spring gives 404 to a send of an anonymous SockJS",
    "session that comes from another port than its receiver, so that little can be played over its HTTP transports.",
    ...head("STOMP over WebSocket"),
    ...each(([, , carrier]) => carrier === "websocket", ([section]) => section).map((section) => row(section, (at) => plain(at) && at.section === section)),
    ...["1.0", "1.1", "1.2"].map((version) => row(`**all of ${version}**`, (at) => plain(at) && at.version === version)),
    ...head("STOMP over each carrier"),
    ...each(([, , carrier]) => carrier, ([, , carrier]) => carrier).map((carrier) => row(carrier, (at) => at.carrier === carrier)),
    ...head("SockJS over HTTP"),
    ...each(([, , carrier]) => !carrier, ([section]) => section).map((section) => row(section, (at) => !at.carrier && at.section === section)),
    "",
    "What each does otherwise, with the versions; in brackets what is only recommended:",
    "",
  ];
  for (const name of names) {
    const { notes, otherwise } = reports[name];
    lines.push(`- **${name}**${otherwise.length || notes.length ? ":" : ": nothing."}`, ...notes.map((note) => `  - _${note}_`));
    for (const { id, title, level, reason, versions } of otherwise) {
      const text = `${id} ${title}${versions.length ? ` (${versions.sort().join(", ")})` : ""}${reason ? `: ${reason}` : ""}`;
      lines.push(`  - ${level === "SHOULD" ? `[${text}]` : text}`);
    }
  }
  return lines;
}

/** What was measured, and `of`: the rows in their order, with what their figures mean. */
export function write(output, { rows, reports, versions, date, of }) {
  const folder = output.replace(/\.md$/, "");
  const plots = [];
  const measured = of.filter(({ name }) => rows[name]);
  const lines = measured.flatMap((row, index) => figures(row, index, rows[row.name], Object.keys(rows[row.name]), plots));
  const sittings = Math.max(0, ...measured.map(({ name }) => rows[name].Stampede?.length ?? 0));
  mkdirSync(folder, { recursive: true });
  for (const old of readdirSync(folder).filter((name) => name.endsWith(".svg"))) rmSync(join(folder, old));
  for (const { file, svg } of plots) writeFileSync(join(folder, file), svg);
  const java = version("sh", ["-c", "java -version 2>&1"], /version "([^"]+)"/);
  const head = `# Comparison

Written by \`scripts/compare --sittings ${sittings}\`: \`stampede bench\` and \`stampede conformance\` against every server on one machine.

- ${date}, ${cpus().length} cores (${cpus()[0].model.trim()}), ${Math.round(totalmem() / 2 ** 30)} GiB, Linux ${release()}, loopback; load and servers share the cores
- ${Object.entries(versions).filter(([name]) => name !== "bare fan-out").map((pair) => pair.join(" ")).join("; ")}
- Java ${java} with 1 GiB heap; each peer with settings as in \`tests/peers\`: heart-beats on, limits above the load, order kept

${measured.length ? summary(measured, rows).join("\n") : ""}
## Speed

In turns, each figure with a server process of its own. Medians of ${sittings} sittings, and their spread. CPU is user and system time of
the server's process. "bare fan-out" speaks no STOMP: it writes one ready frame per subscriber, which is the least that can be done.
A note in the last column says what was not sound: messages lost, doubled or out of order, or a run that did not end.
`;
  const tail = Object.keys(reports).length ? ["", ...conformance(reports)] : [];
  writeFileSync(output, `${head}${[...lines, ...tail].join("\n").replace(/\n{3,}/g, "\n\n").trimEnd()}\n`);
}
