// Computes what the desktop shows about the person's shift and profile, from the session and the TaskRouter worker.

const MINUTE = 60_000;

/**
 * Returns how long the person has been signed in, as text and as a share of the longest possible session, and a note.
 * `gatewayNow` is the time at the gateway, because this computer's clock may be wrong.
 */
export function shiftOf({ signed_in_at, session_ends_at }, gatewayNow) {
  const [began, ends] = [signed_in_at, session_ends_at].map((time) => Date.parse(time));
  if (Number.isNaN(began) || Number.isNaN(ends)) return { figure: "Signed in", share: 0, note: "" };
  const gone = Math.max(gatewayNow - began, 0);
  const hours = Math.floor(gone / (60 * MINUTE));
  const minutes = Math.floor(gone / MINUTE) % 60;
  const figure = gone < MINUTE ? "Just started" : [hours > 0 && `${hours} h`, `${minutes} min`].filter(Boolean).join(" ");
  const share = Math.min(gone / Math.max(ends - began, 1), 1);
  const [from, until] = [began, ends].map((time) => clockTime(time - gatewayNow + Date.now()));
  return { figure, share, note: `You signed in at ${from}. You can work until ${until} before you need to sign in again.` };
}

/** Returns a time in its two largest units, such as "4 min 20 s". */
export function spell(milliseconds) {
  const seconds = Math.floor(milliseconds / 1000);
  const parts = [`${Math.floor(seconds / 3600)} h`, `${Math.floor(seconds / 60) % 60} min`, `${seconds % 60} s`];
  const first = seconds >= 3600 ? 0 : seconds >= 60 ? 1 : 2;
  return parts.slice(first, first + 2).join(" ");
}

/** Returns the time of day, with the weekday if it is on another day. */
export function clockTime(time) {
  const date = new Date(time);
  const weekday = date.toDateString() === new Date().toDateString() ? {} : { weekday: "short" };
  return date.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", ...weekday });
}

/**
 * Reads the full name, the team and the skills from a worker's attributes: `full_name`, `team_name` and
 * `routing.skills`, as Flex UI writes them. Anybody can write attributes of any type, so ignores values of other types.
 */
export function profileOf(attributes) {
  const text = (value) => (typeof value === "string" && value.trim() ? value.trim() : null);
  const { full_name, team_name, routing } = attributes ?? {};
  const skills = Array.isArray(routing?.skills) ? routing.skills.map(text).filter(Boolean) : [];
  return { fullName: text(full_name), team: text(team_name), skills };
}
