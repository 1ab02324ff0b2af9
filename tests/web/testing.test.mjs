// Tests @flexgate/web/testing, with which users of the package test their pages.

import assert from "node:assert/strict";
import { tmpdir } from "node:os";
import path from "node:path";
import { test } from "node:test";

import { chromium } from "playwright-core";

import { openSignedIn, startFlexgate } from "../../shared/web/dist/testing.js";
import { repository } from "./lib/gateway.mjs";

const bounded = { timeout: 60_000 };
const binary = path.resolve(process.env.FLEXGATE_BIN ?? path.join(repository, "target/debug/flexgate"));
const launch = { executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox", "--disable-gpu"] };

test("one call starts Flexgate and a browser in which the person is signed in, and the SDK finds the simulator", bounded, async () => {
  const { gateway, page, stop } = await openSignedIn(chromium, "grace", { binary, cwd: repository, launch });
  try {
    await page.locator('#username:text-is("grace")').waitFor({ state: "attached" });
    await page.locator("#worker-state:text-is('Offline')").waitFor();
    const { users } = await gateway.control("/__sim/users");
    assert.deepEqual(users.map(({ username }) => username), ["grace"]);
    await page.context().clearCookies();
    await gateway.signIn(page, "ada", { returnTo: "/?tab=2" });
    await page.locator('#username:text-is("ada")').waitFor({ state: "attached" });
    assert.equal(page.url(), `${gateway.url}/?tab=2`);
  } finally {
    await stop();
  }
  await assert.rejects(fetch(gateway.url), "the gateway has stopped");
});

test("a program that is missing or refuses its settings is an error that says why", bounded, async () => {
  await assert.rejects(startFlexgate({ binary: path.join(tmpdir(), "no-such-flexgate") }), (error) => {
    assert.match(error.message, /no-such-flexgate did not start/);
    assert.equal(error.cause.code, "ENOENT");
    return true;
  });
  const env = { FLEXGATE_SESSION_IDLE_SECONDS: "1" };
  await assert.rejects(startFlexgate({ binary, env }), /did not start:[\s\S]*FLEXGATE_SESSION_IDLE_SECONDS/);
});
