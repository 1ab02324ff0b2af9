// Tests simultaneous sign-ins, old callbacks, and a login at another host name, in Chromium.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { openProfile, startBrowser } from "./lib/browser.mjs";
import { startGateway } from "./lib/gateway.mjs";

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
  const { context, page } = await openProfile(browser);
  try {
    await work(context, page);
  } finally {
    await context.close();
  }
}

const login = (returnTo, more = "") =>
  `${gateway.url}/sso/default/login?return_to=${encodeURIComponent(returnTo)}${more}`;

/** Opens the login in the page, up to the identity provider's page. */
async function begin(page, url) {
  await page.goto(url);
  await page.locator('button[value="ada"]').waitFor();
}

/** Chooses a person on the identity provider's page. Returns the callback's URL. */
async function finish(page, path, person = "ada") {
  const callback = page.waitForRequest((request) => request.url().includes("/sso/default/callback"));
  await page.locator(`button[value="${person}"]`).click();
  await page.waitForURL(`${gateway.url}${path}`);
  return (await callback).url();
}

async function sessionOf(context) {
  return (await context.cookies()).find(({ name }) => name === SESSION)?.value;
}

/** Sends `POST /sso/token` from the page, and returns the status. */
function tokenStatus(page) {
  return page.evaluate(async () => {
    const response = await fetch("/sso/token", { method: "POST", headers: { "x-flexgate": "1" } });
    return response.status;
  });
}

test("r01: six tabs that a browser restores at once all sign in, in the order begun and in reverse", bounded, async () => {
  for (const reverse of [false, true]) {
    await inProfile(async (context, first) => {
      const pages = [first];
      while (pages.length < 6) pages.push(await context.newPage());
      await Promise.all(pages.map((page, tab) => begin(page, login(`/?tab=${tab}`))));
      const logins = (await context.cookies()).filter(({ name }) => name.startsWith("__Host-flexgate-login-"));
      assert.equal(logins.length, 6);
      const order = [...pages.keys()];
      if (reverse) order.reverse();
      for (const tab of order) await finish(pages[tab], `/?tab=${tab}`);
      assert.deepEqual((await context.cookies()).map(({ name }) => name), [SESSION]);
      assert.equal(await tokenStatus(first), 200);
    });
  }
});

test("r02: a finished callback opened again goes to the default address and leaves another tab's login alone", bounded, async () => {
  await inProfile(async (context, page) => {
    await begin(page, login("/?tab=first"));
    const callback = await finish(page, "/?tab=first");
    const session = await sessionOf(context);
    const other = await context.newPage();
    await begin(other, login("/?tab=other"));

    await page.goto(callback);
    assert.equal(page.url(), `${gateway.url}/`);
    await page.reload();
    await page.goBack({ waitUntil: "commit" });
    assert.equal(page.url(), `${gateway.url}/?tab=first`);
    // Also open the old callback through a link on another site.
    await page.goto(gateway.simulator.replace("localhost", "127.0.0.1"));
    await page.evaluate((href) => {
      const link = Object.assign(document.createElement("a"), { href, textContent: "an old callback" });
      document.body.replaceChildren(link);
    }, callback);
    await page.getByText("an old callback").click();
    await page.waitForURL(`${gateway.url}/`);
    assert.equal(await sessionOf(context), session, "nothing changes");

    await finish(other, "/?tab=other");
    assert.equal(await tokenStatus(other), 200);
  });
});

test("r03: a callback that no login began offers to sign in", bounded, async () => {
  await inProfile(async (_, page) => {
    const response = await page.goto(`${gateway.url}/sso/default/callback?code=abc`);
    assert.equal(response.status(), 400);
    await page.getByRole("link", { name: "Sign in", exact: true }).click();
    await page.locator('button[value="ada"]').waitFor();
    await finish(page, "/");
  });
});

test("r04: a cookie of another application on the host, in UTF-8, harms nobody", bounded, async () => {
  await inProfile(async (_, page) => {
    await page.goto(`${gateway.url}/health`);
    await page.evaluate(() => (document.cookie = "visitor=José 😀; path=/"));
    assert.match(await page.evaluate(() => document.cookie), /José/);
    await begin(page, login("/?tab=odd"));
    await finish(page, "/?tab=odd");
    assert.equal(await tokenStatus(page), 200);
  });
});

test("r05: a long address with odd characters survives the whole way", bounded, async () => {
  await inProfile(async (_, page) => {
    const long = `/?note=${"x".repeat(1_500)}&path=C:\\calls&name=Ada Lovelace`;
    await begin(page, login(long));
    await page.locator('button[value="ada"]').click();
    await page.waitForURL((url) => url.searchParams.get("name") === "Ada Lovelace");
    assert.equal(new URL(page.url()).searchParams.get("path"), "C:\\calls");
    assert.equal(await tokenStatus(page), 200);
  });
});

test("r11: a login at 127.0.0.1 ends signed in at the public URL, which is localhost", bounded, async () => {
  await inProfile(async (context, page) => {
    const elsewhere = login("/?tab=moved").replace("localhost", "127.0.0.1");
    await begin(page, elsewhere);
    await finish(page, "/?tab=moved");
    assert.equal(await tokenStatus(page), 200);
    assert.deepEqual((await context.cookies()).map(({ domain }) => domain), ["localhost"]);
  });
});

test("r13: a second login in the same browser ends the first session", bounded, async () => {
  await inProfile(async (context, page) => {
    await begin(page, login("/?tab=first"));
    await finish(page, "/?tab=first");
    const first = await sessionOf(context);
    await begin(page, login("/?tab=second", "&prompt=select_account"));
    await finish(page, "/?tab=second", "grace");
    assert.notEqual(await sessionOf(context), first);
    const headers = { "x-flexgate": "1", origin: gateway.url, cookie: `${SESSION}=${first}` };
    const response = await fetch(`${gateway.url}/sso/token`, { method: "POST", headers });
    assert.equal(response.status, 401, "the first session has ended");
    assert.equal(await tokenStatus(page), 200);
  });
});
