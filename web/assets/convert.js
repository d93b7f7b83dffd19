// The convert view: files come in, cards show them, results go out.

import { formatOf, onOnline, session } from "./api.js";
import { Card } from "./card.js";
import { detect } from "./detect.js";
import { askToken, needsToken } from "./dialog.js";
import { button, byId, download, h, icon, replace, say } from "./dom.js";
import { collect } from "./intake.js";
import { targetName } from "./options.js";
import { preview } from "./preview.js";
import { Job, Queue } from "./queue.js";
import { Settings } from "./settings.js";
import { bytes, count, saving } from "./text.js";
import { dropArt } from "./thumb.js";
import { zip } from "./zip.js";

/** More cards than this help nobody, and each holds elements and a thumbnail. */
const FILES_MAX = 500;

/** Countdown and elapsed time move this often. */
const TICK_MS = 250;

const cards = new Map();
let tickTimer = 0;
let drawing = false;

const view = () => byId("view-convert");

const settings = new Settings(byId("common"), (jobs) => {
  for (const job of jobs) cards.get(job).render();
  draw();
});

const queue = new Queue({ settings: (job) => settings.sent(job), changed, unauthorized });

const acts = {
  start: (job) => startAll([job]),
  cancel: (job) => {
    queue.cancel(job);
    say(`${job.file.name}: cancelled`);
  },
  remove,
  set: (job, edit) => {
    settings.set(job, edit);
    cards.get(job).render();
    draw();
  },
  common: (job) => {
    job.own = null;
    cards.get(job).render();
    draw();
  },
  hasCommon: () => !byId("common").hidden,
  isStale: (job) => job.result?.key !== key(job),
  preview,
  download: (job) => download(job.result.blob, job.result.name),
  sources: () => session.formats.map((format) => targetName(format.id)).join(", "),
};

/** What a result was made with, to tell whether the settings have changed since. */
const key = (job) => JSON.stringify(settings.sent(job));

/** Connects the view with the page; called once, before the server has said what it can. */
export function openConvert() {
  byId("drop-art").append(dropArt());
  byId("clear").addEventListener("click", clear);
  collect({ add, isActive: () => !view().hidden });
  onOnline((online) => online && draw());
  draw();
}

/** What the server converts, in the empty view. */
export function drawAbout() {
  const routes = new Map();
  for (const format of session.formats) {
    const to = format.targets.map((target) => targetName(target.id)).join(", ");
    routes.set(to, [...(routes.get(to) ?? []), targetName(format.id)]);
  }
  const lines = [...routes].map(([to, from]) => {
    const same = from.join(", ") === to;
    return h("span", { class: "route" }, h("b", {}, from.join(", ")), icon(same ? "both" : "arrow"), same ? "each other" : h("b", {}, to));
  });
  replace(byId("about"), lines, h("p", { class: "more" }, `Up to ${bytes(session.info.body_bytes_max)} a file. The type is told by the content, not by the name.`));
}

function add(files) {
  const room = FILES_MAX - queue.jobs.length;
  const taken = files.slice(0, Math.max(0, room));
  for (const file of taken) addOne(file);
  const left = files.length - taken.length;
  say(left > 0 ? `${count(taken.length, "file")} added, ${left} left out: the list holds ${FILES_MAX}` : `${count(taken.length, "file")} added`, left > 0);
  draw();
}

async function addOne(file) {
  const job = new Job(file);
  const card = new Card(job, acts, (one) => settings.of(one));
  queue.add(job);
  cards.set(job, card);
  byId("jobs").append(card.node);
  let found;
  try {
    found = await detect(file);
  } catch {
    found = { media: null, label: "cannot be read" };
  }
  await session.known;
  // It may have left the list meanwhile.
  if (!cards.has(job)) return;
  queue.found(job, found, formatOf(found.media));
  card.looked();
  draw();
}

function changed(job, before) {
  const card = cards.get(job);
  if (!card) return;
  if (before === undefined || before === job.state) return card.tick();
  if (job.state === "done") job.result.key = key(job);
  card.render();
  announce(job);
  draw();
}

function announce(job) {
  const { name } = job.file;
  if (job.state === "done") say(`${name}: converted to ${job.result.name}, ${bytes(job.result.blob.size)}, ${saving(job.file.size, job.result.blob.size)}`);
  if (job.state === "failed") say(`${name}: ${job.problem.detail || job.problem.title}. ${job.problem.hint}`, true);
  if (job.state === "waiting") say(`${name}: the server is busy, trying again by itself`);
}

async function startAll(jobs) {
  if (needsToken() && !(await askToken({ wrong: false, check: session.checkToken }))) return;
  for (const job of jobs) queue.start(job);
  queue.hold(false);
}

/** The token was not accepted: all waits in line until there is another. */
async function unauthorized(problem) {
  if (queue.held) return;
  queue.hold(true);
  const given = await askToken({ check: session.checkToken });
  if (!given) {
    for (const job of queue.jobs.filter((one) => one.state === "queued")) queue.fail(job, problem);
  }
  queue.hold(false);
}

