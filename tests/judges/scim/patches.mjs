// Compares Flexgate's patch results with those of the npm package scim-patch. The list `differences` contains every
// allowed difference, with the RFC section that shows which result is right. Each of these differences must occur at
// least once.
//
//     cargo build -p flexgate-provision --example scim_patch
//     node patches.mjs [path of the example] [sequences] [seed]
//
// A sequence consists of several patches. Flexgate and scim-patch get the same document before each patch.

import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { isDeepStrictEqual } from "node:util";
import { scimPatch } from "scim-patch";

const FLEX = "urn:flexgate:params:scim:schemas:extension:flex:2.0:User";
const [example = "../../../target/debug/examples/scim_patch", sequences = "4000", seed = "20250101"] =
  process.argv.slice(2);

const lists = { emails: ["value", "type", "primary"], roles: ["value", "primary"] };
const isList = (name) => Object.hasOwn(lists, name);
const attributeOf = (path) => path.split(/[[.]/)[0];
const primaries = (list) => (Array.isArray(list) ? list.filter((item) => item.primary === true).length : 0);
const values = (operation) =>
  operation.path ? [[attributeOf(operation.path), operation.value]] : Object.entries(operation.value ?? {});

/** The allowed differences. `explains` returns whether a difference explains the results of one patch. */
const differences = [
  {
    name: "an operation that makes a value primary makes the others not primary (RFC 7644 §3.5.2)",
    explains: (op, before, ours, theirs) =>
      ours.ok && theirs.ok && Object.keys(lists).some((name) => primaries(theirs.ok[name]) > 1 && primaries(ours.ok[name]) === 1),
  },
  {
    name: "a replace whose filter matches nothing in a list that exists is noTarget (RFC 7644 §3.5.2.3)",
    explains: (op, before, ours) =>
      op.op === "replace" && op.path?.includes("[") && ours.error === "noTarget" && before[attributeOf(op.path)],
  },
  {
    name: "a replace by filter replaces the whole value, not parts of it (RFC 7644 §3.5.2.3)",
    explains: (op) => op.op === "replace" && op.path?.endsWith("]"),
  },
  {
    name: "an add by filter that matches nothing makes the value that the filter describes, or has no target (RFC 7644 §3.5.2.1)",
    explains: (op, before, ours, theirs) =>
      op.op === "add" && op.path?.endsWith("]") && (ours.ok || (ours.error === "noTarget" && isDeepStrictEqual(theirs.ok, before))),
  },
  {
    name: "removing by filter from a list that is not there changes nothing (RFC 7644 §3.5.2.2)",
    explains: (op, before, ours) =>
      op.op === "remove" && op.path?.includes("[") && isDeepStrictEqual(ours.ok, before),
  },
  {
    name: "a value without sub-attributes, a list without values and an extension without attributes are none (RFC 7643 §2.5)",
    explains: (op, before, ours, theirs) => ours.ok && theirs.ok && isDeepStrictEqual(ours.ok, pruned(theirs.ok)),
  },
  {
    name: "a complex attribute without a path is merged by its sub-attributes, as with one (RFC 7644 §3.5.2.3)",
    explains: (op, before) => !op.path && ["name", FLEX].some((name) => op.value?.[name] && before[name]),
  },
  {
    name: "without a path, a key that is an extension's URN is the extension (RFC 7643 §3.3)",
    explains: (op, before, ours) => !op.path && op.value?.[FLEX] !== undefined && ours.ok?.[FLEX] !== undefined,
  },
  {
    name: "a list holds no value twice (RFC 7643 §2.4, RFC 7644 §3.5.2.1)",
    explains: (op, before, ours, theirs) =>
      ours.ok && theirs.ok &&
      values(op).some(([name]) => isList(name) && isDeepStrictEqual(ours.ok[name], unique(theirs.ok[name] ?? []))),
  },
  {
    name: "what cannot be removed is not (RFC 7644 §3.5.2.2: mutability)",
    explains: (op, before, ours) => op.op === "remove" && ["userName", "active"].includes(op.path) && ours.error === "mutability",
  },
  {
    name: "one value written to a list that is not there makes a list of one (RFC 7643 §2.4)",
    explains: (op, before, ours) =>
      op.op !== "remove" && values(op).some(([name, value]) => isList(name) && !Array.isArray(value) && Array.isArray(ours.ok?.[name])),
  },
  {
    name: "values to remove are told by their value, as Entra lists them (RFC 7644 §3.5.2.2)",
    explains: (op) => op.op === "remove" && op.value !== undefined,
  },
];

function unique(list) {
  if (!Array.isArray(list)) return list;
  return list.filter((item, index) => list.findIndex((other) => isDeepStrictEqual(other, item)) === index);
}

function pruned(value) {
  if (Array.isArray(value)) return value.map(pruned).filter((item) => item !== undefined);
  if (typeof value !== "object" || value === null) return value;
  const kept = Object.entries(value)
    .map(([key, item]) => [key, pruned(item)])
    .filter(([, item]) => item !== undefined && !(typeof item === "object" && Object.keys(item).length === 0));
  return Object.fromEntries(kept);
}

// --- documents and operations, generated from a seed --------------------------------------------------

let state = Number(seed) >>> 0;
function random() {
  // mulberry32
  state = (state + 0x6d2b79f5) >>> 0;
  let t = Math.imul(state ^ (state >>> 15), 1 | state);
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
  return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
}
const pick = (list) => list[Math.floor(random() * list.length)];
const maybe = (probability, make) => (random() < probability ? make() : undefined);
const only = (object) => Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined));

