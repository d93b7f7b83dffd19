// The status view: the fleet as it is now, and the last minutes of it.

import { session } from "./api.js";
import { askToken, needsToken } from "./dialog.js";
import { byId, h, replace } from "./dom.js";
import { timePlot } from "./plot.js";
import { events } from "./sse.js";
import { bytes, count, duration } from "./text.js";

/** One event a second: three minutes. */
const PLACES = 180;

const WAIT_MS_MAX = 15_000;

/** Events come once a second; a stream that is silent for this long is dead. */
const SILENCE_MS = 10_000;

const history = [];
let stop = null;
let tries = 0;
let timer = 0;
let latest = null;

export function openStatus() {
  if (stop) return;
  frame();
  run();
}

export function closeStatus() {
  clearTimeout(timer);
  stop?.abort();
  stop = null;
}

async function run() {
  if (needsToken() && !(await askToken({ wrong: false, check: session.checkToken }))) return state("A token is needed to see the fleet.", true);
  const own = new AbortController();
  stop = own;
  let silence = 0;
  const heard = () => {
    clearTimeout(silence);
    silence = setTimeout(() => own.abort(), SILENCE_MS);
  };
  let reason = "The stream has ended";
  try {
    heard();
    await events("/v1/status/events", {
      signal: own.signal,
      onevent: (data) => {
        heard();
        tries = 0;
        take(JSON.parse(data));
      },
    });
  } catch (error) {
    if (error.isUnauthorized && stop === own) {
      clearTimeout(silence);
      stop = null;
      if (await askToken({ wrong: true, check: session.checkToken })) run();
      else state("A token is needed to see the fleet.", true);
      return;
    }
    reason = error.title ?? "The stream broke";
  } finally {
    clearTimeout(silence);
  }
  if (stop === own) again(reason, performance.now() + Math.min(1000 * 2 ** tries, WAIT_MS_MAX));
}

/** Waits with a countdown, longer from time to time. */
function again(reason, at) {
  const left = Math.ceil((at - performance.now()) / 1000);
  if (left <= 0) {
    tries += 1;
    state("Connecting again", false);
    run();
    return;
  }
  state(`${reason}. Connecting again in ${left} s.`, true);
  timer = setTimeout(() => again(reason, at), 250);
}

function take(event) {
  latest = event;
  history.push(event);
  if (history.length > PLACES) history.shift();
  state("", false);
  draw();
}

function state(text, isPaused) {
  byId("status-body")?.classList.toggle("paused", isPaused);
  const line = byId("status-line");
  if (line && line.textContent !== text) line.textContent = text;
  const live = byId("status-live");
  if (live) {
    live.className = `badge ${text ? (isPaused ? "bad" : "warn") : "good"}`;
    live.textContent = text ? (isPaused ? "Paused" : "Connecting") : "Live";
  }
}

function frame() {
  if (byId("status-body")) return;
  replace(
    byId("view-status"),
    h(
      "div",
      { class: "view-head" },
      h("div", {}, h("h1", { id: "status-title", tabindex: "-1" }, "Fleet"), h("p", { id: "status-sub" }, "Waiting for the first report")),
      h("div", { class: "view-tools" }, h("span", { id: "status-live", class: "badge warn" }, "Connecting")),
    ),
    h("p", { id: "status-line", class: "muted", role: "status" }),
    h("div", { id: "status-body" }),
  );
}

function draw() {
  const { workers = [], rates = {}, latency_ms: latency = {}, master = {} } = latest;
  const healthy = workers.filter((worker) => isHealthy(worker)).length;
  const slots = sum(workers, "slots");
  const busy = sum(workers, "busy");
  byId("status-sub").textContent = `${healthy} of ${count(workers.length, "worker")} healthy, ${busy} of ${count(slots, "slot")} busy, ${sum(workers, "queued")} in line`;
  replace(
    byId("status-body"),
    h("div", { class: "tiles" }, rateTile(rates), bytesTile(rates), latencyTile(latency)),
    h("h2", { class: "section-title status-section" }, "Workers"),
    workers.length ? h("ul", { class: "workers" }, workers.map(workerCard)) : h("p", { class: "panel panel-pad muted" }, "No worker is known to the master."),
    masterFacts(master),
  );
}

const isHealthy = (worker) => /^(healthy|up|ok|ready|idle|busy)$/i.test(worker.state);
const sum = (workers, field) => workers.reduce((total, worker) => total + (worker[field] ?? 0), 0);
const past = (pick) => history.map((event) => pick(event) ?? NaN);

