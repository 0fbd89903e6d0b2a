// The ways from Node to the server.

import { createRequire } from "node:module";

import { WebSocket } from "ws";

const SockJS = createRequire(import.meta.url)("sockjs-client");

/** Without SockJS. */
export const RAW = {
  name: "raw WebSocket",
  open: (server, protocols) => new WebSocket(`${server.ws}/ws`, protocols),
};

// The other transports of the library need a document to live in.
const SOCKJS = ["websocket", "xhr-streaming", "xhr-polling", "eventsource"];

/** Each with `open(server, protocols)`, which returns something that behaves as a WebSocket. */
export const TRANSPORTS = [
  RAW,
  ...SOCKJS.map((transport) => ({
    name: `SockJS ${transport}`,
    open: (server) => new SockJS(`${server.origin}/ws`, null, { transports: [transport], timeout: 10_000 }),
  })),
];
