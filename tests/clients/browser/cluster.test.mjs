// The product of examples/co-editing with its users on different nodes behind HAProxy, in two browsers, while a node is
// killed in the middle.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";

import { BINARY, OUTPUT, ROOT, openPage, startBrowser, within } from "../support.mjs";

const EXAMPLE = join(ROOT, "examples/co-editing");
/** RabbitMQ takes most of it. */
const START = 120_000;
/** What the example leaves to whoever runs it: chat lines for users who are away wait. */
const KEEP = "\n[[destination]]\nmatch = '/user/*/*/queue/chat'\nkeep = { for = '1d' }\n";

/** Collects what a child says, and finds the first match of a pattern in it. */
function listen(child) {
  const heard = { text: "", waiting: [] };
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text) => {
      heard.text += text;
      heard.waiting = heard.waiting.filter((look) => !look());
    });
  }
  heard.find = (pattern, patience) =>
    within(
      new Promise((found) => {
        const look = () => {
          const matches = [...heard.text.matchAll(pattern)];
          if (matches.length) found(matches);
          return matches.length > 0;
        };
        if (!look()) heard.waiting.push(look);
      }),
      `${pattern} in ${heard.text}`,
      patience,
    );
  return heard;
}

const ended = (child) => new Promise((done) => child.once("exit", done));

/** Three nodes with a Redis and a RabbitMQ: [{ name, port, pid }]. */
async function startNodes(t) {
  const folder = await mkdtemp(join(tmpdir(), "stampede-test-"));
  const config = join(folder, "stampede.toml");
  await writeFile(config, (await readFile(join(EXAMPLE, "stampede.toml"), "utf8")) + KEEP);
  const dev = spawn(BINARY, ["dev", "--nodes", "3", "--no-open", "--port", "0", "--config", config]);
  const end = ended(dev);
  t.after(async () => {
    dev.kill("SIGTERM");
    await within(end, "stampede dev ends", START);
    await rm(folder, { recursive: true, force: true });
  });
  const heard = listen(dev);
  await heard.find(/Ctrl-C ends all of it/g, START);
  const nodes = [...heard.text.matchAll(/^ +(node-\d) +http:\/\/127\.0\.0\.1:(\d+)\S* +pid (\d+)$/gm)];
  assert.equal(nodes.length, 3, heard.text);
  return nodes.map(([, name, port, pid]) => ({ name, port: Number(port), pid: Number(pid) }));
}

async function freePort() {
  const server = createServer();
  await new Promise((ready) => server.listen(0, "127.0.0.1", ready));
  const { port } = server.address();
  await new Promise((closed) => server.close(closed));
  return port;
}

/** The balancer of deploy/, for the endpoint of the example. */
async function startBalancer(t, nodes) {
  const folder = await mkdtemp(join(tmpdir(), "stampede-test-"));
  const file = join(folder, "haproxy.cfg");
  const text = await readFile(join(ROOT, "deploy/haproxy.cfg"), "utf8");
  await writeFile(file, text.replaceAll("/ws", "/cooperate"));
  const [port, admin] = [await freePort(), await freePort()];
  const servers = Object.fromEntries(nodes.map((node, at) => [`NODE${at + 1}`, `127.0.0.1:${node.port}`]));
  const env = { ...process.env, BIND: `127.0.0.1:${port}`, ADMIN_BIND: `127.0.0.1:${admin}`, ...servers };
  const child = spawn("haproxy", ["-db", "-f", file], { env });
  const end = ended(child);
  t.after(async () => {
    child.kill("SIGKILL");
    await end;
    await rm(folder, { recursive: true, force: true });
  });
  const origin = `http://127.0.0.1:${port}`;
  const answers = async () => {
    while (!(await fetch(`${origin}/cooperate/info`).then((answer) => answer.ok, () => false))) {
      await new Promise((again) => setTimeout(again, 50));
    }
  };
  await within(answers(), "HAProxy answers");
  return origin;
}

