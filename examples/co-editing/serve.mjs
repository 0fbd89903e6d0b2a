// Serves the page, and nothing else, on an origin of its own, as a front end's host does.
//
// usage: node serve.mjs [PORT]      (8000 by default; 0 takes a free one and says which)

import { createReadStream } from "node:fs";
import { createServer } from "node:http";
import { fileURLToPath } from "node:url";

const FILES = {
  "/": ["index.html", "text/html; charset=utf-8"],
  "/client.js": ["client.js", "text/javascript; charset=utf-8"],
  "/style.css": ["style.css", "text/css; charset=utf-8"],
  "/vendor/sockjs.js": ["node_modules/sockjs-client/dist/sockjs.min.js", "text/javascript; charset=utf-8"],
  "/vendor/stomp.js": ["node_modules/@stomp/stompjs/bundles/stomp.umd.min.js", "text/javascript; charset=utf-8"],
};

const server = createServer((request, response) => {
  const found = FILES[new URL(request.url, "http://localhost").pathname];
  if (!found) return response.writeHead(404).end();
  const [file, type] = found;
  createReadStream(fileURLToPath(new URL(file, import.meta.url)))
    .on("open", () => response.writeHead(200, { "content-type": type }))
    .on("error", (error) => response.writeHead(500).end(`${error.message}\nIs "npm ci" done?\n`))
    .pipe(response);
});

server.listen(Number(process.argv[2] ?? 8000), "127.0.0.1", () => {
  const { port } = server.address();
  console.log(`open http://127.0.0.1:${port}/?id=12&name=Ann&blogId=34 and, in a second window,`);
  console.log(`     http://127.0.0.1:${port}/?id=13&name=Ben&blogId=34`);
});
process.on("SIGTERM", () => process.exit(0));
