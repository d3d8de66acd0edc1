/** The tokens of styles/tokens.css as a canvas needs them: resolved for the theme in force. */

export interface ChartTokens {
  line: string;
  band: string;
  grid: string;
  axis: string;
  limit: string;
  alarm: string;
  session: string;
  fault: string;
  due: string;
  surface: string;
  font: string;
}

export function readTokens(host: HTMLElement): ChartTokens {
  const probe = document.createElement("span");
  host.append(probe);
  const color = (name: string): string => {
    probe.style.color = `var(--${name})`;
    return getComputedStyle(probe).color;
  };
  const tokens = {
    line: color("chart-line"),
    band: color("chart-band"),
    grid: color("chart-grid"),
    axis: color("chart-axis"),
    limit: color("chart-limit"),
    alarm: color("chart-alarm"),
    session: color("chart-session"),
    fault: color("fault"),
    due: color("due"),
    surface: color("surface"),
    font: `11px ${getComputedStyle(probe).fontFamily}`,
  };
  probe.remove();
  return tokens;
}
