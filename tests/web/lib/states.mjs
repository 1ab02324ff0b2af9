// Every page and state that people can see: the agent desktop, Flexgate's error pages, and the simulated sign-in page.
// Each function brings a page into one state.

import { signInAs } from "./browser.mjs";
import { DEVELOPER_STATES } from "./developer-states.mjs";
import { ACCOUNT } from "./gateway.mjs";

/** The simulator's auth token and workspace. */
const AUTH_TOKEN = "fa4efa4efa4efa4efa4efa4efa4efa4e";
const WORKSPACE = "WS00000000000000000000000000000001";
/** A very long name, which must not make the page wider. */
const LONG = "margaret.elaine.heafield.hamilton+night-shift@customer-care.emea.example.com";
const SKILLS = ["billing", "returns", "français", "escalations-level-2"];
const MINUTE = 60_000;
const NOW = Date.parse("2026-03-12T10:30:00Z");
const REQUEST_ID = "0123456789abcdef0123456789abcdef";

/**
 * Freezes the page's date, and moves the gateway's times to that date, so that a picture shows the same times every
 * day. The person began to work `shift` minutes ago. `change` replaces members of the gateway's answer.
 */
export async function freezeTime(page, { shift = 134, change = {} } = {}) {
  await page.clock.setFixedTime(NOW);
  await page.route("**/sso/token", async (route) => {
    const response = await route.fetch();
    if (!response.ok()) return route.fulfill({ response });
    const at = (minutes) => new Date(NOW + (minutes + 0.5) * MINUTE).toISOString();
    const times = { signed_in_at: at(-shift - 1), session_ends_at: at(719 - shift), expires_at: at(47) };
    const headers = { ...response.headers(), date: new Date(NOW).toUTCString() };
    await route.fulfill({ response, headers, json: { ...(await response.json()), ...times, ...change } });
  });
}

/** Gives the person's worker these attributes, as a supervisor does. */
async function setAttributes(gateway, username, attributes) {
  const { users } = await gateway.control("/__sim/users");
  const sid = JSON.stringify(users.find((user) => user.username === username)).match(/WK[0-9a-f]{32}/)[0];
  const response = await fetch(`${gateway.simulator}/taskrouter/v1/Workspaces/${WORKSPACE}/Workers/${sid}`, {
    method: "POST",
    headers: { authorization: `Basic ${Buffer.from(`${ACCOUNT}:${AUTH_TOKEN}`).toString("base64")}` },
    body: new URLSearchParams({ Attributes: JSON.stringify(attributes) }),
  });
  if (!response.ok) throw new Error(`the worker's attributes were not set: ${response.status}`);
}

const shows = (page, title) => page.getByRole("heading", { name: title }).waitFor();
const activityIs = (page, name) => page.locator(`#worker-state:text-is("${name}")`).waitFor();

/** Answers the next requests for the token with this problem. */
function refuse(page, status, code, title, detail) {
  const json = { code, title, detail, status, request_id: REQUEST_ID };
  return page.route("**/sso/token", (route) => route.fulfill({ status, contentType: "application/problem+json", json }));
}

/** Opens a sign-in at Flexgate, and cancels it at the identity provider. Returns the callback's address. */
async function cancel(page, gateway) {
  await page.goto(`${gateway.url}/sso/default/login`);
  const callback = page.waitForRequest((request) => request.url().includes("/sso/default/callback"));
  await page.getByRole("button", { name: "Cancel" }).click();
  return (await callback).url();
}

