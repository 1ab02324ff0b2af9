// Forges tokens with the library jose. The gateway must refuse every forged token.
import assert from "node:assert/strict";
import { createPublicKey, randomBytes } from "node:crypto";
import { after, before, test } from "node:test";

import * as jose from "jose";

import { assertMinted, assertRefused, close, listen, startGateway } from "./lib/gateway.mjs";

const AUDIENCE = "flexgate";
const ALGORITHMS = ["RS256", "PS256", "ES256", "ES384", "EdDSA"];
const now = () => Math.floor(Date.now() / 1000);
const segment = (value) => Buffer.from(typeof value === "string" ? value : JSON.stringify(value)).toString("base64url");

let issuer, server, gateway, asked;
const keys = new Map();

before(async () => {
  const jwks = [];
  for (const alg of ALGORITHMS) {
    const pair = await jose.generateKeyPair(alg, { extractable: true });
    keys.set(alg, pair);
    jwks.push({ ...(await jose.exportJWK(pair.publicKey)), alg, kid: alg, use: "sig" });
  }
  asked = [];
  server = await listen((request, response) => {
    asked.push(request.url);
    const documents = {
      "/.well-known/openid-configuration": { issuer, jwks_uri: `${issuer}/jwks` },
      "/jwks": { keys: jwks },
    };
    const document = documents[request.url];
    response.writeHead(document ? 200 : 404, { "content-type": "application/json" }).end(JSON.stringify(document ?? {}));
  });
  issuer = `http://localhost:${server.address().port}`;
  gateway = await startGateway([{ issuer, audiences: [AUDIENCE] }]);
});

after(async () => {
  await gateway?.stop();
  await close(server);
});

// Returns the claims of a valid token, after applying `changes`. A claim whose value is undefined is left out.
function claims(changes = {}) {
  const good = {
    iss: issuer,
    aud: AUDIENCE,
    sub: "sub-ada",
    iat: now(),
    exp: now() + 600,
    scope: "flexgate.token",
    preferred_username: "ada",
    name: "Ada Lovelace",
    email: "ada@example.com",
    email_verified: true,
  };
  return { ...good, ...changes };
}

function sign(payload, header = {}, alg = "ES256", key = keys.get(alg).privateKey) {
  const protectedHeader = { alg, kid: alg, typ: "at+jwt", ...header };
  const bytes = new TextEncoder().encode(typeof payload === "string" ? payload : JSON.stringify(payload));
  return new jose.CompactSign(bytes).setProtectedHeader(protectedHeader).sign(key);
}

async function refuse(cases) {
  for (const [what, token] of Object.entries(cases)) assertRefused(await gateway.mint(await token), what);
}

test("a good token of every algorithm is accepted", async () => {
  for (const alg of ALGORITHMS) {
    assertMinted(await gateway.mint(await sign(claims(), {}, alg)), "ada");
    assertMinted(await gateway.mint(await sign(claims({ aud: ["other", AUDIENCE] }), { typ: "JWT" }, alg)), "ada");
  }
});

test("m02 tokens without a signature", async () => {
  const signed = await sign(claims());
  await refuse({
    unsecured: new jose.UnsecuredJWT(claims()).encode(),
    None: `${segment({ alg: "None" })}.${segment(claims())}.`,
    "none with a signature": `${segment({ alg: "none", kid: "ES256" })}.${signed.split(".").slice(1).join(".")}`,
    stripped: signed.replace(/[^.]+$/, ""),
    zero: signed.replace(/[^.]+$/, Buffer.alloc(64).toString("base64url")),
  });
});

test("m03 the public key as a shared secret, and keys used for other algorithms", async () => {
  const jwk = await jose.exportJWK(keys.get("RS256").publicKey);
  const key = createPublicKey({ key: jwk, format: "jwk" });
  const secrets = {
    "SPKI PEM": key.export({ type: "spki", format: "pem" }),
    "PKCS#1 PEM": key.export({ type: "pkcs1", format: "pem" }),
    "SPKI DER": key.export({ type: "spki", format: "der" }),
    modulus: Buffer.from(jwk.n, "base64url"),
    "modulus as text": jwk.n,
    JWK: JSON.stringify(jwk),
  };
  for (const [what, secret] of Object.entries(secrets)) {
    for (const alg of ["HS256", "HS384", "HS512"]) {
      const token = await sign(claims(), { kid: "RS256" }, alg, Buffer.from(secret));
      assertRefused(await gateway.mint(token), `${alg} with the ${what}`);
    }
  }
  const rsa = await jose.exportJWK(keys.get("RS256").privateKey);
  await refuse({
    "PS256 with the RS256 key": sign(claims(), { kid: "RS256" }, "PS256", await jose.importJWK(rsa, "PS256")),
    "RS512 with the RS256 key": sign(claims(), { kid: "RS256" }, "RS512", await jose.importJWK(rsa, "RS512")),
    "another key's name": sign(claims(), { kid: "ES384" }),
  });
});

