// Built from the source in shared/web. Do not edit: run npm run build there.

// testing/index.ts
import { spawn } from "node:child_process";
import { createHash, X509Certificate } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { connect } from "node:tls";
var PATIENCE = 2e4;
async function startFlexgate({ binary = process.env["FLEXGATE_BIN"] ?? "flexgate", env = {}, cwd } = {}) {
  const data = await mkdtemp(path.join(tmpdir(), "flexgate-test-"));
  const [port, simulatorPort, tlsPort] = await freePorts(3);
  const ports = ["--port", port, "--simulator-port", simulatorPort, "--tls-port", tlsPort].map(String);
  const child = spawn(binary, ["serve", ...ports, "--data-dir", data], {
    cwd,
    env: { PATH: process.env["PATH"], ...env },
    stdio: ["ignore", "pipe", "pipe"]
  });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding("utf8").on("data", (text) => output += text);
  let failure = null;
  const ended = new Promise((resolve) => {
    child.once("exit", () => resolve());
    child.once("error", (error) => {
      failure = error;
      resolve();
    });
  });
  const kill = () => void child.kill("SIGKILL");
  process.once("exit", kill);
  const gateway = {
    url: `http://localhost:${port}`,
    simulator: `http://localhost:${simulatorPort}`,
    tlsPort,
    authority: path.join(data, "simulator/ca.pem"),
    output: () => output,
    async control(route, body, method = body === void 0 ? "GET" : "POST") {
      const response = await fetch(gateway.simulator + route, {
        method,
        headers: { "content-type": "application/json" },
        body: body === void 0 ? null : JSON.stringify(body),
        signal: AbortSignal.timeout(1e4)
      });
      if (!response.ok) throw new Error(`${method} ${route}: ${response.status} ${await response.text()}`);
      return response.status === 204 ? null : response.json();
    },
    async chromiumArguments() {
      return [
        "--disable-quic",
        `--host-resolver-rules=MAP *.twilio.com 127.0.0.1:${tlsPort}`,
        `--ignore-certificate-errors-spki-list=${await fingerprint(tlsPort)}`
      ];
    },
    async signIn(page, username, { returnTo = `${gateway.url}/`, profile = "default" } = {}) {
      await page.goto(`${gateway.url}/sso/${encodeURIComponent(profile)}/login?return_to=${encodeURIComponent(returnTo)}`);
      await page.locator(`button[value="${username}"]`).click();
      await page.waitForURL(new URL(returnTo, gateway.url).href);
    },
    async stop() {
      child.kill("SIGTERM");
      await Promise.race([ended, sleep(5e3, void 0, { ref: false }).then(kill)]);
      await ended;
      process.removeListener("exit", kill);
      await rm(data, { recursive: true, force: true });
    }
  };
  let over = false;
  void ended.then(() => over = true);
  for (const until = Date.now() + PATIENCE; Date.now() < until && !over; await sleep(50)) {
    const health = await fetch(`${gateway.url}/health`, { signal: AbortSignal.timeout(1e3) }).catch(() => null);
    if (health?.ok && existsSync(gateway.authority)) return gateway;
  }
  await gateway.stop();
  throw new Error(`${binary} did not start:
${output}`, { cause: failure });
}
async function openSignedIn(chromium, username, { returnTo, profile, launch = {}, ...options } = {}) {
  const gateway = await startFlexgate(options);
  let browser;
  const stop = async () => {
    await browser?.close();
    await gateway.stop();
  };
  try {
    browser = await chromium.launch({ ...launch, args: [...await gateway.chromiumArguments(), ...launch.args ?? []] });
    const page = await browser.newPage();
    await gateway.signIn(page, username, { returnTo, profile });
    return { gateway, browser, page, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}
function fingerprint(port) {
  return new Promise((resolve, reject) => {
    const options = { host: "127.0.0.1", port, servername: "flex-api.twilio.com", rejectUnauthorized: false };
    const socket = connect(options, () => {
      const { publicKey } = new X509Certificate(socket.getPeerCertificate().raw);
      socket.destroy();
      resolve(createHash("sha256").update(publicKey.export({ type: "spki", format: "der" })).digest("base64"));
    });
    socket.setTimeout(5e3, () => socket.destroy(new Error("the simulator's TLS port does not answer")));
    socket.once("error", reject);
  });
}
async function freePorts(count) {
  const servers = await Promise.all(
    Array.from({ length: count }, () => new Promise((resolve, reject) => {
      const server = createServer().once("error", reject);
      server.listen(0, "127.0.0.1", () => resolve(server));
    }))
  );
  const ports = servers.map((server) => server.address().port);
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}
export {
  openSignedIn,
  startFlexgate
};
//# sourceMappingURL=testing.js.map