const word = () => pick(["ada", "grace", "linus", "margaret"]);
const email = () => only({ value: `${word()}@example.com`, type: maybe(0.7, () => pick(["work", "home"])), primary: maybe(0.3, () => random() < 0.5) });
const role = () => only({ value: pick(["agent", "supervisor"]), primary: maybe(0.3, () => random() < 0.5) });
const some = (make) => Array.from({ length: 1 + Math.floor(random() * 2) }, make);
const name = () => only({ givenName: maybe(0.6, word), familyName: maybe(0.6, word), formatted: maybe(0.4, word) });
const filled = (make) => {
  for (;;) {
    const made = make();
    if (Object.keys(made).length > 0) return made;
  }
};
const extension = () => only({ language: maybe(0.7, word), level: maybe(0.7, () => Math.floor(random() * 9)) });

// An initial list has no duplicates and at most one primary value.
const valid = (list) => unique(list.map((item, index) => (index > 0 ? { ...item, ...(item.primary && { primary: false }) } : item)));

function document() {
  return only({
    userName: word(),
    active: random() < 0.8,
    displayName: maybe(0.6, word),
    name: maybe(0.6, () => filled(name)),
    emails: maybe(0.6, () => valid(some(email))),
    roles: maybe(0.5, () => valid(some(role))),
    [FLEX]: maybe(0.4, () => filled(extension)),
  });
}

const filters = ['type eq "work"', 'type eq "home"', "primary eq true", 'value eq "ada@example.com"', 'type eq "work" and primary eq true', 'type eq "work" or type eq "home"', 'value sw "g"', "type pr", 'not (type eq "work")'];

function written() {
  switch (pick(["displayName", "active", "name", "name.givenName", "emails", "roles", "email.value", "selected", "extension", "none"])) {
    case "displayName": return { path: "displayName", value: word() };
    case "active": return { path: "active", value: random() < 0.5 };
    case "name": return { path: "name", value: filled(name) };
    case "name.givenName": return { path: pick(["name.givenName", "name.familyName"]), value: word() };
    case "emails": return { path: "emails", value: pick([some(email), email()]) };
    case "roles": return { path: "roles", value: some(role) };
    case "email.value": return { path: `emails[${pick(filters)}].value`, value: `${word()}@example.com` };
    case "selected": return { path: `emails[${pick(filters)}]`, value: email() };
    case "extension": return { path: `${FLEX}:${"language"}`, value: word() };
    default:
      return { value: filled(() => only({
        displayName: maybe(0.4, word), active: maybe(0.3, () => random() < 0.5), name: maybe(0.3, () => filled(name)),
        "name.familyName": maybe(0.3, word), emails: maybe(0.3, () => some(email)), roles: maybe(0.2, () => some(role)),
        [FLEX]: maybe(0.2, () => filled(extension)), [`${FLEX}:language`]: maybe(0.2, word),
      })) };
  }
}

function removed() {
  const path = pick(["displayName", "name", "name.givenName", "emails", "roles", "userName", "active", `${FLEX}:language`, "emails.type", "filter", "filtered sub", "listed"]);
  if (path === "filter") return { path: `emails[${pick(filters)}]` };
  if (path === "filtered sub") return { path: `emails[${pick(filters)}].${pick(["type", "primary"])}` };
  if (path === "listed") return { path: "emails", value: some(email) };
  return { path };
}

const operation = () => {
  const op = pick(["add", "replace", "remove"]);
  return { op, ...(op === "remove" ? removed() : written()) };
};

// --- the comparison ----------------------------------------------------------------------------------

const ours = spawn(example, { stdio: ["pipe", "pipe", "inherit"] });
const answers = createInterface({ input: ours.stdout })[Symbol.asyncIterator]();
async function byFlexgate(document, operation) {
  ours.stdin.write(`${JSON.stringify({ document, operations: [operation] })}\n`);
  return JSON.parse((await answers.next()).value);
}

function byScimPatch(document, operation) {
  try {
    return { ok: scimPatch(structuredClone(document), [structuredClone(operation)]) };
  } catch (error) {
    return { error: error.scimCode ?? error.message };
  }
}

const same = (a, b) => (a.ok && b.ok ? isDeepStrictEqual(a.ok, b.ok) : Boolean(a.error) && Boolean(b.error));
const met = new Map(differences.map(({ name }) => [name, 0]));
let [steps, equal, unexplained] = [0, 0, 0];
for (let sequence = 0; sequence < Number(sequences); sequence += 1) {
  let current = document();
  for (let step = 0; step < 1 + Math.floor(random() * 6); step += 1) {
    const next = operation();
    const [mine, theirs] = [await byFlexgate(current, next), byScimPatch(current, next)];
    steps += 1;
    if (same(mine, theirs)) {
      equal += 1;
    } else {
      const found = differences.filter(({ explains }) => explains(next, current, mine, theirs));
      if (found.length === 0) {
        unexplained += 1;
        if (unexplained <= 5) {
          console.error(JSON.stringify({ document: current, operation: next, flexgate: mine, scim_patch: theirs }, null, 1));
        }
      } else {
        met.set(found[0].name, met.get(found[0].name) + 1);
      }
    }
    if (mine.ok) current = mine.ok;
  }
}
ours.stdin.end();

console.log(`${steps} steps in ${sequences} sequences (seed ${seed}): ${equal} equal, ${steps - equal - unexplained} differ as listed, ${unexplained} otherwise`);
for (const [name, count] of met) console.log(`  ${count}  ${name}`);
const never = [...met].filter(([, count]) => count === 0).map(([name]) => name);
if (never.length > 0) console.error(`never met: ${never.join("; ")}`);
process.exitCode = unexplained > 0 || never.length > 0 ? 1 : 0;
