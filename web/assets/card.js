// A card: one file, from the look at its bytes to the result.

import { button, h, icon, replace } from "./dom.js";
import { formatByName } from "./api.js";
import { optionFields, optionWords, optionsOf, targetName, targetsOf } from "./options.js";
import { bytes, duration, saving, splitName } from "./text.js";
import { thumb } from "./thumb.js";

/** The card of `job`; `acts` are what its buttons do, `settings` what holds for it. */
export class Card {
  constructor(job, acts, settings) {
    this.job = job;
    this.acts = acts;
    this.settings = settings;
    this.isOpen = false;
    this.thumb = h("div", { class: "thumb" }, icon("sheet"));
    this.node = h("li", { class: "job fresh", id: job.id, "data-state": job.state });
    this.node.addEventListener("animationend", () => this.node.classList.remove("fresh"), { once: true });
    this.render();
  }

  looked() {
    this.thumb = thumb(this.job.file, this.job.found);
    this.render();
  }

  render() {
    const { job } = this;
    this.node.dataset.state = job.state;
    this.node.classList.toggle("pending", job.isPending);
    const inside = this.node.contains(document.activeElement);
    replace(this.node, this.thumb, this.head(), this.side(), this.options(), this.body());
    this.tick();
    // What was pressed may be gone in the new state; the focus stays in this card.
    if (inside && !this.node.contains(document.activeElement)) this.node.querySelector("[data-focus]")?.focus();
  }

  head() {
    const { job } = this;
    const [stem, tail] = splitName(job.file.name);
    const { found, format } = job;
    const told = format ? h("span", { class: "badge" }, targetName(format.id)) : found.label && h("span", { class: "badge warn" }, found.label);
    const named = formatByName(job.file.name);
    const lies = format && named && named !== format;
    const words = format && optionWords(format, this.settings(job));
    return h(
      "div",
      { class: "job-head" },
      h("h3", { class: "job-name", title: job.file.name }, h("span", { class: "stem" }, stem), h("span", { class: "tail" }, tail)),
      h(
        "p",
        { class: "job-facts" },
        told,
        h("span", {}, bytes(job.file.size)),
        found.width && h("span", {}, `${found.width} × ${found.height}`),
        lies && h("span", { class: "job-lie" }, `named ${tail}, but its bytes are ${targetName(format.id)}`),
        words && h("span", { class: "job-set" }, words),
      ),
    );
  }

  /** The right side of a card: what it becomes, and what can be done with it. */
  side() {
    const { job, acts } = this;
    const { name } = job.file;
    const tools = job.isPending
      ? [button({ text: "Cancel", name: "stop", kind: "small", "data-focus": "stop", "aria-label": `Cancel ${name}`, onclick: () => acts.cancel(job) })]
      : [...this.controls(), job.state !== "looking" && button({ label: `Remove ${name} from the list`, name: "cross", kind: "quiet", "data-focus": "remove", onclick: () => acts.remove(job) })];
    return h("div", { class: "job-side" }, tools);
  }

  controls() {
    const { job, acts } = this;
    if (!job.format || job.problem?.code === "TOO_LARGE") return [];
    const set = this.settings(job);
    const id = `${job.id}-to`;
    const select = h("select", { id, class: "select", "data-focus": "to", onchange: () => acts.set(job, { to: select.value }) }, targetsOf(job.format).map((target) => h("option", { value: target.id, selected: target.id === set.to }, targetName(target.id))));
    const hasOptions = optionsOf(job.format, set.to).length > 0;
    return [
      h("span", { class: "job-to" }, h("label", { for: id }, h("span", { class: "sr" }, `Convert ${job.file.name} to`), icon("arrow")), select),
      hasOptions && button({ label: `Options of ${job.file.name}`, name: "sliders", kind: this.isOpen ? "pressed" : "quiet", "data-focus": "options", "aria-expanded": String(this.isOpen), "aria-controls": `${job.id}-options`, onclick: () => this.toggle() }),
      this.startButton(),
    ];
  }

  startButton() {
    const { job, acts } = this;
    const words = { ready: ["Convert"], failed: ["Retry", "again"], cancelled: ["Retry", "again"] }[job.state] ?? (job.state === "done" && acts.isStale(job) && ["Convert again", "again"]);
    if (!words) return null;
    const [text, name] = words;
    return button({ text, name, kind: "small", "data-focus": "start", "aria-label": `${text} ${job.file.name}`, onclick: () => acts.start(job) });
  }

  options() {
    const { job, acts } = this;
    if (!this.isOpen || !job.format || job.isPending) return null;
    const common = job.own && acts.hasCommon() && button({ text: "Use the settings for all", name: "again", kind: "small", "data-focus": "common", onclick: () => acts.common(job) });
    return h("div", { class: "job-options wide", id: `${job.id}-options` }, optionFields(job.format, this.settings(job), (name, value) => acts.set(job, { option: [name, value] })), common && h("div", {}, common));
  }

