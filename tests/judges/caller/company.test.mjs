// Tests minting with tokens from oidc-provider, an npm package for building identity providers, configured as in
// docs/issuers.md. The gateway must refuse wrong keys, audiences and issuers.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";

import { decodeJwt } from "jose";

import { startCompany } from "./lib/company.mjs";
import { assertMinted, assertRefused, startGateway } from "./lib/gateway.mjs";

// Returns the settings from the example "Generic OIDC" in docs/issuers.md, with `issuer` as the issuer's address.
async function documented(issuer) {
  const page = await readFile(new URL("../../../docs/issuers.md", import.meta.url), "utf8");
  const section = page.split("\n## ").find((text) => text.startsWith("Generic OIDC"));
  const block = /```json\n([\s\S]*?)```/.exec(section)?.[1];
  assert.ok(block?.includes("https://login.example.com"), "docs/issuers.md has no JSON under Generic OIDC");
  return JSON.parse(block.replaceAll("https://login.example.com", issuer));
}

async function withGateway(issuers, work) {
  const gateway = await startGateway(issuers);
  try {
    return await work(gateway);
  } finally {
    await gateway.stop();
  }
}

test("a company set up as the documentation says signs its people in", async () => {
  const company = await startCompany();
  try {
    await withGateway(await documented(company.issuer), async (gateway) => {
      for (const person of ["ada", "grace"]) {
        const tokens = await company.signIn(person);
        assertMinted(await gateway.mint(tokens.access_token), person);
        assertRefused(await gateway.mint(tokens.id_token), "an ID token");
      }
      const { access_token } = await company.signIn("ada");
      assertRefused(await gateway.mint(access_token, { username: "grace" }), "somebody else", 403, "mint_refused");
      const opaque = await company.signIn("ada", { resource: null });
      assertRefused(await gateway.mint(opaque.access_token), "an opaque token");
    });
  } finally {
    await company.stop();
  }
});

test("tokens of keys that the company no longer has are refused", async () => {
  const before = await startCompany();
  const old = await before.signIn("ada");
  const issuers = await documented(before.issuer);
  // Both gateways cache the company's first key.
  await withGateway(issuers, (one) => withGateway(issuers, async (other) => {
    for (const gateway of [one, other]) assertMinted(await gateway.mint(old.access_token), "ada");
    await before.stop();
    // The company now has a different key with the same `kid`. When the cached key does not verify a token, the gateway
    // must fetch the keys again.
    const replaced = await startCompany({ port: before.port });
    const fresh = await replaced.signIn("ada");
    assertMinted(await one.mint(fresh.access_token), "ada");
    assertRefused(await one.mint(old.access_token), "a withdrawn key");
    await replaced.stop();
    // A new key with a new `kid` is a normal key rollover, so the gateway accepts it.
    const renewed = await startCompany({ port: before.port, kid: "2027" });
    const renewing = await renewed.signIn("ada");
    assertMinted(await other.mint(renewing.access_token), "ada");
    await renewed.stop();
  }));
});

test("tokens for another audience are refused", async () => {
  const company = await startCompany({ audience: "payroll" });
  try {
    const { access_token } = await company.signIn("ada");
    assert.equal(decodeJwt(access_token).aud, "payroll");
    const issuers = await documented(company.issuer);
    await withGateway(issuers, async (gateway) => assertRefused(await gateway.mint(access_token), "payroll"));
    const wanted = issuers.map((issuer) => ({ ...issuer, audiences: ["payroll"] }));
    await withGateway(wanted, async (gateway) => assertMinted(await gateway.mint(access_token), "ada"));
  } finally {
    await company.stop();
  }
});

test("tokens of another issuer are refused", async () => {
  const [company, stranger] = [await startCompany(), await startCompany()];
  try {
    const [ours, theirs] = [await company.signIn("ada"), await stranger.signIn("ada")];
    await withGateway(await documented(company.issuer), async (gateway) => {
      assertMinted(await gateway.mint(ours.access_token), "ada");
      assertRefused(await gateway.mint(theirs.access_token), "a stranger's");
    });
    for (const spelling of [`${company.issuer}/`, company.issuer.replace("localhost", "127.0.0.1")]) {
      await withGateway(await documented(spelling), async (gateway) => {
        assertRefused(await gateway.mint(ours.access_token), `an issuer configured as ${spelling}`);
      });
    }
  } finally {
    await company.stop();
    await stranger.stop();
  }
});
