import { expect, test } from "vitest";
import type { Forecast } from "../api/types";
import { toLives } from "./life";

const range = { p10: 8.04, p50: 12.3, p90: 20 };
const forecast: Forecast = {
  component: "main",
  made_at: "2026-03-04T12:00:00Z",
  ratio: 0.4,
  share_left: 0.42,
  sessions: range,
  hours: range,
  days: range,
  basis: "library",
  filters: 1,
  evening_probability: null,
};

test("a forecast is told as a range with the share left and what it rests on", () => {
  const [life] = toLives([forecast]);
  expect(life?.percent).toBe(42);
  expect(life?.tone).toBe("good");
  expect(life?.ranges[0]).toEqual({ label: "Sessions", value: "8 – 20, most likely 12" });
  expect(life?.basis).toBe("Learned from 1 earlier filter of this model.");
});

test("without a known pace there are hours only", () => {
  const [life] = toLives([{ ...forecast, sessions: null, days: null }]);
  expect(life?.ranges.map(({ value }) => value)).toEqual(["Not known yet", "8 – 20, most likely 12", "Not known yet"]);
});

test("little life left is due, almost none a fault, and a first guess says so", () => {
  expect(toLives([{ ...forecast, share_left: 0.2 }])[0]?.tone).toBe("due");
  expect(toLives([{ ...forecast, share_left: 0.05 }])[0]?.tone).toBe("fault");
  expect(toLives([{ ...forecast, basis: "prior" }])[0]?.basis).toMatch(/first guess/);
});
