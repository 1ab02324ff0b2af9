"use strict";
// Uses the unmodified SDK once, in a separate process, because the SDK leaves timers and sockets open. Standard input:
// {account, token, want: "validate" | "public" | "worker"}. Standard output: one JSON line.

const path = require("node:path");
const { createRequire } = require("node:module");

const desktop = path.join(__dirname, "../../../examples/agent-desktop/package.json");
const sdk = createRequire(desktop)("@twilio/flex-sdk");

async function run({ account, domain, token, renewed, want }) {
  if (want === "validate") return { validated: await sdk.validateToken(account, token) };
  if (want === "public") {
    return { by: [await sdk.getPublicConfig({ accountSid: account }), await sdk.getPublicConfig({ runtimeDomain: domain })] };
  }
  const client = await sdk.createClient(token, { telemetryOptions: { disabled: true } });
  const worker = await client.getWorker();
  const told = {
    roles: client.roles,
    holds_token: client.token === token,
    worker: { sid: worker.sid, name: worker.name, activity: worker.activity?.name, friendlyName: worker.friendlyName },
  };
  if (renewed) {
    // The package passes a new token to the SDK's client. Then check which parts of the SDK have the new token.
    const { createFlexgate } = await import("../../../shared/web/dist/index.js");
    const answer = { access_token: renewed, expires_at: new Date(Date.now() + 3_600_000).toISOString() };
    const gate = createFlexgate({ baseUrl: "http://localhost", fetch: async () => Response.json(answer) });
    const keeper = gate.keepFresh(client, { from: answer });
    await keeper.renew();
    keeper.stop();
    const workspace = await client.getWorkspace();
    told.renewed = {
      client: client.token === renewed,
      worker: holds(worker, renewed, token),
      workspace: holds(workspace, renewed, token),
    };
    const before = worker.activity?.name;
    const activity = [...worker.activities.values()].find(({ name }) => name !== before);
    await activity.setAsCurrent();
    told.activity_after = worker.activity?.name;
  }
  return told;
}

/** Returns which of the two tokens occur within an object of the SDK. */
function holds(root, fresh, old) {
  const found = { fresh: false, old: false };
  const seen = new Set();
  const visit = (value, depth) => {
    if (value === fresh) found.fresh = true;
    if (value === old) found.old = true;
    if (value === null || typeof value !== "object" || seen.has(value) || depth > 8) return;
    seen.add(value);
    const inner = value instanceof Map || value instanceof Set ? [...value.values()] : Object.values(value);
    for (const each of inner) visit(each, depth + 1);
  };
  visit(root, 0);
  return found;
}

async function main() {
  let input = "";
  for await (const chunk of process.stdin) input += chunk;
  return run(JSON.parse(input));
}

main().then(
  (answer) => finish({ ok: true, ...answer }),
  (error) => finish({ ok: false, error: { name: error.name, code: error.code, message: String(error.message).slice(0, 300) } }),
);

function finish(answer) {
  process.stdout.write(`${JSON.stringify(answer)}\n`, () => process.exit(0));
}
