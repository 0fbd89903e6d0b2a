// TLS that the node ends itself: raw WebSocket and SockJS, a certificate that changes, and peers that speak something else.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { copyFile, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { connect as connectTcp } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { connect as connectTls } from "node:tls";

import { Client } from "@stomp/stompjs";
import SockJS from "sockjs-client";
import { WebSocket } from "ws";

import { startServer, within } from "../support.mjs";

// The SockJS client takes no certificate of its own. Whether the server shows the right one is checked by hand below.
process.env.NODE_TLS_REJECT_UNAUTHORIZED = "0";

const KEEP = `[[destination]]\nmatch = "/user/*/queue/**"\nkeep = { for = "1h" }\n`;

function certificate(folder, name) {
  const [key, cert] = [join(folder, `${name}.key`), join(folder, `${name}.crt`)];
  const subject = ["-subj", `/CN=${name}`, "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2"];
  const kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
  execFileSync("openssl", ["req", "-x509", ...kind, "-keyout", key, "-out", cert, ...subject], { stdio: "ignore" });
  return { key, cert };
}

async function start(t) {
  const folder = await mkdtemp(join(tmpdir(), "stampede-tls-"));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const first = certificate(folder, "first");
  const [key, cert] = [join(folder, "key.pem"), join(folder, "cert.pem")];
  await copyFile(first.key, key);
  await copyFile(first.cert, cert);
  const config = `[server]\nheader_timeout = "1s"\n[server.tls]\ncertificate = "${cert}"\nkey = "${key}"\n${KEEP}`;
  const server = await startServer(t, { config });
  return { ...server, folder, key, cert };
}

async function connected(t, webSocketFactory, login) {
  const client = new Client({ webSocketFactory, connectHeaders: { login }, reconnectDelay: 0 });
  t.after(() => client.deactivate());
  const open = new Promise((done, failed) => {
    client.onConnect = done;
    client.onStompError = (frame) => failed(new Error(frame.headers.message));
    client.onWebSocketError = (event) => failed(new Error(event.message ?? "WebSocket error"));
  });
  client.activate();
  await within(open, "CONNECTED");
  return client;
}

/** Subscribes and gives a function that waits for the next bodies. */
async function subscribed(client, destination) {
  const bodies = [];
  let wake = () => {};
  client.subscribe(destination, (message) => {
    bodies.push(message.body);
    wake();
  }, { receipt: "subscribed" });
  await within(new Promise((done) => client.watchForReceipt("subscribed", done)), "RECEIPT of SUBSCRIBE");
  return async (count) => {
    while (bodies.length < count) await within(new Promise((done) => (wake = done)), `${count} messages`);
    return bodies.splice(0, count);
  };
}

async function confirmed(client, destination, body) {
  client.publish({ destination, body, headers: { receipt: "sent" } });
  await within(new Promise((done) => client.watchForReceipt("sent", done)), "RECEIPT of SEND");
}

const commonName = async (port, ca) => {
  const socket = connectTls({ port, host: "127.0.0.1", ca, rejectUnauthorized: ca !== undefined });
  await within(once(socket, "secureConnect"), "a TLS handshake");
  const { subject } = socket.getPeerCertificate();
  const { CN } = subject;
  socket.destroy();
  return CN;
};

test("messages of every size arrive over TLS, on every transport", async (t) => {
  const { port } = await start(t);
  // Not EventSource: the client library for Node insists on a certificate of a known authority.
  const transports = ["websocket", "xhr-streaming", "xhr-polling"];
  const sockets = [
    ["raw", () => new WebSocket(`wss://127.0.0.1:${port}/ws`)],
    ...transports.map((name) => [name, () => new SockJS(`https://127.0.0.1:${port}/ws`, null, { transports: name })]),
  ];
  for (const [name, socket] of sockets) {
    const [ann, ben] = [await connected(t, socket, `ann-${name}`), await connected(t, socket, `ben-${name}`)];
    const next = await subscribed(ann, `/topic/tls-${name}`);
    const bodies = [1, 100, 17_000, 70_000, 300_000].map((size) => "x".repeat(size));
    for (const body of bodies) ben.publish({ destination: `/topic/tls-${name}`, body });
    assert.deepEqual((await next(bodies.length)).map((body) => body.length), bodies.map((body) => body.length), name);
    // Kept for an absent user, and there when he comes.
    await confirmed(ben, `/user/absent-${name}/queue/x`, "kept");
    const absent = await connected(t, socket, `absent-${name}`);
    const kept = await subscribed(absent, "/user/queue/x");
    assert.deepEqual(await kept(1), ["kept"], name);
    await Promise.all([ann, ben, absent].map((client) => client.deactivate()));
  }
});

test("a new certificate is shown to who comes, and sessions go on", async (t) => {
  const { port, folder, key, cert } = await start(t);
  assert.equal(await commonName(port, await readFile(cert)), "first");
  const ann = await connected(t, () => new WebSocket(`wss://127.0.0.1:${port}/ws`), "ann");
  const next = await subscribed(ann, "/topic/t");
  const second = certificate(folder, "second");
  await copyFile(second.key, key);
  await copyFile(second.cert, cert);
  const shown = async (expected) => {
    while ((await commonName(port)) !== expected);
  };
  await within(shown("second"), "the new certificate");
  assert.equal(await commonName(port, await readFile(cert)), "second");
  // What cannot be used changes nothing.
  await writeFile(cert, "no certificate");
  const complaint = async () => {
    const metrics = await fetch(`https://127.0.0.1:${port}/metrics`).then((answer) => answer.text());
    return /stampede_certificates_total\{reason="failed"\} [1-9]/.test(metrics);
  };
  const complained = async () => {
    while (!(await complaint()));
  };
  await within(complained(), "a complaint");
  assert.equal(await commonName(port), "second");
  ann.publish({ destination: "/topic/t", body: "still here" });
  assert.deepEqual(await next(1), ["still here"]);
});

test("who speaks no TLS is sent away and holds nobody up", async (t) => {
  const { port } = await start(t);
  const plain = connectTcp(port, "127.0.0.1");
  plain.on("error", () => {});
  plain.write("GET /ws/info HTTP/1.1\r\nHost: localhost\r\n\r\n");
  const silent = connectTcp(port, "127.0.0.1");
  silent.on("error", () => {});
  silent.resume();
  plain.resume();
  await within(Promise.all([once(plain, "close"), once(silent, "close")]), "both are closed");
  assert.equal(await commonName(port), "first");
  const metrics = await fetch(`https://127.0.0.1:${port}/metrics`).then((answer) => answer.text());
  assert.match(metrics, /stampede_connections_refused_total\{reason="tls-timeout"\} 1/);
  assert.match(metrics, /stampede_connections_refused_total\{reason="tls"\} [1-9]/);
});
