/** How channels are named and ordered on a page. */
import type { Channel } from "../api/types";

/** In the order in which a technician looks at them; what is not here follows as the API lists it. */
const names: Record<string, string> = {
  vacuum_inlet_kpa: "Vacuum, pump inlet",
  filter_dp_kpa: "Filter pressure drop",
  flow_lpm: "Flow",
  vacuum_handpiece_kpa: "Vacuum, handpiece",
  setpoint_kpa: "Vacuum set",
  motor_current_a: "Motor current",
  pump_temp_c: "Pump temperature",
  pump_on: "Pump running",
  pump_duty: "Pump duty",
  exhaust_dp_kpa: "Exhaust pressure drop",
  crystal_jar_g: "Crystal jar",
  canister_g: "Waste canister",
  ambient_kpa: "Ambient pressure",
  ambient_temp_c: "Room temperature",
  mains_v: "Mains voltage",
};
const order = Object.keys(names);

export function nameOf(channel: string): string {
  const known = names[channel];
  if (known !== undefined) return known;
  const words = channel.replaceAll("_", " ");
  return words.charAt(0).toUpperCase() + words.slice(1);
}

export function inOrder(channels: Channel[]): Channel[] {
  const rank = (channel: Channel): number => {
    const place = order.indexOf(channel.name);
    return place < 0 ? order.length : place;
  };
  return [...channels].sort((a, b) => rank(a) - rank(b));
}

/** The surroundings of the fault, shown smaller. */
const minor = new Set([
  "pump_duty",
  "exhaust_dp_kpa",
  "crystal_jar_g",
  "canister_g",
  "ambient_kpa",
  "ambient_temp_c",
  "mains_v",
]);

/** Height of a channel's chart, px. */
export function heightOf(channel: Channel): number {
  return isSwitch(channel) ? 76 : minor.has(channel.name) ? 96 : 118;
}

export function isSwitch(channel: Channel): boolean {
  return channel.name === "pump_on";
}
