// Starts a gateway with a simulated Twilio. FLEXGATE_BIN is the path of the binary.
import { spawn } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

async function freePort() {
  const server = createServer();
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  const { port } = server.address();
  await new Promise((done) => server.close(done));
  return port;
}

// Starts the gateway with these additional environment variables.
export async function start(variables = {}) {
  const binary = process.env.FLEXGATE_BIN;
  if (!binary) throw new Error("FLEXGATE_BIN must name the binary flexgate");
  const folder = await mkdtemp(join(tmpdir(), "flexgate-judge-"));
  const [port, simulator, tls] = [await freePort(), await freePort(), await freePort()].map(String);
  const child = spawn(binary, ["--port", port, "--simulator-port", simulator, "--tls-port", tls, "--data-dir", folder], {
    env: { ...process.env, ...variables },
  });
  let said = "";
  await new Promise((ready, failed) => {
    const hear = (chunk) => {
      said += chunk;
      if (said.includes("Ctrl-C")) ready();
    };
    child.stdout.on("data", hear);
    child.stderr.on("data", hear);
    child.on("exit", (code) => failed(new Error(`the gateway ended with ${code}: ${said}`)));
  });
  const { standard: secret } = JSON.parse(await readFile(join(folder, "secrets", "webhook-secrets.json"), "utf8"));
  return {
    secret,
    url: `http://localhost:${port}`,
    deliver: (headers, body) =>
      fetch(`http://127.0.0.1:${port}/webhooks/standard`, {
        method: "POST",
        headers: { "content-type": "application/json", ...headers },
        body,
      }),
    // Waits until `wanted` is true for the Flex user with this username. Returns the user.
    async user(username, wanted) {
      for (let tries = 0; tries < 100; tries += 1) {
        const { users } = await (await fetch(`http://127.0.0.1:${simulator}/__sim/users`)).json();
        const user = users.find((one) => one.username === username);
        if (user && wanted(user)) return user;
        await new Promise((later) => setTimeout(later, 50));
      }
      throw new Error(`${username} did not become what was wanted`);
    },
    async stop() {
      const ended = new Promise((done) => child.on("exit", done));
      child.removeAllListeners("exit");
      child.on("exit", () => {});
      child.kill("SIGTERM");
      await Promise.race([ended, new Promise((later) => setTimeout(later, 5000))]);
      await rm(folder, { recursive: true, force: true });
    },
  };
}
