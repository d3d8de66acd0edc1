import { expect, test } from "vitest";
import { toRows, toSentence } from "./summary";

const track = { min: [1, 2, null], mean: [2, 3, null], max: [3, 4, null] };

test("a sentence tells the last value, the extent and the limit", () => {
  expect(toSentence("Flow", "L/min", track, 3, 900_000, 5)).toBe(
    "Flow: 3.00 L/min last, between 1.00 L/min and 4.00 L/min over 15 min, limit 5.00 L/min.",
  );
});

test("a sentence about nothing says so", () => {
  expect(toSentence("Flow", "L/min", { min: [], mean: [], max: [] }, null, 3_600_000, null)).toBe(
    "Flow: no samples in 1 h.",
  );
});

test("the table has equal intervals, newest first, and none without values", () => {
  expect(toRows([0, 500, 90_000], track, 0, 120_000)).toEqual([{ fromMs: 0, toMs: 2000, min: 1, mean: 2.5, max: 4 }]);
});
