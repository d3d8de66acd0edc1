/** How a severity looks: always a shape and a word, the colour only supports them. */

export interface SeverityLook {
  word: string;
  tone: "info" | "advisory" | "due" | "fault" | "stop";
  /** Filled outline on a 16 by 16 grid. */
  shape: string;
  /** Stroked mark inside the shape. */
  mark: string;
}

const looks: SeverityLook[] = [
  { word: "Info", tone: "info", shape: "M8 3.5a4.5 4.5 0 1 1 0 9 4.5 4.5 0 0 1 0-9Z", mark: "" },
  { word: "Advisory", tone: "advisory", shape: "M8 1a7 7 0 1 1 0 14A7 7 0 0 1 8 1Z", mark: "M8 7.3v4M8 4.6v.1" },
  { word: "Service due", tone: "due", shape: "M8 .6 15.4 8 8 15.4 .6 8Z", mark: "M8 4.8v3.7M8 11v.1" },
  { word: "Fault", tone: "fault", shape: "M8 1 15.6 14.5H.4Z", mark: "M8 5.8v4M8 12.2v.1" },
  { word: "Stop", tone: "stop", shape: "M5 .8h6L15.2 5v6L11 15.2H5L.8 11V5Z", mark: "M5.5 5.5l5 5M10.5 5.5l-5 5" },
];

export function lookOf(severity: number): SeverityLook {
  return looks[severity] ?? (looks[0] as SeverityLook);
}
