// A look at a result before it is taken: a picture beside its original, text, or a PDF.

import { button, download, h, icon } from "./dom.js";
import { openDialog } from "./dialog.js";
import { bytes, saving } from "./text.js";

const TEXT_BYTES = 65_536;

/** The same bound as for thumbnails, for two pictures at once. */
const PIXELS_MAX = 80_000_000;

export async function preview(job) {
  const { result, file } = job;
  const urls = [];
  const url = (blob) => {
    urls.push(URL.createObjectURL(blob));
    return urls.at(-1);
  };
  const body = h("div", { class: "preview", tabindex: "0", role: "region", "aria-label": "Preview" });
  const facts = h(
    "div",
    { class: "preview-facts" },
    h("span", {}, `${bytes(file.size)} → ${bytes(result.blob.size)}`),
    h("span", {}, saving(file.size, result.blob.size)),
    h("span", { class: "spacer" }),
    result.to.id === "pdf" && h("a", { class: "button", href: url(result.blob), target: "_blank", rel: "noopener" }, "Open in a tab"),
    button({ text: "Download", name: "down", kind: "primary", onclick: () => download(result.blob, result.name) }),
  );
  openDialog({ title: result.name, wide: true, body: [body, facts], onclose: () => urls.forEach((one) => URL.revokeObjectURL(one)) });
  body.append(...(await content(job, url)));
}

async function content(job, url) {
  const { result, found } = job;
  const media = result.to.media_types[0];
  if (media.startsWith("image/")) {
    if (found.width * found.height > PIXELS_MAX) return [note("This picture is too large for a preview; download it to see it.")];
    return pictures(job, url);
  }
  if (media === "application/pdf") return [h("iframe", { src: url(result.blob), title: `${result.name}, in the browser's viewer` })];
  const text = await result.blob.slice(0, TEXT_BYTES).text();
  const rest = result.blob.size > TEXT_BYTES && note(`The first ${bytes(TEXT_BYTES)} of ${bytes(result.blob.size)}.`);
  return [h("pre", {}, text || "(empty)"), rest].filter(Boolean);
}

/** Original and result over each other, cut where the slider stands. */
function pictures({ file, found, result }, url) {
  const after = h("img", { src: url(result.blob), alt: `Result: ${result.name}` });
  if (!found.media.startsWith("image/")) return [after];
  const frame = h(
    "div",
    { class: "compare" },
    after,
    h("img", { class: "before", src: url(file), alt: `Original: ${file.name}` }),
    h("div", { class: "cut" }),
    h("span", { class: "tag a" }, `Original ${bytes(file.size)}`),
    h("span", { class: "tag b" }, `${result.to.id.toUpperCase()} ${bytes(result.blob.size)}`),
  );
  const slider = h("input", { class: "range compare-range", type: "range", min: 0, max: 100, value: 50, "aria-label": "How much of the original covers the result, in percent" });
  slider.addEventListener("input", () => frame.style.setProperty("--cut", `${slider.value}%`));
  frame.addEventListener("pointermove", (event) => {
    if (event.pointerType !== "mouse" && event.pressure === 0) return;
    const box = frame.getBoundingClientRect();
    slider.value = ((event.clientX - box.left) / box.width) * 100;
    slider.dispatchEvent(new Event("input"));
  });
  return [h("div", {}, frame, h("div", { class: "field-row" }, slider))];
}

const note = (text) => h("p", { class: "preview-note" }, icon("eye"), text);
