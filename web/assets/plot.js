// Small plots as inline SVG. Colours come from the style sheet, never from here.

import { s } from "./dom.js";

const WIDTH = 320;

/** A round number at or above `value`, so that the scale does not jump with every point. */
export function roundUp(value) {
  if (!(value > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((step) => step * power).find((step) => step >= value * 0.999) ?? value;
}

/**
 * Lines over time, the newest at the right. `series` is `[{ points, kind }]` with kind a, b or c;
 * `places` is how many points fill the width. The first series is filled below.
 */
export function timePlot({ series, places, unit, label, height = 96 }) {
  const top = roundUp(Math.max(0, ...series.flatMap(({ points }) => points.filter(Number.isFinite))));
  const x = (i, n) => WIDTH - ((n - 1 - i) * WIDTH) / (places - 1);
  const y = (value) => height - (value / top) * (height - 14);
  const path = ({ points }) =>
    points.map((value, i) => (Number.isFinite(value) ? `${i && Number.isFinite(points[i - 1]) ? "L" : "M"}${x(i, points.length).toFixed(1)} ${y(value).toFixed(1)}` : "")).join("");
  const [first] = series;
  const area = first.points.length > 1 && `${path(first)}L${WIDTH} ${height}L${x(0, first.points.length).toFixed(1)} ${height}Z`;
  return s(
    "svg",
    { class: "plot", viewBox: `0 0 ${WIDTH} ${height + 2}`, role: "img", "aria-label": label },
    [0, 0.5, 1].map((part) => s("path", { class: "grid", d: `M0 ${y(top * part)}H${WIDTH}` })),
    s("text", { class: "axis", x: 0, y: y(top) - 4 }, unit(top)),
    area && s("path", { class: "a-fill", d: area }),
    series.toReversed().map((one) => s("path", { class: one.kind, d: path(one) })),
  );
}

/** Beyond this many, columns would be too thin to see. */
export const COLUMNS_MAX = 64;

/** Numbers in the order of the file: columns from zero where they are few, else a line over their range. */
export function numberPlot({ values, mean, label, height = 170 }) {
  const width = 640;
  const few = values.length <= COLUMNS_MAX;
  const low = values.reduce((least, value) => Math.min(least, value), few ? 0 : Infinity);
  const high = values.reduce((most, value) => Math.max(most, value), few ? 0 : -Infinity);
  const y = (value) => height - 2 - ((value - low) / (high - low || 1)) * (height - 4);
  const drawn = few ? columns(values, width, y) : band(values, width, y);
  return s(
    "svg",
    { class: "plot", viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label },
    [low, high].map((value) => s("path", { class: "grid", d: `M0 ${y(value)}H${width}` })),
    drawn,
    Number.isFinite(mean) && mean >= low && mean <= high && s("path", { class: "mean", d: `M0 ${y(mean)}H${width}` }),
  );
}

function columns(values, width, y) {
  const step = width / values.length;
  const gap = Math.min(6, step * 0.25);
  return values.map((value, i) =>
    s("rect", { class: "column", x: i * step + gap / 2, width: step - gap, y: Math.min(y(0), y(value)), height: Math.max(1, Math.abs(y(value) - y(0))), rx: Math.min(3, step / 4) }));
}

/** Each pixel column has the lowest and the highest of its values, so that no peak is lost. */
function band(values, width, y) {
  const places = Math.min(width, values.length);
  const edge = { high: [], low: [] };
  for (let i = 0; i < places; i += 1) {
    const part = values.slice(Math.floor((i * values.length) / places), Math.max(Math.floor(((i + 1) * values.length) / places), Math.floor((i * values.length) / places) + 1));
    const x = (i * width) / (places - 1);
    edge.high.push([x, y(Math.max(...part))]);
    edge.low.push([x, y(Math.min(...part))]);
  }
  const line = (points) => points.map(([x, at], i) => `${i ? "L" : "M"}${x.toFixed(1)} ${at.toFixed(1)}`).join("");
  return [
    s("path", { class: "a-fill", d: `${line(edge.high)}${line(edge.low.toReversed()).replace("M", "L")}Z` }),
    s("path", { class: "a", d: line(edge.high) }),
  ];
}
