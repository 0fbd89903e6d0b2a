// sockjs.md check 100: the nine transports that one browser can be made to use, on the page's own origin and across
// origins, with the payloads that have broken servers before.
import assert from "node:assert/strict";
import { test } from "node:test";

import { PATIENCE, startBrowser, startServer } from "../support.mjs";
import { config, openCrossOrigin, openSameOrigin, serveFiles, TRANSPORTS } from "./sockjs.mjs";

const PAYLOADS = [
  "100% done",
  "50%41 %zz",
  "</script><script>parent.broken = true</script>",
  "line\u2028paragraph\u2029end",
  "\ufffe\uffff\u200c\u202e\ufff0",
  "e\u0301 a\u0308 \u0b95\u0bcd\u0bb7",
  "😀 👩‍👩‍👧‍👦",
  "  \u0001 two spaces, tab\t, quote \", backslash \\, slash /, CR LF \r\n, \\u0041",
  "3 kB ".repeat(600),
  // Beyond the 128 KiB after which a streaming answer ends and the client asks again.
  ...Array.from({ length: 50 }, (_, index) => `${index} ${"x".repeat(3000)}`),
  "end",
];

const cases = TRANSPORTS.flatMap((transport) => [
  { transport, origin: "same" },
  // The library never tries htmlfile across origins.
  ...(transport === "htmlfile" ? [] : [{ transport, origin: "cross" }]),
]);

test("100: every transport carries every payload unchanged and in order", async (t) => {
  const files = await serveFiles(t);
  const server = await startServer(t, { config: config(`${files}/sockjs.min.js`) });
  const browser = await startBrowser(t);
  for (const { transport, origin } of cases) {
    await t.test(`${transport}, ${origin} origin`, async (t) => {
      const page = await (origin === "same" ? openSameOrigin(t, browser, server) : openCrossOrigin(t, browser, files));
      // On a busy machine the library's 600 ms are not much, and here it has nothing to fall back to.
      const options = { url: `${server.origin}/ws`, transports: [transport], timeout: PATIENCE };
      const arguments_ = [options, PAYLOADS, PATIENCE];
      const echo = await page.evaluate((given) => window.echo(...given), arguments_);
      assert.equal(echo.transport, transport);
      assert.deepEqual(echo.received, PAYLOADS);
      assert.equal(await page.evaluate(() => window.broken), undefined, "a payload was run as a script");

      const end = await page.evaluate((given) => window.offend(...given), [options, PATIENCE]);
      assert.ok(end.message, "the ERROR arrives before the connection is closed");
      assert.equal(end.wasClean, true);
      assert.deepEqual(page.faults, []);
    });
  }
});
