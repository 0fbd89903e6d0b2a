// Writes docs/comparison.md and its plots from what was measured.
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { cpus, release, totalmem } from "node:os";
import { join } from "node:path";

import { plot } from "./plot.mjs";
import { version } from "./servers.mjs";

const median = (values) => {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)];
};
export const number = (value) => (value >= 100 ? Math.round(value).toLocaleString("en-US") : Number(value.toPrecision(3)).toString());


/** Figures of one row: a table and a plot for each kind. */
function figures(row, index, results, names, plots) {
  const lines = ["", `### ${row.name}`, "", `\`stampede bench URL ${row.args.join(" ")}\``, ""];
  for (const [key, unit, better] of row.figures) {
    const taken = names.map((name) => {
      const values = results[name].map(({ figures }) => figures[key]).filter((value) => value !== undefined);
      const unsound = results[name].find(({ sound }) => !sound);
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

/** How many of a server's results are as the specification says, out of those that could be played. */
function tally(results) {
  const played = results.filter(({ outcome }) => outcome !== "not_applicable");
  return played.length ? `${played.filter(({ outcome }) => outcome === "passed").length}/${played.length}` : "-";
}

/** Sections by servers, then what each server does otherwise. `reports` are what `stampede conformance --json` printed. */
function conformance(reports) {
  const names = Object.keys(reports);
  const first = ({ results }) => {
    const carrier = results.find(({ carrier }) => carrier)?.carrier;
    return results.filter((result) => result.carrier === carrier);
  };
  const row = (title, pick) => `| ${title} | ${names.map((name) => tally(pick(reports[name]))).join(" | ")} |`;
  const sections = [...new Set(names.flatMap((name) => first(reports[name]).map(({ section }) => section)))];
  const http = [...new Set(names.flatMap((name) => reports[name].results.filter(({ carrier }) => !carrier).map(({ section }) => section)))];
  const carriers = [...new Set(names.flatMap((name) => reports[name].results.map(({ carrier }) => carrier)))].filter(Boolean);
  const lines = [
    "## Conformance",
    "",
    "`stampede conformance URL`: passed out of what could be played. What fails is what the specifications say otherwise; what they only",
    "recommend is counted too. Every transcript can be read in `fixtures/conformance`.",
    "",
    `| STOMP over WebSocket | ${names.join(" | ")} |`,
    `| --- | ${names.map(() => "--:").join(" | ")} |`,
    ...sections.map((section) => row(section, (report) => first(report).filter((result) => result.section === section))),
    ...["1.0", "1.1", "1.2"].map((at) => row(`**all of ${at}**`, (report) => first(report).filter((result) => result.version === at))),
    "",
    `| Over each carrier | ${names.join(" | ")} |`,
    `| --- | ${names.map(() => "--:").join(" | ")} |`,
    ...carriers.map((carrier) => row(carrier, ({ results }) => results.filter((result) => result.carrier === carrier))),
    "",
    `| SockJS over HTTP | ${names.join(" | ")} |`,
    `| --- | ${names.map(() => "--:").join(" | ")} |`,
    ...http.map((section) => row(section, ({ results }) => results.filter((result) => !result.carrier && result.section === section))),
    "",
    "What each does otherwise, with the versions; in brackets what is only recommended:",
    "",
  ];
  for (const name of names) {
    const otherwise = new Map();
    for (const { id, title, version: at, level, outcome, reason } of reports[name].results) {
      if (outcome !== "failed" && outcome !== "known") continue;
      const found = otherwise.get(id) ?? { title, level, reason, versions: new Set() };
      if (at) found.versions.add(at);
      otherwise.set(id, found);
    }
    lines.push(`- **${name}**${otherwise.size ? ":" : ": nothing."}`);
    lines.push(...reports[name].notes.map((note) => `  - _${note}_`));
    for (const [id, { title, level, reason, versions }] of otherwise) {
      const text = `${id} ${title}${versions.size ? ` (${[...versions].sort().join(", ")})` : ""}${reason ? `: ${reason}` : ""}`;
      lines.push(`  - ${level === "SHOULD" ? `[${text}]` : text}`);
    }
  }
  return lines;
}

/** `measured`: the rows, the names of the servers and their versions, the sittings, results by row and server, reports by server. */
export function write(output, { rows, names, versions, sittings, results, reports, date }) {
  const folder = output.replace(/\.md$/, "");
  const plots = [];
  const lines = rows.flatMap((row, index) => figures(row, index, results[index], names, plots));
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  for (const { file, svg } of plots) writeFileSync(join(folder, file), svg);
  const java = version("sh", ["-c", "java -version 2>&1"], /version "([^"]+)"/);
  const head = `# Comparison

Written by \`scripts/compare --sittings ${sittings}\`: \`stampede bench\` and \`stampede conformance\` against every server on one machine.

- ${date}, ${cpus().length} cores (${cpus()[0].model.trim()}), ${Math.round(totalmem() / 2 ** 30)} GiB, Linux ${release()}, loopback; load and servers share the cores
- ${versions.join("; ")}
- Java ${java} with 1 GiB heap; each peer with settings as in \`tests/peers\`: heart-beats on, limits above the load, order kept

## Speed

In turns, each figure with a server process of its own. Medians of ${sittings} sittings, and their spread. CPU is user and system time of
the server's process. "bare fan-out" speaks no STOMP: it writes one ready frame per subscriber, which is the least that can be done.
A note in the last column says what was not sound: messages lost, doubled or out of order, or a run that did not end.
`;
  const tail = Object.keys(reports).length ? ["", ...conformance(reports)] : [];
  writeFileSync(output, `${head}${[...lines, ...tail].join("\n").replace(/\n{3,}/g, "\n\n").trimEnd()}\n`);
}
