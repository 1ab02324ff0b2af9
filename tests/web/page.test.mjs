// Tests every page and state that people can see, in light and dark colours: nothing overflows from a width of 320 px,
// axe-core finds no violation, and the page works with the keyboard, reduced motion and forced colours. Also compares
// each state with its picture in docs/images/screens. `npm run pictures` updates the pictures.

import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import { after, before, test } from "node:test";

import { accessFaults } from "./lib/accessible.mjs";
import { openProfile, startBrowser, violations } from "./lib/browser.mjs";
import { repository, startGateway } from "./lib/gateway.mjs";
import { difference, small } from "./lib/pictures.mjs";
import { serveReactDesktop } from "./lib/react-desktop.mjs";
import { freezeTime, STATES } from "./lib/states.mjs";

const bounded = { timeout: 60_000 };
const pictures = path.join(repository, "docs/images/screens");
const failed = path.join(repository, "tests/.out/web");
const WIDTHS = [320, 360, 768, 1280, 1920];
const CHECKED_BY_AXE = [360, 1280];
/** Each state has a picture for a computer, in light colours. Some also have a picture for a phone, in dark colours. */
const COMPUTER = { colorScheme: "light", width: 900 };
const TELEPHONE = { colorScheme: "dark", width: 360 };
const ON_TELEPHONE = ["desktop-signed-out", "desktop-available", "desktop-renewal-trouble", "sign-in", "page-cancelled",
  "react-call-on-hold", "hops-sign-in"];
/** The share of pixels that may differ, because versions of Chromium draw edges differently. */
const TOLERANCE = 0.003;

let desktop;
let gateway;
/** A gateway whose error pages name a company and say where people can get help. */
let company;
/** A gateway at which nobody has signed in, so that it has not read the SSO configuration yet. */
let unused;
let browser;
let font;

before(async () => {
  desktop = await serveReactDesktop();
  gateway = await startGateway({ env: { FLEXGATE_ALLOWED_ORIGINS: desktop.url } });
  await desktop.bundle(gateway.url);
  const pages = { FLEXGATE_PAGE_NAME: "Example Company", FLEXGATE_PAGE_HELP: "https://help.example.com/" };
  [company, unused] = await Promise.all([startGateway({ env: pages }), startGateway()]);
  browser = await startBrowser(gateway);
  font = await pinnedFont();
  for (const folder of [pictures, failed]) await mkdir(folder, { recursive: true });
}, { timeout: 45_000 });
after(async () => {
  await browser?.close();
  await Promise.all([gateway, company, unused].map((one) => one?.stop()));
  desktop?.stop();
});

/** A style that replaces the machine's fonts, so that a picture does not depend on them. */
async function pinnedFont() {
  const files = path.join(repository, "tests/web/node_modules/@fontsource/inter/files");
  const faces = await Promise.all([400, 600, 700].map(async (weight) => {
    const data = await readFile(path.join(files, `inter-latin-${weight}-normal.woff2`), "base64");
    return `@font-face { font-family: Pinned; font-weight: ${weight}; src: url(data:font/woff2;base64,${data}); }`;
  }));
  return `${faces.join("\n")} * { font-family: Pinned !important; caret-color: transparent !important; }`;
}

for (const [state, reach] of Object.entries(STATES)) {
  test(`${state}: fits from 320 px to wide, everybody can use it, and it looks as in its picture`, bounded, async () => {
    const options = { reducedMotion: "reduce", bypassCSP: true, locale: "en-GB", timezoneId: "UTC", viewport: { width: 900, height: 700 } };
    const { context, page } = await openProfile(browser, options);
    try {
      await freezeTime(page);
      await reach({ page, context, gateway, company, unused, desktop });
      for (const colorScheme of ["light", "dark"]) {
        await page.emulateMedia({ colorScheme });
        for (const width of WIDTHS) {
          await page.setViewportSize({ width, height: 700 });
          const { scroll, client } = await page.evaluate(() => {
            const { scrollWidth: scroll, clientWidth: client } = document.documentElement;
            return { scroll, client };
          });
          assert.ok(scroll <= client, `${scroll} px of content in ${client} px, ${colorScheme}`);
          if (CHECKED_BY_AXE.includes(width)) assert.deepEqual(await violations(page), [], `${colorScheme}, ${width} px`);
        }
      }
      assert.deepEqual(await accessFaults(page), []);
      await page.addStyleTag({ content: font });
      await page.evaluate(() => document.activeElement?.blur());
      await page.evaluate(() => document.fonts.ready);
      for (const { colorScheme, width } of ON_TELEPHONE.includes(state) ? [COMPUTER, TELEPHONE] : [COMPUTER]) {
        await page.emulateMedia({ colorScheme });
        await page.setViewportSize({ width, height: 600 });
        await looksAs(`${state}-${colorScheme}`, await page.screenshot({ fullPage: true }));
      }
    } finally {
      // The test is over, so ignore the errors of requests that are still waiting for an answer.
      await page.unrouteAll({ behavior: "ignoreErrors" });
      await context.close();
    }
  });
}

test("in forced colours and with reduced motion, what is chosen and how far the shift is stays visible", bounded, async () => {
  const { context, page } = await openProfile(browser, { forcedColors: "active", reducedMotion: "reduce" });
  try {
    await freezeTime(page);
    await STATES["desktop-available"]({ page, context, gateway });
    const style = (selector, name) => page.locator(selector).evaluate((element, name) => getComputedStyle(element)[name], name);
    assert.equal(await style('#activities [aria-pressed="true"]', "borderTopWidth"), "3px");
    assert.equal(await style("#shift-bar", "borderTopStyle"), "solid");
    await page.evaluate(() => document.getElementById("checking").hidden = false);
    const names = await page.locator(".bone").evaluateAll((bones) => bones.map((bone) => getComputedStyle(bone).animationName));
    assert.deepEqual(new Set(names), new Set(["none"]));
  } finally {
    await page.unrouteAll({ behavior: "ignoreErrors" });
    await context.close();
  }
});

test("docs/screens.md shows every picture, and no other", async () => {
  const page = await readFile(path.join(repository, "docs/screens.md"), "utf8");
  const shown = [...page.matchAll(/images\/screens\/([\w-]+)\.png/g)].map(([, name]) => name);
  const drawn = [...Object.keys(STATES).map((state) => `${state}-light`), ...ON_TELEPHONE.map((state) => `${state}-dark`)];
  assert.deepEqual(shown.sort(), drawn.sort());
  const files = (await readdir(pictures)).map((name) => name.replace(/\.png$/, ""));
  assert.deepEqual(files.sort(), drawn);
});

/** Compares a screenshot with its picture. With UPDATE=1, replaces the picture instead. */
async function looksAs(name, screenshot) {
  const file = path.join(pictures, `${name}.png`);
  const before = existsSync(file) ? await readFile(file) : null;
  const found = before && difference(before, screenshot);
  const looksTheSame = found && found.share <= TOLERANCE;
  if (looksTheSame) return;
  if (process.env.UPDATE) return writeFile(file, small(screenshot));
  await writeFile(path.join(failed, `${name}.png`), screenshot);
  if (found?.image) await writeFile(path.join(failed, `${name}-difference.png`), found.image);
  const how = before ? `differs in ${(found.share * 100).toFixed(2)} % of its pixels` : "has no picture yet";
  assert.fail(`${name} ${how}. See tests/.out/web; if it should look so, run npm run pictures in tests/web`);
}
