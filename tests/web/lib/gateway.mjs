// Starts the built binary through @flexgate/web/testing, as the tests of the package's users do.

import { existsSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";

import { startFlexgate } from "../../../shared/web/dist/testing.js";

export const repository = fileURLToPath(new URL("../../../", import.meta.url));
const binary = path.resolve(process.env.FLEXGATE_BIN ?? path.join(repository, "target/debug/flexgate"));

export const ACCOUNT = "AC00000000000000000000000000000001";

/** Starts `flexgate serve` in the folder `cwd` with the variables `env`. `stop()` ends it and deletes its data. */
export function startGateway({ cwd = repository, env = {} } = {}) {
  if (!existsSync(binary)) throw new Error(`${binary} is missing: cargo build -p flexgate-cli, or set FLEXGATE_BIN`);
  if (!existsSync(path.join(repository, "examples/agent-desktop/node_modules/@twilio/flex-sdk/package.json"))) {
    throw new Error("the Flex SDK is not installed: run npm run setup in tests/web");
  }
  return startFlexgate({ binary, cwd, env });
}
