// Runs the real SDK in a child process. Its TLS connections to Twilio go to the simulator.

import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";

const here = (name) => fileURLToPath(new URL(name, import.meta.url));

/** Sends `question` to `sdk-child.cjs`, and returns the answer. */
export function askSdk(gateway, question) {
  const child = spawn(process.execPath, ["--require", here("preload.cjs"), here("sdk-child.cjs")], {
    env: {
      PATH: process.env.PATH,
      FLEXGATE_SIM_TLS_PORT: String(gateway.tlsPort),
      NODE_EXTRA_CA_CERTS: gateway.authority,
    },
    stdio: ["pipe", "pipe", "pipe"],
    timeout: 30_000,
    killSignal: "SIGKILL",
  });
  let output = "";
  let complaints = "";
  child.stdout.setEncoding("utf8").on("data", (text) => (output += text));
  child.stderr.setEncoding("utf8").on("data", (text) => (complaints += text));
  child.stdin.on("error", () => {}).end(JSON.stringify(question));
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code, signal) => {
      const last = output.trim().split("\n").at(-1);
      try {
        resolve(JSON.parse(last));
      } catch {
        reject(new Error(`the SDK's process ended (${code ?? signal}) without an answer: ${complaints.slice(-800)}`));
      }
    });
  });
}
