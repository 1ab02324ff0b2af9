/**
 * This module is for the browser tests of a front end. It starts Flexgate with the simulated Twilio, and signs people in.
 * It needs Node 20, the program `flexgate`, and Playwright with Chromium. All servers that it starts listen only on the
 * local machine. Import the module from `@flexgate/web/testing`.
 *
 * @module testing
 */

import { spawn } from "node:child_process";
import { createHash, X509Certificate } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { connect } from "node:tls";

const PATIENCE = 20_000;

/** How to start Flexgate. */
export interface StartOptions {
  /** The path of the program. By default, the value of the variable `FLEXGATE_BIN`, or else `flexgate` from the `PATH`. */
  binary?: string | undefined;
  /** Flexgate's settings, such as `FLEXGATE_ALLOWED_ORIGINS`. */
  env?: Record<string, string | undefined> | undefined;
  /** The folder in which the program runs. */
  cwd?: string | undefined;
}

/** The part of a Playwright locator that `signIn` needs. */
export interface Clickable {
  /** Waits for the element, and clicks it. */
  click(): Promise<void>;
}

/** The parts of a Playwright page that `signIn` needs. */
export interface TestPage {
  /** Opens the URL. */
  goto(url: string): Promise<unknown>;
  /** Finds an element by its CSS selector. */
  locator(selector: string): Clickable;
  /** Resolves when the page is at the URL. */
  waitForURL(url: string): Promise<void>;
}

/** A running Flexgate with its simulated Twilio. */
export interface TestGateway {
  /** The gateway's address. */
  readonly url: string;
  /** The simulator's address. */
  readonly simulator: string;
  /** The port at which the simulator speaks TLS for `*.twilio.com`. */
  readonly tlsPort: number;
  /** The path of the file with the CA certificate for the TLS port. Pass it to Node in `NODE_EXTRA_CA_CERTS`. */
  readonly authority: string;
  /** The program's output so far. */
  output(): string;
  /**
   * Calls the simulator's control API, for example `control("/__sim/users")`. Sends a POST if there is a body. Resolves with
   * the answer's JSON, or with null if the answer has no body. Rejects if the status is not 200 to 299.
   */
  control(route: string, body?: unknown, method?: string): Promise<any>;
  /**
   * Returns the arguments that make Chromium connect to the simulator when a page calls `*.twilio.com`. Start a separate
   * browser for each gateway, because each gateway has its own certificate.
   */
  chromiumArguments(): Promise<string[]>;
  /** Signs in as one of the simulated people, and waits until the browser is at `returnTo`. */
  signIn(page: TestPage, username: string, options?: { returnTo?: string | undefined; profile?: string | undefined }): Promise<void>;
  /** Ends the program and deletes its data. */
  stop(): Promise<void>;
}

/**
 * Starts `flexgate serve` with free ports and a temporary data folder. If the program does not answer within 20
 * seconds, rejects with its output.
 *
 * @param options - The program, its settings and its folder.
 */
