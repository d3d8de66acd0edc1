/** One chart on a canvas: the uPlot options of TimeChart. No component state in here. */
import uPlot from "uplot";
import { formatValue } from "../format";
import type { Span } from "./spans";
import type { ChartTokens } from "./tokens";

export const AXIS_PX = 48;
export const EDGE_PX = 8;
const LABEL_PX = 24;

export interface PlotState {
  /** Read at every draw, so that they may change without a new plot. */
  spans: () => Span[];
  limit: () => number | null;
  moved: (index: number | null) => void;
}

export interface PlotShape {
  width: number;
  height: number;
  isSwitch: boolean;
  syncKey: string;
}

export function makePlot(host: HTMLElement, shape: PlotShape, tokens: ChartTokens, state: PlotState): uPlot {
  const envelope = { stroke: "transparent", width: 0, points: { show: false } };
  const options: uPlot.Options = {
    width: shape.width,
    height: shape.height,
    ms: 1,
    legend: { show: false },
    padding: [6, EDGE_PX, 0, 0],
    cursor: {
      y: false,
      drag: { x: false, y: false, setScale: false },
      points: { size: 7, width: 2, fill: tokens.surface, stroke: tokens.line },
      sync: { key: shape.syncKey, scales: ["x", null], setSeries: false },
    },
    scales: {
      x: { time: true, range: (_, low, high) => [low, high] },
      y: { range: shape.isSwitch ? [-0.08, 1.15] : (_, low, high) => spread(low, high, state.limit()) },
    },
    axes: [timeAxis(tokens), valueAxis(tokens, shape.isSwitch)],
    series: [{}, { ...envelope }, { ...envelope }, meanSeries(tokens, shape.isSwitch)],
    bands: [{ series: [2, 1], fill: tokens.band }],
    hooks: {
      drawClear: [(u) => drawSpans(u, state.spans(), tokens)],
      draw: [(u) => drawMarks(u, state.spans(), state.limit(), tokens)],
      setCursor: [(u) => state.moved(u.cursor.idx ?? null)],
    },
  };
  return new uPlot(options, [[], [], [], []], host);
}

/** Move the cursor of this chart and of those in step with it. The third argument is missing in uPlot's types. */
export function moveCursor(plot: uPlot, left: number): void {
  const setCursor = plot.setCursor as (at: { left: number; top: number }, tell: boolean, share: boolean) => void;
  setCursor({ left, top: 1 }, true, true);
}

/** The range of values shown: all of them and the limit, never so narrow that noise looks like a signal. */
export function spread(low: number | null, high: number | null, limit: number | null): [number, number] {
  if (low === null || high === null) return [0, 1];
  const least = Math.max(0.05 * Math.max(Math.abs(low), Math.abs(high)), 0.2);
  const bottom = Math.min(low, limit ?? low);
  const top = Math.max(high, limit ?? high);
  const missing = Math.max(0, least - (top - bottom)) / 2;
  const margin = Math.max(top - bottom, least) * 0.1;
  const floor = low >= 0 ? Math.max(0, bottom - missing - margin) : bottom - missing - margin;
  return [floor, top + missing + margin];
}

function timeAxis(tokens: ChartTokens): uPlot.Axis {
  return {
    stroke: tokens.axis,
    font: tokens.font,
    size: 22,
    gap: 4,
    space: 80,
    grid: { stroke: tokens.grid, width: 1 },
    ticks: { show: false },
    values: (u, splits, _, __, stepMs) =>
      splits.map((at, i) => (isCut(u, at) ? null : timeLabel(at, splits[i - 1], stepMs))),
  };
}

/** A label this close to the right edge would lose its end. */
function isCut(u: uPlot, at: number): boolean {
  const { min, max } = u.scales["x"] ?? {};
  if (min == null || max == null) return false;
  return ((max - at) / (max - min)) * (u.width - AXIS_PX - EDGE_PX) < LABEL_PX / 2;
}

