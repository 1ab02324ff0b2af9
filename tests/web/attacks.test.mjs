// Attacks on cookies and redirects in a real browser. Each test's name contains an ID from docs/attack-register.md.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { openProfile, signInAs, startBrowser } from "./lib/browser.mjs";
import { startGateway } from "./lib/gateway.mjs";
import { signInUpToCallback } from "./lib/sign-in.mjs";

const bounded = { timeout: 60_000 };
const SESSION = "__Host-flexgate-session";

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

async function inProfile(work) {
  const profile = await openProfile(browser);
  try {
    await work(profile);
  } finally {
    await profile.context.close();
  }
}

const choose = (page, person) => page.locator(`button[value="${person}"]`).click();
const sessionOf = async (context) => (await context.cookies(gateway.url)).find(({ name }) => name === SESSION)?.value;
/** Waits for an error page with this code. The code is in the details, which are collapsed. */
const shows = (page, code) => page.locator(`dd:text-is("${code}")`).waitFor({ state: "attached" });

/** Returns the URL of a page on another site. Browsers treat 127.0.0.1 and localhost as different sites. */
const foreign = () => `${gateway.simulator.replace("localhost", "127.0.0.1")}/__sim`;

test("s01_a_callback_in_a_browser_that_began_nothing", bounded, async () => {
  await inProfile(async ({ page, context }) => {
    const { callback } = await signInUpToCallback(gateway, "grace");
    const response = await page.goto(callback);
    assert.equal(response.status(), 400);
    await shows(page, "login_invalid");
    assert.equal(await sessionOf(context), undefined);
  });
});

test("s12_the_callback_replayed_by_going_to_it_again", bounded, async () => {
  await inProfile(async ({ page, context }) => {
    let callback;
    page.on("request", (request) => { if (request.url().includes("/callback?")) callback = request.url(); });
    await signInAs(page, gateway, "ada");
    const session = await sessionOf(context);
    await page.goto(callback);
    assert.equal(page.url(), `${gateway.url}/`);
    assert.equal(await sessionOf(context), session, "the session is as it was");
    await context.clearCookies();
    assert.equal((await page.goto(callback)).status(), 400);
    await shows(page, "login_invalid");
  });
});

test("s16_s17_no_return_to_leads_a_browser_elsewhere", bounded, async () => {
  const tricks = [
    "//127.0.0.1:9/x", "/\\127.0.0.1:9/x", "/\t/127.0.0.1:9/x", "https://app@127.0.0.1:9", "/.//127.0.0.1:9",
    "javascript:document.title='evil'", "http:127.0.0.1:9", "/%5c127.0.0.1:9",
  ];
  for (const trick of tricks) {
    await inProfile(async ({ page }) => {
      await page.goto(`${gateway.url}/sso/default/login?return_to=${encodeURIComponent(trick)}`);
      await choose(page, "ada");
      await page.waitForURL((url) => url.origin === gateway.url && !url.pathname.startsWith("/sso/"));
      assert.notEqual(await page.title(), "evil");
    });
  }
});

test("s21_two_tabs_finish_in_reverse_order", bounded, async () => {
  await inProfile(async ({ page: first, context }) => {
    const second = await context.newPage();
    await first.goto(`${gateway.url}/sso/default/login?return_to=${encodeURIComponent("/?first")}`);
    await second.goto(`${gateway.url}/sso/default/login?return_to=${encodeURIComponent("/?second")}`);
    await choose(second, "ada");
    await second.waitForURL(`${gateway.url}/?second`);
    await choose(first, "ada");
    await first.waitForURL(`${gateway.url}/?first`);
  });
});

test("s23_a_planted_session_cookie_is_replaced_at_the_sign_in", bounded, async () => {
  await inProfile(async ({ page, context }) => {
    const planted = { name: SESSION, value: "planted", domain: "localhost", path: "/", secure: true, httpOnly: true, sameSite: "Strict" };
    await context.addCookies([planted]);
    await signInAs(page, gateway, "ada");
    const session = await sessionOf(context);
    assert.match(session, /^[\w-]{43}$/);
  });
});

test("s24_s25_another_site_gets_no_token_out_of_a_signed_in_browser", bounded, async () => {
  await inProfile(async ({ page, context }) => {
    await signInAs(page, gateway, "ada");
    const evil = await context.newPage();
    await evil.goto(foreign());
    for (const init of [
      { headers: { "x-flexgate": "1" } },
      {},
      { mode: "no-cors" },
    ]) {
      const seen = await evil.evaluate(async ([url, init]) => {
        try {
          const response = await fetch(`${url}/sso/token`, { method: "POST", credentials: "include", ...init });
          return `${response.type} ${await response.text()}`;
        } catch (error) {
          return error.name;
        }
      }, [gateway.url, init]);
      assert.ok(["TypeError", "opaque "].includes(seen), seen);
    }
  });
});

test("s26_no_code_is_in_any_referer_nor_in_the_page", bounded, async () => {
  await inProfile(async ({ page }) => {
    const requests = [];
    page.on("request", (request) => requests.push(request.allHeaders().catch(() => ({}))));
    await signInAs(page, gateway, "ada");
    const referers = (await Promise.all(requests)).map(({ referer }) => referer ?? "");
    assert.ok(referers.length > 5);
    assert.deepEqual(referers.filter((referer) => referer.includes("code=")), []);
    assert.doesNotMatch(await page.evaluate(() => `${document.referrer} ${location.href}`), /code=|state=/);
  });
});

test("s31_another_site_signs_nobody_out", bounded, async () => {
  await inProfile(async ({ page, context }) => {
    await signInAs(page, gateway, "ada");
    const evil = await context.newPage();
    await evil.goto(foreign());
    const [answer] = await Promise.all([
      evil.waitForResponse((response) => response.url().endsWith("/sso/logout")),
      evil.evaluate((url) => {
        const form = Object.assign(document.createElement("form"), { method: "POST", action: `${url}/sso/logout` });
        document.documentElement.append(form);
        form.submit();
      }, gateway.url),
    ]);
    assert.equal(answer.status(), 403);
    await page.reload();
    await page.locator('#username:text-is("ada")').waitFor({ state: "attached" });
  });
});

test("s32_the_session_cookie_after_signing_out", bounded, async () => {
  await inProfile(async ({ page, context }) => {
    await signInAs(page, gateway, "ada");
    const kept = (await context.cookies(gateway.url)).filter(({ name }) => name === SESSION);
    await page.getByRole("button", { name: "Sign out", exact: true }).click();
    await page.getByText("You are signed out").waitFor();
    await context.addCookies(kept);
    await page.goto(gateway.url);
    await page.getByRole("button", { name: "Sign in" }).waitFor();
    const status = await page.evaluate(async () => {
      const response = await fetch("/sso/token", { method: "POST", headers: { "x-flexgate": "1" } });
      return response.status;
    });
    assert.equal(status, 401, "the cookie is dead");
  });
});