export async function startFlexgate({ binary = process.env["FLEXGATE_BIN"] ?? "flexgate", env = {}, cwd }: StartOptions = {}): Promise<TestGateway> {
  const data = await mkdtemp(path.join(tmpdir(), "flexgate-test-"));
  const [port, simulatorPort, tlsPort] = (await freePorts(3)) as [number, number, number];
  const ports = ["--port", port, "--simulator-port", simulatorPort, "--tls-port", tlsPort].map(String);
  const child = spawn(binary, ["serve", ...ports, "--data-dir", data], {
    cwd,
    env: { PATH: process.env["PATH"], ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding("utf8").on("data", (text: string) => (output += text));
  let failure: Error | null = null;
  const ended = new Promise<void>((resolve) => {
    child.once("exit", () => resolve());
    child.once("error", (error) => {
      failure = error;
      resolve();
    });
  });
  const kill = () => void child.kill("SIGKILL");
  process.once("exit", kill);

  const gateway: TestGateway = {
    url: `http://localhost:${port}`,
    simulator: `http://localhost:${simulatorPort}`,
    tlsPort,
    authority: path.join(data, "simulator/ca.pem"),
    output: () => output,
    async control(route, body, method = body === undefined ? "GET" : "POST") {
      const response = await fetch(gateway.simulator + route, {
        method,
        headers: { "content-type": "application/json" },
        body: body === undefined ? null : JSON.stringify(body),
        signal: AbortSignal.timeout(10_000),
      });
      if (!response.ok) throw new Error(`${method} ${route}: ${response.status} ${await response.text()}`);
      return response.status === 204 ? null : response.json();
    },
    async chromiumArguments() {
      return [
        "--disable-quic",
        `--host-resolver-rules=MAP *.twilio.com 127.0.0.1:${tlsPort}`,
        `--ignore-certificate-errors-spki-list=${await fingerprint(tlsPort)}`,
      ];
    },
    async signIn(page, username, { returnTo = `${gateway.url}/`, profile = "default" } = {}) {
      await page.goto(`${gateway.url}/sso/${encodeURIComponent(profile)}/login?return_to=${encodeURIComponent(returnTo)}`);
      await page.locator(`button[value="${username}"]`).click();
      await page.waitForURL(new URL(returnTo, gateway.url).href);
    },
    async stop() {
      child.kill("SIGTERM");
      await Promise.race([ended, sleep(5_000, undefined, { ref: false }).then(kill)]);
      await ended;
      process.removeListener("exit", kill);
      await rm(data, { recursive: true, force: true });
    },
  };
  let over = false;
  void ended.then(() => (over = true));
  for (const until = Date.now() + PATIENCE; Date.now() < until && !over; await sleep(50)) {
    const health = await fetch(`${gateway.url}/health`, { signal: AbortSignal.timeout(1_000) }).catch(() => null);
    // The simulator writes the file of its certificate authority last, so the program is ready when this file exists.
    if (health?.ok && existsSync(gateway.authority)) return gateway;
  }
  await gateway.stop();
  throw new Error(`${binary} did not start:\n${output}`, { cause: failure });
}

/** The parts of Playwright's `chromium` that `openSignedIn` needs. */
export interface BrowserType<Browser> {
  /** Starts a browser. */
  launch(options: { args: string[] } & Record<string, unknown>): Promise<Browser>;
}

/** The parts of a Playwright browser that `openSignedIn` needs. */
export interface TestBrowser<Page> {
  /** Opens a page in a new, empty browser profile. */
  newPage(): Promise<Page>;
  /** Closes the browser. */
  close(): Promise<void>;
}

/** Options of Playwright's `launch`. */
export interface LaunchOptions {
  /** Additional command-line arguments for Chromium. */
  args?: string[];
  /** Any other option. */
  [name: string]: unknown;
}

/** How to start Flexgate and the browser, and where to sign in. */
export interface OpenOptions extends StartOptions {
  /** Where the browser goes after the sign-in: a path on the gateway's origin, or a URL on an allowed origin. */
  returnTo?: string;
  /** The SSO profile. If it is not set, the profile is `default`. */
  profile?: string;
  /** Further options of Playwright's `launch`. */
  launch?: LaunchOptions;
}

/** What `openSignedIn` has started. */
export interface SignedIn<Page, Browser> {
  /** Flexgate and its simulator. */
  gateway: TestGateway;
  /** Playwright's browser. */
  browser: Browser;
  /** The page, which is signed in. */
  page: Page;
  /** Closes the browser and stops Flexgate. */
  stop(): Promise<void>;
}

/**
 * Starts Flexgate and Chromium, and opens a page on which `username` is already signed in. If a step fails, stops everything
 * that has started, and rejects.
 *
 * @param chromium - Playwright's `chromium`.
 * @param username - One of the simulated people, such as `ada`.
 * @param options - How to start Flexgate and the browser, and where to sign in.
 */
export async function openSignedIn<Page extends TestPage, Browser extends TestBrowser<Page>>(
  chromium: BrowserType<Browser>,
  username: string,
  { returnTo, profile, launch = {}, ...options }: OpenOptions = {},
): Promise<SignedIn<Page, Browser>> {
  const gateway = await startFlexgate(options);
  let browser: Browser | undefined;
  const stop = async () => {
    await browser?.close();
    await gateway.stop();
  };
  try {
    browser = await chromium.launch({ ...launch, args: [...(await gateway.chromiumArguments()), ...(launch.args ?? [])] });
    const page = await browser.newPage();
    await gateway.signIn(page, username, { returnTo, profile });
    return { gateway, browser, page, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** Returns the SHA-256 hash of the public key (SubjectPublicKeyInfo) in the port's TLS certificate, in base64. */
function fingerprint(port: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const options = { host: "127.0.0.1", port, servername: "flex-api.twilio.com", rejectUnauthorized: false };
    const socket = connect(options, () => {
      const { publicKey } = new X509Certificate(socket.getPeerCertificate().raw);
      socket.destroy();
      resolve(createHash("sha256").update(publicKey.export({ type: "spki", format: "der" })).digest("base64"));
    });
    socket.setTimeout(5_000, () => socket.destroy(new Error("the simulator's TLS port does not answer")));
    socket.once("error", reject);
  });
}

/** Returns different free ports. Another process may still take one of them before the caller uses it. */
async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(
    Array.from({ length: count }, () => new Promise<ReturnType<typeof createServer>>((resolve, reject) => {
      const server = createServer().once("error", reject);
      server.listen(0, "127.0.0.1", () => resolve(server));
    })),
  );
  const ports = servers.map((server) => (server.address() as { port: number }).port);
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}
