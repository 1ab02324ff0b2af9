"use strict";
// Node loads this file before the unmodified SDK (`node --require`). It redirects every TLS connection to *.twilio.com
// to the simulator, whether fetch, https or a websocket opens it. See infra/simulator/README.md.

const tls = require("node:tls");
const port = Number(process.env.FLEXGATE_SIM_TLS_PORT);
if (!port) throw new Error("FLEXGATE_SIM_TLS_PORT is not set");

const isTwilio = (host) => typeof host === "string" && (host === "twilio.com" || host.endsWith(".twilio.com"));
const original = tls.connect;

tls.connect = function connect(...args) {
  // tls.connect(port[, host][, options][, callback]) and tls.connect(options[, callback])
  const callback = typeof args.at(-1) === "function" ? args.pop() : undefined;
  let options;
  if (typeof args[0] === "object" && args[0] !== null) options = { ...args[0] };
  else {
    const given = args.find((arg) => typeof arg === "object" && arg !== null) ?? {};
    options = { ...given, port: args[0], ...(typeof args[1] === "string" ? { host: args[1] } : {}) };
  }
  const host = options.servername || options.host || options.hostname;
  if (!options.socket && isTwilio(host)) {
    // SNI and the Host header stay as they are. Only the TCP connection goes to another address.
    options = { ...options, host: "127.0.0.1", port, servername: host };
    delete options.path;
    delete options.hostname;
    delete options.lookup;
  }
  return callback ? original.call(tls, options, callback) : original.call(tls, options);
};
// Makes the new `connect` visible to ES modules that import it from "node:tls".
require("node:module").syncBuiltinESMExports();

// The authentication code of the SDK expects the global variable `window` of browsers.
globalThis.window ??= globalThis;
