// Signs in without a browser: follows redirects, submits the sign-in page, and stores cookies.

/** Signs in as `username`. Returns a `fetch` that sends the page's headers and the session cookie. */
export async function signIn(gateway, username) {
  const { callback, get, cookies, browserFetch } = await signInUpToCallback(gateway, username);
  const response = await follow(get, callback);
  if (!cookies.has("__Host-flexgate-session")) throw new Error(`no session came, but ${response.status}`);
  return browserFetch;
}

/** Signs in except for the last step: does not send the request to the URL `callback`. */
export async function signInUpToCallback(gateway, username) {
  const cookies = new Map();
  const take = (response) => {
    for (const line of response.headers.getSetCookie()) {
      const [pair, ...attributes] = line.split("; ");
      const cut = pair.indexOf("=");
      if (attributes.includes("Max-Age=0")) cookies.delete(pair.slice(0, cut));
      else cookies.set(pair.slice(0, cut), pair.slice(cut + 1));
    }
    return response;
  };
  const cookie = () => [...cookies].map(([name, value]) => `${name}=${value}`).join("; ");
  const bounded = { redirect: "manual", signal: AbortSignal.timeout(15_000) };
  const get = (url) => {
    const ours = url.startsWith(`${gateway.url}/`);
    const answer = fetch(url, { ...bounded, headers: ours ? { cookie: cookie() } : {} });
    return ours ? answer.then(take) : answer;
  };

  const response = await follow(get, `${gateway.url}/sso/default/login`);
  const page = await response.text();
  const request = /name="request" value="([^"]+)"/.exec(page)?.[1];
  if (!request) throw new Error(`no sign-in page came, but ${response.status}: ${page.slice(0, 300)}`);
  const decision = await fetch(`${gateway.simulator}/idp/authorize/decision`, {
    ...bounded,
    method: "POST",
    body: new URLSearchParams({ request, username }),
  });
  const twilio = await get(decision.headers.get("location"));
  const browserFetch = (url, init = {}) =>
    fetch(url, { ...init, headers: { ...init.headers, cookie: cookie(), origin: gateway.url } }).then(take);
  return { callback: twilio.headers.get("location"), get, cookies, browserFetch };
}

async function follow(get, url) {
  for (let hops = 0; hops < 10; hops++) {
    const response = await get(url);
    const location = response.headers.get("location");
    if (!location) return response;
    url = new URL(location, url).href;
  }
  throw new Error("the redirects do not end");
}
