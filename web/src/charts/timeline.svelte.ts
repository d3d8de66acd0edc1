/** What the charts of a device page show: one window of time, its samples, and how it follows the present.
 *
 * The stream is heard before the samples are fetched and its events are kept meanwhile, so that none falls in between.
 */
import { get } from "../api/client";
import { Resource } from "../api/resource.svelte";
import type { TelemetryEvent } from "../api/types";
import { clock } from "../clock.svelte";
import { throttle } from "../live/throttle";
import { continues, extend, fromTelemetry, noSamples, type Samples } from "./series";

export const RANGES = { "15m": 900_000, "1h": 3_600_000, "24h": 86_400_000, "7d": 604_800_000 };
export type Range = keyof typeof RANGES;

/** Points per pixel of the page: about one per pixel of a chart. */
const DENSITY = 0.5;
/** Samples that arrive late belong into the middle of what is shown: it is loaded again, not more often than this. */
const LATE_MS = 5000;

export class Timeline {
  samples = $state.raw<Samples>(noSamples);
  readonly #fetched = new Resource<Samples>();
  readonly #deviceId: string;
  readonly #late = throttle(() => void this.load(), LATE_MS);
  #range = $state<Range>("15m");
  #atMs = $state<number | null>(null);
  #waiting: TelemetryEvent[] | null = null;

  constructor(deviceId: string) {
    this.#deviceId = deviceId;
  }

  get spanMs(): number {
    return RANGES[this.#range];
  }

  get isLive(): boolean {
    return this.#atMs === null;
  }

  get toMs(): number {
    if (this.#atMs !== null) return this.#atMs;
    const step = Math.max(1000, this.spanMs / 1000);
    return Math.max(Math.ceil(clock.nowMs / step) * step, this.samples.t.at(-1) ?? 0);
  }

  get fromMs(): number {
    return this.toMs - this.spanMs;
  }

  get problem() {
    return this.#fetched.problem;
  }

  get hasLoaded(): boolean {
    return this.#fetched.data !== null;
  }

  /** Machines sample once a minute when idle: a longer silence is a break in the line. */
  get gapMs(): number {
    return Math.max(90_000, 2.5 * (this.samples.bucketMs ?? 0));
  }

  /** Show another window; `atMs` is its end, null for the present. */
  show(range: Range, atMs: number | null): void {
    this.#range = range;
    this.#atMs = atMs;
    void this.load();
  }

  async load(): Promise<void> {
    this.#waiting ??= [];
    const query = {
      ...this.#window(),
      points: Math.round(Math.min(Math.max(window.innerWidth * DENSITY, 240), 1200)),
    };
    const path = { device_id: this.#deviceId };
    const url = "/api/v1/devices/{device_id}/telemetry";
    await this.#fetched.load(async (signal) => fromTelemetry(await get(url, { path, query, signal })));
    if (this.#fetched.isLoading) return;
    const waiting = this.#waiting ?? [];
    this.#waiting = null;
    if (this.#fetched.problem !== null || this.#fetched.data === null) return;
    this.samples = waiting.reduce((samples, event) => extend(samples, event, this.fromMs), this.#fetched.data);
  }

  /** The present is the server's, whatever the time here. */
  #window(): { from: string; to?: string } {
    if (this.#atMs === null) return { from: `-${this.spanMs / 1000}s` };
    return { from: new Date(this.#atMs - this.spanMs).toISOString(), to: new Date(this.#atMs).toISOString() };
  }

  /** Samples just committed. */
  take(event: TelemetryEvent): void {
    if (!this.isLive) return;
    if (this.#waiting !== null) this.#waiting.push(event);
    else if (continues(this.samples, event)) this.samples = extend(this.samples, event, this.fromMs);
    else this.#late.ask();
  }

  stop(): void {
    this.#late.stop();
    this.#fetched.stop();
  }
}
