/** The fleet in one row of numbers, kept current: the rail and the device list share it. */
import { get } from "../api/client";
import { Resource } from "../api/resource.svelte";
import type { Summary } from "../api/types";
import { live } from "./stream.svelte";
import { throttle } from "./throttle";

/** Counts also change without an event of their own (a day begins, samples per second). */
const REFRESH_MS = 15_000;

export const summary = new Resource<Summary>();

function load(): void {
  void summary.load((signal) => get("/api/v1/fleet/summary", { signal }));
}

/** Keep the summary current until the returned function is called. */
export function followSummary(): () => void {
  const soon = throttle(load, 1000);
  const stops = [live.on("device", soon.ask), live.on("alarm", soon.ask)];
  const timer = setInterval(soon.ask, REFRESH_MS);
  load();
  return () => {
    clearInterval(timer);
    stops.forEach((stop) => stop());
    soon.stop();
    summary.stop();
  };
}
