// A page that uses everything in @flexgate/web/react, for react.test.mjs. The page does not use JSX, so it needs no
// compiler.

import { FlexgateProvider, useFlexClient, useFlexgate } from "@flexgate/web/react";
import { Component, createElement as h, StrictMode, Suspense, version } from "react";
import { createRoot } from "react-dom/client";

/** The state that the test reads. */
const seen = (window.seen = { version, created: [], destroyed: [], tokens: [], strict: 0, failNext: false });

/** Creates a mocked SDK client. The test sees when it is created and destroyed. holders.test.mjs uses a real client. */
async function createClient(token) {
  await new Promise((resolve) => setTimeout(resolve, 50));
  if (seen.failNext) {
    seen.failNext = false;
    throw new Error("the client was not made");
  }
  seen.created.push(token);
  return {
    updateToken: async (renewed) => void seen.tokens.push(renewed),
    destroy: () => void seen.destroyed.push(token),
    execute: async () => {},
  };
}

function Client() {
  const client = useFlexClient(createClient);
  return h("p", { id: "client" }, client ? "connected" : "none");
}

class Boundary extends Component {
  state = { error: null };
  static getDerivedStateFromError(error) {
    return { error };
  }
  render() {
    if (!this.state.error) return this.props.children;
    const again = () => {
      this.props.again();
      this.setState({ error: null });
    };
    return h("button", { id: "again", onClick: again }, this.state.error.message);
  }
}

function App() {
  seen.strict += 1;
  const flexgate = useFlexgate();
  const { status, session, error, signOut, renew, reload, retryClient } = flexgate;
  const button = (id, onClick) => h("button", { id, onClick: () => void onClick().catch(() => {}) }, id);
  return h("main", null,
    h("p", { id: "status" }, status),
    h("p", { id: "who" }, session?.username ?? ""),
    h("p", { id: "error" }, error?.code ?? ""),
    button("renew", renew), button("reload", reload), button("sign-out", signOut),
    h(Boundary, { again: retryClient }, h(Suspense, { fallback: h("p", { id: "client" }, "connecting") }, h(Client))));
}

const baseUrl = new URLSearchParams(location.search).get("gate");
const root = createRoot(document.getElementById("root"));
root.render(h(StrictMode, null, h(FlexgateProvider, { baseUrl }, h(App))));
window.unmount = () => root.unmount();
