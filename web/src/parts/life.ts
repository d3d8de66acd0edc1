/** A forecast in words. Pure. */
import type { Forecast } from "../api/types";

export interface Life {
  component: string;
  madeAt: string;
  percent: number;
  tone: "good" | "due" | "fault";
  ranges: { label: string; value: string }[];
  basis: string;
}

/** Shares of a filter's life below which the bar warns. */
const DUE = 0.3;
const FAULT = 0.1;

export function toLives(forecasts: Forecast[]): Life[] {
  return forecasts.map((each) => ({
    component: each.component,
    madeAt: each.made_at,
    percent: Math.round(each.share_left * 100),
    tone: each.share_left < FAULT ? "fault" : each.share_left < DUE ? "due" : "good",
    ranges: [
      { label: "Sessions", value: toRange(each.sessions) },
      { label: "Hours of pumping", value: toRange(each.hours) },
      { label: "Days", value: toRange(each.days) },
    ],
    basis:
      each.basis === "library"
        ? `Learned from ${each.filters} earlier ${each.filters === 1 ? "filter" : "filters"} of this model.`
        : "A first guess: no filter of this model has been seen to its end yet.",
  }));
}

/** "8 – 20, most likely 12": eight of ten such filters end in between. */
function toRange(range: { p10: number; p50: number; p90: number } | null): string {
  if (range === null) return "Not known yet";
  const { p10, p50, p90 } = range;
  return `${toNumber(p10)} – ${toNumber(p90)}, most likely ${toNumber(p50)}`;
}

function toNumber(value: number): string {
  return value >= 10 ? value.toFixed(0) : value.toFixed(1).replace(/\.0$/, "");
}