/** The states of the desktop. */
const DESKTOP = {
  async "desktop-checking"({ page, gateway }) {
    await page.route("**/sso/token", () => {});
    await page.goto(gateway.url);
    await page.locator("#checking").waitFor();
  },
  async "desktop-signed-out"({ page, gateway }) {
    await page.goto(gateway.url);
    await page.getByRole("button", { name: "Sign in" }).waitFor();
  },
  async "desktop-connecting"({ page, gateway }) {
    await page.route("**/sdk/*", () => {});
    await signInAs(page, gateway, "grace");
    await activityIs(page, "Connecting…");
  },
  async "desktop-new-agent"({ page, gateway }) {
    await freezeTime(page, { shift: -1 });
    await signInAs(page, gateway, "linus");
    await activityIs(page, "Offline");
    await page.getByText("No team yet").waitFor();
  },
  async "desktop-available"({ page, gateway }) {
    await signInAs(page, gateway, "grace");
    await setAttributes(gateway, "grace", { team_name: "Customer care", routing: { skills: SKILLS } });
    await page.reload();
    await page.getByText("Customer care").waitFor();
    await activityIs(page, "Offline");
    await page.getByRole("button", { name: "Available", exact: true }).click();
    await activityIs(page, "Available");
    await page.locator("#activities [aria-disabled]").waitFor({ state: "detached" });
  },
  async "desktop-long-name"({ page, gateway }) {
    const person = { username: LONG, email: LONG, name: LONG, email_verified: true, roles: ["agent", "supervisor", "admin"] };
    await gateway.control("/idp/__dev/people", person);
    await signInAs(page, gateway, LONG);
    await setAttributes(gateway, LONG, { team_name: LONG, routing: { skills: [LONG, ...SKILLS] } });
    await page.reload();
    await page.locator("#skills li").first().waitFor();
    await activityIs(page, "Offline");
  },
  async "desktop-offline"(world) {
    await DESKTOP["desktop-available"](world);
    await world.context.setOffline(true);
    await world.page.getByText("You are offline").waitFor();
  },
  async "desktop-renewal-trouble"(world) {
    const { page } = world;
    await DESKTOP["desktop-available"](world);
    await refuse(page, 503, "unavailable", "A service that is needed is unavailable", "Try again in a minute.");
    await page.getByRole("button", { name: "Renew now" }).click();
    await shows(page, "Your sign-in could not be renewed yet");
  },
  async "desktop-session-ended"({ page, gateway, context }) {
    await signInAs(page, gateway, "grace");
    await context.request.post(`${gateway.url}/sso/logout`, { headers: { origin: gateway.url, "x-flexgate": "1" } });
    await page.getByRole("button", { name: "Renew now" }).click();
    await shows(page, "Your session has ended");
  },
  async "desktop-signed-in-elsewhere"({ page, gateway }) {
    await refuse(page, 401, "signed_in_elsewhere", "You have signed in elsewhere", "");
    await page.goto(gateway.url);
    await shows(page, "You are working on another device");
  },
  async "desktop-no-gateway"({ page, gateway }) {
    await refuse(page, 503, "unavailable", "A service that is needed is unavailable", "Try again in a minute.");
    await page.goto(gateway.url);
    await shows(page, "We cannot check your sign-in right now");
  },
  async "desktop-refused-by-twilio"({ page, gateway }) {
    await freezeTime(page, { change: { access_token: "not-a-token" } });
    await signInAs(page, gateway, "ada");
    await page.locator("#worker-retry").waitFor();
  },
};

/** The simulated sign-in page. */
const SIGN_IN = {
  async "sign-in"({ page, gateway }) {
    await page.goto(`${gateway.url}/sso/default/login`);
    await shows(page, "Sign in to Example Company");
  },
  async "sign-in-nobody"(world) {
    await SIGN_IN["sign-in"](world);
    await world.page.getByLabel("Or type a username").fill("charles");
    await world.page.getByRole("button", { name: "Sign in", exact: true }).click();
    await world.page.getByRole("alert").waitFor();
  },
};

/** Flexgate's error pages. */
const ERROR_PAGES = {
  async "page-cancelled"({ page, gateway }) {
    await cancel(page, gateway);
    await shows(page, "You are not signed in");
  },
  async "page-details"(world) {
    await ERROR_PAGES["page-cancelled"](world);
    await world.page.getByText("Details for your administrator").click();
    await world.page.locator("dd").last().evaluate((dd, id) => (dd.textContent = id), REQUEST_ID);
  },
  async "page-identity-provider-failed"({ page, gateway }) {
    const callback = await cancel(page, gateway);
    await page.goto(callback.replace("access_denied", "server_error"));
    await shows(page, "Your company's sign-in did not work");
  },
  async "page-expired"({ page, gateway }) {
    await page.goto(`${gateway.url}/sso/default/callback?code=abc&state=abc`);
    await shows(page, "Please sign in again");
  },
  async "page-wrong-address"({ page, gateway }) {
    await page.goto(`${gateway.url}/sso/unheard-of/login`);
    await shows(page, "You cannot sign in at this address");
  },
  async "page-of-a-company"({ page, company }) {
    await cancel(page, company);
    await shows(page, "You are not signed in");
    await page.getByRole("link", { name: "Get help" }).waitFor();
  },
  async "page-twilio-down"({ page, gateway }) {
    // All token requests to Twilio fail, including the exchange of the code.
    await page.goto(`${gateway.url}/sso/default/login`);
    await gateway.control("/__sim/faults", { service: "*", kind: "status", status: 503, path_contains: "Token", times: 0 });
    try {
      await page.locator('button[value="ada"]').click();
      await shows(page, "We cannot sign you in right now");
    } finally {
      await gateway.control("/__sim/faults", undefined, "DELETE");
    }
  },
};

// The sign-in page comes first, because the desktop's states add a person, and the sign-in page would show this person
// too.
export const STATES = { ...SIGN_IN, ...DESKTOP, ...ERROR_PAGES, ...DEVELOPER_STATES };