test("m04 and m06 keys that are not the issuer's, or not named", async () => {
  const stranger = await jose.generateKeyPair("ES256");
  await refuse({
    "a stranger's key under a known name": sign(claims(), {}, "ES256", stranger.privateKey),
    "an unknown name": sign(claims(), { kid: "unknown" }, "ES256", stranger.privateKey),
    "the right key under an unknown name": sign(claims(), { kid: "unknown" }),
    "a stranger's key without a name": sign(claims(), { kid: undefined }, "ES256", stranger.privateKey),
  });
  // A token without a `kid` is valid here, because the issuer has only one key of this algorithm.
  assertMinted(await gateway.mint(await sign(claims(), { kid: undefined })), "ada");
});

test("m07 keys that a token brings along", async () => {
  const stranger = await jose.generateKeyPair("ES256", { extractable: true });
  const jwk = await jose.exportJWK(stranger.publicKey);
  const evil = `${issuer}/evil`;
  const before = asked.length;
  for (const header of [{ jwk }, { jku: evil }, { x5u: evil }, { x5c: ["MIIB"] }]) {
    const [name] = Object.keys(header);
    await refuse({ [name]: sign(claims(), header, "ES256", stranger.privateKey) });
    assertMinted(await gateway.mint(await sign(claims(), header)), "ada");
  }
  assert.deepEqual(asked.slice(before), [], "somebody was asked for a key");
});

test("m08 and m09 other audiences and issuers", async () => {
  const audiences = [undefined, "other", ["other"], [], `${AUDIENCE}2`, "flex", AUDIENCE.toUpperCase(), `other ${AUDIENCE}`, null, 1, { [AUDIENCE]: 1 }];
  for (const aud of audiences) assertRefused(await gateway.mint(await sign(claims({ aud }))), `aud ${JSON.stringify(aud)}`);
  const issuers = [undefined, `${issuer}/`, issuer.toUpperCase(), issuer.replace("localhost", "127.0.0.1"), `${issuer}/x`, null, [issuer]];
  for (const iss of issuers) assertRefused(await gateway.mint(await sign(claims({ iss }))), `iss ${JSON.stringify(iss)}`);
});

test("m10 and m11 times that are not now", async () => {
  const times = [
    ...[undefined, now() - 60, String(now() + 600), 1e300, -1, 0, true, null, [now() + 600]].map((exp) => ({ exp })),
    ...[now() + 600, String(now()), 1e300, true].flatMap((date) => [{ nbf: date }, { iat: date }]),
  ];
  for (const change of times) assertRefused(await gateway.mint(await sign(claims(change))), JSON.stringify(change));
});

test("m12 tokens of another kind", async () => {
  await refuse({
    "a logout token": sign(claims(), { typ: "logout+jwt" }),
    "a security event": sign(claims(), { typ: "secevent+jwt" }),
    "a proof of possession": sign(claims(), { typ: "dpop+jwt" }),
    "an ID token": sign(claims({ nonce: "n" }), { typ: "JWT" }),
    "an ID token by its hash": sign(claims({ at_hash: "h" }), { typ: undefined }),
    "a token bound to a key": sign(claims({ cnf: { jkt: "x" } })),
    "an encrypted token": new jose.EncryptJWT(claims())
      .setProtectedHeader({ alg: "dir", enc: "A256GCM" })
      .encrypt(randomBytes(32)),
  });
});

test("m13 spellings that two parsers could read differently", async () => {
  const good = await sign(claims());
  const text = JSON.stringify(claims());
  const twice = (member) => `${text.slice(0, -1)},${member}}`;
  const critical = await new jose.CompactSign(new TextEncoder().encode(text))
    .setProtectedHeader({ alg: "ES256", kid: "ES256", crit: ["urn:x"], "urn:x": true })
    .sign(keys.get("ES256").privateKey, { crit: { "urn:x": true } });
  const unencoded = await new jose.FlattenedSign(new TextEncoder().encode(text))
    .setProtectedHeader({ alg: "ES256", kid: "ES256", b64: false, crit: ["b64"] })
    .sign(keys.get("ES256").privateKey);
  await refuse({
    "crit": critical,
    "b64": `${unencoded.protected}.${segment(text)}.${unencoded.signature}`,
    "sub twice": sign(twice('"sub":"sub-grace"')),
    "a nested member twice": sign(twice('"x":{"a":1,"a":2}')),
    "an array for claims": sign("[]"),
    "no JSON": sign("{"),
    "three dots": `${good}.`,
    "four dots": `${good}.e30.e30`,
    "padding": `${good}=`,
    "the JSON serialisation": segment(JSON.stringify({ payload: good.split(".")[1] })),
    "another payload": [good.split(".")[0], segment(claims({ sub: "sub-grace" })), good.split(".")[2]].join("."),
  });
  const large = await sign(claims({ pad: "x".repeat(9 * 1024) }));
  assertRefused(await gateway.mint(large), "9 KB", 413, "too_large");
});

test("m14 to m16 what a good token does not entitle to", async () => {
  assertRefused(await gateway.mint(await sign(claims({ scope: "openid" }))), "no scope", 403, "scope_missing");
  const token = await sign(claims());
  assertRefused(await gateway.mint(token, { username: "grace" }), "somebody else", 403, "mint_refused");
  assertRefused(await gateway.mint(token, { roles: ["admin"] }), "admin", 403, "role_forbidden");
});
