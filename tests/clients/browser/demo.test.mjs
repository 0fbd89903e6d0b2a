// The demo page as two people use it, on a wide screen and on a phone. Screenshots are left for a look.
import assert from "node:assert/strict";
import { mkdir } from "node:fs/promises";
import { test } from "node:test";

import { OUTPUT, openPage, startBrowser, startServer } from "../support.mjs";

const DESKTOP = { viewport: { width: 1280, height: 800 } };
const PHONE = { viewport: { width: 360, height: 740 }, hasTouch: true, isMobile: true, deviceScaleFactor: 2 };

async function enter(t, browser, server, { user, room = "notes", options = DESKTOP }) {
  const page = await openPage(t, browser, options);
  await page.goto(`${server.origin}/?user=${user}&room=${room}`);
  await page.getByText(`Connected as ${user}`).waitFor();
  return page;
}

const members = (page) => page.locator("#members li").allTextContents();
const textIs = (page, text) =>
  page.waitForFunction((wanted) => document.getElementById("text").value === wanted, text);
const said = (page, text) => page.locator("#chat .said", { hasText: text }).waitFor();

// Nothing may stick out sideways: a phone would scroll the whole page.
async function fits(page) {
  const [content, window] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
  assert.ok(content <= window, `${content} px of content in ${window} px`);
}

test("two people meet, chat, write one text and part", async (t) => {
  await mkdir(OUTPUT, { recursive: true });
  const server = await startServer(t);
  const browser = await startBrowser(t);
  const ada = await enter(t, browser, server, { user: "ada" });
  await ada.getByText("You are alone here").waitFor();
  await ada.locator("#text").fill("Shopping\n- apples\n- pears\n");
  const bob = await enter(t, browser, server, { user: "bob", options: PHONE });

  await t.test("both are in the list", async () => {
    await ada.locator("#members li", { hasText: "bob" }).waitFor();
    await bob.locator("#members li", { hasText: "ada" }).waitFor();
    assert.deepEqual(await members(ada), ["ada (you)", "bob"]);
    assert.equal(await ada.locator("#alone").isHidden(), true);
  });

  await t.test("a newcomer is given the text", () => textIs(bob, "Shopping\n- apples\n- pears\n"));

  await t.test("what both type at once is kept, and the caret stays where it was", async () => {
    await ada.locator("#text").evaluate((area) => area.setSelectionRange(3, 3));
    await bob.locator("#text").evaluate((area) => area.setSelectionRange(area.value.length, area.value.length));
    await Promise.all([
      ada.locator("#text").pressSequentially("XYZ", { delay: 30 }),
      bob.locator("#text").pressSequentially("- plums", { delay: 30 }),
    ]);
    for (const page of [ada, bob]) await textIs(page, "ShoXYZpping\n- apples\n- pears\n- plums");
    assert.equal(await ada.locator("#text").evaluate((area) => area.selectionStart), 6);
  });

  await t.test("chat reaches both, as text and never as markup", async () => {
    await ada.locator("#message").fill("<b>bold</b> & 😀");
    await ada.locator("#message").press("Enter");
    for (const page of [ada, bob]) await said(page, "ada <b>bold</b> & 😀");
    assert.equal(await bob.locator("#chat p > b", { hasText: "bold" }).count(), 0);
  });

  await t.test("a whisper reaches only the one it is for", async () => {
    await bob.locator("#members button", { hasText: "ada" }).click();
    await bob.locator("#message").fill("between us");
    await bob.getByRole("button", { name: "Send" }).click();
    await said(ada, "bob (whispers to you) between us");
    await said(bob, "bob (whisper to ada) between us");
  });

  await t.test("the frames are shown, heart-beats only on request, and pausing holds them", async () => {
    const frames = ada.locator("#frames li:visible");
    await frames.filter({ hasText: "CONNECTED" }).waitFor();
    assert.equal(await ada.locator("#frames .beat:visible").count(), 0);
    await frames.filter({ hasText: "/app/demo/chat/notes" }).first().locator("summary").press("Enter");
    await ada.locator("#frames pre:visible", { hasText: "destination:/app/demo/chat/notes" }).waitFor();
    await ada.getByRole("button", { name: "Pause" }).click();
    const before = await frames.count();
    await ada.locator("#message").fill("unseen");
    await ada.locator("#message").press("Enter");
    await said(ada, "ada unseen");
    assert.equal(await frames.count(), before);
    await ada.getByRole("button", { name: "Pause" }).click();
    await ada.waitForFunction((count) => document.querySelectorAll("#frames li").length > count, before);
  });

  await t.test("a cut line comes back by itself, with what was typed meanwhile", async () => {
    await ada.getByRole("button", { name: "Cut the line" }).click();
    await ada.getByText("Connection lost").waitFor();
    await ada.locator("#text").fill("written while away");
    await ada.getByText("Connected as ada").waitFor();
    await textIs(bob, "written while away");
    await bob.locator("#members li", { hasText: "ada" }).waitFor();
  });

  await t.test("the page fits the phone and the desktop, in light and dark", async () => {
    await bob.locator("#text").fill("Shopping\n- apples\n- pears\n- plums");
    await textIs(ada, "Shopping\n- apples\n- pears\n- plums");
    for (const [name, page] of [["desktop", ada], ["phone", bob]]) {
      for (const colorScheme of ["light", "dark"]) {
        await page.emulateMedia({ colorScheme });
        await fits(page);
        await page.screenshot({ path: `${OUTPUT}/demo-${name}-${colorScheme}.png`, fullPage: true });
      }
    }
  });

  await t.test("who leaves is gone, and finds what was whispered meanwhile", async () => {
    await bob.getByRole("button", { name: "Leave" }).click();
    await bob.getByRole("heading", { name: "Come in" }).waitFor();
    await bob.screenshot({ path: `${OUTPUT}/demo-phone-door.png`, fullPage: true });
    await ada.getByText("You are alone here").waitFor();
    await ada.locator("#to").fill("bob");
    await ada.locator("#message").fill("for later");
    await ada.locator("#message").press("Enter");
    await said(ada, "ada (whisper to bob) for later");
    await bob.getByRole("button", { name: "Join" }).click();
    await said(bob, "ada (whispers to you) for later");
  });

  assert.deepEqual(ada.faults, []);
  assert.deepEqual(bob.faults, []);
});

