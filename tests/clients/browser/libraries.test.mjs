// Every client library in a real browser, over a raw WebSocket and over every SockJS transport the browser has: connect,
// subscribe, send, receive, unsubscribe, leave in order.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { openPage, PATIENCE, startBrowser, startServer } from "../support.mjs";
import { config, SOCKJS, serveFiles, TRANSPORTS } from "./sockjs.mjs";

// Where scripts/setup puts them; not every package exports its browser build by name.
const build = (name, file) => readFileSync(new URL(`../node_modules/${name}/${file}`, import.meta.url), "utf8");
const rxjs = () => build("rxjs", "dist/bundles/rxjs.umd.min.js");
const stompJs = (name) => build(name, "bundles/stomp.umd.min.js");

// Each is run in the page: `open(makeSocket, patience)` resolves to what the library received.
const LIBRARIES = [
  { name: "stompjs 2.3.3", scripts: () => [build("stompjs2", "lib/stomp.min.js")], run: callbacks, global: "Stomp" },
  {
    name: "webstomp-client 1.2.6",
    scripts: () => [build("webstomp-client", "dist/webstomp.min.js")],
    run: callbacks,
    global: "webstomp",
  },
  { name: "@stomp/stompjs 5.4.4", scripts: () => [stompJs("stompjs5")], run: client },
  { name: "@stomp/stompjs 6.1.2", scripts: () => [stompJs("stompjs6")], run: client },
  { name: "@stomp/stompjs 7.5.0", scripts: () => [stompJs("@stomp/stompjs")], run: client },
  {
    name: "@stomp/rx-stomp 2.4.0",
    scripts: () => [stompJs("@stomp/stompjs"), rxjs(), build("@stomp/rx-stomp", "bundles/rx-stomp.umd.min.js")],
    run: observables,
  },
];

const BODIES = ["first", "Äl😀 100% </script>", "x".repeat(20_000)];

for (const { name, scripts, run, global } of LIBRARIES) {
  test(`${name} in Chromium`, async (t) => {
    const files = await serveFiles(t);
    const server = await startServer(t, { config: config(`${files}/sockjs.min.js`) });
    const browser = await startBrowser(t);
    for (const transport of [null, ...TRANSPORTS]) {
      await t.test(transport ?? "raw WebSocket", async (t) => {
        const page = await openPage(t, browser);
        await page.goto(`${server.origin}/ws`);
        for (const content of [SOCKJS, ...scripts()]) await page.addScriptTag({ content });
        await page.addScriptTag({ content: `window.makeSocket = ${makeSocket}; window.run = ${run};` });
        const given = { origin: server.origin, transport, bodies: BODIES, patience: PATIENCE, global };
        const received = await page.evaluate((given) => window.run(given), given);
        assert.deepEqual(received, BODIES);
        assert.deepEqual(page.faults, []);
      });
    }
  });
}

// What follows runs in the page, so it may use nothing from outside itself but `makeSocket`.

function makeSocket({ origin, transport, patience }) {
  if (!transport) return new WebSocket(`${origin.replace("http", "ws")}/ws`, ["v12.stomp", "v11.stomp", "v10.stomp"]);
  return new SockJS(`${origin}/ws`, null, { transports: [transport], timeout: patience });
}

/** stompjs 2.3.3 and webstomp-client. */
function callbacks(given) {
  return new Promise((done, fail) => {
    setTimeout(() => fail(new Error("nothing for too long")), given.patience);
    const isOld = given.global === "Stomp";
    const client = window[given.global].over(window.makeSocket(given));
    client.debug = () => {};
    const received = [];
    const take = ({ body }) => {
      if (received.push(body) < given.bodies.length) return;
      subscription.unsubscribe();
      client.disconnect(() => done(received));
    };
    let subscription;
    const connected = () => {
      subscription = client.subscribe("/topic/libraries", take, {});
      for (const body of given.bodies) {
        if (isOld) client.send("/topic/libraries", {}, body);
        else client.send("/topic/libraries", body, {});
      }
    };
    client.connect({ login: "ann" }, connected, (error) => fail(new Error(String(error))));
  });
}

/** @stomp/stompjs 5 to 7. */
function client(given) {
  return new Promise((done, fail) => {
    setTimeout(() => fail(new Error("nothing for too long")), given.patience);
    const received = [];
    const client = new StompJs.Client({
      webSocketFactory: () => window.makeSocket(given),
      connectHeaders: { login: "ann" },
      reconnectDelay: 0,
      onStompError: (frame) => fail(new Error(frame.headers.message)),
      onConnect: () => {
        const subscription = client.subscribe("/topic/libraries", ({ body }) => {
          if (received.push(body) < given.bodies.length) return;
          subscription.unsubscribe();
          client.deactivate();
        });
        for (const body of given.bodies) client.publish({ destination: "/topic/libraries", body });
      },
      onDisconnect: () => done(received),
    });
    client.activate();
  });
}

/** @stomp/rx-stomp. */
function observables(given) {
  return new Promise((done, fail) => {
    setTimeout(() => fail(new Error("nothing for too long")), given.patience);
    const received = [];
    const rx = new RxStomp.RxStomp();
    rx.configure({
      webSocketFactory: () => window.makeSocket(given),
      connectHeaders: { login: "ann" },
      reconnectDelay: 0,
    });
    rx.stompErrors$.subscribe((frame) => fail(new Error(frame.headers.message)));
    const watched = rx.watch("/topic/libraries").subscribe(({ body }) => {
      if (received.push(body) < given.bodies.length) return;
      watched.unsubscribe();
      rx.deactivate().then(() => done(received));
    });
    for (const body of given.bodies) rx.publish({ destination: "/topic/libraries", body });
    rx.activate();
  });
}
