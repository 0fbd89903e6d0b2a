// What every test here needs: a server of its own, a browser, and waiting that ends.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** The top of the work tree. */
export const ROOT = fileURLToPath(new URL("../..", import.meta.url));

/** Where screenshots go; nothing in it is committed. */
export const OUTPUT = fileURLToPath(new URL("output/", import.meta.url));

export const BINARY = process.env.STAMPEDE_BIN ?? join(ROOT, "target/debug/stampede");
const CHROMIUM = process.env.CHROMIUM ?? "/usr/bin/chromium";

/** How long anything may take before the test fails; generous, for a slow and busy machine. */
export const PATIENCE = 20_000;

/**
 * Starts a server on a free port and ends it after the test `t`, which fails if the server does not end well.
 *
 * `config` is the text of a configuration file or, with `configFile`, the path of one.
 */
export async function startServer(t, { config, configFile, env = {} } = {}) {
  const folder = await mkdtemp(join(tmpdir(), "stampede-test-"));
  const file = configFile ?? join(folder, "stampede.toml");
  if (!configFile) await writeFile(file, config ?? "");
  const child = spawn(BINARY, ["serve", "--listen", "127.0.0.1:0", "--config", file], {
    // Sessions that a test leaves open are closed spread over half of it.
    env: { ...process.env, STAMPEDE__SERVER__SHUTDOWN_GRACE: "1s", ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const output = collect(child);
  const ended = new Promise((done) => {
    child.once("error", (error) => done(error.message));
    child.once("exit", (code, signal) => done(signal ?? code));
  });
  const stop = once(async () => {
    child.kill("SIGTERM");
    const how = await within(ended, "the server ends after SIGTERM").catch((error) => {
      child.kill("SIGKILL");
      throw error;
    });
    await rm(folder, { recursive: true, force: true });
    assert.equal(how, 0, `the server ended with ${how}\n${output.text}`);
  });
  t.after(stop);
  const port = await listening(child, ended, output);
  return { port, origin: `http://127.0.0.1:${port}`, ws: `ws://127.0.0.1:${port}`, stop, output };
}

function collect(child) {
  const output = { text: "" };
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text) => (output.text += text));
  }
  return output;
}

async function listening(child, ended, output) {
  let said = "";
  const port = new Promise((found) =>
    child.stdout.on("data", (text) => {
      said += text;
      const match = /https?:\/\/127\.0\.0\.1:(\d+)/.exec(said);
      if (match) found(Number(match[1]));
    }),
  );
  const died = ended.then((how) => {
    throw new Error(`the server ended with ${how} before it listened\n${output.text}`);
  });
  return within(Promise.race([port, died]), "the server says where it listens");
}

const once = (action) => {
  let result;
  return () => (result ??= action());
};

/** The promise, or an error that names what did not happen in time. */
export function within(promise, what, patience = PATIENCE) {
  let timer;
  const late = new Promise((_, fail) => {
    timer = setTimeout(() => fail(new Error(`not within ${patience} ms: ${what}`)), patience);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** What arrives from elsewhere, to be taken out in order. */
export class Inbox {
  #items = [];
  #takers = [];

  push = (item) => {
    const taker = this.#takers.shift();
    if (taker) taker(item);
    else this.#items.push(item);
  };

  /** The next item, waiting for it if need be. */
  next(what = "another item") {
    if (this.#items.length > 0) return Promise.resolve(this.#items.shift());
    return within(new Promise((taker) => this.#takers.push(taker)), what);
  }

  /** What has arrived and was not taken. */
  get left() {
    return [...this.#items];
  }
}

/** A headless Chromium, closed after the test. */
export async function startBrowser(t) {
  const { chromium } = await import("playwright-core");
  const browser = await chromium.launch({
    executablePath: CHROMIUM,
    // A root user, as in a container, has no sandbox; the rest keeps the browser from calling home.
    args: [
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
    ],
  });
  t.after(() => browser.close());
  return browser;
}

/** A page whose uncaught errors and console errors are in `page.faults`, and which gives up in time. */
export async function openPage(t, browser, options = {}) {
  const context = await browser.newContext(options);
  t.after(() => context.close());
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE);
  page.faults = [];
  page.on("pageerror", (error) => page.faults.push(String(error)));
  page.on("console", (message) => {
    // Browsers ask every origin for this file.
    const unasked = message.location().url.endsWith("/favicon.ico");
    if (message.type() === "error" && !unasked) page.faults.push(message.text());
  });
  return page;
}

/** Serves `respond(path)` → { type, body } or null from an origin of its own, until the test ends. */
export async function serve(t, respond) {
  const server = createServer((request, response) => {
    const found = respond(new URL(request.url, "http://localhost").pathname);
    response.writeHead(found ? 200 : 404, found ? { "content-type": found.type } : {});
    response.end(found?.body);
  });
  await new Promise((ready) => server.listen(0, "127.0.0.1", ready));
  t.after(() => {
    server.closeAllConnections();
    return new Promise((closed) => server.close(closed));
  });
  return `http://127.0.0.1:${server.address().port}`;
}
