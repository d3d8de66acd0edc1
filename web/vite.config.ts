import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig } from "vitest/config";

// Where `npm run dev` finds the API: a running demo, or dev/fake-api.mjs (`npm run fake`).
const api = process.env["DERMAFLEET_API_URL"] ?? "http://127.0.0.1:8400";

export default defineConfig({
  base: "/",
  plugins: [svelte()],
  build: {
    outDir: "../services/api/static",
    emptyOutDir: true,
    target: "es2022",
    // A data: URL for a stylesheet's image would still pass the content security policy, a font or script would not.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
  },
  server: { proxy: { "/api": { target: api, changeOrigin: true } } },
  test: { include: ["src/**/*.test.ts"] },
});
