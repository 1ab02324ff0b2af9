// The mint in Node.js, for a comparison with Flexgate. It verifies the caller's JWT, reads the Twilio credential, finds
// the Flex user, and mints and checks a token. It has the same caches as Flexgate, but it does not count mints and has
// no store.
//
// `node mint.mjs` runs as a Lambda function. `node mint.mjs serve` runs as a server on the port in PORT.

import http from "node:http";
import { GetSecretValueCommand, SecretsManagerClient } from "@aws-sdk/client-secrets-manager";
import { createRemoteJWKSet, jwtVerify } from "jose";

const { ISSUER, JWKS, TWILIO_URL, TWILIO_ACCOUNT_SID: ACCOUNT, TWILIO_INSTANCE_SID: INSTANCE } = process.env;
const keys = createRemoteJWKSet(new URL(JWKS), { cooldownDuration: 60_000, cacheMaxAge: 300_000 });
const secrets = new SecretsManagerClient({});
const ROLES = new Set(["agent", "supervisor"]);

let held;
async function authorization() {
  if (!held || Date.now() - held.at > 300_000) {
    const secret = await secrets.send(new GetSecretValueCommand({ SecretId: process.env.TWILIO_SECRET_ID }));
    const { accountSid, authToken } = JSON.parse(secret.SecretString);
    if (accountSid !== ACCOUNT) throw new Error("the credential is another account's");
    held = { at: Date.now(), value: `Basic ${Buffer.from(`${accountSid}:${authToken}`).toString("base64")}` };
  }
  return held.value;
}

async function twilio(path, init = {}) {
  const headers = { accept: "application/json", authorization: await authorization(), ...init.headers };
  const url = `${TWILIO_URL}/flex-api/v4/Instances/${INSTANCE}/${path}`;
  const response = await fetch(url, { ...init, headers, redirect: "error", signal: AbortSignal.timeout(3_000) });
  if (!response.ok) throw new Error(`Twilio answered ${response.status}`);
  return response.json();
}

const seen = new Map();
async function userOf(username) {
  const known = seen.get(username);
  if (known && Date.now() - known.at < 60_000) return known.user;
  const { users } = await twilio(`Users?Username=${encodeURIComponent(username)}`);
  const user = users.find((one) => one.username === username);
  if (!user || user.deactivated_date) throw new Refused(403, "user_unknown");
  seen.set(username, { at: Date.now(), user });
  return user;
}

class Refused extends Error {
  constructor(status, code) {
    super(code);
    this.status = status;
  }
}

async function mint(bearer, body) {
  let claims;
  try {
    const options = { issuer: ISSUER, audience: "flexgate", algorithms: ["RS256"], clockTolerance: 60 };
    claims = (await jwtVerify(bearer, keys, options)).payload;
  } catch {
    throw new Refused(401, "token_invalid");
  }
  if (!String(claims.scope).split(" ").includes("flexgate.token")) throw new Refused(403, "scope_missing");
  const ttl = body ? JSON.parse(body).ttl ?? 3600 : 3600;
  if (!Number.isInteger(ttl) || ttl < 60 || ttl > 3600) throw new Refused(400, "ttl");
  const user = await userOf(claims.preferred_username);
  if (!user.roles.every((role) => ROLES.has(role))) throw new Refused(403, "role_not_allowed");
  const asked = Date.now();
  const { access_token, token_info } = await twilio(`Users/${user.flex_user_sid}/Tokens`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ ttl }),
  });
  const right =
    token_info.account_sid === ACCOUNT &&
    token_info.flex_instance_sid === INSTANCE &&
    token_info.flex_user_sid === user.flex_user_sid &&
    token_info.roles.every((role) => user.roles.includes(role)) &&
    Date.parse(token_info.expiration) <= asked + (ttl + 60) * 1_000;
  if (!right) throw new Error("Twilio minted another token than was asked for");
  return { access_token, expires_at: token_info.expiration, token_info };
}

async function answer(headers, body) {
  try {
    const bearer = /^Bearer +(.+)$/i.exec(headers.authorization ?? "")?.[1];
    if (!bearer) throw new Refused(401, "token_missing");
    const minted = await mint(bearer, body);
    console.log(JSON.stringify({ level: "INFO", action: "mint", subject: minted.token_info.flex_user_sid, status: 201 }));
    return [201, minted];
  } catch (error) {
    console.log(JSON.stringify({ level: "WARN", action: "mint", error: error.message }));
    return [error.status ?? 502, { code: error instanceof Refused ? error.message : "twilio_unavailable" }];
  }
}

async function asFunction() {
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
  const [host, port] = process.env.AWS_LAMBDA_RUNTIME_API.split(":");
  const call = (method, path, body) =>
    new Promise((resolve, reject) => {
      const request = http.request({ agent, host, port, method, path: `/2018-06-01/runtime/${path}` }, (response) => {
        let text = "";
        response.setEncoding("utf8").on("data", (part) => (text += part));
        response.on("end", () => resolve([response.headers["lambda-runtime-aws-request-id"], text]));
      });
      request.on("error", reject).end(body);
    });
  for (;;) {
    const [id, text] = await call("GET", "invocation/next");
    const event = JSON.parse(text);
    const [statusCode, body] = await answer(event.headers, event.body);
    const headers = { "content-type": "application/json", "cache-control": "no-store" };
    await call("POST", `invocation/${id}/response`, JSON.stringify({ statusCode, headers, body: JSON.stringify(body) }));
  }
}

function asServer() {
  const server = http.createServer((request, response) => {
    let text = "";
    request.setEncoding("utf8").on("data", (part) => (text += part));
    request.on("end", async () => {
      const [status, body] = await answer(request.headers, text);
      response.writeHead(status, { "content-type": "application/json", "cache-control": "no-store" });
      response.end(JSON.stringify(body));
    });
  });
  server.listen(Number(process.env.PORT), "127.0.0.1");
}

if (process.argv[2] === "serve") asServer();
else await asFunction();
