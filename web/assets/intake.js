// The ways into the page: dropping anywhere, choosing, pasting; folders are opened.

import { byId, icon } from "./dom.js";

/** A folder that was dropped by mistake must not stall the page. */
const FOLDER_FILES_MAX = 1000;

/** Calls `add(files)` for what comes in while `isActive()`. */
export function collect({ add, isActive }) {
  const input = byId("files");
  const choose = byId("choose");
  choose.prepend(icon("sheet"));
  byId("drop").addEventListener("click", () => input.click());
  input.addEventListener("click", (event) => event.stopPropagation());
  input.addEventListener("change", () => {
    if (input.files.length) add([...input.files]);
    input.value = "";
  });
  addEventListener("paste", (event) => isActive() && paste(event, add));
  dragging({ add, isActive });
}

function paste(event, add) {
  if (event.target.closest?.("input, textarea, select, dialog")) return;
  const files = [...event.clipboardData.files];
  const text = event.clipboardData.getData("text/plain");
  if (files.length === 0 && text) files.push(new File([text], "pasted.txt", { type: "text/plain" }));
  if (files.length === 0) return;
  event.preventDefault();
  add(files);
}

function dragging({ add, isActive }) {
  // Every element that is entered gives an event, and so does every one that is left.
  let depth = 0;
  const show = (shown) => {
    document.documentElement.toggleAttribute("data-dragging", shown);
    byId("veil").hidden = !shown;
  };
  const hasFiles = (event) => event.dataTransfer?.types.includes("Files");
  addEventListener("dragenter", (event) => {
    if (!hasFiles(event) || !isActive()) return;
    depth += 1;
    show(true);
  });
  addEventListener("dragleave", (event) => {
    if (!hasFiles(event) || !isActive()) return;
    depth = Math.max(0, depth - 1);
    if (depth === 0) show(false);
  });
  addEventListener("dragover", (event) => {
    if (!hasFiles(event)) return;
    // Without this the browser would leave the page for the file.
    event.preventDefault();
    event.dataTransfer.dropEffect = isActive() ? "copy" : "none";
  });
  addEventListener("drop", async (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    depth = 0;
    show(false);
    if (!isActive() || document.querySelector("dialog[open]")) return;
    const files = await dropped(event.dataTransfer);
    if (files.length) add(files);
  });
}

/** The files of a drop. Entries must be taken before the first await: the list dies with the event. */
async function dropped(transfer) {
  const items = [...transfer.items].filter((item) => item.kind === "file");
  const entries = items.map((item) => item.webkitGetAsEntry?.());
  if (!entries.some((entry) => entry?.isDirectory)) return [...transfer.files];
  const files = [];
  for (const entry of entries.filter(Boolean)) await walk(entry, files);
  return files;
}

async function walk(entry, files) {
  if (files.length >= FOLDER_FILES_MAX) return;
  if (entry.isFile) {
    files.push(await new Promise((resolve, reject) => entry.file(resolve, reject)));
    return;
  }
  const reader = entry.createReader();
  for (;;) {
    const batch = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (batch.length === 0) return;
    for (const inner of batch) await walk(inner, files);
  }
}
