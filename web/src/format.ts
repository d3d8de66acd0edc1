/** Words and numbers for people. Pure; times are Unix ms or RFC 3339 strings. */

const units: Record<string, string> = { Cel: "°C", "1": "" };

export function formatUnit(ucum: string): string {
  return units[ucum] ?? ucum;
}

/** Three significant digits or so, never in exponent form; a dash when there is no value. */
export function formatValue(value: number | null | undefined): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  const size = Math.abs(value);
  const digits = size >= 100 ? 0 : size >= 10 ? 1 : 2;
  const text = value.toFixed(digits);
  return Number(text) === 0 ? (0).toFixed(digits) : text;
}

export function formatQuantity(value: number | null | undefined, ucum: string): string {
  const unit = formatUnit(ucum);
  const text = formatValue(value);
  return unit === "" || text === "–" ? text : `${text} ${unit}`;
}

export function formatCount(count: number): string {
  return count.toLocaleString("en-GB").replaceAll(",", "\u202f");
}

const timeOfDay = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const dayAndTime = new Intl.DateTimeFormat("en-GB", {
  day: "numeric",
  month: "short",
  hour: "2-digit",
  minute: "2-digit",
});
const full = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "medium" });

export function formatTime(atMs: number): string {
  return timeOfDay.format(atMs);
}

export function formatDay(at: string | number): string {
  return dayAndTime.format(new Date(at));
}

export function formatFull(at: string | number): string {
  return full.format(new Date(at));
}

/** "45 s", "12 min", "3 h 20 min", "4 d 6 h". */
export function formatDuration(seconds: number): string {
  const s = Math.max(0, Math.round(seconds));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min`;
  const [large, small, largeUnit, smallUnit] =
    s < 86400
      ? [Math.floor(s / 3600), Math.floor((s % 3600) / 60), "h", "min"]
      : [Math.floor(s / 86400), Math.floor((s % 86400) / 3600), "d", "h"];
  return small === 0 ? `${large} ${largeUnit}` : `${large} ${largeUnit} ${small} ${smallUnit}`;
}

/** "just now", "40 s ago", "3 h 20 min ago". */
export function formatAge(at: string, nowMs: number): string {
  const seconds = (nowMs - Date.parse(at)) / 1000;
  return seconds < 5 ? "just now" : `${formatDuration(seconds)} ago`;
}

export function formatPlural(count: number, noun: string): string {
  return `${formatCount(count)} ${noun}${count === 1 ? "" : "s"}`;
}
