"use strict";
// Loaded before the unmodified SDK (`node --require`). Redirects every TLS connection to *.twilio.com, whether from
// fetch, https or a websocket, to the simulator. See infra/simulator/README.md.

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
    // SNI and the Host header stay unchanged; only the TCP connection goes elsewhere.
    options = { ...options, host: "127.0.0.1", port, servername: host };
    delete options.path;
    delete options.hostname;
    delete options.lookup;
  }
  return callback ? original.call(tls, options, callback) : original.call(tls, options);
};
// Makes the replaced function visible to ES modules that import { connect } from "node:tls".
require("node:module").syncBuiltinESMExports();

// The SDK's authentication part expects the browser's global `window`.
globalThis.window ??= globalThis;
