// Runs headless Chromium. The host names *.twilio.com resolve to the simulator.

import { existsSync } from "node:fs";

import axe from "axe-core";
import { chromium } from "playwright-core";

const executablePath = process.env.CHROMIUM ?? "/usr/bin/chromium";

/** Starts Chromium for a gateway. With `twilio: false`, *.twilio.com is unreachable. */
export async function startBrowser(gateway, { twilio = true } = {}) {
  if (!existsSync(executablePath)) {
    throw new Error(`${executablePath} is missing: apt-get install chromium, or set CHROMIUM`);
  }
  const toSimulator = await gateway.chromiumArguments();
  const toNobody = toSimulator.map((argument) => argument.replace(`:${gateway.tlsPort}`, ":9"));
  return chromium.launch({
    executablePath,
    headless: true,
    timeout: 30_000,
    // Enable the back/forward cache, because a test needs it.
    ignoreDefaultArgs: ["--disable-back-forward-cache"],
    args: [
      "--no-sandbox",
      "--disable-gpu",
      // Draw text in the same way on every machine.
      "--font-render-hinting=none",
      "--disable-lcd-text",
      "--force-color-profile=srgb",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
      ...(twilio ? toSimulator : toNobody),
    ],
  });
}

/**
 * Opens a new profile with one page. `complaints` collects console errors, uncaught exceptions and violations of the
 * content security policy, except those that match `expected`.
 */
export async function openProfile(browser, { expected = [], ...options } = {}) {
  const context = await browser.newContext(options);
  context.setDefaultTimeout(15_000);
  const complaints = [];
  const take = (text) => expected.some((pattern) => pattern.test(text)) || complaints.push(text);
  await context.exposeBinding("reportViolation", (_, text) => take(text));
  await context.addInitScript(() => {
    document.addEventListener("securitypolicyviolation", (event) => {
      window.reportViolation(`CSP: ${event.violatedDirective} refused ${event.blockedURI || event.sample}`);
    });
  });
  context.on("console", (message) => {
    if (message.type() === "error") take(`${message.text()} (${message.location().url})`);
  });
  context.on("weberror", (error) => take(`uncaught: ${error.error()}`));
  const page = await context.newPage();
  return { context, page, complaints };
}

/** Presses the page's sign-in button, and chooses `username` on the identity provider's page. */
export async function signInAs(page, gateway, username) {
  await page.goto(gateway.url);
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.locator(`button[value="${username}"]`).click();
  await page.waitForURL(`${gateway.url}/`);
  await page.locator(`#username:text-is("${username}")`).waitFor({ state: "attached" });
}

/** Returns the violations that axe-core finds, with their elements. */
export async function violations(page) {
  await page.evaluate(axe.source);
  const { violations } = await page.evaluate(() => window.axe.run(document, { resultTypes: ["violations"] }));
  return violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ target, failureSummary }) => `${target} ${failureSummary}`).join("; ")}`);
}
