import { expect, test } from "vitest";
import { formatAge, formatDuration, formatQuantity, formatValue } from "./format";

test.each([
  [0.004, "0.00"],
  [-0.001, "0.00"],
  [5.125, "5.13"],
  [42.16, "42.2"],
  [964.2, "964"],
  [null, "–"],
])("the value %s reads %s", (value, text) => expect(formatValue(value)).toBe(text));

test("units are shown as people write them", () => {
  expect(formatQuantity(38.25, "Cel")).toBe("38.3 °C");
  expect(formatQuantity(1, "1")).toBe("1.00");
  expect(formatQuantity(null, "kPa")).toBe("–");
});

test.each([
  [45, "45 s"],
  [3599, "59 min"],
  [3600, "1 h"],
  [12_000, "3 h 20 min"],
  [93_600, "1 d 2 h"],
])("%s seconds are %s", (seconds, text) => expect(formatDuration(seconds)).toBe(text));

test("an instant ahead of this clock is now", () => {
  expect(formatAge("2026-01-01T00:00:10Z", Date.parse("2026-01-01T00:00:00Z"))).toBe("just now");
});
