#!/usr/bin/env node
// One command that shows the real SDK in a browser: `node examples/agent-desktop/try.mjs`.
//
// It installs the SDK if it is missing, starts Flexgate with the simulated Twilio, and opens Chrome or Chromium with a
// separate profile. The SDK always sends its requests to Twilio's host names. So the script tells this browser to send
// requests for *.twilio.com to the simulator, and to trust the simulator's certificate. Your own browser profile stays
// unchanged. A second tab shows each hop of the sign-in.

import { spawn, spawnSync } from "node:child_process";
import { createHash, X509Certificate } from "node:crypto";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";
import { connect } from "node:tls";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

import { startPanel } from "./hops/server.mjs";

const here = path.dirname(fileURLToPath(import.meta.url));
const repository = path.resolve(here, "../..");

const USAGE = `Usage: node examples/agent-desktop/try.mjs [options] [-- options of the browser]

  --port, --simulator-port, --tls-port N   where to listen [9000, 9010, 9443]
  --data-dir FOLDER                        where the simulated set-up keeps its state [.flexgate]
  --browser FILE                           Chrome or Chromium, if it is not found by itself (or CHROMIUM)
  --help

Sign in as ada, grace or linus. Close the browser or press Ctrl-C to stop.`;

const { values: options, positionals: browserOptions } = parseArgs({
  options: {
    "port": { type: "string", default: "9000" },
    "simulator-port": { type: "string", default: "9010" },
    "tls-port": { type: "string", default: "9443" },
    "data-dir": { type: "string", default: path.join(repository, ".flexgate") },
    "browser": { type: "string" },
    "help": { type: "boolean" },
  },
  allowPositionals: true,
});
if (options.help) {
  console.log(USAGE);
  process.exit();
}

function fail(reason) {
  console.error(`try: ${reason}`);
  process.exit(1);
}

function findBrowser() {
  const programs = [
    "/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome", "/usr/bin/google-chrome-stable",
    "/snap/bin/chromium", "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium", "C:\\Program Files\\Google\\Chrome\\Application\\chrome.exe",
  ];
  const named = options.browser ?? process.env.CHROMIUM;
  const found = (named ? [named] : programs).find((program) => existsSync(program));
  return found ?? fail(named ? `${named} is missing` : "found neither Chrome nor Chromium: name it with --browser");
}

function installSdk() {
  if (existsSync(path.join(here, "node_modules/@twilio/flex-sdk/package.json"))) return;
  console.log("Installing @twilio/flex-sdk (under Twilio's terms) …");
  const npm = process.platform === "win32" ? "npm.cmd" : "npm";
  const { status } = spawnSync(npm, ["ci", "--ignore-scripts", "--prefix", here], { stdio: "inherit" });
  if (status !== 0) fail("npm ci failed; see above");
}

/** Resolves when Flexgate has printed that it is running. */
function startFlexgate(panel) {
  const names = ["port", "simulator-port", "tls-port", "data-dir"];
  const arguments_ = names.flatMap((name) => [`--${name}`, options[name]]);
  const [program, first] = process.env.FLEXGATE_BIN ? [process.env.FLEXGATE_BIN, []] : ["cargo", ["run", "--quiet", "--"]];
  console.log("Starting Flexgate; the first build takes minutes …");
  const child = spawn(program, [...first, ...arguments_], { cwd: repository, stdio: ["ignore", "pipe", "inherit"] });
  child.once("error", (error) => fail(`cannot start ${program}: ${error.message}`));
  const running = new Promise((resolve, reject) => {
    createInterface(child.stdout).on("line", (line) => {
      panel.addLine(line);
      if (line.includes("Flexgate is running")) resolve();
    });
    child.once("exit", () => reject(new Error("Flexgate stopped; see above")));
  });
  return { child, running };
}

/** base64(SHA-256(SubjectPublicKeyInfo)) of the simulator's certificate. */
function fingerprint() {
  return new Promise((resolve, reject) => {
    const port = Number(options["tls-port"]);
    const socket = connect({ host: "127.0.0.1", port, servername: "flex-api.twilio.com", rejectUnauthorized: false }, () => {
      const { publicKey } = new X509Certificate(socket.getPeerCertificate().raw);
      socket.destroy();
      resolve(createHash("sha256").update(publicKey.export({ type: "spki", format: "der" })).digest("base64"));
    });
    socket.once("error", reject);
  });
}

const program = findBrowser();
installSdk();
const panel = await startPanel({ simulator: `http://localhost:${options["simulator-port"]}` });
const flexgate = startFlexgate(panel);
const profile = mkdtempSync(path.join(tmpdir(), "flexgate-try-"));
let browser;

let stopping = false;
async function stop(status) {
  if (stopping) return;
  stopping = true;
  const ended = (child) => !child || child.exitCode !== null || child.signalCode !== null
    ? undefined
    : new Promise((resolve) => child.once("exit", resolve));
  const both = [ended(browser), ended(flexgate.child)];
  browser?.kill();
  panel.stop();
  flexgate.child.kill("SIGTERM");
  await Promise.all(both);
  try {
    // Retry, because the browser's other processes may still write to the folder for a moment.
    rmSync(profile, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
  } catch {
    console.error(`try: ${profile} could not be removed`);
  }
  process.exit(status);
}
for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => stop(0));

try {
  await flexgate.running;
  const url = `http://localhost:${options.port}`;
  browser = spawn(program, [
    `--user-data-dir=${profile}`,
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-quic",
    `--host-resolver-rules=MAP *.twilio.com 127.0.0.1:${options["tls-port"]}`,
    `--ignore-certificate-errors-spki-list=${await fingerprint()}`,
    ...browserOptions,
    // A headless browser opens one page only.
    ...(browserOptions.some((option) => option.startsWith("--headless")) ? [] : [panel.url]),
    url,
  ], { stdio: "ignore" });
  browser.once("error", (error) => (console.error(`try: cannot start ${program}: ${error.message}`), stop(1)));
  browser.once("exit", () => stop(0));
  console.log(`The agent desktop is at ${url}. Sign in as ada, grace or linus; close the browser or press Ctrl-C to stop.`);
  console.log(`Each hop of the sign-in is at ${panel.url}.`);
} catch (error) {
  console.error(`try: ${error.message}`);
  stop(1);
}
