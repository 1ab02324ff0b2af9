// The states of pages for developers: the simulator's own pages, the panel that try.mjs shows, and examples/react.

import { startPanel } from "../../../examples/agent-desktop/hops/server.mjs";

const shows = (page, title) => page.getByRole("heading", { name: title }).waitFor();
const named = (place, name) => place.getByRole("button", { name, exact: true });

/** The simulator's pages, apart from its sign-in page. */
const SIMULATOR = {
  async "simulator-front"({ page, gateway }) {
    await page.goto(gateway.simulator);
    await shows(page, "Flexgate simulator");
    // The port differs at each start, so show a fixed one.
    await page.locator("code").evaluate((code) => (code.textContent = "http://localhost:9010/idp"));
  },
  async "simulator-sign-in-impossible"({ page, gateway }) {
    await page.goto(`${gateway.simulator}/idp/authorize?client_id=nobody`);
    await shows(page, "Sign-in is not possible");
  },
  async "simulator-twilio-refuses"({ page, gateway }) {
    const address = "https://desk.example.com/sso/default/callback";
    await page.goto(`${gateway.simulator}/services/v1/Flex/Authorize?redirectUrl=${encodeURIComponent(address)}`);
    await shows(page, "Sign-in failed");
  },
};

/** Opens the panel of try.mjs. The panel's server stops when the page closes. */
async function openPanel(page, gateway) {
  await gateway.control("/__sim/requests", undefined, "DELETE");
  const panel = await startPanel({ simulator: gateway.simulator });
  page.once("close", () => panel.stop());
  await page.goto(panel.url);
  return panel;
}

/** The number of hops in a sign-in, from the login at Flexgate to the page's first token. */
const HOPS = 10;

const PANEL = {
  async "hops-none"({ page, gateway }) {
    await openPanel(page, gateway);
    await page.getByText("Nothing yet").waitFor();
  },
  async "hops-sign-in"({ page, context, unused: gateway }) {
    const panel = await openPanel(page, gateway);
    const before = gateway.output().length;
    const desk = await context.newPage();
    // Block the SDK, because it would send requests of its own.
    await desk.route("**/sdk/*", () => {});
    await desk.goto(`${gateway.url}/sso/default/login`);
    await desk.locator('button[value="ada"]').click();
    await desk.locator('#username:text-is("ada")').waitFor({ state: "attached" });
    await desk.unrouteAll({ behavior: "ignoreErrors" });
    await desk.close();
    for (const line of gateway.output().slice(before).split("\n")) panel.addLine(line);
    await page.locator("#hops li").nth(HOPS - 1).waitFor();
    // The durations differ each time, so show fixed ones.
    await page.locator("#hops code").evaluateAll((all) => all.forEach((code, place) => {
      code.textContent = code.textContent.replace(/\d+ ms$/, `${place * 7} ms`);
    }));
    await page.bringToFront();
  },
};

/** Signs in to examples/react, and makes the worker available. */
async function openReact({ page, gateway, desktop }, username) {
  await gateway.signIn(page, username, { returnTo: `${desktop.url}/` });
  await named(page, "Available").click();
  await page.locator('strong:text-is("Available")').waitFor();
}

/** Offers the person a call. Returns the part of the page that shows the call. */
async function offerCall({ page, gateway }, username) {
  await gateway.control("/__sim/tasks", { username, attributes: { from: "+15550100" } });
  return page.getByRole("article", { name: "Call from +15550100" });
}

const REACT = {
  async "react-signed-out"({ page, desktop }) {
    await page.goto(desktop.url);
    await shows(page, "Sign in to start your shift");
  },
  async "react-incoming-call"(world) {
    await openReact(world, "ada");
    await named(await offerCall(world, "ada"), "Accept").waitFor();
  },
  async "react-call-on-hold"(world) {
    await openReact(world, "margaret.hamilton");
    const call = await offerCall(world, "margaret.hamilton");
    await named(call, "Accept").click();
    await named(call, "Hold").click();
    await named(call, "Resume").waitFor();
    // The pointer is still over the pressed button, so move the pointer away.
    await world.page.mouse.move(0, 0);
  },
};

export const DEVELOPER_STATES = { ...SIMULATOR, ...PANEL, ...REACT };
