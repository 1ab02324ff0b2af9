// Starts a gateway with a simulated Twilio on free ports. FLEXGATE_BIN is the path of the binary.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

export async function listen(handler, port = 0) {
  const server = createServer(handler);
  server.listen(port, "127.0.0.1");
  await once(server, "listening");
  return server;
}

export async function close(server) {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
}

async function freePort() {
  const server = await listen(() => {});
  const { port } = server.address();
  await close(server);
  return port;
}

// Starts a gateway that trusts only these issuers.
export async function startGateway(issuers) {
  const binary = process.env.FLEXGATE_BIN;
  assert.ok(binary, "set FLEXGATE_BIN to the binary flexgate");
  const folder = await mkdtemp(join(tmpdir(), "flexgate-judge-"));
  const [port, simulator, tls] = [await freePort(), await freePort(), await freePort()];
  const args = ["serve", "--port", port, "--simulator-port", simulator, "--tls-port", tls, "--data-dir", folder];
  const child = spawn(binary, args.map(String), {
    env: { ...process.env, FLEXGATE_ISSUERS: JSON.stringify(issuers), FLEXGATE_MINTS_PER_MINUTE: "1000" },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk) => (output += chunk));
  const url = `http://localhost:${port}`;
  for (let tries = 0; ; tries++) {
    const health = await fetch(`${url}/health`).catch(() => undefined);
    if (health?.ok) break;
    assert.ok(tries < 200 && child.exitCode === null, `the gateway does not start:\n${output}`);
    await sleep(50);
  }
  return {
    async mint(bearer, body = {}) {
      const headers = { "content-type": "application/json", authorization: `Bearer ${bearer}` };
      const answer = await fetch(`${url}/token`, { method: "POST", headers, body: JSON.stringify(body) });
      return { status: answer.status, headers: answer.headers, body: await answer.json() };
    },
    async stop() {
      child.kill("SIGTERM");
      if (child.exitCode === null) await once(child, "exit");
      await rm(folder, { recursive: true, force: true });
    },
  };
}

export function assertMinted(answer, username) {
  assert.equal(answer.status, 201, JSON.stringify(answer.body));
  assert.equal(answer.body.token_info.username, username);
  assert.equal(answer.body.access_token.split(".").length, 5);
}

export function assertRefused(answer, what, status = 401, code = "token_invalid") {
  assert.equal(answer.status, status, `${what}: ${JSON.stringify(answer.body)}`);
  assert.equal(answer.body.code, code, what);
  assert.equal(answer.body.access_token, undefined, what);
  assert.equal(answer.headers.get("www-authenticate"), status === 401 ? "Bearer" : null, what);
}
