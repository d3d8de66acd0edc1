/** The page shown and its parameters, as the address bar has them. State that a link should carry lives here. */

interface Location {
  path: string;
  query: URLSearchParams;
}

function current(): Location {
  return { path: window.location.pathname, query: new URLSearchParams(window.location.search) };
}

let location = $state.raw(current());
window.addEventListener("popstate", () => (location = current()));

export const route = {
  get path(): string {
    return location.path;
  },
  get query(): URLSearchParams {
    return location.query;
  },
};

export function navigate(href: string, { replace = false } = {}): void {
  const before = location.path;
  window.history[replace ? "replaceState" : "pushState"](null, "", href);
  location = current();
  if (location.path !== before) window.scrollTo(0, 0);
}

/** The current address with some query parameters changed; null removes one. */
export function withQuery(changes: Record<string, string | null>): string {
  const query = new URLSearchParams(location.query);
  for (const [name, value] of Object.entries(changes)) {
    if (value === null || value === "") query.delete(name);
    else query.set(name, value);
  }
  const text = query.toString();
  return location.path + (text === "" ? "" : `?${text}`);
}

/** Turns clicks on links of this site into navigation without a reload. */
export function followLinks(event: MouseEvent): void {
  const link = event.target instanceof Element ? event.target.closest("a") : null;
  if (link === null || event.defaultPrevented || event.button !== 0) return;
  if (event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  if (link.origin !== window.location.origin || link.target !== "" || link.hasAttribute("download")) return;
  if (link.hash !== "" && link.pathname === location.path) return;
  event.preventDefault();
  navigate(link.pathname + link.search);
}
