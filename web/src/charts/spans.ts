/** Stretches of time that every chart of a page shows behind its line. Pure. */
import type { Alarm, Session } from "../api/types";

export interface Span {
  kind: "session" | "alarm";
  id: string;
  fromMs: number;
  toMs: number;
  /** Still going on at `nowMs`. */
  isOpen: boolean;
  /** Short, for the bar itself. */
  words: string;
  label: string;
  severity: number;
}

export function sessionSpan(session: Session, nowMs: number): Span {
  const isOpen = session.ended_at === null;
  const end = session.ended_at ?? session.last_at;
  return {
    kind: "session",
    id: session.session_id,
    fromMs: Date.parse(session.started_at ?? session.last_at),
    toMs: isOpen ? Math.min(nowMs, Date.parse(end) + 90_000) : Date.parse(end),
    isOpen,
    words: isOpen ? "running" : (session.outcome ?? "ended").replaceAll("_", " "),
    label: isOpen ? "Treatment, running" : `Treatment, ${(session.outcome ?? "ended").replaceAll("_", " ")}`,
    severity: 0,
  };
}

export function alarmSpan(alarm: Alarm, nowMs: number): Span {
  return {
    kind: "alarm",
    id: alarm.id,
    fromMs: Date.parse(alarm.raised_at),
    toMs: alarm.cleared_at === null ? nowMs : Date.parse(alarm.cleared_at),
    isOpen: alarm.cleared_at === null,
    words: alarm.title,
    label: `${alarm.severity_name}: ${alarm.title}`,
    severity: alarm.severity,
  };
}

export function within(spans: Span[], fromMs: number, toMs: number): Span[] {
  return spans.filter((span) => span.toMs >= fromMs && span.fromMs <= toMs);
}
