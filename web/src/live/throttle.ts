/** Runs `act` soon after it is asked for, at most once per `ms`; the last request is never forgotten. */
export function throttle(act: () => void, ms: number): { ask: () => void; stop: () => void } {
  let timer: ReturnType<typeof setTimeout> | null = null;
  let lastMs = -Infinity;
  const run = (): void => {
    timer = null;
    lastMs = performance.now();
    act();
  };
  return {
    ask() {
      timer ??= setTimeout(run, Math.max(0, lastMs + ms - performance.now()));
    },
    stop() {
      if (timer !== null) clearTimeout(timer);
      timer = null;
    },
  };
}
