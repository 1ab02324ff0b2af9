// Tests try.mjs, the command that shows the real SDK in a browser.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import { chromium } from "playwright-core";

import { signInAs, violations } from "./lib/browser.mjs";
import { repository } from "./lib/gateway.mjs";

/** The hops of a sign-in. */
const EXPECTED = [
  ["Browser → Flexgate", "GET /sso/{profile}/login → 303"],
  ["Flexgate → Twilio", "GET /v1/Flex/Authentication/Config → 200"],
  ["Browser → Twilio", "GET /v1/Flex/Authorize → 302"],
  ["Browser → Identity provider", "GET /idp/authorize → 200"],
  ["Browser → Identity provider", "POST /idp/authorize/decision → 303"],
  ["Browser → Twilio", "GET /v1/Flex/SSO/Callback → 302"],
  ["Browser → Flexgate", "GET /sso/{profile}/callback → 303"],
  ["Flexgate → Twilio", "POST /v1/Flex/OAuth/Tokens → 200"],
  ["Flexgate → Twilio", "POST /v1/Accounts/"],
];

async function freePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return String(port);
}

test("R93 one command opens a browser in which the real SDK's worker connects", { timeout: 90_000 }, async () => {
  const [port, simulator, tls, debugging] = await Promise.all([freePort(), freePort(), freePort(), freePort()]);
  const data = await mkdtemp(path.join(tmpdir(), "flexgate-try-data-"));
  const command = [
    path.join(repository, "examples/agent-desktop/try.mjs"), "--port", port, "--simulator-port", simulator,
    "--tls-port", tls, "--data-dir", data, "--", "--headless=new", "--no-sandbox", "--disable-gpu",
    `--remote-debugging-port=${debugging}`,
  ];
  const child = spawn(process.execPath, command, { stdio: ["ignore", "pipe", "pipe"] });
  let said = "";
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding("utf8").on("data", (text) => (said += text));
  const ended = new Promise((resolve) => child.once("exit", resolve));
  try {
    let browser;
    while (!browser) {
      assert.equal(child.exitCode, null, said);
      browser = await chromium.connectOverCDP(`http://127.0.0.1:${debugging}`).catch(() => null);
      if (!browser) await sleep(100);
    }
    const [context] = browser.contexts();
    while (!/Each hop of the sign-in is at \S+\./.test(said)) await sleep(50);
    const panel = await context.newPage();
    await panel.goto(/Each hop of the sign-in is at (\S+)\./.exec(said)[1]);
    const page = context.pages().find((page) => page.url().includes(port)) ?? await context.newPage();
    await signInAs(page, { url: `http://localhost:${port}` }, "ada");
    await page.locator("#worker-state").getByText("Offline").waitFor({ timeout: 20_000 });
    // The panel shows the hops (steps of the sign-in) in the order in which they began.
    const hops = panel.locator("#hops li");
    await hops.filter({ hasText: "The SDK opens the worker's websocket." }).waitFor();
    await hops.filter({ hasText: "POST /sso/token → 200" }).waitFor();
    const requests = await hops.locator("code").allTextContents();
    // Before the login, the desktop asks whether somebody is signed in. Ignore the hops of this question.
    const begin = requests.findIndex((request) => request.startsWith("GET /sso/{profile}/login"));
    const names = (await hops.locator("strong").allTextContents()).slice(begin);
    for (const [place, [name, request]] of EXPECTED.entries()) {
      assert.equal(names[place], name, request);
      assert.ok(requests[begin + place].startsWith(request), `${requests[begin + place]} is not ${request}`);
    }
    assert.doesNotMatch(await panel.content(), /eyJ|code=|code_challenge=/, "neither a token nor a code");
    for (const colorScheme of ["light", "dark"]) {
      await panel.emulateMedia({ colorScheme });
      await panel.setViewportSize({ width: 320, height: 700 });
      assert.ok(await panel.evaluate(() => document.documentElement.scrollWidth <= document.documentElement.clientWidth));
      assert.deepEqual(await violations(panel), [], colorScheme);
    }
    await browser.close();
  } finally {
    child.kill("SIGTERM");
    await ended;
    await rm(data, { recursive: true, force: true });
  }
  assert.equal(child.exitCode, 0, said);
});
