// stomp.py over WebSocket: the script is Python's own, this only gives it a server.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

import { startServer, within } from "../support.mjs";
import { CONFIG } from "./proof.mjs";

const PYTHON = fileURLToPath(new URL("../.venv/bin/python", import.meta.url));
const SCRIPT = fileURLToPath(new URL("../python/stomp_py.py", import.meta.url));

test("stomp.py over WebSocket", async (t) => {
  const server = await startServer(t, { config: CONFIG });
  const python = spawn(PYTHON, ["-B", SCRIPT, "--verbose"], {
    env: { ...process.env, STAMPEDE_PORT: String(server.port) },
    stdio: ["ignore", "pipe", "pipe"],
  });
  t.after(() => python.kill());
  let output = "";
  for (const stream of [python.stdout, python.stderr]) stream.on("data", (text) => (output += text));
  const ended = new Promise((done) => python.once("close", done));
  const code = await within(ended, "stomp.py ends", 120_000).catch(({ message }) => message);
  assert.equal(code, 0, output);
  const [, count] = /^Ran (\d+) tests/m.exec(output) ?? [];
  assert.ok(Number(count) >= 10, output);
  t.diagnostic(`${count} tests in Python`);
});
