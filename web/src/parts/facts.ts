/** The numbers of an alarm's detail, for people. Their units are in their names, so an unknown detector reads well too. */
import { formatFull, formatValue } from "../format";

export interface Fact {
  label: string;
  value: string;
}

/** In the order in which they are shown; what is not here follows. */
const labels: Record<string, string> = {
  ratio: "Share of the limit",
  level: "Raised from",
  since: "Since",
  dp_kpa: "Pressure drop",
  flow_lpm: "Flow",
  limit_kpa: "Rated limit",
  limit_flow_lpm: "At a flow of",
  samples: "Samples judged",
  window_s: "Smoothed over",
  noise: "Noise",
  coverage: "Usable samples",
};
const units: [ending: string, unit: string][] = [
  ["_kpa", "kPa"],
  ["_lpm", "L/min"],
  ["_s", "s"],
  ["_c", "°C"],
  ["_a", "A"],
  ["_g", "g"],
  ["_v", "V"],
];
/** Shares of one, shown as percent. */
const shares = new Set(["ratio", "level", "noise", "coverage"]);

/** What an alarm may be instead is shown by itself. */
export function toFacts(detail: Record<string, unknown>): Fact[] {
  const known = Object.keys(labels);
  const rank = (name: string): number => (known.includes(name) ? known.indexOf(name) : known.length);
  return Object.entries(detail)
    .filter(([name]) => name !== "candidates")
    .sort(([a], [b]) => rank(a) - rank(b))
    .map(([name, value]) => ({ label: toLabel(name), value: toText(name, value) }));
}

function toLabel(name: string): string {
  const known = labels[name];
  if (known !== undefined) return known;
  const words = name.replace(/_(kpa|lpm|s|c|a|g|v)$/, "").replaceAll("_", " ");
  return words.charAt(0).toUpperCase() + words.slice(1);
}

function toText(name: string, value: unknown): string {
  if (value === null || value === undefined) return "Not measured";
  if (typeof value === "string") return /^\d{4}-\d\d-\d\dT/.test(value) ? formatFull(value) : value;
  if (typeof value !== "number") return JSON.stringify(value);
  if (shares.has(name)) return `${Math.round(value * 100)} %`;
  const unit = units.find(([ending]) => name.endsWith(ending))?.[1];
  return unit === undefined ? String(value) : `${formatValue(value)} ${unit}`;
}
