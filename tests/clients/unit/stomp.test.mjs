// The demo page's STOMP codec, without a server.
import assert from "node:assert/strict";
import { test } from "node:test";

import { backoff, decode, encode, negotiate } from "../../../src/web/stomp.js";

test("a frame comes back as it was sent", () => {
  const frame = {
    command: "SEND",
    headers: { destination: "/topic/a:b", note: "back\\slash, line\nbreak, cr\r, colon:" },
    body: "héllo 😀\nsecond line",
  };
  const [{ command, headers, body }] = decode(encode(frame));
  assert.equal(command, "SEND");
  assert.equal(body, frame.body);
  assert.deepEqual({ ...headers }, { ...frame.headers, "content-length": "23" });
});

test("an escaped backslash before an n is not a line break", () => {
  const [frame] = decode("MESSAGE\nk:a\\\\n\\c\n\n\0");
  assert.equal(frame.headers.k, "a\\n:");
});

test("CONNECT and CONNECTED are not escaped", () => {
  assert.match(encode({ command: "CONNECT", headers: { login: "a:b" } }), /^login:a:b$/m);
  assert.equal(decode("CONNECTED\nserver:a\\cb\n\n\0")[0].headers.server, "a\\cb");
});

test("the length decides where a body ends, octet 0 inside it included", () => {
  const [first, second] = decode("MESSAGE\ncontent-length:3\n\na\0b\0\nRECEIPT\nreceipt-id:1\n\n\0\n");
  assert.equal(first.body, "a\0b");
  assert.equal(second.headers["receipt-id"], "1");
});

test("line ends may be CR LF, and the first of two equal headers counts", () => {
  const [frame] = decode("MESSAGE\r\nk:1\r\nk:2\r\n\r\nx\r\ny\0");
  assert.equal(frame.headers.k, "1");
  assert.equal(frame.body, "x\r\ny");
});

test("a heart-beat is no frame", () => assert.deepEqual(decode("\n"), []));

test("binary messages are read like text", () => {
  const [frame] = decode(new TextEncoder().encode("MESSAGE\n\né\0").buffer);
  assert.equal(frame.body, "é");
});

for (const [name, text] of [
  ["no empty line", "MESSAGE\nk:v"],
  ["no octet 0", "MESSAGE\n\nbody"],
  ["a length beyond the end", "MESSAGE\ncontent-length:9\n\nbody\0"],
  ["a header without a colon", "MESSAGE\nkv\n\n\0"],
]) {
  test(`refused: ${name}`, () => assert.throws(() => decode(text), SyntaxError));
}

test("heart-beats are agreed as the larger number, or not at all", () => {
  assert.deepEqual(negotiate([4000, 1000], "2000,3000"), { send: 4000, receive: 2000 });
  assert.deepEqual(negotiate([4000, 1000], "0,0"), { send: 0, receive: 0 });
  assert.deepEqual(negotiate([0, 1000], "2000,3000"), { send: 0, receive: 2000 });
});

test("pauses between attempts grow to a bound and are spread", () => {
  assert.equal(backoff(0, 1), 500);
  assert.equal(backoff(3, 1), 4000);
  assert.equal(backoff(40, 1), 15_000);
  assert.equal(backoff(40, 0), 7500);
});
