import { vitePreprocess } from "@sveltejs/vite-plugin-svelte";

export default {
  preprocess: vitePreprocess(),
  compilerOptions: {
    // A table that CSS turns into cards loses its meaning for screen readers unless its roles are written out.
    warningFilter: (warning) => warning.code !== "a11y_no_redundant_roles",
  },
};
