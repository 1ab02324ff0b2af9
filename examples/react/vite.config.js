import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

export default defineConfig({
  plugins: [react()],
  resolve: {
    // The package is linked here, and must use the same React as the page.
    dedupe: ["react"],
  },
});
