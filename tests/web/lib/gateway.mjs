// Starts and stops the built binary, with free ports and a temporary data folder.

import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";

export const repository = fileURLToPath(new URL("../../../", import.meta.url));
const binary = path.resolve(process.env.FLEXGATE_BIN ?? path.join(repository, "target/debug/flexgate"));

export const ACCOUNT = "AC00000000000000000000000000000001";

/** Starts `flexgate serve` in the folder `cwd` with the variables `env`. `stop()` ends it and deletes its data. */
export async function startGateway({ cwd = repository, env = {} } = {}) {
  if (!existsSync(binary)) throw new Error(`${binary} is missing: cargo build -p flexgate-cli, or set FLEXGATE_BIN`);
  if (!existsSync(path.join(repository, "examples/agent-desktop/node_modules/@twilio/flex-sdk/package.json"))) {
    throw new Error("the Flex SDK is not installed: run npm run setup in tests/web");
  }
  const data = await mkdtemp(path.join(tmpdir(), "flexgate-web-"));
  const [port, simulatorPort, tlsPort] = await freePorts(3);
  const ports = ["--port", port, "--simulator-port", simulatorPort, "--tls-port", tlsPort].map(String);
  const child = spawn(binary, ["serve", ...ports, "--data-dir", data], {
    cwd,
    env: { PATH: process.env.PATH, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text) => (output += text));
  }
  const ended = new Promise((resolve) => child.once("exit", resolve));
  const kill = () => child.kill("SIGKILL");
  process.once("exit", kill);

  const gateway = {
    url: `http://localhost:${port}`,
    simulator: `http://localhost:${simulatorPort}`,
    tlsPort,
    authority: path.join(data, "simulator/ca.pem"),
    output: () => output,
    /** Calls the simulator's control API. */
    async control(route, body, method = body === undefined ? "GET" : "POST") {
      const init = { method, headers: { "content-type": "application/json" }, body: body && JSON.stringify(body) };
      const response = await fetch(this.simulator + route, { ...init, signal: AbortSignal.timeout(10_000) });
      if (!response.ok) throw new Error(`${method} ${route}: ${response.status} ${await response.text()}`);
      return response.status === 204 ? null : response.json();
    },
    async stop() {
      child.kill("SIGTERM");
      await Promise.race([ended, sleep(5_000, undefined, { ref: false }).then(kill)]);
      await ended;
      process.removeListener("exit", kill);
      await rm(data, { recursive: true, force: true });
    },
  };
  try {
    await ready(gateway, ended, () => output);
  } catch (error) {
    await gateway.stop();
    throw error;
  }
  return gateway;
}

async function ready(gateway, ended, output) {
  let over = false;
  ended.then(() => (over = true));
  for (const until = Date.now() + 20_000; Date.now() < until; await sleep(50)) {
    if (over) break;
    const health = await fetch(`${gateway.url}/health`, { signal: AbortSignal.timeout(1_000) }).catch(() => null);
    if (health?.ok) return;
  }
  throw new Error(`flexgate did not start:\n${output()}`);
}

/** Returns different free ports. Another process may still take one of them before the caller uses it. */
async function freePorts(count) {
  const servers = await Promise.all(
    Array.from({ length: count }, () => new Promise((resolve, reject) => {
      const server = createServer().once("error", reject);
      server.listen(0, "127.0.0.1", () => resolve(server));
    })),
  );
  const ports = servers.map((server) => server.address().port);
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}
