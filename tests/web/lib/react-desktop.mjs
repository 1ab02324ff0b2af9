// Serves examples/react with the real SDK. pack.test.mjs builds the same files with Vite, as users of the package do.

import { createServer } from "node:http";
import { createRequire } from "node:module";
import path from "node:path";

import { repository } from "./gateway.mjs";

const { build } = createRequire(path.join(repository, "shared/web/package.json"))("esbuild");

/**
 * Starts a server at a free port. Before you open the page, call `bundle(url)`, which builds it for the gateway at
 * `url`.
 */
export async function serveReactDesktop() {
  let files = {};
  const server = createServer((request, response) => {
    const { pathname } = new URL(request.url, "http://page");
    const [type, body] = files[pathname] ?? ["text/plain"];
    response.writeHead(body ? 200 : 404, { "content-type": type }).end(body);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://localhost:${server.address().port}`,
    async bundle(gateway) {
      files = await bundle(gateway);
    },
    stop: () => (server.closeAllConnections(), server.close()),
  };
}

async function bundle(gateway) {
  const react = path.join(repository, "tests/web/react/19/node_modules");
  const { outputFiles } = await build({
    entryPoints: { main: path.join(repository, "examples/react/src/main.tsx") },
    bundle: true,
    write: false,
    outdir: "/",
    format: "esm",
    jsx: "automatic",
    define: {
      "process.env.NODE_ENV": '"development"',
      "import.meta.env": JSON.stringify({ VITE_FLEXGATE_URL: gateway }),
    },
    alias: {
      "@flexgate/web/react": path.join(repository, "shared/web/react/index.ts"),
      "@flexgate/web/design.css": path.join(repository, "shared/web/design.css"),
      // Use the file that Vite chooses for this import.
      "@twilio/flex-sdk": path.join(repository, "examples/agent-desktop/node_modules/@twilio/flex-sdk/esm/index.js"),
      "react": path.join(react, "react"),
      "react-dom": path.join(react, "react-dom"),
    },
  });
  const [script, style] = [".js", ".css"].map((end) => outputFiles.find((file) => file.path.endsWith(end)).text);
  const page = `<!doctype html><html lang="en"><title>Agent desktop</title><link rel="icon" href="data:,">
    <meta name="viewport" content="width=device-width, initial-scale=1"><link rel="stylesheet" href="/main.css">
    <div id="root"></div><script type="module" src="/main.js"></script>`;
  return { "/": ["text/html", page], "/main.js": ["text/javascript", script], "/main.css": ["text/css", style] };
}
