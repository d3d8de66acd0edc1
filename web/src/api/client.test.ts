import { expect, test } from "vitest";
import { address } from "./client";

test("an address escapes its parts, repeats lists and leaves out what has no value", () => {
  const query = { standing: ["raised", "cleared"], cursor: null, q: "", limit: 50 };
  expect(address("/devices/{device_id}/alarms", { device_id: "a/b" }, query)).toBe(
    "/devices/a%2Fb/alarms?standing=raised&standing=cleared&limit=50",
  );
});
