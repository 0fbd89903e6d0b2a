// The product of examples/co-editing as two people use it: its own front end, its own configuration, two pages.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";

import { OUTPUT, ROOT, openPage, startBrowser, startServer, within } from "../support.mjs";

const EXAMPLE = join(ROOT, "examples/co-editing");

// The page's own little server, on a free port.
async function servePage(t) {
  const child = spawn(process.execPath, [join(EXAMPLE, "serve.mjs"), "0"], { stdio: ["ignore", "pipe", "inherit"] });
  t.after(() => child.kill());
  const text = await within(new Promise((said) => child.stdout.once("data", said)), "serve.mjs says where it listens");
  return /http:\/\/127\.0\.0\.1:\d+/.exec(text)[0];
}

const chat = (page, text) => page.locator("#chat p", { hasText: text }).waitFor();
const users = (page, names) =>
  page.waitForFunction(
    (wanted) => [...document.querySelectorAll("#users li")].map((item) => item.textContent).join() === wanted,
    names.join(),
  );
const contentIs = (page, text) =>
  page.waitForFunction((wanted) => document.getElementById("content").value === wanted, text);

test("two people write one text", async (t) => {
  await mkdir(OUTPUT, { recursive: true });
  const server = await startServer(t, { configFile: join(EXAMPLE, "stampede.toml") });
  const origin = await servePage(t);
  const browser = await startBrowser(t);
  const enter = async (id, name) => {
    const page = await openPage(t, browser, { viewport: { width: 900, height: 700 } });
    await page.goto(`${origin}/?${new URLSearchParams({ id, name, blogId: "34", server: server.origin })}`);
    await page.getByText(`Connected as ${name}`).waitFor();
    return page;
  };
  const ann = await enter("12", "Ann");
  const ben = await enter("13", "Ben");

  await t.test("they see each other", async () => {
    for (const page of [ann, ben]) await users(page, ["Ann", "Ben"]);
  });

  await t.test("the text of one appears at the other", async () => {
    await ann.locator("#content").pressSequentially("Once upon a time, ", { delay: 10 });
    await contentIs(ben, "Once upon a time, ");
    await ben.locator("#content").press("End");
    await ben.locator("#content").pressSequentially("there was a \"broker\" 😀", { delay: 10 });
    await contentIs(ann, "Once upon a time, there was a \"broker\" 😀");
  });

  await t.test("a line of chat reaches the one it is for", async () => {
    await ann.locator("#message").fill("do you like <it>?");
    await ann.getByRole("button", { name: "Send" }).click();
    await chat(ben, "Ann to you: do you like <it>?");
    await chat(ann, "Ann to Ben: do you like <it>?");
    await ben.locator("#message").fill("100% yes");
    await ben.getByRole("button", { name: "Send" }).click();
    await chat(ann, "Ben to you: 100% yes");
    for (const [name, page] of [["ann", ann], ["ben", ben]]) await page.screenshot({ path: `${OUTPUT}/co-editing-${name}.png` });
  });

  await t.test("who comes back after a lost connection is there once", async () => {
    await ben.reload();
    await chat(ann, "Ben has left");
    for (const page of [ann, ben]) await users(page, ["Ann", "Ben"]);
  });

  await t.test("a finished task is told to all", async () => {
    await ben.getByRole("button", { name: "Finish the task" }).click();
    for (const page of [ann, ben]) await chat(page, "The task is finished");
  });

  await t.test("who leaves is gone", async () => {
    await ben.getByRole("button", { name: "Leave" }).click();
    await ben.getByRole("button", { name: "Edit together" }).waitFor();
    await users(ann, ["Ann"]);
  });

  assert.deepEqual(ann.faults, []);
  assert.deepEqual(ben.faults, []);
});
