// Tests @flexgate/web/react in Chromium, with React 18 and 19, in StrictMode of React's development build. In this
// mode, React starts every component, stops it and starts it again.

import assert from "node:assert/strict";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import path from "node:path";
import { after, before, test } from "node:test";

import { openProfile, startBrowser } from "./lib/browser.mjs";
import { repository, startGateway } from "./lib/gateway.mjs";

const bounded = { timeout: 60_000 };
const here = path.join(repository, "tests/web/react");
const { build } = createRequire(path.join(repository, "shared/web/package.json"))("esbuild");

let gateway;
let browser;
let server;
let pages;

/** Bundles the page with this version of React. */
async function bundle(version) {
  const react = path.join(here, version, "node_modules");
  const { outputFiles } = await build({
    entryPoints: [path.join(here, "app.mjs")],
    bundle: true,
    write: false,
    format: "esm",
    define: { "process.env.NODE_ENV": '"development"' },
    alias: {
      "@flexgate/web/react": path.join(repository, "shared/web/react/index.ts"),
      "react": path.join(react, "react"),
      "react-dom": path.join(react, "react-dom"),
    },
  });
  return outputFiles[0].text;
}

before(async () => {
  const scripts = { "/18.js": await bundle("18"), "/19.js": await bundle("19") };
  server = createServer(({ url }, response) => {
    const { pathname } = new URL(url, "http://pages");
    const page = `<!doctype html><title>React</title><link rel="icon" href="data:,"><div id="root"></div><script type="module" src="${pathname}.js"></script>`;
    const [type, body] = scripts[pathname] ? ["javascript", scripts[pathname]] : ["html", page];
    response.writeHead(200, { "content-type": `text/${type}` }).end(body);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  pages = `http://localhost:${server.address().port}`;
  gateway = await startGateway({ env: { FLEXGATE_ALLOWED_ORIGINS: pages } });
  browser = await startBrowser(gateway);
}, { timeout: 60_000 });
after(async () => {
  await browser?.close();
  await gateway?.stop();
  server?.closeAllConnections();
  server?.close();
});

const text = (page, id, expected) => page.locator(`#${id}:text-is("${expected}")`).waitFor({ state: "attached" });
const seen = (page) => page.evaluate(() => window.seen);

/** Runs `work` on the page. `asked` contains the token requests so far. */
async function onPage(version, work) {
  const { context, page, complaints } = await openProfile(browser, { expected: [/status of (401|503)/, /the client was not made/, /The above error occurred/] });
  const asked = [];
  page.on("request", (request) => request.url().endsWith("/sso/token") && request.method() === "POST" && asked.push(request));
  const url = `${pages}/${version}?gate=${encodeURIComponent(gateway.url)}`;
  try {
    await work({ page, context, asked, url });
    assert.deepEqual(complaints, []);
  } finally {
    await context.close();
  }
}

for (const version of ["18", "19"]) {
  test(`React ${version}: a signed-in page asks once and makes one client, and ends both`, bounded, async () => {
    await onPage(version, async ({ page, asked, url }) => {
      await page.goto(url);
      await text(page, "status", "signed_out");
      await text(page, "client", "none");
      await gateway.signIn(page, "ada", { returnTo: url });
      await text(page, "status", "signed_in");
      asked.length = 0;
      await page.reload();
      await text(page, "client", "connected");
      await text(page, "who", "ada");
      const first = await seen(page);
      assert.ok(first.version.startsWith(`${version}.`), first.version);
      assert.ok(first.strict >= 2, "this is not StrictMode in development");
      assert.equal(asked.length, 1, "the page asks once, although React starts it twice");
      assert.deepEqual([first.created.length, first.destroyed.length], [1, 0]);

      await page.locator("#renew").click();
      await page.waitForFunction(() => window.seen.tokens.length > 0, null, { polling: 50 });
      assert.equal(asked.length, 2);

      await page.locator("#sign-out").click();
      await text(page, "status", "signed_out");
      await text(page, "who", "");
      const last = await seen(page);
      assert.deepEqual([last.created.length, last.destroyed.length], [1, 1], "the client is destroyed once");
    });
  });

  test(`React ${version}: a gateway that fails is the state "failed", and the page can ask again`, bounded, async () => {
    await onPage(version, async ({ page, url }) => {
      await gateway.signIn(page, "grace", { returnTo: url });
      await text(page, "status", "signed_in");
      await page.route("**/sso/token", (route) => route.fulfill({
        status: 503,
        headers: { "access-control-allow-origin": pages, "access-control-allow-credentials": "true" },
        json: { code: "unavailable", title: "A service that is needed is unavailable", status: 503 },
      }));
      await page.reload();
      await text(page, "status", "failed");
      await text(page, "error", "unavailable");
      await text(page, "client", "none");
      await page.locator("#reload").click();
      await text(page, "status", "failed");
      await page.unroute("**/sso/token");
      await page.locator("#reload").click();
      await text(page, "status", "signed_in");
      await text(page, "error", "");
      await text(page, "client", "connected");
    });
  });

  test(`React ${version}: a client that cannot be made reaches the error boundary, and is made again on request`, bounded, async () => {
    await onPage(version, async ({ page, context, url }) => {
      await gateway.signIn(page, "linus", { returnTo: url });
      await text(page, "client", "connected");
      await context.addInitScript(() => {
        let seen;
        Object.defineProperty(window, "seen", { get: () => seen, set: (value) => (seen = Object.assign(value, { failNext: true })) });
      });
      await page.reload();
      await page.locator("#again").click();
      await text(page, "client", "connected");
      assert.equal((await seen(page)).created.length, 1);
    });
  });

  test(`React ${version}: a page that is unmounted destroys its client and asks no more`, bounded, async () => {
    await onPage(version, async ({ page, asked, url }) => {
      await page.clock.install();
      await gateway.signIn(page, "ada", { returnTo: url });
      await page.clock.runFor(1_000);
      await text(page, "client", "connected");
      await page.evaluate(() => window.unmount());
      await page.clock.runFor(1_000);
      assert.equal((await seen(page)).destroyed.length, 1);
      const before = asked.length;
      await page.clock.fastForward(3 * 3_600_000);
      await page.clock.runFor(10_000);
      assert.equal(asked.length, before);
    });
  });
}
