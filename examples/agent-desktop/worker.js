// Connects the worker through the real Flex SDK, if the SDK is installed.

const SDK = "/sdk/index.browser.js";
/** The account SID of the simulator. No real account has it. */
const SIMULATED = "AC00000000000000000000000000000001";
/** How long to wait for the SDK. It tries three times, but it retries its websocket forever. */
const PATIENCE = 20_000;

/** A failure of the SDK, described for the person who uses the desktop. */
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
 * Creates the SDK's client and connects its worker. `wanted` says whether the caller still wants it; `attach` gets
 * the client, to give it renewed tokens; `onChange` and `onLost` report later changes of the worker.
 */
export async function connectWorker({ token, wanted, attach, onChange, onLost }) {
  const sdk = await load();
  // Disable telemetry. The SDK would send it to hosts that this page's content security policy does not allow.
  const made = sdk.createClient(token(), { telemetryOptions: { disabled: true } });
  // If the client arrives after the wait has timed out, or when the caller no longer wants it, destroy it.
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
    /** Whether the worker has work, or new work can reach them. They may work in another window, or only talk. */
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