  toggle() {
    this.isOpen = !this.isOpen;
    this.render();
  }

  body() {
    const { job } = this;
    if (job.isPending) return this.progress();
    if (job.state === "done") return this.result();
    if (job.state === "failed") return this.problem();
    if (job.state === "cancelled") return h("p", { class: "wide muted fine" }, "Cancelled. Nothing of it is left on the server.");
    if (job.state === "unknown") return h("p", { class: "wide muted" }, `This server has no conversion for this file. It takes ${this.acts.sources()}.`);
    return null;
  }

  progress() {
    this.text = h("span", {});
    this.right = h("span", {});
    this.fill = h("i");
    const waiting = this.job.state === "waiting";
    const busy = this.job.state === "converting" || this.job.state === "queued";
    this.bar = h("div", { class: `bar ${busy && this.job.state !== "queued" ? "busy" : ""} ${waiting ? "waiting" : ""}`, role: "progressbar", "aria-label": `Progress of ${this.job.file.name}`, "aria-valuemin": 0, "aria-valuemax": 100 }, this.fill);
    return h("div", { class: "progress wide" }, h("div", { class: "progress-text" }, this.job.state === "converting" && h("span", { class: "spinner", "aria-hidden": "true" }), this.text, h("span", { class: "grow" }), this.right), this.bar);
  }

  /** Numbers alone, many times a second. */
  tick() {
    const { job } = this;
    if (!job.isPending) return;
    const [text, right, part] = this.numbers();
    this.text.textContent = text;
    this.right.textContent = right;
    this.fill.style.setProperty("--part", part ?? 0);
    if (part === null) this.bar.removeAttribute("aria-valuenow");
    else this.bar.setAttribute("aria-valuenow", Math.round(part * 100));
    this.bar.setAttribute("aria-valuetext", text);
  }

  numbers() {
    const { job } = this;
    const size = job.file.size;
    const elapsed = performance.now() - job.since;
    switch (job.state) {
      case "queued":
        return ["In line", "", 0];
      case "waiting": {
        const left = Math.max(0, job.retryAt - performance.now());
        return [`The server is busy. Next try in ${Math.ceil(left / 1000)} s`, `try ${job.tries + 1}`, 1 - left / Math.max(1, job.problem?.retryAfterMs || 2000)];
      }
      case "uploading": {
        const rate = elapsed > 400 ? `${bytes(job.sent / (elapsed / 1000))}/s` : "";
        return [`Uploading ${bytes(job.sent)} of ${bytes(size)}`, rate, size ? job.sent / size : 0];
      }
      case "converting":
        return [`Converting to ${targetName(this.settings(job).to)}`, elapsed > 1500 ? duration(elapsed) : "", null];
      default:
        return [`Receiving ${bytes(job.received)}${job.total ? ` of ${bytes(job.total)}` : ""}`, "", job.total ? job.received / job.total : null];
    }
  }

  result() {
    const { job, acts } = this;
    const { blob, ms, took, to } = job.result;
    const words = saving(job.file.size, blob.size);
    const smaller = blob.size < job.file.size && words !== "same size";
    return h(
      "div",
      { class: "result wide" },
      h("span", { class: "tick" }, icon("tick")),
      h(
        "p",
        { class: "result-sizes" },
        h("span", {}, bytes(job.file.size)),
        icon("arrow"),
        h("b", {}, bytes(blob.size)),
        words && h("span", { class: smaller ? "badge good" : "badge" }, words),
        h("span", { class: "fine", title: `${duration(took)} with both transfers` }, ms === null ? duration(took) : `converted in ${duration(ms)}`),
      ),
      h("span", { class: "spacer" }),
      h(
        "div",
        { class: "result-buttons" },
        button({ text: "Preview", name: "eye", kind: "small", "data-focus": "preview", "aria-label": `Preview ${job.result.name}`, onclick: () => acts.preview(job) }),
        button({ text: `Download ${targetName(to.id)}`, name: "down", kind: "small primary", "data-focus": "download", "aria-label": `Download ${targetName(to.id)}: ${job.result.name}`, onclick: () => acts.download(job) }),
      ),
    );
  }

  problem() {
    return h("div", { class: "wide" }, problemBox(this.job.problem));
  }
}

/** What went wrong, what to do, and what an operator would ask for. */
export function problemBox({ title, detail, hint, code, requestId }) {
  const said = detail && detail.toLowerCase() !== title.toLowerCase();
  return h(
    "div",
    { class: "problem" },
    icon("alert"),
    h(
      "div",
      { class: "problem-body" },
      h("p", { class: "problem-title" }, title),
      said && h("p", {}, sentence(detail)),
      hint && h("p", { class: "problem-hint" }, hint),
      h("p", { class: "problem-facts" }, [code, requestId && `request ${requestId}`].filter(Boolean).join(" · ")),
    ),
  );
}

const sentence = (text) => text.charAt(0).toUpperCase() + text.slice(1);
