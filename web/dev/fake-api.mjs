// A stand-in for the API while working on the dashboard: `npm run fake`, then `npm run dev`, any login.
// Twelve machines, one whose filter alarm appears after 20 s. `STATIC=1` also serves the built dashboard with its CSP.
import { createReadStream, existsSync } from "node:fs";
import { createServer } from "node:http";
import { channels, clogged, condition, device, forecast, sample, sessions } from "./fleet.mjs";

const PORT = Number(process.env.PORT ?? 8400);
const COUNT = 12;
const CSP =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; font-src 'self'; base-uri 'none'; form-action 'self'";
const root = new URL("../../services/api/static/", import.meta.url);
const streams = new Set();
let alarm = null;
let id = 0;

const all = () => Array.from({ length: COUNT }, (_, n) => device(n, alarm));
const page = (data) => ({ data, next_cursor: null });

function instant(text, otherwise) {
  const relative = /^-(\d+)([smhd])$/.exec(text ?? "");
  if (relative) return Date.now() - relative[1] * { s: 1e3, m: 6e4, h: 36e5, d: 864e5 }[relative[2]];
  return text ? Date.parse(text) : otherwise;
}

function telemetry(n, query) {
  const to = Math.min(instant(query.get("to"), Date.now()), Date.now());
  const from = instant(query.get("from"), to - 900_000);
  const bucket = Math.max(100, Math.ceil((to - from) / Number(query.get("points") ?? 1000) / 100) * 100);
  const t = [];
  for (let at = Math.floor(from / bucket) * bucket; at < to; at += bucket) t.push(at);
  const rows = t.map((at) => [0, 0.3, 0.7].map((part) => sample(n, at + part * bucket)));
  const pick = (name, how) => rows.map((group) => how(...group.map((row) => row[name])));
  const mean = (...values) => values.reduce((a, b) => a + b) / values.length;
  const envelope = ({ name, unit }) => [
    name,
    { unit, min: pick(name, Math.min), max: pick(name, Math.max), mean: pick(name, mean) },
  ];
  const series = Object.fromEntries(channels.map(envelope));
  return {
    device_id: device(n, null).device_id,
    from: new Date(from).toISOString(),
    to: new Date(to).toISOString(),
    resolution: "bucket",
    bucket_ms: bucket,
    source: "raw",
    complete_until: null,
    t,
    channels: series,
  };
}

function summary() {
  const count = (presence) => all().filter((one) => one.presence === presence).length;
  return {
    devices: COUNT,
    online: count("online"),
    offline: count("offline"),
    never_seen: count("never_seen"),
    treating: all().filter((one) => one.activity === "treating").length,
    alarms_open: alarm ? 1 : 0,
    alarms_by_severity: { 0: 0, 1: 0, 2: alarm ? 1 : 0, 3: 0, 4: 0 },
    sessions_today: 31,
    samples_per_s: 98.2,
    as_of: new Date().toISOString(),
  };
}

function ofDevice(id, part, query) {
  const n = all().findIndex((one) => one.device_id === id);
  if (n < 0) return null;
  if (part === "telemetry") return telemetry(n, query);
  if (part === "alarms") return page(alarm && n === 0 ? [alarm] : []);
  if (part === "sessions")
    return page(
      sessions(n, instant(query.get("from"), Date.now() - 864e5), instant(query.get("to"), Date.now())).slice(
        0,
        Number(query.get("limit")),
      ),
    );
  if (part === "forecast") return { device_id: id, data: n === 1 ? [] : [forecast()] };
  if (part === "condition") return condition(id, alarm && n === 0 ? [alarm] : []);
  if (part === "completeness")
    return {
      device_id: id,
      entries: { stored: 48210, duplicate: 12, missing: 0, lost: 0, refused: 0, late: 0 },
      samples_stored: 964200,
      epochs: [],
    };
  return {
    ...device(n, alarm),
    channels,
    limits: { filter_dp_kpa: 5, filter_flow_lpm: 30 },
    evaluated_until: new Date(Date.now() - 2000).toISOString(),
    backlog: 2,
    agent: "0.1.0",
    connection_since: new Date(Date.now() - 7e6).toISOString(),
  };
}

