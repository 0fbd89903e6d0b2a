// stomp-broker-js on its own: node peer.js HOST PORT
"use strict";

const http = require("node:http");
const StompServer = require("stomp-broker-js");

const [host, port] = process.argv.slice(2);
const server = http.createServer();
new StompServer({ server, path: "/ws", heartbeat: [10000, 10000] });
server.listen({ host, port: Number(port), backlog: 4096 }, () => {
  const address = server.address();
  console.log(`listening on http://${address.address}:${address.port}`);
});