/** How many sessions a node has. */
async function sessions(node) {
  const text = await (await fetch(`http://127.0.0.1:${node.port}/metrics`)).text();
  return [...text.matchAll(/^stampede_sessions_open\{.*\} (\d+)$/gm)].reduce((sum, [, number]) => sum + Number(number), 0);
}

async function nodeWithNewSession(nodes, before) {
  const now = await Promise.all(nodes.map(sessions));
  return nodes.find((_, at) => now[at] > before[at]);
}

const contentIs = (page, text) =>
  page.waitForFunction((wanted) => document.getElementById("content").value === wanted, text);
const line = (page, text) => page.locator("#chat p", { hasText: text }).first().waitFor();

test("two browsers on two nodes, and one of the nodes dies", async (t) => {
  await mkdir(OUTPUT, { recursive: true });
  const nodes = await startNodes(t);
  const server = await startBalancer(t, nodes);
  const serving = spawn(process.execPath, [join(EXAMPLE, "serve.mjs"), "0"]);
  t.after(() => serving.kill());
  const [[origin]] = await listen(serving).find(/http:\/\/127\.0\.0\.1:\d+/g);
  // Two browsers, not two pages of one.
  const enter = async (id, name) => {
    const page = await openPage(t, await startBrowser(t), { viewport: { width: 900, height: 700 } });
    await page.goto(`${origin}/?${new URLSearchParams({ id, name, blogId: "34", server })}`);
    await page.getByText(`Connected as ${name}`).waitFor();
    return page;
  };
  const ann = await enter("12", "Ann");
  const before = await Promise.all(nodes.map(sessions));
  const ben = await enter("13", "Ben");
  const home = await nodeWithNewSession(nodes, before);
  assert.equal(before[nodes.indexOf(home)], 0, "Ann and Ben are on different nodes");
  const say = async (page, text) => {
    await page.locator("#message").fill(text);
    await page.getByRole("button", { name: "Send" }).click();
  };

  await t.test("they see each other, write one text, and chat", async () => {
    for (const page of [ann, ben]) await page.locator("#users li", { hasText: "Ben" }).waitFor();
    await ann.locator("#users li", { hasText: "Ann" }).waitFor();
    await ann.locator("#content").pressSequentially("Once upon ", { delay: 10 });
    await contentIs(ben, "Once upon ");
    await ben.locator("#content").press("End");
    await ben.locator("#content").pressSequentially("a time", { delay: 10 });
    await contentIs(ann, "Once upon a time");
    await say(ann, "are you there?");
    await line(ben, "Ann to you: are you there?");
    await say(ben, "on another node");
    await line(ann, "Ben to you: on another node");
  });

  await t.test("Ben's node is killed while Ann writes on", async () => {
    // Looked for from now on: Ann may take longer to write than Ben to come back.
    const lost = ben.getByText("Connection lost, coming back").waitFor();
    process.kill(home.pid, "SIGKILL");
    await ann.locator("#content").press("End");
    for (let number = 1; number <= 10; number += 1) {
      await ann.locator("#content").pressSequentially(` ${number}`);
      await say(ann, `line ${number}.`);
    }
    await lost;
    await ben.getByText("Connected as Ben").waitFor();
    for (let number = 1; number <= 10; number += 1) await line(ben, `Ann to you: line ${number}.`);
    await ann.locator("#content").pressSequentially(" end");
    const text = "Once upon a time 1 2 3 4 5 6 7 8 9 10 end";
    for (const page of [ann, ben]) await contentIs(page, text);
    await ben.locator("#content").press("End");
    await ben.locator("#content").pressSequentially(".");
    for (const page of [ann, ben]) await contentIs(page, `${text}.`);
    await say(ben, "nothing is lost");
    await line(ann, "Ben to you: nothing is lost");
    for (const [name, page] of [["ann", ann], ["ben", ben]]) await page.screenshot({ path: `${OUTPUT}/cluster-${name}.png` });
  });
});
