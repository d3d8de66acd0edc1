// A small made-up fleet for dev/fake-api.mjs: enough life to see every state of every screen.

const MINUTE = 60_000;
const KPA = {
  vacuum_inlet_kpa: "kPa",
  filter_dp_kpa: "kPa",
  flow_lpm: "L/min",
  motor_current_a: "A",
  pump_temp_c: "Cel",
  pump_on: "1",
};

export const channels = Object.entries(KPA).map(([name, unit]) => ({
  name,
  unit,
  low: 0,
  high: 200,
  profile: "full",
  meaning: name.replaceAll("_", " "),
}));

const sites = ["Clinic Nord", "Clinic Lakeside", "Studio Weber", "Praxis am Park"].map((name, i) => ({
  id: `00000000-0000-4000-8000-00000000000${i}`,
  name,
  time_zone: "Europe/Berlin",
  organization: i < 2 ? "Nord Clinics" : "Weber Group",
}));

/** True while machine `n` treats a client: 12 of every 20 minutes. */
function isTreating(n, at) {
  return (at / MINUTE + n * 7) % 20 < 12;
}

/** All channels of machine `n` at one instant: strokes of the handpiece on a slowly clogging filter. */
export function sample(n, at) {
  const on = isTreating(n, at);
  const stroke = Math.max(0, Math.sin(at / 900 + n)) ** 0.5;
  const load = n === 0 ? 3.2 + ((at / MINUTE) % 60) / 25 : 0.6 + 0.1 * n;
  const noise = () => (Math.random() - 0.5) * 0.3;
  const vacuum = on ? 14 + 26 * stroke + noise() : Math.abs(noise()) / 2;
  const flow = on ? 30 - 18 * stroke + noise() : 0;
  return {
    vacuum_inlet_kpa: vacuum,
    filter_dp_kpa: on ? (load * flow) / 20 + noise() / 5 : 0,
    flow_lpm: flow,
    motor_current_a: on ? 1.4 + vacuum / 60 : 0.02,
    pump_temp_c: 38 + 8 * Math.sin(at / (20 * MINUTE)),
    pump_on: on ? 1 : 0,
  };
}

export function device(n, alarm) {
  const now = Date.now();
  const presence = n === 3 ? "offline" : n === 11 ? "never_seen" : "online";
  const seen = presence === "online" ? now - 4000 : now - 95 * MINUTE;
  const id = `D-${String(n + 1).padStart(4, "0")}`;
  return {
    device_id: id,
    label: `CM1-24${String(101 + n * 13)}`,
    state: n === 11 ? "pending" : "active",
    model: { id: "crystal-m1", name: "Crystal M1", profile: "full" },
    site: n === 11 ? null : sites[n % sites.length],
    presence,
    activity: presence === "online" ? (isTreating(n, now) ? "treating" : "ready") : null,
    last_seen_at: presence === "never_seen" ? null : new Date(seen).toISOString(),
    latest_at: presence === "never_seen" ? null : new Date(seen).toISOString(),
    latest: presence === "never_seen" ? {} : sample(n, seen),
    alarms_open: alarm && n === 0 ? 1 : 0,
    worst_severity: alarm && n === 0 ? alarm.severity : null,
  };
}

export function sessions(n, from, to) {
  const data = [];
  const phase = (20 - ((n * 7) % 20)) % 20;
  for (
    let at = Math.floor(to / (20 * MINUTE)) * 20 * MINUTE + phase * MINUTE;
    at > from - 20 * MINUTE;
    at -= 20 * MINUTE
  ) {
    if (at > to) continue;
    const ended = at + 12 * MINUTE < Date.now();
    data.push({
      session_id: `s${at}`,
      device_id: device(n, null).device_id,
      started_at: new Date(at).toISOString(),
      last_at: new Date(Math.min(at + 12 * MINUTE, Date.now())).toISOString(),
      ended_at: ended ? new Date(at + 12 * MINUTE).toISOString() : null,
      outcome: ended ? "completed" : null,
      pump_s: 690,
      contact_s: 410,
      strokes: 212,
      longest_dwell_s: 3.1,
      purpose: at % (40 * MINUTE) ? "treatment" : "cleaning",
    });
  }
  return data;
}

export function clogged(raisedAt) {
  const owner = device(0, null);
  return {
    id: "6c1d9a52-2f0c-5e0e-9b2a-0d5c9a4f6b11",
    device_id: owner.device_id,
    device_label: owner.label,
    site: owner.site,
    component: "main",
    fault: "filter_clogged",
    title: "Intake filter clogged",
    statement:
      "The intake filter takes 4.2 kPa at rated flow, 84 % of its limit of 5.0 kPa. Change it at the next service visit.",
    severity: 2,
    severity_name: "service due",
    standing: "raised",
    confidence: 0.94,
    candidates: [],
    raised_at: new Date(raisedAt).toISOString(),
    last_at: new Date(raisedAt + 5000).toISOString(),
    cleared_at: null,
    count: 1,
    detector: "filter_clogged",
    detector_version: 1,
    detail: {
      ratio: 0.84,
      level: 0.8,
      dp_kpa: 3.9,
      flow_lpm: 27.5,
      limit_kpa: 5,
      limit_flow_lpm: 30,
      since: new Date(raisedAt - 10_000).toISOString(),
      samples: 5210,
      window_s: 10,
      noise: 0.02,
      coverage: 0.99,
    },
  };
}

export function forecast() {
  return {
    component: "main",
    made_at: new Date(Date.now() - 36e5).toISOString(),
    ratio: 0.4,
    share_left: 0.28,
    sessions: { p10: 8, p50: 12, p90: 19 },
    hours: { p10: 3.1, p50: 5, p90: 7.7 },
    days: { p10: 1.9, p50: 3, p90: 4.6 },
    basis: "library",
    filters: 41,
    evening_probability: 0.04,
  };
}

export function condition(id, alarms) {
  const since = new Date(Date.now() - 864e5).toISOString();
  const row = (fault, title, reason = "", ambiguous_with = []) => ({
    fault,
    title,
    observable: reason === "",
    reason,
    ambiguous_with,
    since,
  });
  return {
    device_id: id,
    evaluated_until: since,
    components: [
      {
        component: "main",
        filter_index: 6.2,
        trend: [],
        observability: [
          row("filter_clogged", "Intake filter clogged"),
          row("leak_dirty_side", "Leak before the intake filter", "no self-test for 3 days", [
            { fault: "leak_clean_side", title: "Leak behind the intake filter" },
          ]),
          row("exhaust_clogged", "Exhaust filter clogged", "exhaust_dp_kpa is not measured"),
        ],
        alarms,
        baselines: [],
      },
    ],
  };
}