/** The date where a day begins, else the time of day. */
function timeLabel(at: number, previous: number | undefined, stepMs: number): string {
  const date = new Date(at);
  const isNewDay = previous !== undefined && new Date(previous).getDate() !== date.getDate();
  if (isNewDay || stepMs >= 86_400_000) return date.toLocaleDateString("en-GB", { day: "numeric", month: "short" });
  const seconds = stepMs < 60_000 ? ({ second: "2-digit" } as const) : {};
  return date.toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit", ...seconds });
}

function valueAxis(tokens: ChartTokens, isSwitch: boolean): uPlot.Axis {
  return {
    stroke: tokens.axis,
    font: tokens.font,
    size: AXIS_PX,
    gap: 6,
    space: 18,
    grid: { stroke: tokens.grid, width: 1 },
    ticks: { show: false },
    ...(isSwitch
      ? { splits: [0, 1], values: ["off", "on"] }
      : { values: (_: uPlot, splits: number[]) => splits.map((value) => axisValue(value, splits)) }),
  };
}

function axisValue(value: number, splits: number[]): string {
  const step = Math.abs((splits[1] ?? 1) - (splits[0] ?? 0));
  const digits = [0, 1].find((count) => Number.isInteger(Math.round(step * 1000 * 10 ** count) / 1000)) ?? 2;
  return value.toFixed(digits);
}

function meanSeries(tokens: ChartTokens, isSwitch: boolean): uPlot.Series {
  const stepped = uPlot.paths.stepped?.({ align: 1 });
  return {
    stroke: tokens.line,
    width: 1.5,
    points: { show: false },
    ...(isSwitch && stepped ? { paths: stepped } : {}),
  };
}

function drawSpans(u: uPlot, spans: Span[], tokens: ChartTokens): void {
  const { ctx, bbox } = u;
  for (const span of spans) {
    const left = clamp(u.valToPos(span.fromMs, "x", true), bbox.left, bbox.left + bbox.width);
    const right = clamp(u.valToPos(span.toMs, "x", true), bbox.left, bbox.left + bbox.width);
    ctx.fillStyle = span.kind === "alarm" ? tokens.alarm : tokens.session;
    ctx.fillRect(left, bbox.top, Math.max(right - left, 1), bbox.height);
  }
}

/** The limit as a dashed line, and a line where an alarm was raised. */
function drawMarks(u: uPlot, spans: Span[], limit: number | null, tokens: ChartTokens): void {
  const { ctx, bbox } = u;
  const scale = window.devicePixelRatio;
  ctx.save();
  ctx.lineWidth = 1.25 * scale;
  for (const span of spans.filter(({ kind }) => kind === "alarm")) {
    const x = u.valToPos(span.fromMs, "x", true);
    ctx.strokeStyle = span.severity >= 3 ? tokens.fault : tokens.due;
    if (x >= bbox.left && x <= bbox.left + bbox.width) line(ctx, x, bbox.top, x, bbox.top + bbox.height);
  }
  if (limit !== null) {
    const y = u.valToPos(limit, "y", true);
    ctx.strokeStyle = tokens.limit;
    ctx.setLineDash([6 * scale, 4 * scale]);
    line(ctx, bbox.left, y, bbox.left + bbox.width, y);
    drawLabel(ctx, `limit ${formatValue(limit)}`, bbox.left + 8 * scale, y, tokens);
  }
  ctx.restore();
}

/** Words on a line, legible on whatever is behind them. */
function drawLabel(ctx: CanvasRenderingContext2D, text: string, x: number, y: number, tokens: ChartTokens): void {
  const scale = window.devicePixelRatio;
  ctx.font = tokens.font.replace("11px", `${11 * scale}px`);
  ctx.textAlign = "left";
  ctx.textBaseline = "middle";
  ctx.fillStyle = tokens.surface;
  ctx.fillRect(x - 4 * scale, y - 8 * scale, ctx.measureText(text).width + 8 * scale, 16 * scale);
  ctx.fillStyle = tokens.limit;
  ctx.fillText(text, x, y);
}

function line(ctx: CanvasRenderingContext2D, x1: number, y1: number, x2: number, y2: number): void {
  ctx.beginPath();
  ctx.moveTo(x1, y1);
  ctx.lineTo(x2, y2);
  ctx.stroke();
}

function clamp(value: number, low: number, high: number): number {
  return Math.min(high, Math.max(low, value));
}
