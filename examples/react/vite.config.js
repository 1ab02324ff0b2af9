import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

export default defineConfig({
  plugins: [react()],
  resolve: {
    // In this repository, npm links to the package's folder instead of copying the package. Without `dedupe`, the
    // package could load a second copy of React, besides the copy that the page uses.
    dedupe: ["react"],
  },
});
