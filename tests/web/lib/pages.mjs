// Serves pages that use shared/web. The pages have other origins than the gateway.

import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import path from "node:path";

import { repository } from "./gateway.mjs";

const NO_ICON = '<link rel="icon" href="data:,">';

/** A page with a client for the gateway that the query parameter `gate` names. */
const FRONT_END = `<!doctype html><title>Front end</title>${NO_ICON}<script type="module">
  import { createFlexgate, timeLeft } from "/flexgate.js";
  const flexgate = createFlexgate({ baseUrl: new URLSearchParams(location.search).get("gate") });
  Object.assign(window, { flexgate, timeLeft });
</script>`;

/**
 * Starts a server for these paths, on the two sites `localhost` and `other` (127.0.0.1):
 *
 * * `/`: the front end.
 * * `/flexgate.js`: the module.
 * * `/sdk.js`: the real SDK. `/voice.js`: the voice SDK that comes with it.
 * * `/frame?of=URL`: a page that embeds the URL.
 * * `/cookies`: sets a cookie for embedded pages, and shows the request's cookies.
 */
export async function servePages() {
  const module = await readFile(path.join(repository, "shared/web/dist/index.js"), "utf8");
  const twilio = path.join(repository, "examples/agent-desktop/node_modules/@twilio");
  const sdk = await readFile(path.join(twilio, "flex-sdk/index.browser.js"));
  const voice = await readFile(path.join(twilio, "voice-sdk/dist/twilio.min.js"));
  const server = createServer((request, response) => {
    const url = new URL(request.url, "http://pages");
    const embedded = `<!doctype html><title>CRM</title>${NO_ICON}<iframe src="${url.searchParams.get("of")}"></iframe>`;
    const [type, body] = {
      "/": ["html", FRONT_END],
      "/flexgate.js": ["javascript", module],
      "/sdk.js": ["javascript", sdk],
      "/voice.js": ["javascript", voice],
      "/frame": ["html", embedded],
      "/cookies": ["html", `<!doctype html>${NO_ICON}<p>cookies: ${request.headers.cookie ?? "none"}</p>`],
    }[url.pathname] ?? ["plain"];
    response.setHeader("set-cookie", url.pathname === "/cookies" ? "embedded=1; Secure; SameSite=None" : []);
    response.writeHead(body ? 200 : 404, { "content-type": `text/${type}` }).end(body);
  });
  await new Promise((resolve, reject) => server.once("error", reject).listen(0, "127.0.0.1", resolve));
  const { port } = server.address();
  return {
    localhost: `http://localhost:${port}`,
    other: `http://127.0.0.1:${port}`,
    stop: () => new Promise((resolve) => {
      server.close(resolve);
      server.closeAllConnections();
    }),
  };
}
