// Tests the page's layout in both colour themes, at several widths from 320 px. Uses axe-core for accessibility. Writes
// screenshots to tests/.out/web.

import assert from "node:assert/strict";
import { mkdir } from "node:fs/promises";
import path from "node:path";
import { after, before, test } from "node:test";

import axe from "axe-core";

import { openProfile, signInAs, startBrowser } from "./lib/browser.mjs";
import { repository, startGateway } from "./lib/gateway.mjs";

const bounded = { timeout: 40_000 };
const shots = path.join(repository, "tests/.out/web");
const WIDTHS = [320, 360, 768, 1280, 1920];
/** The widths of screenshots, in pixels. */
const PICTURED = [360, 1280];

let gateway;
let browser;

before(async () => {
  gateway = await startGateway();
  browser = await startBrowser(gateway);
  await mkdir(shots, { recursive: true });
}, { timeout: 45_000 });
after(async () => {
  await browser?.close();
  await gateway?.stop();
});

/** A very long name. It must not make the page wider. */
const LONG = "margaret.elaine.heafield.hamilton+night-shift@customer-care.emea.example.com";

const STATES = {
  async "signed-out"(page) {
    await page.goto(gateway.url);
    await page.getByRole("button", { name: "Sign in" }).waitFor();
  },
  async "signed-in"(page) {
    await signInAs(page, gateway, "grace");
    await page.locator("#worker-state").getByText("Offline").waitFor();
    await page.getByRole("button", { name: "Available", exact: true }).click();
    await page.locator("#worker-state").getByText("Available").waitFor();
  },
  async "signed-in-long-name"(page) {
    const person = { username: LONG, email: LONG, name: LONG, email_verified: true, roles: ["agent", "supervisor", "admin"] };
    await gateway.control("/idp/__dev/people", person);
    await signInAs(page, gateway, LONG);
    await page.locator("#worker-state").getByText("Offline").waitFor();
  },
  async "failure-signed-in"(page, context) {
    await STATES["signed-in"](page);
    await context.setOffline(true);
    await page.getByRole("button", { name: "Renew now" }).click();
    await page.locator("#failure").waitFor();
  },
  async "failure-session-ended"(page, context) {
    await STATES["signed-in"](page);
    await context.request.post(`${gateway.url}/sso/logout`, { headers: { origin: gateway.url, "x-flexgate": "1" } });
    await page.getByRole("button", { name: "Renew now" }).click();
    await page.locator("#failure").waitFor();
  },
  async "failure-no-gateway"(page) {
    await page.route("**/sso/token", (route) => route.fulfill({
      status: 503,
      contentType: "application/problem+json",
      body: JSON.stringify({
        code: "unavailable",
        title: "A service that is needed is unavailable",
        detail: "Try again in a minute.",
        status: 503,
        request_id: "0123456789abcdef0123456789abcdef",
      }),
    }));
    await page.goto(gateway.url);
    await page.locator("#failure").waitFor();
  },
  async "sdk-refused"(page) {
    await page.route("**/sso/token", async (route) => {
      const response = await route.fetch();
      const body = await response.json();
      await route.fulfill({ response, json: response.ok() ? { ...body, access_token: "not-a-token" } : body });
    });
    await signInAs(page, gateway, "ada");
    await page.locator("#worker-retry").waitFor();
  },
  async "gateway-refuses-sign-in"(page) {
    await page.goto(gateway.url);
    await page.getByRole("button", { name: "Sign in" }).click();
    await page.getByRole("button", { name: "Cancel" }).click();
    await page.getByText("login_refused").waitFor();
  },
};

for (const [state, reach] of Object.entries(STATES)) {
  test(`${state}: no overflow from 320 px to wide, no axe violation, in light and dark`, bounded, async () => {
    const { context, page } = await openProfile(browser, { reducedMotion: "reduce" });
    try {
      await reach(page, context);
      for (const colorScheme of ["light", "dark"]) {
        await page.emulateMedia({ colorScheme });
        for (const width of WIDTHS) {
          await page.setViewportSize({ width, height: 800 });
          const { scroll, client } = await page.evaluate(() => {
            const { scrollWidth: scroll, clientWidth: client } = document.documentElement;
            return { scroll, client };
          });
          assert.ok(scroll <= client, `${scroll} px of content in ${client} px, ${colorScheme}`);
          if (!PICTURED.includes(width)) continue;
          await page.screenshot({ path: path.join(shots, `${state}-${colorScheme}-${width}.png`), fullPage: true });
          assert.deepEqual(await violations(page), [], `${colorScheme}, ${width} px`);
        }
      }
    } finally {
      await context.close();
    }
  });
}

/** Returns the violations that axe-core finds, with their elements. */
async function violations(page) {
  await page.evaluate(axe.source);
  const { violations } = await page.evaluate(() => window.axe.run(document, { resultTypes: ["violations"] }));
  return violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ target, failureSummary }) => `${target} ${failureSummary}`).join("; ")}`);
}
