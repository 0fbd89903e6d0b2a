// A Spring-style front end that sends an HS256 token in connectHeaders.Authorization, over raw WebSocket and SockJS, with the
// configuration that README.md shows.
import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { test } from "node:test";

import { Client } from "@stomp/stompjs";
import SockJS from "sockjs-client";
import { WebSocket } from "ws";

import { startServer, within } from "../support.mjs";

const SECRET = "change-me: what your application signs its tokens with";
const CONFIG = `[identity.jwt]\nsecret = "${SECRET}"\n`;

const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");

function token(user, secret = SECRET) {
  const text = `${part({ alg: "HS256" })}.${part({ sub: user, exp: Math.floor(Date.now() / 1000) + 600 })}`;
  return `${text}.${createHmac("sha256", secret).update(text).digest("base64url")}`;
}

function connect(t, socket, authorization) {
  const client = new Client({
    webSocketFactory: socket,
    connectHeaders: { Authorization: authorization },
    reconnectDelay: 0,
  });
  t.after(() => client.deactivate());
  const outcome = new Promise((done) => {
    client.onConnect = (frame) => done({ user: frame.headers["user-name"] });
    client.onStompError = (frame) => done({ error: frame.headers.message });
  });
  client.activate();
  return within(outcome, "an answer to CONNECT");
}

test("a front end with a token in connectHeaders", async (t) => {
  const { port } = await startServer(t, { config: CONFIG });
  const sockets = {
    raw: () => new WebSocket(`ws://127.0.0.1:${port}/ws`),
    SockJS: () => new SockJS(`http://127.0.0.1:${port}/ws`),
    "xhr-polling": () => new SockJS(`http://127.0.0.1:${port}/ws`, null, { transports: "xhr-polling" }),
  };
  for (const [name, socket] of Object.entries(sockets)) {
    assert.deepEqual(await connect(t, socket, `Bearer ${token("ann")}`), { user: "ann" }, name);
    const forged = await connect(t, socket, `Bearer ${token("ann", "another secret, as long as that")}`);
    assert.deepEqual(forged, { error: "the token is not accepted" }, name);
  }
});