function tile(title, value, small, plot, legend) {
  return h("section", { class: "panel tile" }, h("h2", {}, title), h("p", { class: "value" }, value, " ", h("small", {}, small)), plot, legend);
}

const legend = (...entries) => h("p", { class: "legend", "aria-hidden": "true" }, entries.map(([kind, text]) => h("span", { class: `of-${kind}` }, text)));
const short = (value) => (Number.isFinite(value) ? Number(value.toFixed(value < 10 ? 1 : 0)).toLocaleString("en") : "–");

function rateTile({ requests_per_s: rate }) {
  const points = past((event) => event.rates?.requests_per_s);
  const busy = past((event) => sum(event.workers ?? [], "busy"));
  return tile("Throughput", short(rate), "requests/s",
    timePlot({ series: [{ points, kind: "a" }, { points: busy, kind: "b" }], places: PLACES, unit: short, label: `Requests per second over the last minutes, now ${short(rate)}` }),
    legend(["a", "requests/s"], ["b", "slots busy"]));
}

function bytesTile({ bytes_in_per_s: bytesIn = 0, bytes_out_per_s: bytesOut = 0 }) {
  const incoming = past((event) => event.rates?.bytes_in_per_s);
  const outgoing = past((event) => event.rates?.bytes_out_per_s);
  return tile("Traffic", bytes(bytesIn + bytesOut), "/s",
    timePlot({ series: [{ points: incoming, kind: "a" }, { points: outgoing, kind: "b" }], places: PLACES, unit: (value) => `${bytes(value)}/s`, label: `Bytes per second over the last minutes, now ${bytes(bytesIn)} in and ${bytes(bytesOut)} out` }),
    legend(["a", `in ${bytes(bytesIn)}/s`], ["b", `out ${bytes(bytesOut)}/s`]));
}

function latencyTile({ p50, p90, p99 }) {
  const of = (name) => past((event) => event.latency_ms?.[name]);
  const ms = (value) => (Number.isFinite(value) ? duration(value) : "–");
  return tile("Latency", ms(p50), "median",
    timePlot({ series: [{ points: of("p50"), kind: "a" }, { points: of("p90"), kind: "b" }, { points: of("p99"), kind: "c" }], places: PLACES, unit: ms, label: `Latency over the last minutes, now ${ms(p50)} median, ${ms(p90)} for nine of ten, ${ms(p99)} for 99 of 100` }),
    legend(["a", `p50 ${ms(p50)}`], ["b", `p90 ${ms(p90)}`], ["c", `p99 ${ms(p99)}`]));
}

function workerCard(worker) {
  const busy = past((event) => event.workers?.find((one) => one.address === worker.address)?.busy);
  return h(
    "li",
    { class: "panel worker" },
    h("div", { class: "worker-head" }, h("h3", {}, worker.address), h("span", { class: `badge ${isHealthy(worker) ? "good" : "bad"}` }, worker.state)),
    h("div", { class: "slots", role: "img", "aria-label": `${worker.busy} of ${worker.slots} slots busy` }, Array.from({ length: Math.min(worker.slots ?? 0, 64) }, (_, i) => h("i", { class: i < worker.busy ? "on" : "" }))),
    timePlot({ series: [{ points: busy, kind: "a" }], places: PLACES, unit: short, label: `Busy slots of ${worker.address} over the last minutes`, height: 44 }),
    h("p", { class: "worker-facts" }, h("span", {}, h("b", {}, `${worker.busy} / ${worker.slots}`), " slots"), h("span", {}, h("b", {}, String(worker.queued ?? 0)), " in line"), h("span", {}, h("b", {}, bytes(worker.bytes_in_flight ?? 0)), " in flight")),
  );
}

/** What the master says of itself, whatever fields it has. */
function masterFacts(master) {
  const entries = Object.entries(master).filter(([, value]) => typeof value !== "object" || value === null);
  if (entries.length === 0) return null;
  return h(
    "section",
    {},
    h("h2", { class: "section-title status-section" }, "Master, since its start"),
    h("dl", { class: "panel panel-pad facts" }, entries.map(([name, value]) => h("div", {}, h("dt", {}, name.replace(/_(s|ms)$/, "").replaceAll("_", " ")), h("dd", {}, fact(name, value))))),
  );
}

function fact(name, value) {
  if (typeof value !== "number") return String(value ?? "–");
  if (/bytes/.test(name)) return bytes(value);
  if (/_ms$/.test(name)) return duration(value);
  if (/_s$|seconds/.test(name)) return duration(value * 1000);
  return value.toLocaleString("en");
}
