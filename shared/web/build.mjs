// Builds the package: one script for each entry, with source maps, and types. `node build.mjs FOLDER` builds elsewhere.

import { execFileSync } from "node:child_process";
import path from "node:path";
import { fileURLToPath } from "node:url";

import { build } from "esbuild";

const here = path.dirname(fileURLToPath(import.meta.url));
const outdir = path.resolve(process.argv[2] ?? path.join(here, "dist"));

await build({
  absWorkingDir: here,
  entryPoints: ["src/index.ts"],
  bundle: true,
  format: "esm",
  target: "es2022",
  sourcemap: true,
  sourceRoot: "../",
  legalComments: "none",
  banner: { js: "// Built from shared/web/src. Do not edit: run npm run build in shared/web." },
  outdir,
});
execFileSync(path.join(here, "node_modules/.bin/tsc"), ["--project", here, "--outDir", outdir], { stdio: "inherit" });
