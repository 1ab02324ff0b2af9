// Shows the hops of the sign-in in the order in which they began. A hop is one request, for example from the browser to
// Flexgate.

const list = document.getElementById("hops");
const empty = document.getElementById("empty");
let first = null;

function element(name, text) {
  return Object.assign(document.createElement(name), { textContent: text });
}

function show(hop) {
  first ??= hop.time;
  const item = document.createElement("li");
  item.dataset.time = hop.time;
  item.dataset.tone = hop.status >= 400 ? "bad" : "";
  const answer = `${hop.request} → ${hop.status}${hop.code ? ` ${hop.code}` : ""}, after ${Math.max(Math.round(hop.time - first), 0)} ms`;
  item.append(element("strong", `${hop.from} → ${hop.to}`), element("span", hop.what), element("code", answer));
  // Sort the hops by time, because they do not arrive in order. Flexgate logs a request only after it has answered the
  // request. So the requests that Flexgate sent to Twilio meanwhile arrive here first.
  const next = [...list.children].find((other) => Number(other.dataset.time) > hop.time);
  list.insertBefore(item, next ?? null);
  empty.hidden = true;
}

document.getElementById("clear").addEventListener("click", () => {
  list.replaceChildren();
  first = null;
  empty.hidden = false;
});
const source = new EventSource("/hops");
source.addEventListener("message", ({ data }) => show(JSON.parse(data)));
// The server sends all hops again on each new connection, so clear the list.
source.addEventListener("open", () => {
  list.replaceChildren();
  first = null;
});
