// The store view: files that the server keeps, for those that ask for it by name.

import { json, put, request, session } from "./api.js";
import { problemBox } from "./card.js";
import { askToken, needsToken } from "./dialog.js";
import { button, byId, download, h, icon, replace, say } from "./dom.js";
import { COLUMNS_MAX, numberPlot } from "./plot.js";
import { bytes, count, number } from "./text.js";

/** Names on the store's wire have 1 to 31 bytes. */
const NAME_BYTES_MAX = 31;

/** The chart reads the beginning of a file of numbers, so much of it at most. */
const CHART_BYTES_MAX = 1_000_000;
const CHART_VALUES_MAX = 100_000;

/** Rows beyond this are found by the field for names. */
const ROWS_MAX = 1000;

let files = [];
/** What stands open below a row: `{ name, node }`. */
let below = null;

const path = (name) => `/v1/store/${encodeURIComponent(name)}`;

export function openStore() {
  if (!session.info.store.available) return;
  frame();
  addEventListener("hashchange", () => location.hash === "#store" && refresh());
  addEventListener("drop", (event) => {
    if (byId("view-store").hidden) return;
    event.preventDefault();
    putAll([...event.dataTransfer.files]);
  });
  if (location.hash === "#store") refresh();
}

function frame() {
  const input = h("input", { type: "file", multiple: true, class: "sr", tabindex: "-1", "aria-label": "Files to store", onchange: () => putAll([...input.files]).then(() => (input.value = "")) });
  const name = h("input", { id: "store-name", class: "input mono", autocomplete: "off", spellcheck: "false", placeholder: "numbers.txt" });
  const named = (act) => () => (name.value.trim() ? act(name.value.trim()) : name.focus());
  const { listable } = session.info.store;
  replace(
    byId("view-store"),
    h(
      "div",
      { class: "view-head" },
      h("div", {}, h("h1", { id: "store-title", tabindex: "-1" }, "Store"), h("p", { id: "store-sub" }, listable ? "Files that the server keeps" : "This store does not list its files: ask for them by name")),
      h("div", { class: "view-tools" }, listable && button({ text: "Refresh", name: "again", onclick: () => refresh(true) }), button({ text: "Store files", name: "up", kind: "primary", id: "store-put", onclick: () => input.click() }), input),
    ),
    h("div", { id: "store-problem", role: "alert" }),
    h("p", { id: "store-way", class: "muted fine" }),
    !listable && h("div", { class: "ask" }, h("div", { class: "field" }, h("label", { for: "store-name" }, "Name"), name), button({ text: "Get", name: "down", onclick: named(take) }), button({ text: "Summary", name: "chart", onclick: named((one) => (remember(one), summary(one))) })),
    h("div", { id: "store-list", class: "panel rows" }),
  );
  draw();
}

/** Does `work` with the token; what fails is said above the list, beside what failed before where that is kept. */
async function guarded(work, keepsProblems = false) {
  if (!keepsProblems) replace(byId("store-problem"));
  try {
    if (needsToken() && !(await askToken({ wrong: false, check: session.checkToken }))) return;
    await work();
  } catch (error) {
    if (error.isUnauthorized && (await askToken({ wrong: true, check: session.checkToken }))) return guarded(work, keepsProblems);
    const { title = "This did not work", detail = String(error.message), hint = "", code = "", requestId = "" } = error;
    byId("store-problem").append(problemBox({ title, detail, hint, code, requestId }));
  }
}

function refresh(aloud, keepsProblems = false) {
  if (!session.info.store.listable) return draw();
  return guarded(async () => {
    files = (await json("/v1/store")).files.sort((a, b) => a.name.localeCompare(b.name));
    draw();
    if (aloud === true) say(count(files.length, "file"));
  }, keepsProblems);
}

/** Where the store cannot list, the names that were used here are what there is to show. */
function remember(name, facts = {}) {
  const known = files.find((file) => file.name === name);
  if (known) Object.assign(known, facts);
  else files.push({ name, ...facts });
  draw();
}

async function putAll(chosen) {
  replace(byId("store-problem"));
  for (const file of chosen) {
    await guarded(async () => {
      checkName(file.name);
      const shown = (sent) => (byId("store-way").textContent = `Storing ${file.name}, ${bytes(sent)} of ${bytes(file.size)}`);
      shown(0);
      await put(path(file.name), file, shown);
      remember(file.name, { size: file.size, modified: Date.now() });
      say(`${file.name} stored`);
    }, true);
    byId("store-way").textContent = "";
  }
  if (session.info.store.listable) await refresh(false, true);
}

function checkName(name) {
  const length = new TextEncoder().encode(name).length;
  if (length <= NAME_BYTES_MAX) return;
  throw Object.assign(new Error(`\`${name}\` has ${length} bytes, and a name in the store has ${NAME_BYTES_MAX} at most`), { title: "The name is too long", hint: "rename the file, then store it" });
}

const take = (name) =>
  guarded(async () => {
    const response = await request(path(name));
    const blob = await response.blob();
    download(blob, name);
    remember(name, { size: blob.size });
    say(`${name} downloaded, ${bytes(blob.size)}`);
  });