test("the page is used by keyboard alone", async (t) => {
  const server = await startServer(t);
  const page = await openPage(t, await startBrowser(t), DESKTOP);
  await page.goto(server.origin);
  // The name has the focus from the start.
  await page.keyboard.type("carol");
  await page.keyboard.press("Enter");
  await page.getByText("Connected as carol").waitFor();
  assert.equal(await page.evaluate(() => document.activeElement.id), "text");
  await page.keyboard.type("hello");
  const reached = new Set();
  for (let steps = 0; steps < 30; steps += 1) {
    await page.keyboard.press("Tab");
    reached.add(await page.evaluate(() => document.activeElement.id));
  }
  for (const id of ["chat", "to", "message", "beats", "pause", "clear", "frames", "cut", "leave"]) {
    assert.ok(reached.has(id), `Tab never reaches #${id}`);
  }
  await page.locator("#message").focus();
  await page.keyboard.type("by keyboard");
  await page.keyboard.press("Enter");
  await said(page, "carol by keyboard");
  assert.deepEqual(page.faults, []);
});

test("a name that could not stand in a destination is not let in", async (t) => {
  const server = await startServer(t);
  const page = await openPage(t, await startBrowser(t), DESKTOP);
  await page.goto(`${server.origin}/?user=${encodeURIComponent("a/b*")}`);
  await page.getByRole("button", { name: "Join" }).click();
  assert.equal(await page.locator("#user").evaluate((input) => input.validity.patternMismatch), true);
  assert.equal(await page.locator("#room").isHidden(), true);
});
