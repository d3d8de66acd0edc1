/** The samples of one page of charts: fetched once, then extended by the live stream. Pure; every function returns new
 * data. Times are Unix ms; all channels share them.
 */
import type { Telemetry, TelemetryEvent } from "../api/types";

/** One channel. Raw data has min = mean = max. null: no value at that time. */
export interface Track {
  min: (number | null)[];
  mean: (number | null)[];
  max: (number | null)[];
}

export interface Samples {
  /** Width of a bucket, which begins at a multiple of it since 1970; null when every sample is its own point. */
  bucketMs: number | null;
  t: number[];
  tracks: Map<string, Track>;
  /** How many samples the newest bucket has: the weight of its mean. Infinity for a bucket that the server made. */
  newest: number;
  /** The last sample itself, of each channel; of a bucket that the server made, its mean. */
  last: Map<string, { atMs: number; value: number }>;
}

export const noSamples: Samples = { bucketMs: null, t: [], tracks: new Map(), newest: Infinity, last: new Map() };

export function fromTelemetry(telemetry: Telemetry): Samples {
  const tracks = new Map<string, Track>();
  for (const [name, channel] of Object.entries(telemetry.channels)) {
    if ("value" in channel) tracks.set(name, { min: channel.value, mean: channel.value, max: channel.value });
    else tracks.set(name, { min: channel.min, mean: channel.mean, max: channel.max });
  }
  return { bucketMs: telemetry.bucket_ms, t: telemetry.t, tracks, newest: Infinity, last: lastOf(telemetry.t, tracks) };
}

/** True when the samples continue what is there, so that `extend` can take them. */
export function continues(samples: Samples, event: TelemetryEvent): boolean {
  const last = samples.t.at(-1);
  const first = event.t[0];
  return last === undefined || first === undefined || first >= last;
}

/** The data with newer samples added and everything before `fromMs` dropped. Samples already there are ignored. */
export function extend(samples: Samples, event: TelemetryEvent, fromMs: number): Samples {
  const next = copyFrom(samples, fromMs, Object.keys(event.channels));
  for (let i = 0; i < event.t.length; i++) {
    const at = event.t[i] as number;
    const last = next.t.at(-1);
    const slot = next.bucketMs === null ? at : Math.floor(at / next.bucketMs) * next.bucketMs;
    if (last !== undefined && (next.bucketMs === null ? slot <= last : slot < last)) continue;
    const isNew = slot !== last;
    next.newest = isNew ? 1 : next.newest + 1;
    if (isNew) next.t.push(slot);
    for (const [name, track] of next.tracks) {
      const value = event.channels[name]?.[i] ?? null;
      if (value !== null) next.last.set(name, { atMs: at, value });
      if (isNew) push(track, value);
      else if (value !== null) merge(track, value, next.newest);
    }
  }
  return next;
}

/** The data with a break (null) wherever nothing was recorded for longer than `gapMs`, so that no line bridges it. */
export function withGaps(t: number[], track: Track, gapMs: number): { t: number[]; track: Track } {
  const at: number[] = [];
  const broken: Track = { min: [], mean: [], max: [] };
  t.forEach((time, i) => {
    const previous = t[i - 1];
    if (previous !== undefined && time - previous > gapMs) {
      at.push(previous + 1);
      push(broken, null);
    }
    at.push(time);
    broken.min.push(track.min[i] ?? null);
    broken.mean.push(track.mean[i] ?? null);
    broken.max.push(track.max[i] ?? null);
  });
  return { t: at, track: broken };
}

export function isFitted(track: Track): boolean {
  return track.mean.some((value) => value !== null);
}

function copyFrom(samples: Samples, fromMs: number, names: string[]): Samples {
  const kept = samples.t.findIndex((at) => at >= fromMs);
  const start = kept < 0 ? samples.t.length : kept;
  const t = samples.t.slice(start);
  const tracks = new Map<string, Track>();
  for (const name of new Set([...samples.tracks.keys(), ...names])) {
    const track = samples.tracks.get(name);
    const part = (values: (number | null)[] | undefined) => values?.slice(start) ?? t.map(() => null);
    tracks.set(name, { min: part(track?.min), mean: part(track?.mean), max: part(track?.max) });
  }
  return { bucketMs: samples.bucketMs, t, tracks, newest: samples.newest, last: new Map(samples.last) };
}

function lastOf(t: number[], tracks: Map<string, Track>): Samples["last"] {
  const last: Samples["last"] = new Map();
  for (const [name, track] of tracks) {
    const i = track.mean.findLastIndex((value) => value !== null);
    const [atMs, value] = [t[i], track.mean[i]];
    if (atMs !== undefined && value != null) last.set(name, { atMs, value });
  }
  return last;
}

function push(track: Track, value: number | null): void {
  track.min.push(value);
  track.mean.push(value);
  track.max.push(value);
}

function merge(track: Track, value: number, count: number): void {
  const i = track.mean.length - 1;
  const mean = track.mean[i] ?? null;
  track.min[i] = Math.min(track.min[i] ?? value, value);
  track.max[i] = Math.max(track.max[i] ?? value, value);
  track.mean[i] = mean === null ? value : mean + (value - mean) / count;
}
