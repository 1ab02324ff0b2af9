"use strict";
// Node loads this file before the unmodified SDK (`node --require`). It redirects TLS connections to *.twilio.com to
// the simulator. See infra/simulator/README.md.

const tls = require("node:tls");
const port = Number(process.env.FLEXGATE_SIM_TLS_PORT);
if (!port) throw new Error("FLEXGATE_SIM_TLS_PORT is not set");

const isTwilio = (host) => typeof host === "string" && (host === "twilio.com" || host.endsWith(".twilio.com"));
const original = tls.connect;

tls.connect = function connect(...args) {
  // The arguments are (port[, host][, options][, callback]) or (options[, callback]).
  const callback = typeof args.at(-1) === "function" ? args.pop() : undefined;
  let options;
  if (typeof args[0] === "object" && args[0] !== null) options = { ...args[0] };
  else {
    const given = args.find((arg) => typeof arg === "object" && arg !== null) ?? {};
    options = { ...given, port: args[0], ...(typeof args[1] === "string" ? { host: args[1] } : {}) };
  }
  const host = options.servername || options.host || options.hostname;
  if (!options.socket && isTwilio(host)) {
    // Change only the address of the TCP connection, not the SNI or the Host header.
    options = { ...options, host: "127.0.0.1", port, servername: host };
    delete options.path;
    delete options.hostname;
    delete options.lookup;
  }
  return callback ? original.call(tls, options, callback) : original.call(tls, options);
};
// Makes ES modules that import `connect` from "node:tls" use the new function too.
require("node:module").syncBuiltinESMExports();

// The SDK's authentication code expects the global variable `window`.
globalThis.window ??= globalThis;