function remove(job) {
  const { node } = cards.get(job);
  const next = (node.nextElementSibling ?? node.previousElementSibling)?.querySelector("[data-focus=remove]");
  queue.remove(job);
  cards.delete(job);
  node.remove();
  say(`${job.file.name} removed`);
  draw();
  (next ?? byId("choose")).focus();
}

function clear() {
  for (const job of [...queue.jobs]) {
    queue.remove(job);
    cards.get(job).node.remove();
    cards.delete(job);
  }
  say("The list is empty");
  draw();
  byId("choose").focus();
}

/** Everything beside the cards. Many changes at once are drawn once. */
function draw() {
  if (drawing) return;
  drawing = true;
  queueMicrotask(() => {
    drawing = false;
    drawNow();
  });
}

function drawNow() {
  const { jobs } = queue;
  view().toggleAttribute("data-empty", jobs.length === 0);
  byId("choose").lastChild.textContent = jobs.length ? "Add files" : "Choose files";
  byId("list-title").textContent = jobs.length ? count(jobs.length, "file") : "Files";
  settings.render(jobs);
  drawActions(jobs);
  ticking(jobs.some((job) => job.state === "waiting" || job.state === "converting"));
  const running = jobs.filter((job) => job.isPending).length;
  document.title = running ? `${running} to go · fxsrv` : jobs.some((job) => job.state === "done") ? "Done · fxsrv" : "Convert · fxsrv";
}

function drawActions(jobs) {
  const bar = byId("actions");
  bar.hidden = jobs.length === 0;
  const done = jobs.filter((job) => job.state === "done");
  const pending = jobs.filter((job) => job.isPending);
  const failed = jobs.filter((job) => job.state === "failed");
  const open = jobs.filter((job) => job.canStart && (job.state !== "done" || acts.isStale(job)));
  const retryOnly = open.length > 0 && open.every((job) => job.state === "failed" || job.state === "cancelled");
  replace(
    bar,
    h("p", { class: "actions-text" }, h("b", {}, headline({ jobs, done, pending, failed, open })), balance({ done, pending, failed, open })),
    h(
      "div",
      { class: "actions-buttons" },
      pending.length > 0 && button({ text: "Cancel all", name: "stop", "data-focus": "cancel-all", onclick: () => pending.forEach((job) => queue.cancel(job)) }),
      done.length === 1 && pending.length === 0 && button({ text: "Download", name: "down", kind: open.length && !retryOnly ? "" : "primary", "data-focus": "take", onclick: () => acts.download(done[0]) }),
      done.length > 1 && pending.length === 0 && button({ text: "Download all as ZIP", name: "box", kind: open.length && !retryOnly ? "" : "primary", "data-focus": "take", onclick: (event) => takeAll(done, event.currentTarget) }),
      open.length > 0 && button({ text: `${retryOnly ? "Retry" : "Convert"} ${count(open.length, "file")}`, name: retryOnly ? "again" : "arrow", kind: retryOnly && done.length ? "" : "primary", "data-focus": "convert-all", onclick: () => startAll(open) }),
    ),
  );
}

function headline({ jobs, done, pending, failed, open }) {
  if (pending.length) return `${done.length} of ${done.length + pending.length} converted`;
  const parts = [];
  if (done.length) parts.push(`${count(done.length, "file")} converted`);
  if (failed.length) parts.push(`${failed.length} failed`);
  if (parts.length) return parts.join(", ");
  return open.length ? `${count(open.length, "file")} ready` : !session.info ? "Waiting for the server" : jobs.some((job) => job.state === "looking") ? "Looking at the files" : "Nothing to convert";
}

function balance({ done, pending, failed, open }) {
  if (done.length > 0) {
    const before = done.reduce((sum, job) => sum + job.file.size, 0);
    const after = done.reduce((sum, job) => sum + job.result.blob.size, 0);
    return `${bytes(before)} → ${bytes(after)}, ${saving(before, after)}`;
  }
  if (pending.length > 0) return `${bytes(pending.reduce((sum, job) => sum + job.file.size, 0))} on the way`;
  if (failed.length > 0) return "The reason stands beside each file.";
  return open.length > 0 ? "Change what each becomes, or go ahead." : "";
}

async function takeAll(done, pressed) {
  pressed.disabled = true;
  try {
    download(await zip(done.map(({ result }) => result)), "converted.zip");
    say("The ZIP is downloaded");
  } catch (error) {
    const text = error instanceof RangeError ? error.message : "a result can no longer be read; convert it again";
    say(text, true);
    byId("actions").querySelector(".actions-text").lastChild.textContent = `No ZIP: ${text}. Download the files one by one.`;
  } finally {
    pressed.disabled = false;
  }
}

function ticking(wanted) {
  if (wanted && !tickTimer) tickTimer = setInterval(() => cards.forEach((card) => card.tick()), TICK_MS);
  if (!wanted) {
    clearInterval(tickTimer);
    tickTimer = 0;
  }
}
