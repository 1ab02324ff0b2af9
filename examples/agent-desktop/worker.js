// Connects the worker through the real Flex SDK.

const SDK = "/sdk/index.browser.js";
/** The simulator's account SID. No real account has this SID. */
const SIMULATED = "AC00000000000000000000000000000001";
/** The timeout for the SDK, in milliseconds. The SDK itself retries its websocket forever. */
const PATIENCE = 20_000;

/** A failure of the SDK, described for the user of the desktop. */
export class SdkTrouble extends Error {
  constructor(title, detail, code) {
    super(title);
    Object.assign(this, { title, detail, code });
  }

  /** Converts an error of the SDK. */
  static of(error, session) {
    if (error instanceof SdkTrouble) return error;
    const code = error?.code;
    const simulated = session.account_sid === SIMULATED
      ? " This is the simulated account, which the real twilio.com does not know: the README of this page says how to start a browser that finds the simulator."
      : "";
    if ([48920, 20101, 20106, 20003, 51102].includes(Number(code))) {
      return new SdkTrouble("Refused by Twilio", `Twilio does not accept the token.${simulated}`, code);
    }
    if (Number(code) === 20104) return new SdkTrouble("Token expired", "Renew your token, then try again.", code);
    if (Number(code) === 20429) return new SdkTrouble("Twilio is busy", "Too many requests: try again in a minute.", code);
    return new SdkTrouble("Not connected", `Twilio could not be reached, or did not do what was asked.${simulated}`, code);
  }
}

/**
 * Creates the SDK's client and connects its worker.
 *
 * * `wanted()`: whether the caller still needs the worker.
 * * `attach(client)`: called with the new client, so that the client receives renewed tokens.
 * * `onChange`, `onLost`: called when the worker changes or is lost.
 */
export async function connectWorker({ token, wanted, attach, onChange, onLost }) {
  const sdk = await load();
  // Disable telemetry, because the page's content security policy blocks the SDK's telemetry hosts.
  const made = sdk.createClient(token(), { telemetryOptions: { disabled: true } });
  // Destroy the client if it arrives after the timeout, or when the caller no longer needs it.
  let late = false;
  made.then((client) => (late || !wanted()) && client.destroy(), () => {});
  const client = await inTime(made).catch((error) => {
    late = true;
    throw error;
  });
  if (!wanted()) throw new SdkTrouble("Not connected", "It is not needed any more.");
  attach(client);
  const worker = await inTime(client.getWorker());
  worker.on("activityUpdated", onChange);
  worker.on("ready", onChange);
  worker.on("disconnected", () => onLost("The SDK connects again by itself."));
  worker.on("error", () => onLost("The SDK reports a problem with the worker. It tries again by itself."));
  worker.on("tokenExpired", () => onLost("The token has expired: renew it, then reload the page."));
  return {
    worker,
    /** Whether the worker has tasks or is available for tasks. */
    isActive: () => Boolean(worker.activity?.available) || worker.reservations?.size > 0,
    setActivity: (sid) => inTime(client.execute(new sdk.SetCurrentActivity(sid))),
    close() {
      worker.removeAllListeners();
      worker.on("error", () => {});
      worker.disconnect();
      client.destroy();
    },
  };
}

let loading = null;

function load() {
  loading ??= new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = SDK;
    script.addEventListener("load", () => resolve(window.FlexSdk));
    script.addEventListener("error", () => {
      script.remove();
      loading = null;
      const detail = "The Flex SDK is not installed: run npm ci in examples/agent-desktop, and start flexgate from the repository’s folder. Everything else on this page works without it.";
      reject(new SdkTrouble("SDK not installed", detail));
    });
    document.head.append(script);
  });
  return loading;
}

function inTime(promise) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new SdkTrouble("Not connected", "Twilio did not answer in time.")), PATIENCE);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}
