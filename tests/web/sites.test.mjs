// Checks in Chromium that docs/front-end.md is right about pages on other origins and sites, iframes, and blocked
// third-party cookies (case R14 of the attack register).

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { openProfile, signInAs, startBrowser } from "./lib/browser.mjs";
import { startGateway } from "./lib/gateway.mjs";
import { servePages } from "./lib/pages.mjs";

const bounded = { timeout: 45_000 };
const REFUSED = [/status of 40[13] .*\/sso\/token\)$/];

let pages;
let gateway;

before(async () => {
  pages = await servePages();
  gateway = await startGateway({ env: { FLEXGATE_ALLOWED_ORIGINS: `${pages.localhost},${pages.other}` } });
}, { timeout: 45_000 });
after(async () => {
  await gateway?.stop();
  await pages?.stop();
});

/**
 * Runs `work` in a browser in which ada is signed in, unless `signedIn` is false. Fails if the browser reports an error
 * or a warning.
 */
async function inBrowser({ expected = [], signedIn = true }, work) {
  const browser = await startBrowser(gateway);
  try {
    const { page, complaints } = await openProfile(browser, { expected: [...REFUSED, ...expected] });
    if (signedIn) await signInAs(page, gateway, "ada");
    await work(page);
    assert.deepEqual(complaints, []);
  } finally {
    await browser.close();
  }
}

/** Returns what the package gets on the page or in the frame: the username, or the code of a refusal. */
async function asks(frame) {
  await frame.waitForFunction(() => window.flexgate);
  return frame.evaluate(async () => {
    try {
      const session = await window.flexgate.session();
      return session ? session.username : "not_signed_in";
    } catch (error) {
      return error.code;
    }
  });
}

const frontEnd = (origin) => `${origin}/?gate=${encodeURIComponent(gateway.url)}`;
const framed = (by, url) => `${by}/frame?of=${encodeURIComponent(url)}`;

async function embedded(page, by, url) {
  await page.goto(framed(by, url));
  return page.frames().find((frame) => frame.parentFrame());
}

/**
 * Embeds a page of the gateway's site in a page of the origin `by`, twice. Returns the cookies that the browser sends
 * the second time.
 */
async function cookiesWithin(page, by) {
  await embedded(page, by, `${pages.localhost}/cookies`);
  return (await embedded(page, by, `${pages.localhost}/cookies`)).locator("p").textContent();
}

test("R14 a page on another origin of the gateway's site works", bounded, async () => {
  await inBrowser({}, async (page) => {
    await page.goto(frontEnd(pages.localhost));
    assert.equal(await asks(page), "ada");
    // The gateway lets the page read the header `Date` of its answers. So the page works even if the computer's clock
    // is wrong.
    const left = await page.evaluate(async () => {
      const now = Date.now;
      Date.now = () => now() - 7_200_000;
      return window.timeLeft(await window.flexgate.session());
    });
    assert.ok(left > 0 && left <= 3_600_000, `${left} ms left`);
  });
});

test("R14 with third-party cookies blocked, a page in an iframe works if everything is on one site", bounded, async () => {
  await inBrowser({}, async (page) => {
    assert.match(await cookiesWithin(page, pages.localhost), /embedded=1/);
    assert.match(await cookiesWithin(page, pages.other), /none/, "this browser accepts third-party cookies");
    assert.equal(await asks(await embedded(page, pages.localhost, frontEnd(pages.localhost))), "ada");
  });
});

test("R14 signing in from a page on another origin comes back to this page", bounded, async () => {
  await inBrowser({ signedIn: false }, async (page) => {
    const address = `${frontEnd(pages.localhost)}&tab=2#top`;
    await page.goto(address);
    assert.equal(await asks(page), "not_signed_in");
    await page.evaluate(() => window.flexgate.signIn({ prompt: "select_account" }));
    await page.locator('button[value="ada"]').click();
    await page.waitForURL(address);
    assert.equal(await asks(page), "ada");
  });
});

test("R14 a page in an iframe on one site signs in in a window of its own", bounded, async () => {
  await inBrowser({ signedIn: false }, async (page) => {
    const frame = await embedded(page, pages.localhost, frontEnd(pages.localhost));
    assert.equal(await asks(frame), "not_signed_in");
    const opened = page.waitForEvent("popup");
    await frame.evaluate(() => void window.open(window.flexgate.signInUrl({ returnTo: `${location.origin}/cookies` })));
    const popup = await opened;
    await popup.locator('button[value="ada"]').click();
    await popup.waitForURL(`${pages.localhost}/cookies`);
    assert.equal(await asks(frame), "ada");
  });
});

test("R14 a page on another site is refused", bounded, async () => {
  await inBrowser({}, async (page) => {
    await page.goto(frontEnd(pages.other));
    assert.equal(await asks(page), "cross_site");
  });
});

test("R14 in an iframe on another site nobody is signed in, but in a window of its own the same page works", bounded, async () => {
  await inBrowser({}, async (page) => {
    const frame = await embedded(page, pages.other, frontEnd(pages.localhost));
    assert.equal(await asks(frame), "not_signed_in");
    const opened = page.waitForEvent("popup");
    await frame.evaluate(() => void window.open(location.href));
    assert.equal(await asks(await opened), "ada");
    assert.equal(await asks(frame), "not_signed_in", "the window's session does not help the frame");
  });
});

test("R14 the gateway's own pages refuse to be framed", bounded, async () => {
  const expected = [/Refused to frame|Framing .* violates|frame-ancestors/, /status of 400 /];
  await inBrowser({ expected }, async (page) => {
    for (const address of ["/", "/sso/default/callback?error=access_denied&state=x"]) {
      const answer = page.waitForResponse((response) => response.url() === gateway.url + address);
      const frame = await embedded(page, pages.localhost, gateway.url + address);
      assert.match((await answer).headers()["content-security-policy"], /frame-ancestors 'none'/);
      assert.match(frame.url(), /^chrome-error:/, address);
    }
  });
});

test("R14 a bearer token from the page's identity provider works in an iframe on another site", bounded, async () => {
  await inBrowser({}, async (page) => {
    const frame = await embedded(page, pages.other, frontEnd(pages.localhost));
    const claims = { sub: "ada", preferred_username: "ada", scope: "flexgate.token" };
    const { token: bearer } = await gateway.control("/idp/__dev/token", claims);
    const status = await frame.evaluate(async ([url, bearer]) => {
      const response = await fetch(`${url}/token`, { method: "POST", headers: { authorization: `Bearer ${bearer}` } });
      return [response.status, (await response.json()).code];
    }, [gateway.url, bearer]);
    assert.deepEqual(status, [201, undefined]);
  });
});
