// Tests the agent desktop in Chromium with the real SDK.

import assert from "node:assert/strict";
import { tmpdir } from "node:os";
import { after, before, test } from "node:test";

import { openProfile, signInAs, startBrowser } from "./lib/browser.mjs";
import { startGateway } from "./lib/gateway.mjs";
import { signInUpToCallback } from "./lib/sign-in.mjs";

const bounded = { timeout: 45_000 };
/** The message that Chromium itself writes to the console while nobody is signed in. */
const NOBODY_YET = /status of 401 .*\/sso\/token\)$/;
const REQUEST_ID = /^[0-9a-f]{32}$/;

let gateway;
let browser;

before(async () => {
  gateway = await startGateway();
  browser = await startBrowser(gateway);
}, { timeout: 45_000 });
after(async () => {
  await browser?.close();
  await gateway?.stop();
});

/** Runs `work` in a new browser profile. Fails if the browser reports an error or a warning. */
async function inProfile(options, work) {
  const profile = await openProfile(browser, { ...options, expected: [NOBODY_YET, ...(options.expected ?? [])] });
  try {
    await work(profile);
    assert.deepEqual(profile.complaints, []);
  } finally {
    await profile.context.close();
  }
}

const activity = (page) => page.locator("#worker-state");
const named = (page, name) => page.getByRole("button", { name, exact: true });

async function activityIs(page, name) {
  await page.locator(`#worker-state:text-is("${name}")`).waitFor();
}

/** Returns which names and SID prefixes of the signed-in person the page still contains. */
async function privateText(page) {
  const text = await page.evaluate(() => document.documentElement.outerHTML);
  return ["ada", "Ada", "Lovelace", "FU", "WK", "AC0000"].filter((mark) => new RegExp(`\\b${mark}`).test(text));
}

test("ada signs in, sees who she is, works with her worker, stays signed in over a reload, and signs out", bounded, async () => {
  await inProfile({}, async ({ page }) => {
    await signInAs(page, gateway, "ada");
    assert.deepEqual(await page.locator("#roles li").allTextContents(), ["agent"]);
    await activityIs(page, "Offline");
    assert.match(await page.locator("#fact-worker").textContent(), /^WK[0-9a-f]{32}$/);
    // The page gets the full name, the team and the skills from the worker.
    await page.getByRole("heading", { name: "Ada Lovelace", level: 2 }).waitFor();
    assert.equal(await page.locator("#team").textContent(), "No team yet");
    assert.equal(await page.locator("#skills").textContent(), "No skills yet");
    assert.equal(await page.locator("#shift-figure").textContent(), "Just started");
    assert.match(await page.locator("#shift-note").textContent(), /^You signed in at \d/);

    await named(page, "Available").click();
    await activityIs(page, "Available");
    assert.equal(await named(page, "Available").getAttribute("aria-pressed"), "true");
    const { users } = await gateway.control("/__sim/users");
    const ada = users.find(({ username }) => username === "ada");
    assert.match(JSON.stringify(ada), /"activity":"Available"/);

    await page.reload();
    await page.locator('#username:text-is("ada")').waitFor({ state: "attached" });
    // Reloading the page closes the SDK's connection to TaskRouter. The SDK has asked TaskRouter to set the worker
    // offline in this case.
    await activityIs(page, "Offline");

    await named(page, "Renew now").click();
    await page.locator("#announce:text-is('Your sign-in was renewed.')").waitFor({ state: "attached" });
    assert.match(await page.locator("#time-left").textContent(), /^\d+ min \d+ s$|^1 h/);

    await named(page, "Sign out").click();
    await page.getByText("You are signed out").waitFor();
    assert.deepEqual(await privateText(page), []);
  });
});

test("the keyboard alone is enough, and keeps its place when the activity changes", bounded, async () => {
  await inProfile({}, async ({ page }) => {
    await page.goto(gateway.url);
    await named(page, "Sign in").waitFor();
    await page.keyboard.press("Tab");
    assert.equal(await page.evaluate(() => document.activeElement.id), "sign-in");
    await page.keyboard.press("Enter");
    await page.locator('button[value="grace"]').focus();
    await page.keyboard.press("Enter");
    await page.locator('#username:text-is("grace")').waitFor({ state: "attached" });
    await activityIs(page, "Offline");
    const order = [];
    for (let step = 0; step < 7; step++) {
      await page.keyboard.press("Tab");
      order.push(await page.evaluate(() => document.activeElement.textContent));
    }
    assert.deepEqual(order, ["Sign out", "Details for your administrator", "Renew now", "Offline", "Available", "Break", "Unavailable"]);
    await page.keyboard.press("Shift+Tab");
    await page.keyboard.press("Space");
    await activityIs(page, "Break");
    assert.equal(await page.evaluate(() => document.activeElement.textContent), "Break");
  });
});

