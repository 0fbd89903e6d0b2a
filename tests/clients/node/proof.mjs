// One script for every client library and every transport: what an application does with a broker, from CONNECT to
// DISCONNECT and back.

import assert from "node:assert/strict";
import { test } from "node:test";

import { startServer } from "../support.mjs";
import { TRANSPORTS } from "./transports.mjs";

/** A server for clients: quick heart-beats, and work queues for what ACK and NACK mean. */
export const CONFIG = `
[[endpoint]]
path = "/ws"
heart_beat = [300, 300]

[[destination]]
match = "/queue/work/**"
share = true
keep = { for = "1m", max = 1000 }
`;

const UNICODE = "héllo wörld, \u2028 \ufeff 漢字 e\u0301 😀 100% \"quoted\" \\ \t end";

/** Declares the tests of one library over each of the transports. */
export function prove(client, transports = TRANSPORTS) {
  for (const transport of transports) {
    test(`${client.name} over ${transport.name}`, async (t) => {
      const server = await startServer(t, { config: CONFIG });
      const enter = (options) => enterAs(t, client, transport, server, options);
      for (const [name, check] of Object.entries(CHECKS)) await t.test(name, () => check(enter, client));
    });
  }
}

// A fresh session of `login`, gone when the test is over.
async function enterAs(t, client, transport, server, { login = "ada", heartBeat } = {}) {
  const socket = () => transport.open(server, client.protocols ?? ["v10.stomp", "v11.stomp", "v12.stomp"]);
  const session = client.open({ socket, login, heartBeat });
  session.greeting = await session.connect();
  return session;
}

/** Subscribes and waits until the subscription is live. */
async function listen(session, destination, headers = {}) {
  let subscription;
  await session.receipt((receipt) => (subscription = session.subscribe(destination, { ...headers, ...receipt })));
  return subscription;
}

const receive = async ({ inbox }, what) => (await inbox.next(what)).body;

