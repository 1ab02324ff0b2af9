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

import { signInAs } from "./lib/browser.mjs";
import { repository } from "./lib/gateway.mjs";

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
    const page = browser.contexts()[0].pages()[0] ?? await browser.contexts()[0].newPage();
    await signInAs(page, { url: `http://localhost:${port}` }, "ada");
    await page.locator("#worker-state").getByText("Offline").waitFor({ timeout: 20_000 });
    await browser.close();
  } finally {
    child.kill("SIGTERM");
    await ended;
    await rm(data, { recursive: true, force: true });
  }
  assert.equal(child.exitCode, 0, said);
});