test("over four token periods the page renews by itself, and the worker works with each new token", bounded, async () => {
  // The gateway refreshes a token that is valid for less than five minutes. These tokens are valid for 280 seconds, so
  // each request gets a new token.
  await gateway.control("/__sim/switches", { sso_token_ttl_seconds: 280 });
  try {
    await inProfile({}, async ({ page }) => {
      const tokens = [];
      page.on("response", async (response) => {
        if (response.url().endsWith("/sso/token") && response.ok()) tokens.push((await response.json()).access_token);
      });
      await page.clock.install();
      await signInAs(page, gateway, "ada");
      await activity(page).filter({ hasNotText: "Connecting" }).waitFor();
      for (const name of ["Available", "Break", "Unavailable", "Offline"]) {
        const known = tokens.length;
        // Wait for more than a second. Expiration times are whole seconds, and the new token's expiration time must
        // differ from the old token's.
        await new Promise((resolve) => setTimeout(resolve, 1_100));
        await page.clock.fastForward(150_000);
        for (const until = Date.now() + 8_000; tokens.length === known && Date.now() < until; ) await page.clock.runFor(500);
        assert.equal(tokens.length, known + 1, "the page did not renew by itself");
        await page.clock.runFor(1_000);
        assert.equal(new Set(tokens).size, tokens.length, "a token came twice");
        for (const token of tokens.slice(0, -1)) await gateway.control("/__sim/tokens/revoke", { token });
        await named(page, name).click();
        await activityIs(page, name);
      }
    });
  } finally {
    await gateway.control("/__sim/switches", { sso_token_ttl_seconds: 3600 });
  }
});

test("the cookies are bound to the host, unreadable for scripts, and go when they have served", bounded, async () => {
  await inProfile({}, async ({ context, page }) => {
    const devtools = await context.newCDPSession(page);
    const cookies = async () => {
      const { cookies } = await devtools.send("Network.getCookies", { urls: [gateway.url] });
      return cookies.map(({ name, httpOnly, secure, sameSite, path, domain }) => ({ name, httpOnly, secure, sameSite, path, domain }));
    };
    const shared = { httpOnly: true, secure: true, path: "/", domain: "localhost" };
    await page.goto(gateway.url);
    await named(page, "Sign in").click();
    await page.locator('button[value="ada"]').waitFor();
    const [{ name, ...login }] = await cookies();
    assert.match(name, /^__Host-flexgate-login-[\w-]{11}$/);
    assert.deepEqual(login, { sameSite: "Lax", ...shared });
    await page.locator('button[value="ada"]').click();
    await page.locator('#username:text-is("ada")').waitFor({ state: "attached" });
    assert.deepEqual(await cookies(), [{ name: "__Host-flexgate-session", sameSite: "Lax", ...shared }]);
    assert.equal(await page.evaluate(() => document.cookie), "");
    await named(page, "Sign out").click();
    await page.getByText("You are signed out").waitFor();
    assert.deepEqual(await cookies(), []);
  });
});

test("no token is in any storage of the browser, nor in the document", bounded, async () => {
  await inProfile({}, async ({ page }) => {
    await signInAs(page, gateway, "ada");
    await activity(page).filter({ hasNotText: "Connecting" }).waitFor();
    const kept = await page.evaluate(async () => ({
      local: Object.entries(localStorage),
      session: Object.entries(sessionStorage),
      databases: await indexedDB.databases(),
      caches: await caches.keys(),
      token: /eyJ[\w-]{20}/.test(document.documentElement.outerHTML),
    }));
    // The page stores nothing. The SDK's logger stores only its log levels.
    assert.deepEqual(kept.local.filter(([name, value]) => !name.startsWith("loglevel:") || !/^[A-Z]+$/.test(value)), []);
    assert.deepEqual({ ...kept, local: [] }, { local: [], session: [], databases: [], caches: [], token: false });
  });
});

