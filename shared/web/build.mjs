// Builds the package: one script with a source map for each entry point, and the type declarations. `node build.mjs
// FOLDER` writes them to another folder.

import { execFileSync } from "node:child_process";
import path from "node:path";
import { fileURLToPath } from "node:url";

import { build } from "esbuild";

const here = path.dirname(fileURLToPath(import.meta.url));
const outdir = path.resolve(process.argv[2] ?? path.join(here, "dist"));
const BUILT = "// Built from the source in shared/web. Do not edit: run npm run build there.";

const common = {
  absWorkingDir: here,
  bundle: true,
  format: "esm",
  target: "es2022",
  sourcemap: true,
  legalComments: "none",
  outdir,
  banner: { js: BUILT },
};
await build({ ...common, entryPoints: { index: "src/index.ts" } });
// The other entry points import the core (`index.js`) instead of including it, so that a page loads the core only once.
const external = {
  name: "core",
  setup: ({ onResolve }) => onResolve({ filter: /\/src\/index\.js$/ }, () => ({ path: "./index.js", external: true })),
};
await build({
  ...common,
  entryPoints: { react: "react/index.ts" },
  external: ["react"],
  plugins: [external],
  banner: { js: `"use client";\n${BUILT}` },
});
// The entry point for tests does not import the core, so it does not need the plugin. It runs in Node.
await build({ ...common, entryPoints: { testing: "testing/index.ts" }, platform: "node", target: "node20" });
for (const project of [here, path.join(here, "testing")]) {
  execFileSync(path.join(here, "node_modules/.bin/tsc"), ["--project", project, "--outDir", outdir], { stdio: "inherit" });
}
