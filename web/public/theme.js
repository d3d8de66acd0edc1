// Runs before the first paint, so that a chosen theme never flashes. The choice is made in src/theme.svelte.ts.
try {
  const theme = localStorage.getItem("dermafleet.theme");
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
} catch {
  // Storage is switched off: the system's theme applies.
}
