// Checks that npm can publish the package with provenance: `node publishable.mjs TAG`. npm compares the repository in
// package.json with the repository whose workflow publishes.

import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

/** Returns what prevents a publication of the tag from the GitHub repository `source` (`owner/name`). */
export function obstacles({ version, repository = {} }, tag, source) {
  const url = `git+https://github.com/${source}.git`;
  return [
    tag !== `v${version}` && `the tag ${tag} is not v${version}, the version in package.json`,
    repository.url !== url && `repository.url in package.json is not ${url}`,
    repository.directory !== "shared/web" && "repository.directory in package.json is not shared/web",
  ].filter(Boolean);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const manifest = JSON.parse(readFileSync(new URL("package.json", import.meta.url), "utf8"));
  const found = obstacles(manifest, process.argv[2], process.env.GITHUB_REPOSITORY);
  for (const obstacle of found) console.error(obstacle);
  process.exitCode = found.length > 0 ? 1 : 0;
}