test("back after signing out shows nothing private, not even out of the browser's page cache", bounded, async () => {
  await inProfile({}, async ({ context, page }) => {
    await context.addInitScript(() => {
      // This listener runs before the page's own listeners. It records the visible text when the user returns to the
      // page.
      addEventListener("pageshow", (event) => {
        (window.shows ??= []).push({ persisted: event.persisted, text: document.body.innerText });
      }, { capture: true });
    });
    await signInAs(page, gateway, "ada");
    await activity(page).filter({ hasNotText: "Connecting" }).waitFor();
    const gone = page.waitForEvent("framenavigated");
    await page.evaluate(() => location.assign("/health"));
    await gone;
    // End the session without telling this tab.
    await context.request.post(`${gateway.url}/sso/logout`, { headers: { origin: gateway.url, "x-flexgate": "1" } });
    // The browser restores the page from its back/forward cache.
    await page.goBack({ waitUntil: "commit" });
    await named(page, "Sign in").waitFor();
    const shows = await page.evaluate(() => window.shows);
    const why = () => JSON.stringify(performance.getEntriesByType("navigation")[0].notRestoredReasons);
    assert.equal(shows.at(-1).persisted, true, `not out of the page cache, the case was not met: ${await page.evaluate(why)}`);
    assert.doesNotMatch(shows.at(-1).text, /ada|FU[0-9a-f]{32}/);
    assert.deepEqual(await privateText(page), []);

    // Go back through the whole history of the tab that signed out.
    await signInAs(page, gateway, "ada");
    await named(page, "Sign out").click();
    await page.getByText("You are signed out").waitFor();
    for (let steps = 0; steps < 4; steps++) {
      await page.goBack({ waitUntil: "commit" }).catch(() => {});
      await page.waitForTimeout(300);
      if (page.url().startsWith(gateway.url)) assert.deepEqual(await privateText(page), [], `${steps + 1} steps back`);
    }
  });
});

test("signing out in one tab empties the others", bounded, async () => {
  await inProfile({}, async ({ context, page }) => {
    await signInAs(page, gateway, "ada");
    const other = await context.newPage();
    await other.goto(gateway.url);
    await other.locator('#username:text-is("ada")').waitFor({ state: "attached" });
    // Wait until both tabs have finished loading. On a slow machine, a tab could otherwise load during the sign-out.
    for (const tab of [page, other]) await activity(tab).filter({ hasNotText: "Connecting" }).waitFor();
    await named(other, "Sign out").click();
    await page.getByText("You are signed out").waitFor();
    assert.deepEqual(await privateText(page), []);
  });
});

test("another person's token, after a sign-in in another tab, does not reach this tab's worker", bounded, async () => {
  await inProfile({}, async ({ context, page }) => {
    await signInAs(page, gateway, "ada");
    await activity(page).filter({ hasNotText: "Connecting" }).waitFor();
    const other = await context.newPage();
    await other.goto(`${gateway.url}/sso/default/login`);
    await other.locator('button[value="linus"]').click();
    await other.locator('#username:text-is("linus")').waitFor({ state: "attached" });
    // The other tab tells this tab that linus has signed in. This tab then stops renewing ada's token.
    await page.locator("#failure-code:text-is('another_user')").waitFor({ state: "attached" });
    assert.deepEqual(await privateText(page), []);
    await named(page, "Continue as them").click();
    await page.locator('#username:text-is("linus")').waitFor({ state: "attached" });
  });
});

test("a sign-in that the person cancels ends on a page with code and request id", bounded, async () => {
  await inProfile({ expected: [/status of 403 .*\/callback/] }, async ({ context, page }) => {
    await page.goto(gateway.url);
    await named(page, "Sign in").click();
    const answered = page.waitForResponse((response) => response.url().includes("/sso/default/callback"));
    await named(page, "Cancel").click();
    assert.equal((await answered).status(), 403);
    await page.getByRole("heading", { name: "You are not signed in" }).waitFor();
    assert.ok(!(await page.getByText("login_refused").isVisible()), "the code is for administrators");
    await page.getByText("Details for your administrator").click();
    await page.getByText("login_refused").waitFor();
    assert.match(await page.locator("dd").last().textContent(), REQUEST_ID);
    assert.ok(!(await context.cookies()).some(({ name }) => name === "__Host-flexgate-session"));
    await page.getByRole("link", { name: "Sign in with another account" }).click();
    await named(page, "Cancel").waitFor();
  });
});

test("s22_an_attackers_callback_opened_in_another_browser_signs_nobody_in", bounded, async () => {
  const { callback } = await signInUpToCallback(gateway, "mallory");
  assert.ok(callback.startsWith(`${gateway.url}/sso/default/callback?`));
  await inProfile({ expected: [/status of 400 .*\/callback/] }, async ({ context, page }) => {
    const response = await page.goto(callback);
    assert.equal(response.status(), 400);
    await page.getByText("Details for your administrator").click();
    await page.getByText("login_invalid").waitFor();
    assert.match(await page.locator("dd").last().textContent(), REQUEST_ID);
    assert.deepEqual(await context.cookies(), []);
    await page.goto(gateway.url);
    await named(page, "Sign in").waitFor();
  });
});

