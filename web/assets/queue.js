// Jobs and their states, without any element of the page.
//
//   looking -> ready -> queued -> uploading -> converting -> receiving -> done
//                         ^  \-> waiting (the server is busy) -> queued
//   failed and cancelled are ends that `start` leads away from again; `unknown` has no way out.

import { Problem, convert, formatById, gone, session, setOnline } from "./api.js";

/** Browsers open six connections to a host; the status stream and the page keep the rest. */
const RUNNING_MAX = 3;

/** At one to several seconds each, an overloaded server is given about a minute. */
const BUSY_TRIES_MAX = 12;

const BUSY_WAIT_MS = 2000;
const BUSY_WAIT_MS_MAX = 30_000;

let ids = 0;

/** One file on its way. Its fields are read by the views and written here alone. */
export class Job {
  constructor(file) {
    ids += 1;
    this.id = `job-${ids}`;
    this.file = file;
    this.state = "looking";
    this.format = null;
    this.found = {};
    this.own = null;
    this.result = null;
    this.problem = null;
    this.sent = 0;
    this.received = 0;
    this.total = 0;
    this.since = 0;
    this.retryAt = 0;
    this.tries = 0;
    this.abort = null;
  }

  get isRunning() {
    return ["uploading", "converting", "receiving"].includes(this.state);
  }

  get isPending() {
    return this.isRunning || this.state === "queued" || this.state === "waiting";
  }

  get canStart() {
    return ["ready", "failed", "cancelled", "done"].includes(this.state) && this.format !== null && this.problem?.code !== "TOO_LARGE";
  }
}

export class Queue {
  /** `settings(job)` gives `{ to, options }`; `changed(job)` is told of every change. */
  constructor({ settings, changed, unauthorized }) {
    this.jobs = [];
    this.settings = settings;
    this.changed = changed;
    this.unauthorized = unauthorized;
    this.timers = new Map();
    this.held = false;
  }

  add(job) {
    this.jobs.push(job);
  }

  remove(job) {
    this.cancel(job);
    this.jobs = this.jobs.filter((other) => other !== job);
    this.pump();
  }

  /** What the first bytes said is known now. */
  found(job, found, format) {
    job.found = found;
    job.format = format;
    const max = session.info?.body_bytes_max ?? Infinity;
    if (job.file.size > max) this.fail(job, tooLarge(job.file.size, max));
    else this.set(job, format ? "ready" : "unknown");
  }

  start(job) {
    if (!job.canStart) return;
    job.problem = null;
    job.result = null;
    job.tries = 0;
    this.set(job, "queued");
    this.pump();
  }

  cancel(job) {
    clearTimeout(this.timers.get(job));
    this.timers.delete(job);
    const { abort } = job;
    job.abort = null;
    if (job.isPending) this.set(job, "cancelled");
    abort?.();
  }

  /** While a token is asked for nothing is sent; afterwards all goes on. */
  hold(held) {
    this.held = held;
    this.pump();
  }

  pump() {
    if (this.held) return;
    const running = this.jobs.filter((job) => job.isRunning).length;
    const next = this.jobs.filter((job) => job.state === "queued").slice(0, Math.max(0, RUNNING_MAX - running));
    for (const job of next) this.run(job);
  }

  async run(job) {
    const { to, options } = this.settings(job);
    Object.assign(job, { sent: 0, received: 0, total: 0, since: performance.now() });
    const transfer = convert(job.file, { media: job.found.media, to, options }, {
      onsent: (bytes) => {
        job.sent = bytes;
        this.changed(job);
      },
      onwait: () => job.state === "uploading" && this.set(job, "converting"),
      onreceived: (bytes, total) => {
        Object.assign(job, { received: bytes, total });
        if (job.isRunning) this.set(job, "receiving");
      },
    });
    job.abort = transfer.abort;
    this.set(job, "uploading");
    try {
      const { blob, ms } = await transfer.done;
      const took = performance.now() - job.since;
      job.result = { blob, ms, took, to: formatById(to), name: resultName(job.file.name, formatById(to)) };
      this.set(job, "done");
    } catch (error) {
      // A cancelled job has been given its state already, perhaps even a new transfer.
      if (job.abort === transfer.abort) this.refused(job, error);
    } finally {
      if (job.abort === transfer.abort) job.abort = null;
      this.pump();
    }
  }

  refused(job, error) {
    const problem = error instanceof Problem ? error : gone();
    if (problem.isUnauthorized) {
      this.set(job, "queued");
      this.unauthorized(problem);
    } else if (problem.isBusy && job.tries < BUSY_TRIES_MAX) {
      this.wait(job, problem);
    } else {
      this.fail(job, problem);
      if (problem.code === "OFFLINE") setOnline(false);
    }
  }

  wait(job, problem) {
    job.tries += 1;
    const ms = Math.min(problem.retryAfterMs || BUSY_WAIT_MS, BUSY_WAIT_MS_MAX);
    job.retryAt = performance.now() + ms;
    job.problem = problem;
    this.set(job, "waiting");
    this.timers.set(job, setTimeout(() => {
      this.timers.delete(job);
      job.problem = null;
      this.set(job, "queued");
      this.pump();
    }, ms));
  }

  fail(job, problem) {
    job.problem = problem;
    this.set(job, "failed");
  }

  set(job, state) {
    const before = job.state;
    job.state = state;
    this.changed(job, before);
  }
}

function tooLarge(size, max) {
  return new Problem({
    title: "The file is too large",
    detail: `it has ${size.toLocaleString("en")} bytes, and this server takes ${max.toLocaleString("en")}`,
    hint: "the operator of the server can raise the limit",
    code: "TOO_LARGE",
    status: 413,
  });
}

function resultName(name, format) {
  const dot = name.lastIndexOf(".");
  const stem = dot > 0 ? name.slice(0, dot) : name;
  return `${stem}.${format.extensions[0]}`;
}