function answer(path, query) {
  const parts = path.replace("/api/v1/", "").split("/");
  if (parts[0] === "me" || parts[0] === "login") return { email: "demo@localhost", role: "admin" };
  if (parts[0] === "fleet") return summary();
  if (parts[0] === "devices" && parts[1]) return ofDevice(decodeURIComponent(parts[1]), parts[2], query);
  if (parts[0] === "devices") {
    const [presence, q] = [query.get("presence"), (query.get("q") ?? "").toLowerCase()];
    return page(
      all().filter(
        (one) =>
          (!presence || one.presence === presence) &&
          (!query.has("alarm") || one.alarms_open > 0) &&
          one.label.toLowerCase().includes(q),
      ),
    );
  }
  if (parts[0] === "alarms" && parts[1])
    return (
      alarm && {
        ...alarm,
        history: [
          {
            transition: "raised",
            event_at: alarm.raised_at,
            recorded_at: alarm.last_at,
            actor: "filter_clogged",
            reason: "the fault is there",
            data: {},
          },
        ],
      }
    );
  if (parts[0] === "alarms")
    return page(alarm && (!query.has("standing") || query.getAll("standing").includes(alarm.standing)) ? [alarm] : []);
  return null;
}

function stream(request, response, query) {
  response.writeHead(200, { "Content-Type": "text/event-stream", "Cache-Control": "no-store" });
  response.write(": hello\n\n");
  const one = {
    send: (event, data, seq) =>
      response.write(`event: ${event}\n${seq ? `id: ${seq}\n` : ""}data: ${JSON.stringify(data)}\n\n`),
    device: query.get("device_id"),
    last: Date.now(),
  };
  streams.add(one);
  request.on("close", () => streams.delete(one));
}

function samplesFor(one) {
  const n = all().findIndex((other) => other.device_id === one.device);
  if (n < 0 || device(n, null).presence !== "online") return;
  const t = [];
  while (one.last + 100 < Date.now()) t.push((one.last += 100));
  const rows = t.map((at) => sample(n, at));
  one.send("telemetry", {
    device_id: one.device,
    t,
    channels: Object.fromEntries(channels.map(({ name }) => [name, rows.map((row) => row[name])])),
  });
}

function file(path, response) {
  const asset = new URL(`.${path}`, root);
  const found = path !== "/" && existsSync(asset) ? asset : new URL("index.html", root);
  const types = { js: "text/javascript", css: "text/css", svg: "image/svg+xml", html: "text/html" };
  response.writeHead(200, { "Content-Type": types[found.pathname.split(".").pop()], "Content-Security-Policy": CSP });
  createReadStream(found).pipe(response);
}

setInterval(() => streams.forEach(samplesFor), 250);
setInterval(() => {
  for (const one of streams)
    all()
      .slice(0, 4)
      .forEach((state) => one.send("device", state, ++id));
}, 5000);
setTimeout(() => {
  alarm = clogged(Date.now());
  for (const one of streams) one.send("alarm", alarm, ++id);
  for (const one of streams) one.send("device", device(0, alarm), ++id);
}, 20_000);

createServer((request, response) => {
  const url = new URL(request.url, "http://localhost");
  if (!url.pathname.startsWith("/api/") && process.env.STATIC) return file(url.pathname, response);
  if (url.pathname === "/api/v1/stream") return stream(request, response, url.searchParams);
  if (url.pathname === "/api/v1/logout") return response.writeHead(204).end();
  const body = answer(url.pathname, url.searchParams);
  response.writeHead(body ? 200 : 404, { "Content-Type": body ? "application/json" : "application/problem+json" });
  return response.end(
    JSON.stringify(
      body ?? {
        type: "/problems/not-found",
        title: "There is no such resource",
        status: 404,
        detail: url.pathname,
        request_id: "fake",
      },
    ),
  );
}).listen(PORT, "127.0.0.1", () => console.log(`fake API on http://127.0.0.1:${PORT}`));
