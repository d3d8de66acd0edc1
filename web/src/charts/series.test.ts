import { expect, test } from "vitest";
import type { Telemetry, TelemetryEvent } from "../api/types";
import { continues, extend, fromTelemetry, withGaps, type Samples } from "./series";

const about = {
  device_id: "D-0001",
  from: "2026-01-01T00:00:00Z",
  to: "2026-01-01T00:15:00Z",
  source: "raw",
  complete_until: null,
} as const;

function raw(t: number[], value: (number | null)[]): Samples {
  const channels = { flow_lpm: { unit: "L/min", value } };
  return fromTelemetry({ ...about, resolution: "raw", bucket_ms: null, t, channels } satisfies Telemetry);
}

function buckets(t: number[], mean: number[]): Samples {
  const channels = { flow_lpm: { unit: "L/min", min: mean.map((v) => v - 1), mean, max: mean.map((v) => v + 1) } };
  return fromTelemetry({ ...about, resolution: "bucket", bucket_ms: 1000, t, channels } satisfies Telemetry);
}

function event(t: number[], flow: (number | null)[]): TelemetryEvent {
  return { device_id: "D-0001", t, channels: { flow_lpm: flow } };
}

const flow = (samples: Samples) => samples.tracks.get("flow_lpm");

test("new samples follow raw ones, repeated ones are ignored", () => {
  const samples = extend(raw([100, 200], [1, 2]), event([200, 300], [9, 3]), 0);
  expect(samples.t).toEqual([100, 200, 300]);
  expect(flow(samples)?.mean).toEqual([1, 2, 3]);
});

test("new samples widen the last bucket and begin the next at a multiple of its width", () => {
  const samples = extend(buckets([1000, 2000], [5, 5]), event([2900, 3100, 3300], [9, 1, 3]), 0);
  expect(samples.t).toEqual([1000, 2000, 3000]);
  expect(flow(samples)).toEqual({ min: [4, 4, 1], mean: [5, 5, 2], max: [6, 9, 3] });
});

test("the last sample itself is known inside a bucket", () => {
  const samples = extend(buckets([1000], [5]), event([2100, 2900], [1, 9]), 0);
  expect(samples.last.get("flow_lpm")).toEqual({ atMs: 2900, value: 9 });
});

test("what has left the window is dropped", () => {
  const samples = extend(raw([100, 200, 300], [1, 2, 3]), event([400], [4]), 250);
  expect(samples.t).toEqual([300, 400]);
  expect(flow(samples)?.mean).toEqual([3, 4]);
});

test("a channel that appears later has no value before", () => {
  const samples = extend(raw([100], [1]), { device_id: "D-0001", t: [200], channels: { pump_on: [1] } }, 0);
  expect(samples.tracks.get("pump_on")?.mean).toEqual([null, 1]);
  expect(flow(samples)?.mean).toEqual([1, null]);
});

test("extending leaves the data given as it was", () => {
  const before = raw([100], [1]);
  extend(before, event([200], [2]), 0);
  expect(before.t).toEqual([100]);
  expect(flow(before)?.mean).toEqual([1]);
});

test("samples older than the newest do not continue the data", () => {
  expect(continues(raw([100, 200], [1, 2]), event([150], [9]))).toBe(false);
  expect(continues(raw([100, 200], [1, 2]), event([250], [9]))).toBe(true);
});

test("a long silence becomes a break in the line", () => {
  const samples = raw([0, 100, 5000], [1, 2, 3]);
  const { t, track } = withGaps(samples.t, samples.tracks.get("flow_lpm")!, 1000);
  expect(t).toEqual([0, 100, 101, 5000]);
  expect(track.mean).toEqual([1, 2, null, 3]);
});
