/** The chosen theme and the one in force. public/theme.js applies a stored choice before the first paint. */
import { MediaQuery } from "svelte/reactivity";

export type Theme = "system" | "light" | "dark";

const KEY = "dermafleet.theme";
const prefersDark = new MediaQuery("(prefers-color-scheme: dark)");

function stored(): Theme {
  const value = document.documentElement.dataset["theme"];
  return value === "light" || value === "dark" ? value : "system";
}

let chosen = $state<Theme>(stored());

export const theme = {
  get chosen(): Theme {
    return chosen;
  },
  get isDark(): boolean {
    return chosen === "dark" || (chosen === "system" && prefersDark.current);
  },
  choose(next: Theme): void {
    chosen = next;
    if (next === "system") delete document.documentElement.dataset["theme"];
    else document.documentElement.dataset["theme"] = next;
    try {
      localStorage.setItem(KEY, next);
    } catch {
      // Storage is switched off: the choice holds until the page is closed.
    }
  },
};
