// Tests the built package shared/web: its size, and that the committed build and the committed pages of docs/web-api
// match the source.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import path from "node:path";
import { test } from "node:test";
import { gzipSync } from "node:zlib";

import { obstacles } from "../../shared/web/publishable.mjs";
import { repository } from "./lib/gateway.mjs";

const folder = path.join(repository, "shared/web");
const { transformSync } = createRequire(path.join(folder, "package.json"))("esbuild");
const LARGEST = 4 * 1024;

test("the package's core is small", (context) => {
  const built = readFileSync(path.join(folder, "dist/index.js"), "utf8");
  const { length } = gzipSync(transformSync(built, { minify: true, format: "esm" }).code, { level: 9 });
  context.diagnostic(`the core is ${length} bytes minified and gzipped, at most ${LARGEST}`);
  assert.ok(length <= LARGEST, `${length} bytes`);
});

test("only design.css names colours, so that all pages share them", () => {
  const others = ["examples/agent-desktop/desktop.css", "examples/agent-desktop/index.html", "examples/react/src/desktop.css",
    "examples/agent-desktop/hops/hops.css", "examples/agent-desktop/hops/index.html",
    "infra/simulator/src/web.rs", "shared/src/web/page/mod.rs"];
  for (const name of others) {
    // Ignore the colours of icons in data: URLs, because such an icon cannot use the page's CSS custom properties.
    const text = readFileSync(path.join(repository, name), "utf8").replaceAll(/data:image[^"]*/g, "");
    assert.doesNotMatch(text, /#[0-9a-f]{3,8}\b|\b(rgb|hsl|oklch)a?\(/i, name);
  }
  const rules = readFileSync(path.join(folder, "design.css"), "utf8").split("*, *::before")[1];
  assert.doesNotMatch(rules, /#[0-9a-f]{3,8}\b|\brgb\(/i, "a rule of design.css uses a colour that is no custom property");
});

test("the committed build is the build of the source", { timeout: 60_000 }, () => {
  const fresh = mkdtempSync(path.join(tmpdir(), "flexgate-package-"));
  try {
    execFileSync(process.execPath, ["build.mjs", fresh], { cwd: folder, stdio: "inherit" });
    for (const name of ["index.js", "testing.js"]) {
      const read = (where) => readFileSync(path.join(where, name), "utf8");
      assert.equal(read(path.join(folder, "dist")), read(fresh), `run npm run build in shared/web, and commit dist/${name}`);
    }
  } finally {
    rmSync(fresh, { recursive: true });
  }
});

test("docs/web-api is what npm run docs makes, and everything that the package exports is documented", { timeout: 60_000 }, () => {
  const fresh = mkdtempSync(path.join(tmpdir(), "flexgate-docs-"));
  try {
    // This command fails if an exported type or function has no comment.
    execFileSync("npm", ["run", "--silent", "docs", "--", "--out", fresh], { cwd: folder, stdio: "inherit" });
    const read = (where) => readdirSync(where).sort().map((name) => [name, readFileSync(path.join(where, name), "utf8")]);
    assert.deepEqual(read(path.join(repository, "docs/web-api")), read(fresh), "run npm run docs in shared/web");
  } finally {
    rmSync(fresh, { recursive: true });
  }
});

test("the package can be published with provenance once it names its repository, and at no other tag", () => {
  const manifest = JSON.parse(readFileSync(path.join(folder, "package.json"), "utf8"));
  assert.deepEqual(manifest.publishConfig, { access: "public", provenance: true });
  const repository = { type: "git", url: "git+https://github.com/owner/name.git", directory: "shared/web" };
  const tag = `v${manifest.version}`;
  assert.deepEqual(obstacles({ ...manifest, repository }, tag, "owner/name"), []);
  assert.match(obstacles({ ...manifest, repository: undefined }, tag, "owner/name").join(), /repository.url .*directory/);
  assert.match(obstacles({ ...manifest, repository }, tag, "fork/name").join(), /repository.url/);
  assert.match(obstacles({ ...manifest, repository }, "v9.9.9", "owner/name").join(), /the tag v9.9.9 is not/);
});

test("the archive has the licence, the read-me, scripts with their sources and types, and nothing else", { timeout: 60_000 }, () => {
  const listed = execFileSync("npm", ["pack", "--dry-run", "--json"], { cwd: folder, encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
  // npm prints the output of the build before the JSON.
  const [{ files }] = JSON.parse(listed.slice(listed.search(/^\[/m)));
  const names = files.map((file) => file.path);
  for (const name of ["index", "react", "testing"]) {
    for (const end of [".js", ".js.map"]) assert.ok(names.includes(`dist/${name}${end}`), `dist/${name}${end}`);
  }
  for (const name of ["LICENSE", "README.md", "design.css", "package.json", "dist/src/index.d.ts"]) assert.ok(names.includes(name), name);
  const others = names.filter((name) => !/^(dist|src|react|testing)\/.+\.(js|ts|map)$|^(LICENSE|README\.md|design\.css|package\.json)$/.test(name));
  assert.deepEqual(others, []);
});