const CHECKS = {
  async "connects with the version and the user asked for"(enter, client) {
    const session = await enter();
    assert.equal(session.greeting.version, client.version);
    assert.match(session.greeting["heart-beat"], /^\d+,\d+$/);
    await session.leave();
  },

  async "sends and receives by exact destination, text and headers unchanged"(enter, client) {
    const session = await enter();
    const subscription = await listen(session, "/topic/exact");
    const note = client.escapes ? "a:b \\ c\nd" : "plain";
    session.send("/topic/exact", UNICODE, { note });
    const message = await subscription.inbox.next("the message");
    assert.equal(message.body, UNICODE);
    assert.equal(message.headers.note, note);
    assert.equal(message.headers.destination, "/topic/exact");
    session.send("/topic/exact", "");
    assert.equal(await receive(subscription), "");
    await session.leave();
  },

  async "receives by pattern"(enter) {
    const session = await enter();
    const [one, all] = [await listen(session, "/topic/part/*"), await listen(session, "/topic/part/**")];
    session.send("/topic/part/a", "near");
    session.send("/topic/part/a/b", "far");
    session.send("/topic/part/z", "end");
    assert.deepEqual([await receive(one), await receive(one)], ["near", "end"]);
    assert.deepEqual([await receive(all), await receive(all), await receive(all)], ["near", "far", "end"]);
    await session.leave();
  },

  async "receives what is sent to the user, on each session and only there"(enter) {
    const [first, second, other] = [await enter(), await enter(), await enter({ login: "bob" })];
    const own = "/user/queue/note";
    const [a, b, c] = [await listen(first, own), await listen(second, own), await listen(other, own)];
    other.send("/user/ada/queue/note", "for ada");
    assert.deepEqual([await receive(a), await receive(b)], ["for ada", "for ada"]);
    first.send("/user/bob/queue/note", "for bob");
    const message = await c.inbox.next("the answer");
    assert.deepEqual([message.body, message.headers.destination], ["for bob", own]);
    assert.deepEqual([a.inbox.left, b.inbox.left, c.inbox.left], [[], [], []]);
    for (const session of [first, second, other]) await session.leave();
  },

  async "receives by the explicit form of a user destination, once"(enter) {
    const session = await enter({ login: "12" });
    const subscription = await listen(session, "/user/12/34/queue/chat");
    session.send("/user/12/34/queue/chat", "first");
    session.send("/user/12/34/queue/chat", "second");
    const message = await subscription.inbox.next("the message");
    assert.deepEqual([message.body, message.headers.destination], ["first", "/user/12/34/queue/chat"]);
    assert.equal(await receive(subscription), "second");
    await session.leave();
  },

  async "carries a body of 1 MiB there and back"(enter) {
    const session = await enter();
    const subscription = await listen(session, "/topic/large");
    const body = "0123456789abcdef".repeat(65_536);
    session.send("/topic/large", body);
    // Not assert.equal: a difference would print both.
    assert.ok((await receive(subscription, "1 MiB")) === body, "the body came back changed");
    await session.leave();
  },

  async "keeps the order of many messages"(enter) {
    const session = await enter();
    const subscription = await listen(session, "/topic/order");
    const sent = Array.from({ length: 200 }, (_, index) => `message ${index}`);
    for (const body of sent) session.send("/topic/order", body);
    const received = [];
    for (const _ of sent) received.push(await receive(subscription));
    assert.deepEqual(received, sent);
    await session.leave();
  },

  async "answers receipts of SEND after the message was handed over"(enter) {
    const session = await enter();
    const subscription = await listen(session, "/topic/receipt");
    await session.receipt((receipt) => session.send("/topic/receipt", "noted", receipt));
    assert.equal(await receive(subscription), "noted");
    await session.leave();
  },

  async "acknowledges many with one ACK (client)"(enter) {
    const session = await enter();
    const work = await listen(session, "/queue/work/client", { ack: "client" });
    for (const body of ["one", "two", "three"]) session.send("/queue/work/client", body);
    const messages = [await work.inbox.next(), await work.inbox.next(), await work.inbox.next()];
    assert.deepEqual(messages.map(({ body }) => body), ["one", "two", "three"]);
    messages[1].ack();
    await leaveWork(session, work);
    // What was not covered by the ACK is given to the next one; nothing else is.
    const next = await listen(session, "/queue/work/client", { ack: "client" });
    const again = await next.inbox.next("the message that was not acknowledged");
    assert.equal(again.body, "three");
    again.ack();
    session.send("/queue/work/client", "four");
    const last = await next.inbox.next();
    assert.equal(last.body, "four");
    last.ack();
    await session.leave();
  },

  async "acknowledges and refuses one by one (client-individual)"(enter) {
    const session = await enter();
    const work = await listen(session, "/queue/work/single", { ack: "client-individual" });
    for (const body of ["kept", "refused"]) session.send("/queue/work/single", body);
    const [kept, refused] = [await work.inbox.next(), await work.inbox.next()];
    assert.deepEqual([kept.body, refused.body], ["kept", "refused"]);
    kept.ack();
    refused.nack();
    const again = await work.inbox.next("the refused message again");
    assert.equal(again.body, "refused");
    assert.equal(again.headers.redelivered, "true");
    again.ack();
    await leaveWork(session, work);
    const next = await listen(session, "/queue/work/single");
    session.send("/queue/work/single", "end");
    assert.equal(await receive(next), "end");
    await session.leave();
  },

  async "holds a transaction back until COMMIT, and forgets it on ABORT"(enter) {
    const session = await enter();
    const subscription = await listen(session, "/topic/transaction");
    const committed = session.begin();
    session.send("/topic/transaction", "second", { transaction: committed.id });
    session.send("/topic/transaction", "third", { transaction: committed.id });
    session.send("/topic/transaction", "first");
    assert.equal(await receive(subscription), "first");
    committed.commit();
    assert.deepEqual([await receive(subscription), await receive(subscription)], ["second", "third"]);
    const aborted = session.begin();
    session.send("/topic/transaction", "never", { transaction: aborted.id });
    aborted.abort();
    session.send("/topic/transaction", "end");
    assert.equal(await receive(subscription), "end");
    await session.leave();
  },

  async "receives nothing more after UNSUBSCRIBE"(enter) {
    const session = await enter();
    const [ended, other] = [await listen(session, "/topic/ended"), await listen(session, "/topic/ended")];
    await session.receipt((receipt) => ended.end(receipt));
    session.send("/topic/ended", "late");
    assert.equal(await receive(other), "late");
    assert.deepEqual(ended.inbox.left, []);
    await session.leave();
  },

  async "exchanges heart-beats and stays connected by them"(enter) {
    const session = await enter({ heartBeat: 300 });
    for (let count = 0; count < 3; count += 1) {
      await session.beats.received.next("a heart-beat from the server");
      await session.beats.sent.next("a heart-beat from the client");
    }
    await session.receipt((receipt) => session.send("/topic/alive", "", receipt));
    assert.deepEqual(session.errors.left, []);
    await session.leave();
  },

  async "comes back after the connection was cut"(enter) {
    const session = await enter();
    session.cut();
    const back = session.reconnects ? session : await enter();
    if (session.reconnects) await session.connected();
    const subscription = await listen(back, "/topic/back");
    back.send("/topic/back", "here again");
    assert.equal(await receive(subscription), "here again");
    await back.leave();
  },
};

async function leaveWork(session, work) {
  await session.receipt((receipt) => work.end(receipt));
}
