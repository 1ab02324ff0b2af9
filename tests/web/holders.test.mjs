// Tests in Chromium which parts of the real SDK 3.0.0 get a new token: worker, workspace, voice, conversations,
// callback media and data client. docs/front-end.md explains the results.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { openProfile, signInAs, startBrowser } from "./lib/browser.mjs";
import { startGateway } from "./lib/gateway.mjs";
import { servePages } from "./lib/pages.mjs";

const bounded = { timeout: 60_000 };
let pages;
let gateway;
let browser;

before(async () => {
  pages = await servePages();
  gateway = await startGateway({ env: { FLEXGATE_ALLOWED_ORIGINS: pages.localhost } });
  browser = await startBrowser(gateway);
}, { timeout: 45_000 });
after(async () => {
  await browser?.close();
  await gateway?.stop();
  await pages?.stop();
});

/** Runs `work` on a page on which every part of the SDK is in use, with `window.desk` and `window.holds`. */
async function withEveryPart(work) {
  const { context, page } = await openProfile(browser);
  try {
    await signInAs(page, gateway, "ada");
    // The simulator serves neither callback media nor the data client's API. So record the page's requests, in which
    // the tests look for the token.
    const sent = [];
    page.on("request", (request) => request.method() !== "OPTIONS" && sent.push(request));
    const headers = { "access-control-allow-origin": "*", "access-control-allow-headers": "*" };
    await context.route("https://preview.twilio.com/**", (route) => route.fulfill({ headers, json: { data: {} } }));
    await page.goto(`${pages.localhost}/?gate=${encodeURIComponent(gateway.url)}`);
    await page.addScriptTag({ url: "/sdk.js" });
    await page.addScriptTag({ url: "/voice.js" });
    await page.evaluate(openEveryPart);
    await page.waitForFunction(() => window.desk.conversations(), null, { polling: 50 });
    await work(page, sent);
  } finally {
    await context.close();
  }
}

/** This function runs in the page. */
async function openEveryPart() {
  const sdk = window.FlexSdk;
  const session = await window.flexgate.session();
  const client = await sdk.createClient(session.access_token, { telemetryOptions: { disabled: true } });
  const [worker, workspace] = await Promise.all([client.getWorker(), client.getWorkspace()]);
  // Create the voice device but do not register it, because the simulator does not simulate voice.
  const device = new window.Twilio.Device(session.access_token, { logLevel: 5 });
  await client.execute(new sdk.AddVoiceEventListener("incoming", () => {}, { voiceDevice: device }));
  const data = await client.execute(new sdk.InitializeDataClient());
  await client.execute(new sdk.GetPausedConversations()).catch(() => {});
  // The SDK waits for a connection to Twilio's service for conversations, which the simulator does not offer. So check
  // the calls to the SDK's conversations client instead.
  client.execute(new sdk.GetConversationsUser("ada")).catch(() => {});
  const parts = {};
  const told = { conversations: [] };
  class Missing {
    constructor() {
      throw new Error("this part is not in use");
    }
  }
  const conversations = () => {
    try {
      const { conversationsClient } = client.execute({ run: (context) => context.retrieveInstanceOf("ConversationsSdkImpl", Missing) });
      if (conversationsClient && !parts.conversations) {
        parts.conversations = conversationsClient;
        conversationsClient.updateToken = async (token) => told.conversations.push(token);
      }
    } catch {
      return false;
    }
    return Boolean(parts.conversations);
  };
  Object.assign(window, {
    desk: { session, client, worker, workspace, device, data, told, conversations },
    /** Whether each part has this token. The last two parts send requests, and the test looks for the token there. */
    holds: async (token) => {
      const query = { kind: "Document", definitions: [{ kind: "OperationDefinition", operation: "query", selectionSet: { kind: "SelectionSet", selections: [{ kind: "Field", name: { kind: "Name", value: "me" } }] } }] };
      await client.execute(new sdk.GetPausedConversations()).catch(() => {});
      await data.query({ query }).catch(() => {});
      return {
        client: client.token === token,
        worker: worker._config.token === token,
        workspace: workspace._config.token === token,
        voice: device.token === token,
        conversations: told.conversations.at(-1) === token,
      };
    },
  });
}

/** Returns which parts have the token. */
async function holders(page, sent, token) {
  sent.length = 0;
  const held = await page.evaluate((token) => window.holds(token), token);
  const media = sent.findLast((request) => request.postData()?.includes('"v1/Channels"'));
  const data = sent.findLast((request) => request.url().startsWith("https://preview.twilio.com/Flex/graphql"));
  assert.ok(media && data, "a part sent no request");
  const callbackMedia = media.postDataJSON().token === token;
  const dataClient = data.headers().authorization === `Basic ${Buffer.from(`token:${token}`).toString("base64")}`;
  return { ...held, callbackMedia, dataClient };
}

const ALL = { client: true, worker: true, workspace: true, voice: true, conversations: true, callbackMedia: true, dataClient: true };

test("the SDK's own updateToken reaches the client and its data client only", bounded, async () => {
  await withEveryPart(async (page, sent) => {
    const token = await another();
    await page.evaluate((token) => window.desk.client.updateToken(token), token);
    const expected = { ...ALL, worker: false, workspace: false, voice: false, conversations: false, callbackMedia: false };
    assert.deepEqual(await holders(page, sent, token), expected);
  });
});

test("a renewal reaches every part of the SDK", bounded, async () => {
  await withEveryPart(async (page, sent) => {
    const token = await another();
    await page.route("**/sso/token", async (route) => {
      const response = await route.fetch();
      await route.fulfill({ response, json: { ...(await response.json()), access_token: token } });
    });
    await page.evaluate(async () => {
      const { client, session } = window.desk;
      await window.flexgate.keepFresh(client, { from: session }).renew();
    });
    assert.deepEqual(await holders(page, sent, token), ALL);
  });
});

/** Returns a second token for ada. */
async function another() {
  const claims = { sub: "ada", preferred_username: "ada", scope: "flexgate.token" };
  const { token: bearer } = await gateway.control("/idp/__dev/token", claims);
  const response = await fetch(`${gateway.url}/token`, { method: "POST", headers: { authorization: `Bearer ${bearer}` } });
  assert.equal(response.status, 201);
  return (await response.json()).access_token;
}
