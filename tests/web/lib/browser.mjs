// Runs headless Chromium. The host names *.twilio.com resolve to the simulator.

import { createHash, X509Certificate } from "node:crypto";
import { existsSync } from "node:fs";
import { connect } from "node:tls";

import { chromium } from "playwright-core";

const executablePath = process.env.CHROMIUM ?? "/usr/bin/chromium";

/** Starts Chromium for a gateway. With `twilio: false`, *.twilio.com is unreachable. */
export async function startBrowser(gateway, { twilio = true } = {}) {
  if (!existsSync(executablePath)) {
    throw new Error(`${executablePath} is missing: apt-get install chromium, or set CHROMIUM`);
  }
  const port = twilio ? gateway.tlsPort : 9;
  return chromium.launch({
    executablePath,
    headless: true,
    timeout: 30_000,
    // Enable the back/forward cache, because a test needs it.
    ignoreDefaultArgs: ["--disable-back-forward-cache"],
    args: [
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
      `--host-resolver-rules=MAP *.twilio.com 127.0.0.1:${port}`,
      `--ignore-certificate-errors-spki-list=${await spkiOf(gateway.tlsPort)}`,
    ],
  });
}

/** Returns the SHA-256 hash of the public key (SubjectPublicKeyInfo) in the port's TLS certificate, in base64. */
function spkiOf(port) {
  return new Promise((resolve, reject) => {
    const options = { host: "127.0.0.1", port, servername: "flex-api.twilio.com", rejectUnauthorized: false };
    const socket = connect(options, () => {
      const { publicKey } = new X509Certificate(socket.getPeerCertificate().raw);
      socket.destroy();
      resolve(createHash("sha256").update(publicKey.export({ type: "spki", format: "der" })).digest("base64"));
    });
    socket.setTimeout(5_000, () => socket.destroy(new Error("the TLS port does not answer")));
    socket.once("error", reject);
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
  await page.getByRole("heading", { name: username, level: 2 }).waitFor();
}
