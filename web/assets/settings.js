// What each file is to become: settings for all files of a kind, and those of a file of its own.

import { formatById } from "./api.js";
import { h, replace } from "./dom.js";
import { likelyTarget, optionFields, optionsOf, sentOptions, targetSegments, targetsOf } from "./options.js";
import { count } from "./text.js";

/** Formats with the same targets are one kind: pictures, say. */
const kindOf = (format) => targetsOf(format).map((target) => target.id).join();

export class Settings {
  constructor(panel, changed) {
    this.panel = panel;
    this.changed = changed;
    this.kinds = new Map();
  }

  /** What holds for a job: its own choice, else that for its kind. */
  of(job) {
    return job.own ?? this.kind(job.format);
  }

  /** What is sent for it. */
  sent(job) {
    const set = this.of(job);
    return { to: set.to, options: sentOptions(job.format, set) };
  }

  set(job, { to, option }) {
    const { to: before, options } = this.of(job);
    job.own = { to: to ?? before, options: { ...options } };
    if (option) job.own.options[option[0]] = option[1];
    this.prune(job.format, job.own);
  }

  /** One option may mean other things for another target (`layout` does): what it does not take goes. */
  prune(format, set) {
    for (const option of optionsOf(format, set.to)) {
      const value = set.options[option.name];
      if (option.choices && value !== undefined && !option.choices.includes(value)) delete set.options[option.name];
    }
  }

  kind(format) {
    const key = kindOf(format);
    if (!this.kinds.has(key)) this.kinds.set(key, { to: likelyTarget(format), options: {}, format });
    return this.kinds.get(key);
  }

  /** The panel shows each kind that has two files or more. */
  render(jobs) {
    const groups = Map.groupBy(jobs.filter((job) => job.format), (job) => kindOf(job.format));
    const shown = [...groups].filter(([, members]) => members.length > 1);
    this.panel.hidden = shown.length === 0;
    replace(this.panel, h("h2", { class: "section-title", id: "common-title" }, "Settings for all"), shown.map(([key, members]) => this.group(key, members)));
  }

  group(key, members) {
    const { format } = members[0];
    const set = this.kind(format);
    const change = (edit) => {
      edit();
      this.prune(format, set);
      for (const job of members) job.own = null;
      this.changed(members);
    };
    const own = members.filter((job) => job.own).length;
    const fields = optionFields(format, set, (name, value) => change(() => (set.options[name] = value)));
    // Two kinds may have an option of one name; each control must keep its own focus.
    for (const node of fields.querySelectorAll("[data-focus]")) node.dataset.focus = `${key}-${node.dataset.focus}`;
    const targets = targetSegments(format, set.to, (to) => change(() => (set.to = to)));
    for (const node of targets.querySelectorAll("[data-focus]")) node.dataset.focus = `${key}-${node.dataset.focus}`;
    return h(
      "div",
      { class: "common-group" },
      h("h3", {}, `${nameOf(members)}, ${count(members.length, "file")}`),
      targets,
      fields,
      own > 0 && h("p", { class: "fine" }, `${count(own, "file has", "files have")} settings of their own; a change here replaces them.`),
    );
  }
}

function nameOf(members) {
  const ids = [...new Set(members.map((job) => job.format.id))];
  const pictures = ids.every((id) => formatById(id).media_types[0].startsWith("image/"));
  return pictures ? "Pictures" : ids.map((id) => formatById(id).name).join(", ");
}
