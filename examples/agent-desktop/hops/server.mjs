// Serves the panel that shows each hop of a sign-in while the sign-in happens. A hop is a request that Flexgate or the
// simulated Twilio has received. The panel reads the hops from Flexgate's log and from the simulator's journal. It
// shows no queries and no bodies, and so no codes and no tokens.

import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import path from "node:path";
import { fileURLToPath } from "node:url";

const here = path.dirname(fileURLToPath(import.meta.url));
const FILES = {
  "/": ["text/html; charset=utf-8", path.join(here, "index.html")],
  "/hops.js": ["text/javascript; charset=utf-8", path.join(here, "page.js")],
  "/hops.css": ["text/css; charset=utf-8", path.join(here, "hops.css")],
  "/design.css": ["text/css; charset=utf-8", path.resolve(here, "../../../shared/web/design.css")],
};
const POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; frame-ancestors 'none'";
const POLL_EVERY = 300;
const MOST = 200;

/** What each of Flexgate's routes does in a sign-in. */
const AT_FLEXGATE = {
  "GET /sso/{profile}/login": "Starts the sign-in. Flexgate sets a sealed cookie, and sends the browser to Twilio.",
  "GET /sso/{profile}/callback": "Brings the code back. Flexgate keeps the session, and sets the session cookie.",
  "POST /sso/token": "The page asks for the access token. The refresh token stays at Flexgate.",
  "POST /sso/logout": "Ends the session.",
};

/** What each request to the simulator does. The first matching pattern applies. */
const AT_SIMULATOR = [
  [/^GET \/v1\/Flex\/Authentication\/Config/, "Twilio", "Reads the SSO configuration."],
  [/^GET \/v1\/Flex\/Authorize/, "Twilio", "Passes on the code challenge and the nonce. Twilio sends the browser to the identity provider."],
  [/^GET \/idp\/authorize/, "Identity provider", "Opens the company's sign-in page."],
  [/^POST \/idp\/authorize\/decision/, "Identity provider", "The person signs in, or cancels."],
  [/^GET \/v1\/Flex\/SSO\/Callback/, "Twilio", "Brings the identity provider's answer. Twilio sends the browser back to Flexgate."],
  [/^POST \/v1\/Flex\/OAuth\/Tokens/, "Twilio", "Exchanges the code and its verifier for tokens, or refreshes a token."],
  [/^POST .*\/Tokens\/Info/, "Twilio", "Asks whose token it is."],
  [/^GET \/v1\/Configuration/, "Twilio", "The SDK reads Flex's configuration."],
  [/^GET \/v1\/wschannels/, "Twilio", "The SDK opens the worker's websocket."],
  [/^POST \/v1\/wschannels/, "Twilio", "The SDK reads or changes the worker."],
];

/** Returns the hop that a line of Flexgate's log describes, or null. */
export function hopOfLine(line) {
  if (!line.startsWith("{")) return null;
  let entry;
  try {
    entry = JSON.parse(line);
  } catch {
    return null;
  }
  const { target, timestamp, method, route, status, duration_ms, code } = entry;
  const what = AT_FLEXGATE[`${method} ${route}`];
  if (target !== "flexgate::request" || !what) return null;
  // The log line contains the time of the answer. Subtract the duration to get the time of the request.
  return { time: Date.parse(timestamp) - duration_ms, from: "Browser", to: "Flexgate", what, request: `${method} ${route}`, status, code };
}

/** Returns the hop that an entry of the simulator's journal describes, or null. */
export function hopOfEntry({ time, method, path: target, status, headers }) {
  const request = `${method} ${target}`;
  const found = AT_SIMULATOR.find(([pattern]) => pattern.test(request));
  if (!found) return null;
  const [, to, what] = found;
  const from = headers["user-agent"]?.startsWith("flexgate/") ? "Flexgate" : "Browser";
  return { time: Date.parse(time), from, to, what, request, status };
}

/** Starts the panel's server. `addLine` takes each line that Flexgate prints. */
export async function startPanel({ simulator }) {
  const hops = [];
  const viewers = new Set();
  const shown = new Set();
  const add = (hop) => {
    if (!hop) return;
    hops.push(hop);
    if (hops.length > MOST) hops.shift();
    for (const viewer of viewers) viewer.write(`data: ${JSON.stringify(hop)}\n\n`);
  };
  const server = createServer(async ({ url }, response) => {
    if (url === "/hops") {
      response.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-store" });
      for (const hop of hops) response.write(`data: ${JSON.stringify(hop)}\n\n`);
      viewers.add(response);
      response.once("close", () => viewers.delete(response));
      return;
    }
    const [type, file] = FILES[url] ?? ["text/plain"];
    const headers = { "content-type": type, "content-security-policy": POLICY, "cache-control": "no-store" };
    response.writeHead(file ? 200 : 404, headers).end(file && (await readFile(file)));
  });
  await new Promise((resolve, reject) => server.once("error", reject).listen(0, "127.0.0.1", resolve));
  const timer = setInterval(async () => {
    const answer = await fetch(`${simulator}/__sim/requests`).then((response) => response.json()).catch(() => null);
    for (const entry of answer?.requests ?? []) {
      // Skip a request that has no answer yet. A later poll shows it.
      if (shown.has(entry.id) || entry.status === null) continue;
      shown.add(entry.id);
      add(hopOfEntry(entry));
    }
  }, POLL_EVERY);
  return {
    url: `http://localhost:${server.address().port}/`,
    addLine: (line) => add(hopOfLine(line)),
    stop() {
      clearInterval(timer);
      server.closeAllConnections();
      server.close();
    },
  };
}
