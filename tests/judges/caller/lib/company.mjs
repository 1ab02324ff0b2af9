// A company's identity provider, built with the npm package oidc-provider. Anybody can sign in to it, under any name.
import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";

import { exportJWK, generateKeyPair } from "jose";
import Provider from "oidc-provider";

import { close, listen } from "./gateway.mjs";

const REDIRECT_URI = "http://127.0.0.1:1/callback";
const RESOURCE = "urn:flexgate";

export async function startCompany({ port = 0, audience = "flexgate", kid = "2026" } = {}) {
  let provider;
  const server = await listen((request, response) => provider.callback()(request, response), port);
  const issuer = `http://localhost:${server.address().port}`;
  const { privateKey } = await generateKeyPair("RS256", { extractable: true });
  provider = new Provider(issuer, {
    jwks: { keys: [{ ...(await exportJWK(privateKey)), kid, use: "sig", alg: "RS256" }] },
    cookies: { keys: [randomBytes(32).toString("hex")] },
    scopes: ["openid", "flexgate.token"],
    clients: [
      {
        client_id: "desk",
        application_type: "native",
        token_endpoint_auth_method: "none",
        redirect_uris: [REDIRECT_URI],
        grant_types: ["authorization_code"],
        response_types: ["code"],
      },
    ],
    findAccount: (_, accountId) => ({ accountId, claims: () => ({ sub: accountId }) }),
    extraTokenClaims: (_, token) => ({
      preferred_username: token.accountId,
      name: `${token.accountId} Example`,
      email: `${token.accountId}@example.com`,
      email_verified: true,
    }),
    features: {
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo: () => ({
          scope: "flexgate.token",
          audience,
          accessTokenFormat: "jwt",
          accessTokenTTL: 600,
          jwt: { sign: { alg: "RS256" } },
        }),
      },
    },
  });
  return {
    issuer,
    port: server.address().port,
    stop: () => close(server),
    // Signs a person in, as a browser would. Returns { access_token, id_token }.
    signIn: (person, { resource = RESOURCE } = {}) => signIn(issuer, person, resource),
  };
}

async function signIn(issuer, person, resource) {
  const cookies = new Map();
  async function ask(url, form) {
    const answer = await fetch(url, {
      method: form ? "POST" : "GET",
      body: form ? new URLSearchParams(form) : undefined,
      headers: { cookie: [...cookies].map(([name, value]) => `${name}=${value}`).join("; ") },
      redirect: "manual",
    });
    for (const line of answer.headers.getSetCookie()) {
      const [, name, value] = /^([^=]+)=([^;]*)/.exec(line);
      if (value) cookies.set(name, value);
      else cookies.delete(name);
    }
    return answer;
  }

  const verifier = randomBytes(48).toString("base64url");
  const authorize = new URL(`${issuer}/auth`);
  authorize.search = new URLSearchParams({
    client_id: "desk",
    response_type: "code",
    scope: "openid flexgate.token",
    redirect_uri: REDIRECT_URI,
    code_challenge: createHash("sha256").update(verifier).digest("base64url"),
    code_challenge_method: "S256",
    state: "state",
    ...(resource && { resource }),
  });
  let at = authorize;
  let answer = await ask(at);
  for (let steps = 0; steps < 12; steps++) {
    const location = answer.headers.get("location");
    if (location) {
      at = new URL(location, at);
      if (at.href.startsWith(REDIRECT_URI)) break;
      answer = await ask(at);
      continue;
    }
    const page = await answer.text();
    assert.equal(answer.status, 200, page);
    const prompt = /name="prompt" value="(\w+)"/.exec(page)?.[1];
    assert.ok(prompt, `neither a form nor a redirect: ${page}`);
    answer = await ask(at, prompt === "login" ? { prompt, login: person, password: "anything" } : { prompt });
  }
  const code = at.searchParams.get("code");
  assert.ok(code, `no code: ${at}`);
  const form = { grant_type: "authorization_code", client_id: "desk", code, redirect_uri: REDIRECT_URI, code_verifier: verifier };
  const tokens = await ask(`${issuer}/token`, { ...form, ...(resource && { resource }) });
  assert.equal(tokens.status, 200, await tokens.clone().text());
  return tokens.json();
}
