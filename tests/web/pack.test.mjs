// Tests the package as its users get it: made by `npm pack`, and installed in a Vite project outside the repository (a
// copy of examples/react). The test checks the project's types in strict mode, builds the project, and signs in to the
// built page with Chromium.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import path from "node:path";
import { test } from "node:test";

import { openProfile, startBrowser } from "./lib/browser.mjs";
import { repository, startGateway } from "./lib/gateway.mjs";

const TYPES = { ".html": "text/html", ".js": "text/javascript", ".css": "text/css" };

/**
 * Serves the built page from `folder()` at a free port. The server starts before the build, because the gateway needs
 * the server's URL, and the build needs the gateway's.
 */
async function serveBuilt(folder) {
  const server = createServer((request, response) => {
    const name = new URL(request.url, "http://page").pathname;
    const file = path.join(folder(), name === "/" ? "index.html" : name);
    response.setHeader("content-type", TYPES[path.extname(file)] ?? "text/plain");
    response.end(readFileSync(file));
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { url: `http://localhost:${server.address().port}`, stop: () => (server.closeAllConnections(), server.close()) };
}

test("the packed package builds, type-checks and signs in in a Vite project outside the repository", { timeout: 300_000 }, async () => {
  const project = mkdtempSync(path.join(tmpdir(), "flexgate-vite-"));
  const run = (program, args, env = {}) => execFileSync(program, args, { cwd: project, stdio: ["ignore", "pipe", "inherit"], env: { ...process.env, ...env } });
  const served = await serveBuilt(() => path.join(project, "dist"));
  let gateway;
  let browser;
  try {
    gateway = await startGateway({ env: { FLEXGATE_ALLOWED_ORIGINS: served.url } });
    cpSync(path.join(repository, "examples/react"), project, {
      recursive: true,
      filter: (source) => !/node_modules|\/dist$/.test(source.slice(repository.length)),
    });
    execFileSync("npm", ["pack", "--pack-destination", project], { cwd: path.join(repository, "shared/web"), stdio: ["ignore", "pipe", "inherit"] });
    const { version } = JSON.parse(readFileSync(path.join(repository, "shared/web/package.json"), "utf8"));
    const manifest = JSON.parse(readFileSync(path.join(project, "package.json"), "utf8"));
    manifest.dependencies["@flexgate/web"] = `file:flexgate-web-${version}.tgz`;
    writeFileSync(path.join(project, "package.json"), JSON.stringify(manifest));
    run("npm", ["install", "--ignore-scripts", "--no-audit", "--no-fund"]);
    // The package's other entry points must resolve and type-check too.
    const check = 'import type { TestGateway } from "@flexgate/web/testing";\nexport const url = (gateway: TestGateway): string => gateway.url;\n';
    writeFileSync(path.join(project, "src/testing.check.ts"), check);
    run("node", ["--input-type=module", "--eval", 'import { openSignedIn } from "@flexgate/web/testing"; if (!openSignedIn) process.exit(1);']);
    run("npm", ["run", "build"], { VITE_FLEXGATE_URL: gateway.url });

    browser = await startBrowser(gateway);
    const { page } = await openProfile(browser);
    await page.goto(served.url);
    await page.getByRole("button", { name: "Sign in" }).click();
    await page.locator('button[value="ada"]').click();
    await page.waitForURL(`${served.url}/`);
    await page.getByRole("heading", { name: "ada" }).waitFor();
    // The real SDK's worker connects, and still works after a renewal of the token.
    await page.getByRole("button", { name: "Available", exact: true }).click();
    await page.locator("strong", { hasText: "Available" }).waitFor();
    const renewed = page.waitForResponse((response) => response.url().endsWith("/sso/token") && response.ok());
    await page.getByRole("button", { name: "Renew now" }).click();
    await renewed;
    await page.getByRole("button", { name: "Break", exact: true }).click();
    await page.locator("strong", { hasText: "Break" }).waitFor();
    await page.getByRole("button", { name: "Sign out" }).click();
    await page.getByRole("heading", { name: "Sign in to start your shift" }).waitFor();
    assert.doesNotMatch(await page.content(), /\bada\b/);
  } finally {
    await browser?.close();
    await gateway?.stop();
    served.stop();
    rmSync(project, { recursive: true, force: true });
  }
});