test("a session that was ended elsewhere is explained with code and request id, and leaves the page", bounded, async () => {
  await inProfile({}, async ({ context, page }) => {
    await signInAs(page, gateway, "ada");
    await context.request.post(`${gateway.url}/sso/logout`, { headers: { origin: gateway.url, "x-flexgate": "1" } });
    await named(page, "Renew now").click();
    await page.locator("#failure-code:text-is('not_signed_in')").waitFor({ state: "attached" });
    assert.equal(await page.locator("#failure").getAttribute("data-tone"), "calm", "an ended session is no alarm");
    assert.match(await page.locator("#failure-request").textContent(), REQUEST_ID);
    assert.deepEqual(await privateText(page), []);
    assert.equal(await page.evaluate(() => document.activeElement.id), "failure-title");
    await named(page, "Sign in").waitFor();
  });
});

test("a session that continues on another device ends here with an explanation, and the page does not sign in by itself", bounded, async () => {
  await inProfile({}, async ({ page }) => {
    await signInAs(page, gateway, "ada");
    const json = { code: "signed_in_elsewhere", title: "Signed in elsewhere", status: 401, request_id: "0".repeat(32) };
    await page.route("**/sso/token", (route) => route.fulfill({ status: 401, json }));
    await named(page, "Renew now").click();
    await page.getByRole("heading", { name: "You are working on another device" }).waitFor();
    assert.deepEqual(await privateText(page), []);
    await named(page, "Sign in").waitFor();
    assert.equal(page.url(), `${gateway.url}/`);
  });
});

test("a gateway that cannot be reached is explained, and a desk that is signed in stays", bounded, async () => {
  await inProfile({ expected: [/ERR_INTERNET_DISCONNECTED/] }, async ({ context, page }) => {
    await signInAs(page, gateway, "ada");
    await activity(page).filter({ hasNotText: "Connecting" }).waitFor();
    await context.setOffline(true);
    await named(page, "Renew now").click();
    await page.getByText("You are offline").waitFor();
    await page.getByText("You can go on working").waitFor();
    assert.equal(await page.locator("#failure-code").textContent(), "unreachable");
    assert.match(await page.locator("#time-note").textContent(), /^Renewing your sign-in again/);
    assert.ok(await page.getByRole("heading", { name: "Ada Lovelace" }).isVisible());
    await context.setOffline(false);
    // The page retries without a click.
    await page.locator("#failure").waitFor({ state: "hidden" });
    await page.locator("#offline").waitFor({ state: "hidden" });
  });
});

test("the page can talk to nobody but its gateway and Twilio, and frames it nobody", bounded, async () => {
  const expected = [/^CSP: connect-src refused https:\/\/example\.com/, /violates the following|Refused to connect/i];
  await inProfile({ expected }, async ({ page }) => {
    const response = await page.goto(gateway.url);
    const policy = response.headers()["content-security-policy"];
    assert.match(policy, /frame-ancestors 'none'/);
    assert.doesNotMatch(policy, /unsafe|\*(?!\.twilio\.com)/);
    const leaked = await page.evaluate(() => fetch("https://example.com/").then(() => true, () => false));
    assert.equal(leaked, false);
  });
});

test("without the SDK installed everything else works, and the page says what to do", bounded, async () => {
  const bare = await startGateway({ cwd: tmpdir() });
  try {
    await inProfile({ expected: [/status of 404 .*\/sdk\//, /Refused to execute script from .*\/sdk\//] }, async ({ page }) => {
      await signInAs(page, bare, "ada");
      await page.getByText("SDK not installed").waitFor();
      assert.match(await page.locator("#worker-note").textContent(), /run npm ci in examples\/agent-desktop/);
      await named(page, "Renew now").click();
      await page.locator("#announce:text-is('Your sign-in was renewed.')").waitFor({ state: "attached" });
    });
  } finally {
    await bare.stop();
  }
});

test("where twilio.com cannot be reached the page says so, and signing out still works", bounded, async () => {
  const cutOff = await startBrowser(gateway, { twilio: false });
  const { page } = await openProfile(cutOff);
  try {
    await signInAs(page, gateway, "ada");
    await page.getByText("Not connected").waitFor({ timeout: 30_000 });
    assert.match(await page.locator("#worker-note").textContent(), /could not be reached.*simulated account/);
    assert.ok(await named(page, "Try again").isVisible());
    await named(page, "Sign out").click();
    await page.getByText("You are signed out").waitFor();
  } finally {
    await cutOff.close();
  }
});
