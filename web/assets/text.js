// Numbers as people read them.

const UNITS = ["B", "KB", "MB", "GB", "TB"];

/** Bytes with three digits at most: 0 B, 12.3 KB, 200 MB. */
export function bytes(count) {
  if (!Number.isFinite(count) || count < 0) return "?";
  let value = count;
  let unit = 0;
  while (value >= 999.5 && unit < UNITS.length - 1) {
    value /= 1000;
    unit += 1;
  }
  const digits = unit === 0 || value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2;
  return `${Number(value.toFixed(digits))} ${UNITS[unit]}`;
}

/** Milliseconds as 840 ms, 3.2 s, 2 min 5 s, 3 days 4 h. */
export function duration(ms) {
  if (ms < 1) return "under 1 ms";
  if (ms < 999.5) return `${ms < 10 ? Number(ms.toFixed(1)) : Math.round(ms)} ms`;
  if (ms < 59_950) return `${Number((ms / 1000).toFixed(1))} s`;
  const seconds = Math.round(ms / 1000);
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 1440) return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
  return `${count(Math.floor(minutes / 1440), "day")} ${Math.floor(minutes / 60) % 24} h`;
}

export const count = (n, one, many = `${one}s`) => `${n} ${n === 1 ? one : many}`;

/** A number of any size in few characters. */
export function number(value) {
  if (!Number.isFinite(value)) return "?";
  const size = Math.abs(value);
  if (size !== 0 && (size >= 1e9 || size < 1e-3)) return value.toExponential(2);
  return new Intl.NumberFormat("en", { maximumSignificantDigits: 6 }).format(value);
}

/** What became of the size: "62 % smaller", "5 % larger", "same size". */
export function saving(before, after) {
  if (before === 0) return "";
  const part = (before - after) / before;
  const percent = Math.abs(part) * 100;
  if (percent < 0.5) return "same size";
  if (part < -1) return `${number(Number((after / before).toPrecision(2)))} times the size`;
  return `${Math.round(percent)} % ${part > 0 ? "smaller" : "larger"}`;
}

/** A file name as stem and extension, both for showing: the end stays visible where it is cut. */
export function splitName(name) {
  const dot = name.lastIndexOf(".");
  return dot > 0 && name.length - dot <= 6 ? [name.slice(0, dot), name.slice(dot)] : [name, ""];
}
