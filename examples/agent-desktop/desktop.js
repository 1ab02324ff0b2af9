// A page that signs in through Flexgate and works with the real Flex SDK.

import { createFlexgate, timeLeft } from "./flexgate.js";
import { connectWorker, SdkTrouble } from "./worker.js";

const gate = createFlexgate();
const element = (id) => document.getElementById(id);
const SECTIONS = ["checking", "signed-out", "signed-in"];
const PRIVATE = ["who", "initials", "fact-user", "fact-worker", "fact-account", "fact-instance", "time-left", "time-note", "worker-note"];
/** Possible scales of the time bar, in minutes. */
const SCALES = [5, 15, 60, 240, 720, 1440];

/** The state of the signed-in person. Null if nobody is signed in on this page. */
let desk = null;
/** Notifies the other tabs of a sign-out, so that they clear their screens too. */
const tabs = new BroadcastChannel("flexgate");

async function start() {
  show("checking");
  try {
    const session = await gate.session();
    if (session) enter(session);
    else show("signed-out");
  } catch (error) {
    fail(error);
  }
}

function enter(session) {
  forget();
  const mine = { session, keeper: null, connection: null, scale: 1 };
  desk = mine;
  mine.keeper = gate.keepFresh(null, {
    from: session,
    onRenew: (renewed) => renewedTo(mine, renewed),
    onTrouble: (error, pause) => {
      fail(error, { title: "Your token could not be renewed", again: () => renew() });
      element("time-note").textContent = `Trying again in ${Math.ceil(pause / 1000)} s.`;
    },
    onEnd: fail,
    isActive: () => mine.connection?.isActive() ?? false,
  });
  element("who").replaceChildren(...breakable(session.username ?? session.identity ?? "Signed in"));
  element("initials").textContent = initials(session.username ?? session.identity ?? "");
  element("roles").replaceChildren(...list(session.roles).map((role) => item(role)));
  element("fact-user").textContent = session.flex_user_sid;
  element("fact-worker").textContent = session.worker_sid ?? "none named";
  element("fact-account").textContent = session.account_sid;
  element("fact-instance").textContent = session.instance_sid;
  measure(mine);
  element("failure").hidden = true;
  show("signed-in");
  connect(mine);
}

/** Removes everything about the person from the page and from its memory. */
function forget() {
  const left = desk;
  desk = null;
  left?.keeper.stop();
  left?.connection?.close();
  for (const id of PRIVATE) element(id).textContent = "";
  for (const id of ["roles", "activities"]) element(id).replaceChildren();
  element("activities").hidden = true;
}

function show(section) {
  for (const id of SECTIONS) element(id).hidden = id !== section;
  element("sign-out").hidden = section !== "signed-in";
}

/**
 * Shows a failure with its code, its request id and a suggestion. Also removes everything about the person, unless a
 * retry may help.
 */
function fail(error, { title = error.title, again = start } = {}) {
  const ended = ["reauthenticate", "not_signed_in"].includes(error.code);
  const over = !error.temporary || !desk;
  if (over) {
    forget();
    show(ended ? "signed-out" : null);
  }
  if (ended) title = "Your session has ended";
  element("failure-title").textContent = title ?? "Something went wrong on this page";
  const detail = ended ? "Sign in again." : [title === error.title ? null : error.title, error.detail].filter(Boolean).join(". ");
  element("failure-detail").textContent = detail;
  element("failure-detail").hidden = !detail;
  element("failure-code").textContent = error.code ?? error.name;
  element("failure-request").textContent = error.requestId ?? "";
  element("failure-request-row").hidden = !error.requestId;
  const action = element("failure-action");
  const elsewhere = error.code === "signed_in_elsewhere";
  if (elsewhere) again = () => gate.signIn();
  action.textContent = error.code === "another_user" ? "Continue as them" : elsewhere ? "Continue here" : "Try again";
  action.hidden = ended;
  action.onclick = () => {
    element("failure").hidden = true;
    again();
  };
  element("failure").hidden = false;
  if (over) element("failure-title").focus();
}

function renew() {
  const mine = desk;
  return busy(element("renew"), () => mine?.keeper.renew().then(() => say("Your token was renewed.")));
}

function renewedTo(mine, session) {
  if (desk !== mine) return;
  mine.session = session;
  element("failure").hidden = true;
  measure(mine);
}

/** Sets the time bar's scale to the shortest that fits a new token's lifetime. */
function measure(mine) {
  const minutes = timeLeft(mine.session) / 60_000;
  mine.scale = SCALES.find((scale) => minutes <= scale) ?? minutes;
  element("time-bar").max = mine.scale * 60_000;
  tick();
}

function tick() {
  if (!desk) return;
  const left = Math.max(timeLeft(desk.session), 0);
  const bar = element("time-bar");
  bar.value = left;
  bar.dataset.tone = left < 60_000 ? "short" : "";
  element("time-left").textContent = left > 0 ? spell(left) : "Expired";
  if (element("failure").hidden) {
    const until = new Date(Date.now() + left).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
    element("time-note").textContent = `Good until ${until}. It renews by itself while this page is open.`;
  }
}

