/** A chart in words and as a table, for whoever does not see it. Pure. */
import { formatDuration, formatQuantity } from "../format";
import type { Track } from "./series";

export interface Row {
  fromMs: number;
  toMs: number;
  min: number;
  mean: number;
  max: number;
}

const MAX_ROWS = 60;

/** At most MAX_ROWS equal intervals of the window, newest first; those without values are left out. */
export function toRows(t: number[], track: Track, fromMs: number, toMs: number): Row[] {
  const width = Math.max(1000, Math.ceil((toMs - fromMs) / MAX_ROWS / 1000) * 1000);
  const groups = new Map<number, { row: Row; count: number }>();
  t.forEach((at, i) => {
    const mean = track.mean[i] ?? null;
    if (mean === null || at < fromMs || at > toMs) return;
    const start = Math.floor(at / width) * width;
    const group = groups.get(start) ?? {
      row: { fromMs: start, toMs: start + width, min: mean, mean: 0, max: mean },
      count: 0,
    };
    group.count++;
    group.row.min = Math.min(group.row.min, track.min[i] ?? mean);
    group.row.max = Math.max(group.row.max, track.max[i] ?? mean);
    group.row.mean += (mean - group.row.mean) / group.count;
    groups.set(start, group);
  });
  return [...groups.values()].map(({ row }) => row).reverse();
}

export function extent(track: Track): { low: number; high: number } | null {
  let low = Infinity;
  let high = -Infinity;
  track.mean.forEach((mean, i) => {
    if (mean === null) return;
    low = Math.min(low, track.min[i] ?? mean);
    high = Math.max(high, track.max[i] ?? mean);
  });
  return low > high ? null : { low, high };
}

/** "Filter pressure drop: 2.31 kPa last, between 0.10 and 2.40 kPa over 15 min, limit 5.00 kPa." */
export function toSentence(
  name: string,
  ucum: string,
  track: Track,
  last: number | null,
  spanMs: number,
  limit: number | null,
): string {
  const range = extent(track);
  if (range === null) return `${name}: no samples in ${formatDuration(spanMs / 1000)}.`;
  const low = formatQuantity(range.low, ucum);
  const high = formatQuantity(range.high, ucum);
  const limitWords = limit === null ? "" : `, limit ${formatQuantity(limit, ucum)}`;
  return `${name}: ${formatQuantity(last, ucum)} last, between ${low} and ${high} over ${formatDuration(spanMs / 1000)}${limitWords}.`;
}
