// A page that signs in through Flexgate and works with the real Flex SDK.

import { createFlexgate, timeLeft } from "./flexgate.js";
import { clockTime, profileOf, shiftOf, spell } from "./shift.js";
import { connectWorker, SdkTrouble } from "./worker.js";

const gate = createFlexgate();
const element = (id) => document.getElementById(id);
const SECTIONS = ["checking", "signed-out", "signed-in"];
const PRIVATE = [
  "who", "username", "initials", "team", "skills", "shift-figure", "shift-note", "time-left", "time-note", "worker-note",
  "fact-user", "fact-worker", "fact-account", "fact-instance",
];

/** The state of the signed-in person. Null if nobody is signed in on this page. */
let desk = null;

async function start() {
  show("checking");
  try {
    const session = await gate.session();
    if (session) enter(session);
    else show("signed-out");
  } catch (error) {
    fail(error, { title: "We cannot check your sign-in right now" });
  }
}

function enter(session) {
  forget();
  const mine = { session, keeper: null, connection: null, trouble: null };
  desk = mine;
  mine.keeper = gate.keepFresh(null, { from: session, isActive: () => mine.connection?.isActive() ?? false });
  mine.keeper.on("renewed", (renewed) => renewedTo(mine, renewed));
  mine.keeper.on("trouble", ({ error, retryIn }) => {
    mine.trouble = performance.now() + retryIn;
    const title = "Your sign-in could not be renewed yet";
    fail(error, { title, detail: "You can go on working. The page tries again by itself.", again: () => renew() });
    tick();
  });
  mine.keeper.on("ended", (error) => (error.code === "signed_out" ? leave() : fail(error)));
  const name = session.username ?? session.identity ?? "";
  element("username").textContent = name;
  call(name);
  element("roles").replaceChildren(...list(session.roles).map((role) => item(role)));
  element("fact-user").textContent = session.flex_user_sid;
  element("fact-worker").textContent = session.worker_sid ?? "none named";
  element("fact-account").textContent = session.account_sid;
  element("fact-instance").textContent = session.instance_sid;
  element("failure").hidden = true;
  tick();
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
  element("profile").setAttribute("aria-busy", "true");
}

/** Shows the person's name. At first, only the username is known. The full name comes with the worker. */
function call(name) {
  element("who").replaceChildren(...breakable(name || "Signed in"));
  element("initials").textContent = initials(name);
  element("username").hidden = element("username").textContent === name;
}

function show(section) {
  for (const id of SECTIONS) element(id).hidden = id !== section;
  element("sign-out").hidden = section !== "signed-in";
}

/**
 * Shows a failure with its code, its request id and a suggestion. Also removes everything about the person, unless a
 * retry may help.
 */
function fail(error, { title = error.title, detail, again = start, tone } = {}) {
  const elsewhere = error.code === "signed_in_elsewhere";
  const ended = elsewhere || ["reauthenticate", "not_signed_in"].includes(error.code);
  const over = !error.temporary || !desk;
  if (over) {
    forget();
    show(ended ? "signed-out" : null);
  }
  if (ended) title = elsewhere ? "You are working on another device" : "Your session has ended";
  element("failure-title").textContent = title ?? "Something went wrong on this page";
  const signInAgain = elsewhere ? "To work here instead, sign in again." : "Sign in again to go on with your shift.";
  detail ??= [title === error.title ? null : error.title, error.detail].filter(Boolean).join(". ");
  if (ended) detail = signInAgain;
  element("failure-detail").textContent = detail;
  element("failure-detail").hidden = !detail;
  element("failure-code").textContent = error.code ?? error.name;
  element("failure-request").textContent = error.requestId ?? "";
  element("failure-request-row").hidden = !error.requestId;
  const action = element("failure-action");
  action.textContent = error.code === "another_user" ? "Continue as them" : "Try again";
  action.hidden = ended;
  action.onclick = () => {
    element("failure").hidden = true;
    again();
  };
  // Show the message in a calm tone if the session has ended, or if the page recovers from the failure automatically.
  tone ??= ended || error.code === "another_user" || desk ? "calm" : "bad";
  element("failure").dataset.tone = tone;
  element("failure").setAttribute("role", tone === "bad" ? "alert" : "status");
  element("failure").hidden = false;
  if (over) element("failure-title").focus();
}

function renew() {
  const mine = desk;
  return busy(element("renew"), () => mine?.keeper.renew().then(() => say("Your sign-in was renewed.")));
}

function renewedTo(mine, session) {
  if (desk !== mine) return;
  mine.session = session;
  mine.trouble = null;
  element("failure").hidden = true;
  tick();
}

/** Shows the progress of the shift, and of the renewal. */
function tick() {
  if (!desk) return;
  const { session, trouble } = desk;
  const left = timeLeft(session);
  const { figure, share, note } = shiftOf(session, Date.parse(session.expires_at) - left);
  element("shift-figure").textContent = figure;
  element("shift-bar").value = share;
  element("shift-note").textContent = note;
  element("time-left").textContent = left > 0 ? spell(left) : "Expired";
  const wait = Math.ceil((trouble - performance.now()) / 1000);
  element("time-note").textContent = trouble
    ? (wait > 0 ? `Renewing your sign-in again in ${wait} s.` : "Renewing your sign-in again…")
    : left > 0 ? `Renews by itself before ${clockTime(Date.now() + left)}.` : "Needs to be renewed.";
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
    drawProfile(connection.worker);
    drawWorker(mine);
  } catch (error) {
    if (desk !== mine) return;
    const { title, detail, code } = SdkTrouble.of(error, mine.session);
    status(title, "bad", code ? `${detail} (Code ${code}.)` : detail);
    drawProfile(null);
    element("worker-retry").hidden = false;
  }
}

/** Shows the name, team and skills from the worker's attributes. Pass null if the worker is not connected. */
function drawProfile(worker) {
  const { fullName, team, skills } = profileOf(worker?.attributes);
  if (fullName) call(fullName);
  element("team").textContent = team ?? (worker ? "No team yet" : "Not known");
  element("skills").textContent = "";
  if (skills.length > 0) {
    const chips = document.createElement("ul");
    chips.className = "chips";
    chips.append(...skills.map((skill) => item(skill)));
    element("skills").append(chips);
  } else {
    element("skills").textContent = worker ? "No skills yet" : "Not known";
  }
  element("profile").setAttribute("aria-busy", "false");
}

function drawWorker(mine) {
  const { worker } = mine.connection;
  const current = worker.activity;
  status(current?.name ?? "Unknown", current?.available ? "good" : "away",
    current?.available ? "New work can reach you." : "No new work reaches you. Choose an activity to change that.");
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
      return fail(error, { title: "You are still signed in", again: signOut, tone: "bad" });
    }
    // Usually, the keeper (which renews the token) emits the event `ended`, and the event's handler calls `leave`,
    // which sets `desk` to null. In a browser without BroadcastChannel or Web Locks, the keeper does not emit this
    // event, so call `leave` here.
    if (desk) leave();
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
    // The keeper, which renews the token, has already sent an event about the failure. The handler of that event shows
    // the failure.
  } finally {
    button.removeAttribute("aria-disabled");
  }
}

function drawConnection() {
  element("offline").hidden = navigator.onLine;
}

function say(text) {
  element("announce").textContent = text;
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
setInterval(tick, 1_000);
document.addEventListener("visibilitychange", tick);
for (const event of ["online", "offline"]) addEventListener(event, drawConnection);

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
drawConnection();
start();
