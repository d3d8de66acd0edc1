/** The one live connection of the dashboard: resumed where it broke, with its state for everyone to see.
 *
 * It is lost when the server closes it, cannot be reached, or says nothing for SILENCE_MS. Pages subscribe to events;
 * `restarts` counts the times when events may have been missed and pages must load again.
 */
import { account } from "../account.svelte";
import type { Alarm, Device, Session, TelemetryEvent } from "../api/types";
import { readMessages, type Message } from "./sse";

export interface Events {
  device: Device;
  alarm: Alarm;
  session: Session;
  telemetry: TelemetryEvent;
}

type Listener<K extends keyof Events> = (data: Events[K]) => void;

/** The server sends a comment every 15 s. */
const SILENCE_MS = 25_000;
const RETRY_MS = [500, 1000, 2000, 5000, 10_000];

let status = $state<"off" | "connecting" | "live" | "lost">("off");
let heardAtMs = $state<number | null>(null);
let restarts = $state(0);

let deviceId: string | null = null;
let token: string | null = null;
let abort: AbortController | null = null;
const listeners: { [K in keyof Events]: Set<Listener<K>> } = {
  device: new Set(),
  alarm: new Set(),
  session: new Set(),
  telemetry: new Set(),
};

export const live = {
  get status() {
    return status;
  },
  /** When the server was last heard: the data on the page is as of then. */
  get heardAtMs() {
    return heardAtMs;
  },
  get restarts() {
    return restarts;
  },

  start(): void {
    if (abort === null) void connect();
  },

  stop(): void {
    abort?.abort();
    abort = null;
    token = null;
    status = "off";
  },

  /** Also carry the samples of one device; null for none. */
  watch(id: string | null): void {
    if (id === deviceId) return;
    deviceId = id;
    if (abort === null) return;
    abort.abort();
    void connect();
  },

  on<K extends keyof Events>(event: K, listener: Listener<K>): () => void {
    listeners[event].add(listener);
    return () => listeners[event].delete(listener);
  },
};

async function connect(): Promise<void> {
  const mine = (abort = new AbortController());
  if (status === "off") status = "connecting";
  for (let attempt = 0; !mine.signal.aborted; attempt++) {
    if (await readOnce(mine.signal)) attempt = 0;
    if (mine.signal.aborted) return;
    status = "lost";
    await pause(RETRY_MS[Math.min(attempt, RETRY_MS.length - 1)] ?? 0, mine.signal);
  }
}

/** One connection from its opening to its end; true when it was live. */
async function readOnce(stopped: AbortSignal): Promise<boolean> {
  const silence = new AbortController();
  let timer = setTimeout(() => silence.abort(), SILENCE_MS);
  let wasLive = false;
  try {
    const response = await fetch(address(), {
      headers: token === null ? {} : { "Last-Event-ID": token },
      signal: AbortSignal.any([stopped, silence.signal]),
      cache: "no-store",
    });
    if (response.status === 401) account.expire();
    if (!response.ok || response.body === null) return false;
    wasLive = true;
    opened();
    for await (const messages of readMessages(response.body)) {
      clearTimeout(timer);
      timer = setTimeout(() => silence.abort(), SILENCE_MS);
      heardAtMs = Date.now();
      messages.forEach(deliver);
    }
  } catch (error) {
    if (!(error instanceof DOMException || error instanceof TypeError)) throw error;
  } finally {
    clearTimeout(timer);
  }
  return wasLive;
}

function address(): string {
  const query = new URLSearchParams({ topics: "devices,alarms,sessions" });
  if (deviceId !== null) query.set("device_id", deviceId);
  return `/api/v1/stream?${query}`;
}

/** Samples carry no resume token, and without one nothing is replayed: pages that show either load again. */
function opened(): void {
  if (status === "lost" || token === null) restarts++;
  status = "live";
  heardAtMs = Date.now();
}

function deliver(message: Message): void {
  if (message.id !== null) token = message.id;
  if (message.event === "reset") restarts++;
  else if (message.event in listeners) {
    const data: unknown = JSON.parse(message.data);
    for (const listener of listeners[message.event as keyof Events]) (listener as (data: unknown) => void)(data);
  }
}

function pause(ms: number, stopped: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms * (0.75 + Math.random() / 2));
    stopped.addEventListener("abort", () => (clearTimeout(timer), resolve()), { once: true });
  });
}