function rename(name) {
  const id = "store-rename";
  const input = h("input", { id, class: "input mono", value: name, autocomplete: "off", spellcheck: "false", required: true });
  const form = h(
    "form",
    { class: "ask" },
    h("div", { class: "field" }, h("label", { for: id }, `New name of ${name}`), input),
    h("button", { type: "submit", class: "button primary" }, "Rename"),
    button({ text: "Leave it", onclick: () => open(null) }),
  );
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const to = input.value.trim();
    if (to === name) return open(null);
    guarded(async () => {
      checkName(to);
      await request(`${path(name)}/rename`, { method: "POST", body: JSON.stringify({ to }), headers: { "Content-Type": "application/json" } });
      const file = files.find((one) => one.name === name);
      if (file) file.name = to;
      open(null, to);
      say(`${name} is now ${to}`);
    });
  });
  open({ name, node: form });
  input.focus();
  input.setSelectionRange(0, name.lastIndexOf(".") > 0 ? name.lastIndexOf(".") : name.length);
}

const summary = (name) =>
  guarded(async () => {
    // They come as text, since a reader of JSON would round them; for a chart that is near enough.
    const { max, min, mean } = Object.fromEntries(Object.entries(await json(`${path(name)}/summary`)).map(([key, text]) => [key, Number(text)]));
    const { values, isCut } = await readNumbers(name);
    const figure = (label, value) => h("div", { class: "number" }, h("dt", {}, label), h("dd", {}, number(value)));
    const node = h(
      "div",
      { class: "summary" },
      h("dl", { class: "numbers" }, figure("Largest", max), figure("Mean", mean), figure("Smallest", min)),
      values.length > 0 && h("figure", {}, numberPlot({ values, mean, label: `${name}: ${count(values.length, "number")} from ${number(min)} to ${number(max)}, mean ${number(mean)}` }), h("figcaption", { class: "fine" }, `${isCut ? "The first " : ""}${count(values.length, "number")} in the order of the file, ${values.length <= COLUMNS_MAX ? "from zero" : "from the smallest to the largest"}; the dashed line is the mean.`)),
      h("div", {}, button({ text: "Close", kind: "small", onclick: () => open(null, name) })),
    );
    open({ name, node });
    say(`${name}: largest ${number(max)}, mean ${number(mean)}, smallest ${number(min)}`);
  });

/** The numbers at the beginning of a file; the rest is not taken. */
async function readNumbers(name) {
  const stop = new AbortController();
  const response = await request(path(name), { signal: stop.signal });
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  let isCut = false;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    text += value;
    isCut = text.length > CHART_BYTES_MAX;
    if (isCut) break;
  }
  if (isCut) stop.abort();
  const lines = text.split("\n");
  // The last line of a cut may be half a number.
  if (isCut) lines.pop();
  const values = lines.map((line) => line.trim()).filter(Boolean).map(Number).filter(Number.isFinite);
  return { values: values.slice(0, CHART_VALUES_MAX), isCut: isCut || values.length > CHART_VALUES_MAX };
}

function open(next, focus) {
  const name = focus ?? below?.name;
  below = next;
  draw();
  if (!next && name) byId("store-list").querySelector(`[data-focus="${CSS.escape(name)}"]`)?.focus();
}

function draw() {
  const list = byId("store-list");
  if (!list) return;
  if (files.length === 0) {
    replace(list, h("div", { class: "empty" }, icon("box"), h("h2", {}, session.info.store.listable ? "The store is empty" : "Nothing asked for yet"), h("p", {}, "Drop files here, or press Store files. Unlike a conversion, what you put here stays.")));
    return;
  }
  byId("store-sub").textContent = session.info.store.listable ? `${count(files.length, "file")}, ${bytes(files.reduce((sum, file) => sum + (file.size ?? 0), 0))}` : `${count(files.length, "name")} used here`;
  replace(list, h("ul", {}, files.slice(0, ROWS_MAX).map(row)), files.length > ROWS_MAX && h("p", { class: "panel-pad fine" }, `${files.length - ROWS_MAX} more are not shown.`));
}

function row(file) {
  const { name, size, modified } = file;
  return h(
    "li",
    { class: "row" },
    icon(/\.(jpe?g|png|webp)$/i.test(name) ? "picture" : /\.pdf$/i.test(name) ? "pdf" : "text"),
    h("span", { class: "row-name" }, name),
    h("span", { class: "row-size" }, size === undefined ? "" : bytes(size)),
    h("span", { class: "row-time" }, modified ? when(modified) : ""),
    h(
      "span",
      { class: "row-buttons" },
      button({ label: `Summary of ${name}`, name: "chart", kind: "quiet", "data-focus": name, onclick: () => summary(name) }),
      button({ label: `Rename ${name}`, name: "pencil", kind: "quiet", "data-focus": `rename ${name}`, onclick: () => rename(name) }),
      button({ label: `Download ${name}`, name: "down", kind: "quiet", "data-focus": `take ${name}`, onclick: () => take(name) }),
    ),
    below?.name === name && h("div", { class: "row-wide" }, below.node),
  );
}

/** Times are milliseconds since 1970. */
const when = (modified) => new Date(modified).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
