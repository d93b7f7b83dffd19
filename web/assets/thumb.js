// Small pictures of files, made one at a time so that many do not fill memory.

import { h, icon, s } from "./dom.js";

/** A decoded frame takes four bytes a pixel, 160 MB here; larger pictures get an icon. */
const PIXELS_MAX = 40_000_000;

const TEXT_BYTES = 600;
const SIDE = 144;

let last = Promise.resolve();

/** An element that shows `file` as soon as its turn comes. */
export function thumb(file, { media, width, height, alpha }) {
  const frame = h("div", { class: "thumb", "aria-hidden": "true" }, icon(iconOf(media)));
  const isPicture = media?.startsWith("image/") && width * height <= PIXELS_MAX;
  const draw = isPicture ? picture : media === "text/plain" ? lines : null;
  if (draw) {
    last = last.then(() => draw(file)).then((node) => {
      frame.classList.toggle("alpha", isPicture && alpha === true);
      frame.replaceChildren(node);
    }).catch(() => {
      // A file that is broken further on keeps its icon; the conversion will say what is wrong.
    });
  }
  return frame;
}

function iconOf(media) {
  if (media?.startsWith("image/")) return "picture";
  return { "text/plain": "text", "application/pdf": "pdf" }[media] ?? "unknown";
}

async function picture(file) {
  const bitmap = await createImageBitmap(file);
  const canvas = h("canvas", { width: SIDE, height: SIDE });
  const scale = Math.max(SIDE / bitmap.width, SIDE / bitmap.height);
  const [w, t] = [bitmap.width * scale, bitmap.height * scale];
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, (SIDE - w) / 2, (SIDE - t) / 2, w, t);
  bitmap.close();
  return canvas;
}

async function lines(file) {
  const text = await file.slice(0, TEXT_BYTES).text();
  return h("div", { class: "lines" }, text.split("\n").slice(0, 12).map((line) => line.slice(0, 40)).join("\n"));
}

/** The drawing of the drop zone: three sheets in a slot. */
export function dropArt() {
  const sheet = (name, x, y, marks) =>
    s("g", { class: `sheet ${name}` },
      s("path", { class: "paper", d: `M${x} ${y + 7}a7 7 0 0 1 7-7h37l16 16v76H${x}z` }),
      s("path", { class: "fold", d: `M${x + 44} ${y}v11a5 5 0 0 0 5 5h11z` }),
      marks);
  const bars = (x, y, ...widths) => s("path", { class: "mark", d: widths.map((w, i) => `M${x} ${y + i * 11}h${w}`).join("") });
  const hill = (x, y) => [
    s("path", { class: "solid", d: `M${x} ${y + 30}l14-18 10 12 6-6 10 12z` }),
    s("circle", { class: "solid", cx: x + 31, cy: y + 4, r: 4.5 }),
  ];
  return s("svg", { viewBox: "0 0 216 124" },
    s("defs", {}, s("clipPath", { id: "above-slot" }, s("path", { d: "M-20-40h256v150H-20z" }))),
    s("g", { "clip-path": "url(#above-slot)" },
      sheet("left", 30, 30, bars(42, 60, 28, 36, 22, 32)),
      sheet("right", 126, 30, bars(138, 60, 36, 24, 34, 28)),
      sheet("front", 78, 14, hill(88, 46))),
    s("path", { class: "shade", d: "M24 112h168l-12 12H36z" }),
    s("path", { class: "slot", d: "M18 110h180" }));
}
