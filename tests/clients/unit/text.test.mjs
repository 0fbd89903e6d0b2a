// The demo page's shared text: whatever the order of messages, all pages end with one text.
import assert from "node:assert/strict";
import { test } from "node:test";

import { SharedText, change, merge } from "../../../src/web/text.js";

test("a change is the stretch that differs", () => {
  assert.deepEqual(change("hello", "help"), { start: 3, end: 5, text: "p" });
  assert.deepEqual(change("aa", "aaa"), { start: 2, end: 2, text: "a" });
  assert.deepEqual(change("same", "same"), { start: 4, end: 4, text: "" });
});

test("a change never cuts a character in half", () => {
  // These two share their first half, the next two their second.
  assert.deepEqual(change("😀", "😁"), { start: 0, end: 2, text: "😁" });
  const { start, end, text } = change("a\u{1f600}b", "a\u{1fa00}b");
  assert.deepEqual([start, end, text], [1, 3, "\u{1fa00}"]);
});

test("changes that lie apart are both kept, wherever they are", () => {
  assert.equal(merge("one two", "ONE two", "one TWO!"), "ONE TWO!");
  assert.equal(merge("one two", "one TWO", "1 two"), "1 TWO");
  assert.equal(merge("base", "base", "theirs"), "theirs");
});

test("where both changed the same place, the winner's text stands", () => {
  assert.equal(merge("cat", "cot", "cut"), "cut");
});

test("pages that write at the same time agree and keep both changes", () => {
  const [a, b] = [new SharedText("a"), new SharedText("b")];
  b.receive(a.edit("first line\nsecond line"));
  const [fromA, fromB] = [a.edit("FIRST line\nsecond line"), b.edit("first line\nsecond LINE")];
  assert.equal(b.receive(fromA), false, "the winner has nothing to do");
  assert.equal(a.receive(fromB), true, "the loser sends again");
  b.receive(a.stamped);
  assert.equal(a.text, "FIRST line\nsecond LINE");
  assert.equal(b.text, a.text);
});

test("a page that typed once is not run over by one that typed twice", () => {
  const [a, b] = [new SharedText("a"), new SharedText("b")];
  b.receive(a.edit("one\ntwo"));
  const once = a.edit("ONE\ntwo");
  const twice = [b.edit("one\ntwo!"), b.edit("one\ntwo!!")];
  assert.equal(b.receive(once), false, "the greater stamp ignores the lesser");
  assert.equal(a.receive(twice[0]), true);
  a.receive(twice[1]);
  b.receive(a.stamped);
  assert.equal(b.text, "ONE\ntwo!!");
  assert.equal(a.text, b.text);
});

test("any number of pages end equal, in whatever order messages arrive", () => {
  for (let seed = 1; seed <= 200; seed += 1) {
    const random = generator(seed);
    const pages = ["a", "b", "c", "d"].map((id) => new SharedText(id));
    const inboxes = pages.map(() => []);
    const publish = (message) => inboxes.forEach((inbox) => inbox.push(message));
    for (const [index, page] of pages.entries()) publish(page.edit(`${page.text}${index}`));
    for (let left = 10_000; inboxes.some((inbox) => inbox.length > 0); left -= 1) {
      assert.ok(left > 0, `seed ${seed}: the pages never stop answering each other`);
      const index = Math.floor(random() * pages.length);
      const inbox = inboxes[index];
      if (inbox.length === 0) continue;
      const [message] = inbox.splice(Math.floor(random() * inbox.length), 1);
      if (pages[index].receive(message)) publish(pages[index].stamped);
    }
    assert.deepEqual(new Set(pages.map((page) => page.text)).size, 1, `seed ${seed}`);
  }
});

test("a newcomer knows nothing until it is told", () => {
  const [old, young] = [new SharedText("x"), new SharedText("a")];
  old.edit("hello");
  assert.equal(young.known, false);
  young.receive(old.stamped);
  assert.equal(young.known, true);
  assert.equal(young.text, "hello");
});

// A small generator, so that a failing seed can be run again.
function generator(seed) {
  let state = seed;
  return () => (state = (state * 48_271) % 2_147_483_647) / 2_147_483_647;
}
