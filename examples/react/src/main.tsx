import { FlexgateProvider } from "@flexgate/web/react";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";

import { App } from "./App";
import { isActive } from "./active";
import "@flexgate/web/design.css";
import "./desktop.css";

const root = document.getElementById("root");
if (!root) throw new Error("index.html has no root");

createRoot(root).render(
  <StrictMode>
    <FlexgateProvider baseUrl={import.meta.env["VITE_FLEXGATE_URL"] ?? "http://localhost:9000"} isActive={isActive}>
      <App />
    </FlexgateProvider>
  </StrictMode>,
);
