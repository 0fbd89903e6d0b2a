// sockjs.md check 101: what stands between browser and server refuses WebSockets, lets them hang, or holds answers back.
import assert from "node:assert/strict";
import { createServer, request } from "node:http";
import { test } from "node:test";

import { PATIENCE, startBrowser, startServer } from "../support.mjs";
import { config, openCrossOrigin, serveFiles } from "./sockjs.mjs";

const OBSTACLES = [
  { name: "upgrades are refused", upgrade: refuse, ends: "xhr-streaming" },
  { name: "upgrades hang", upgrade: () => {}, ends: "xhr-streaming" },
  { name: "upgrades are refused and answers are held back until they are whole", upgrade: refuse, whole: true, ends: "xhr-polling" },
];

for (const obstacle of OBSTACLES) {
  test(`101: ${obstacle.name}: ${obstacle.ends}`, async (t) => {
    const files = await serveFiles(t);
    const server = await startServer(t, { config: config(`${files}/sockjs.min.js`) });
    const proxy = await startProxy(t, server, obstacle);
    const page = await openCrossOrigin(t, await startBrowser(t), files);
    // No list of transports: the library goes down its own.
    const options = { url: `${proxy}/ws` };
    const echo = await page.evaluate((given) => window.echo(...given), [options, ["one", "two 😀"], PATIENCE]);
    assert.deepEqual(echo.received, ["one", "two 😀"]);
    assert.equal(echo.transport, obstacle.ends);
    t.diagnostic(`connected after ${echo.after} ms`);
  });
}

function refuse(socket) {
  socket.end("HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
}

async function startProxy(t, server, { upgrade, whole }) {
  const sockets = new Set();
  const proxy = createServer((incoming, outgoing) => {
    const { method, url: path, headers } = incoming;
    const onward = request({ host: "127.0.0.1", port: server.port, method, path, headers }, (answer) => {
      if (whole) return passWhole(answer, outgoing);
      outgoing.writeHead(answer.statusCode, answer.headers);
      outgoing.flushHeaders();
      answer.pipe(outgoing);
    });
    onward.on("error", () => outgoing.destroy());
    outgoing.on("close", () => onward.destroy());
    incoming.pipe(onward);
  });
  proxy.on("connection", (socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket)).on("error", () => {});
  });
  proxy.on("upgrade", (_, socket) => upgrade(socket));
  await new Promise((ready) => proxy.listen(0, "127.0.0.1", ready));
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    return new Promise((closed) => proxy.close(closed));
  });
  return `http://127.0.0.1:${proxy.address().port}`;
}

function passWhole(answer, outgoing) {
  const pieces = [];
  answer.on("data", (piece) => pieces.push(piece));
  answer.on("end", () => {
    const { "transfer-encoding": _, ...headers } = answer.headers;
    outgoing.writeHead(answer.statusCode, headers);
    outgoing.end(Buffer.concat(pieces));
  });
}
