// Elements and icons, made by script: the content security policy allows no markup from strings.

const SVG = "http://www.w3.org/2000/svg";

/** Makes an element. `on*` are listeners, `class`, `data-*`, `aria-*` and the rest attributes. */
export function h(tag, props = {}, ...children) {
  return fill(document.createElement(tag), props, children);
}

/** The same for SVG. */
export function s(tag, props = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), props, children);
}

function fill(node, props, children) {
  for (const [name, value] of Object.entries(props)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "value" || name === "checked") node[name] = value;
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

export const byId = (id) => document.getElementById(id);

const ICONS = {
  arrow: "M5 12h14M13 6l6 6-6 6",
  both: "M4 9h15M15 5l4 4-4 4M20 15H5M9 11l-4 4 4 4",
  sun: "M12 7.5a4.5 4.5 0 1 1 0 9 4.5 4.5 0 0 1 0-9zM12 2v2M12 20v2M2 12h2M20 12h2M5 5l1.4 1.4M17.6 17.6L19 19M5 19l1.4-1.4M17.6 6.4L19 5",
  moon: "M20 14.5A8.5 8.5 0 0 1 9.5 4a8.5 8.5 0 1 0 10.5 10.5z",
  key: "M15 4a5 5 0 1 1-4.6 7L4 17.5V20h3v-2h2v-2h2l1.8-1.8M16.5 7.5h.01",
  cross: "M6 6l12 12M18 6L6 18",
  tick: "M5 12.5l4.5 4.5L19 7.5",
  down: "M12 4v11M7 10.5l5 5 5-5M5 20h14",
  up: "M12 16V5M7 9.5l5-5 5 5M5 20h14",
  eye: "M2.5 12S6 5.5 12 5.5 21.5 12 21.5 12 18 18.5 12 18.5 2.5 12 2.5 12zM12 9.3a2.7 2.7 0 1 1 0 5.4 2.7 2.7 0 0 1 0-5.4z",
  again: "M20 11a8 8 0 1 0-2.3 6.3M20 5v6h-6",
  sliders: "M4 7h9M19 7h1M4 17h1M11 17h9M16 4.5v5M8 14.5v5",
  alert: "M12 3.5l9.5 16.5h-19zM12 10v4.5M12 17.3h.01",
  stop: "M7 7h10v10H7z",
  sheet: "M6 3.5h8l4.5 4.5v12.5H6zM14 3.5V8h4.5",
  text: "M6 3.5h8l4.5 4.5v12.5H6zM14 3.5V8h4.5M9 12h6M9 15h6M9 18h3.5",
  picture: "M4 5h16v14H4zM4 16l4.5-4.5 4 4 2.5-2.5 5 4.5M15.5 9.5h.01",
  pdf: "M6 3.5h8l4.5 4.5v12.5H6zM14 3.5V8h4.5M9 17.5c2.5-1.5 4-4.5 3.5-7 .5 2.5 1.5 4 3.5 4.5-2.5-.2-5 .8-7 2.5z",
  unknown: "M6 3.5h8l4.5 4.5v12.5H6zM14 3.5V8h4.5M10.3 12.3a1.9 1.9 0 1 1 2.7 1.7c-.6.3-.8.6-.8 1.2M12.2 17.8h.01",
  pencil: "M4 20l1-4.5L15.5 5l3.5 3.5L8.5 19zM13.5 7l3.5 3.5",
  chart: "M4 4v16h16M8 16v-4M12 16V8M16 16v-6",
  box: "M4 8l8-4 8 4v8l-8 4-8-4zM4 8l8 4 8-4M12 12v8",
  off: "M4 4l16 16M8.5 15.5a5 5 0 0 1 7 0M5.5 12a9 9 0 0 1 4-2.3M14 9.6a9 9 0 0 1 4.5 2.4M12 19h.01",
};

/** An icon of 24 units, stroked in the colour of the text around it. */
export function icon(name) {
  return s(
    "svg",
    { viewBox: "0 0 24 24", fill: "none", stroke: "currentColor", "stroke-width": 1.7, "stroke-linecap": "round", "stroke-linejoin": "round", "aria-hidden": "true" },
    s("path", { d: ICONS[name] }),
  );
}

/** A button with an icon; without `text` its label is for screen readers and the tooltip. */
export function button({ text, label, name, kind = "", onclick, ...rest }) {
  return h(
    "button",
    { type: "button", class: `button ${kind} ${text ? "" : "icon"}`.trim(), "aria-label": label, title: text ? undefined : label, onclick, ...rest },
    name && icon(name),
    text,
  );
}

/** Puts `children` in the place of what `node` holds, and gives the focus back to its successor. */
export function replace(node, ...children) {
  const held = node.contains(document.activeElement) ? document.activeElement.dataset.focus : undefined;
  node.replaceChildren(...children.flat().filter(Boolean));
  if (held) node.querySelector(`[data-focus="${CSS.escape(held)}"]`)?.focus();
}

/** Says a thing to screen readers. The same words twice are still two events. */
export function say(text, urgent = false) {
  const region = byId(urgent ? "alert" : "live");
  region.textContent = region.textContent === text ? `${text}\u00a0` : text;
}

/** Hands `blob` to the browser's downloads. */
export function download(blob, name) {
  const url = URL.createObjectURL(blob);
  const link = h("a", { href: url, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  // The download has its own hold of the blob once it has begun, which is not at once.
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}