async function connect(mine) {
  element("worker-retry").hidden = true;
  element("worker-note").textContent = "";
  status("Connecting…", "wait");
  try {
    const connection = await connectWorker({
      token: () => mine.session.access_token,
      wanted: () => desk === mine,
      attach: (client) => mine.keeper.attach(client),
      onChange: () => desk === mine && drawWorker(mine),
      onLost: (detail) => desk === mine && status("Connection lost", "bad", detail),
    });
    if (desk !== mine) return connection.close();
    mine.connection = connection;
    element("fact-worker").textContent = connection.worker.sid;
    drawWorker(mine);
  } catch (error) {
    if (desk !== mine) return;
    const { title, detail, code } = SdkTrouble.of(error, mine.session);
    status(title, "bad", code ? `${detail} (Code ${code}.)` : detail);
    element("worker-retry").hidden = false;
  }
}

function drawWorker(mine) {
  const { worker } = mine.connection;
  const current = worker.activity;
  status(current?.name ?? "Unknown", current?.available ? "good" : "away",
    current?.available ? "New work can reach you." : "No new work reaches you.");
  const names = [...worker.activities.values()].map((activity) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = activity.name;
    button.dataset.sid = activity.sid;
    button.setAttribute("aria-pressed", String(activity.sid === current?.sid));
    button.addEventListener("click", () => choose(mine, activity, button));
    return button;
  });
  const focused = element("activities").querySelector(":focus")?.dataset.sid;
  element("activities").replaceChildren(...names.map((button) => item(button)));
  names.find((button) => button.dataset.sid === focused)?.focus();
  element("activities").hidden = false;
}

async function choose(mine, activity, button) {
  if (button.getAttribute("aria-pressed") === "true") return;
  await busy(button, async () => {
    try {
      await mine.connection.setActivity(activity.sid);
      if (desk !== mine) return;
      drawWorker(mine);
      say(`Your activity is now ${activity.name}.`);
    } catch (error) {
      const { detail, code } = SdkTrouble.of(error, mine.session);
      if (desk === mine) element("worker-note").textContent = `${activity.name} was not set. ${detail}${code ? ` (Code ${code}.)` : ""}`;
    }
  });
}

function status(text, tone, note = "") {
  element("worker-state").textContent = text;
  element("worker-state").dataset.tone = tone;
  element("worker-note").textContent = note;
}

async function signOut() {
  await busy(element("sign-out"), async () => {
    try {
      await gate.signOut();
    } catch (error) {
      return fail(error, { title: "You are still signed in", again: signOut });
    }
    leave();
    tabs.postMessage("signed-out");
  });
}

/** Reloads the page, because the SDK keeps objects in memory until the document is discarded. */
function leave() {
  forget();
  show("checking");
  history.replaceState(null, "", `${location.pathname}#signed-out`);
  location.reload();
}

/** Runs a button's action. Ignores further presses until the action is done. */
async function busy(button, work) {
  if (button.getAttribute("aria-disabled") === "true") return;
  button.setAttribute("aria-disabled", "true");
  try {
    await work();
  } catch {
    // The keeper has already reported the failure, through onTrouble or onEnd.
  } finally {
    button.removeAttribute("aria-disabled");
  }
}

function say(text) {
  element("announce").textContent = text;
}

function spell(milliseconds) {
  const seconds = Math.floor(milliseconds / 1000);
  const parts = [[Math.floor(seconds / 3600), "h"], [Math.floor(seconds / 60) % 60, "min"], [seconds % 60, "s"]];
  return parts.filter(([count], place) => count > 0 || place === 2).slice(0, 2).map(([count, unit]) => `${count} ${unit}`).join(" ");
}

function initials(name) {
  const words = name.split("@")[0].split(/[^\p{L}\p{N}]+/u).filter(Boolean);
  return words.slice(0, 2).map((word) => word[0].toUpperCase()).join("");
}

/** Returns the name with a possible line break after each punctuation mark. */
function breakable(name) {
  return name.split(/(?<=[.@+_-])/u).flatMap((part) => [part, document.createElement("wbr")]);
}

function list(roles) {
  return Array.isArray(roles) && roles.length > 0 ? roles : ["no role"];
}

function item(content) {
  const li = document.createElement("li");
  li.append(content);
  return li;
}

element("sign-in").addEventListener("click", () => gate.signIn({ returnTo: "/" }));
element("sign-out").addEventListener("click", signOut);
element("renew").addEventListener("click", renew);
element("worker-retry").addEventListener("click", () => desk && connect(desk));
tabs.addEventListener("message", ({ data }) => data === "signed-out" && desk && leave());
setInterval(tick, 1_000);
document.addEventListener("visibilitychange", tick);

// A browser may keep a page in memory after the user leaves it. So clear the page when the user leaves, and load the
// session again when the user returns.
addEventListener("pagehide", () => {
  forget();
  show("checking");
});
addEventListener("pageshow", (event) => event.persisted && start());

if (location.hash === "#signed-out") {
  element("signed-out-note").textContent = "You are signed out, in every tab of this browser.";
  history.replaceState(null, "", location.pathname);
}
start();
