// What the SockJS tests in a browser share: pages of two origins that hold the libraries, and one conversation.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";

import { openPage, serve } from "../support.mjs";

const require = createRequire(import.meta.url);
export const SOCKJS = readFileSync(join(dirname(require.resolve("sockjs-client/package.json")), "dist/sockjs.min.js"), "utf8");
const STOMPJS = readFileSync(join(dirname(require.resolve("stompjs6/package.json")), "bundles/stomp.umd.min.js"), "utf8");

const PAGE = `<!doctype html><meta charset="utf-8"><title>SockJS</title><link rel="icon" href="data:,">
<script src="/sockjs.min.js"></script><script src="/stomp.js"></script><script>(${library})()</script>`;

const SCRIPT = "text/javascript; charset=utf-8";
const FILES = {
  "/test-page": { type: "text/html; charset=utf-8", body: PAGE },
  "/sockjs.min.js": { type: SCRIPT, body: SOCKJS },
  "/stomp.js": { type: SCRIPT, body: STOMPJS },
};

/** The nine transports that one browser can be made to use. */
export const TRANSPORTS = [
  "websocket",
  "xhr-streaming",
  "eventsource",
  "iframe-eventsource",
  "htmlfile",
  "iframe-htmlfile",
  "xhr-polling",
  "iframe-xhr-polling",
  "jsonp-polling",
];

/** An endpoint that pages of every origin may use, with the library that the iframe page loads served beside them. */
export const config = (libraryUrl) => `
[[endpoint]]
path = "/ws"
[endpoint.sockjs]
allowed_origins = ["*"]
client_library_url = "${libraryUrl}"
`;

/** Serves the page and the libraries from an origin of their own. */
export const serveFiles = (t) => serve(t, (path) => FILES[path] ?? null);

/** A page of the server's own origin, its SockJS greeting, into which the libraries are put. */
export async function openSameOrigin(t, browser, server) {
  const page = await openPage(t, browser);
  await page.goto(`${server.origin}/ws`);
  for (const content of [SOCKJS, STOMPJS, `(${library})()`]) await page.addScriptTag({ content });
  return page;
}

/** The page, on the origin of `serveFiles`. */
export async function openCrossOrigin(t, browser, files) {
  const page = await openPage(t, browser);
  await page.goto(`${files}/test-page`);
  return page;
}

// Runs in the page, so it may use nothing from outside itself.
function library() {
  const settle = (patience, start) =>
    new Promise((done, fail) => {
      const timer = setTimeout(() => fail(new Error("nothing for too long")), patience);
      start((value) => {
        clearTimeout(timer);
        done(value);
      }, fail);
    });

  function open({ url, transports, timeout }, events) {
    let socket;
    const opened = Date.now();
    const client = new StompJs.Client({
      webSocketFactory: () => (socket = new SockJS(url, null, { transports, timeout })),
      reconnectDelay: 0,
      onConnect: () => events.connected(client, { transport: socket.transport, after: Date.now() - opened }),
      onStompError: (frame) => events.error?.(frame.headers.message),
      onWebSocketClose: (event) => events.closed?.(event),
    });
    client.activate();
  }

  /** Sends every payload to a topic and returns what came back, in order, with the transport that carried it. */
  window.echo = (options, payloads, patience) =>
    settle(patience, (done, fail) => {
      const received = [];
      const closed = ({ code, reason }) => fail(new Error(`closed: ${code} ${reason}`));
      const connected = (client, facts) => {
        client.watchForReceipt("live", () => payloads.forEach((body) => client.publish({ destination: "/topic/echo", body })));
        const take = ({ body }) => {
          if (received.push(body) < payloads.length) return;
          done({ ...facts, received });
          client.deactivate();
        };
        client.subscribe("/topic/echo", take, { receipt: "live" });
      };
      open(options, { connected, closed });
    });

  /** Breaks the rules and returns the ERROR that answers it and the close that follows. */
  window.offend = (options, patience) =>
    settle(patience, (done) => {
      let message = null;
      open(options, {
        connected: (client) => client.publish({ destination: "/topic/x", headers: { transaction: "never begun" } }),
        error: (text) => (message = text),
        closed: ({ code, wasClean }) => done({ message, code, wasClean }),
      });
    });
}
