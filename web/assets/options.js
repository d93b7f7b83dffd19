// The choice of a target and its options, drawn from what /v1/formats says. One set of controls
// serves both the settings for all and those of a single file.

import { formatById, session } from "./api.js";
import { h } from "./dom.js";

const LABELS = {
  "font-size": "Font size",
  orient: "Orientation",
};

const WORDS = {
  a4: "A4",
  auto: "Upright",
  strip: "Remove",
  keep: "Keep",
};

/** What a person most likely wants a type to become, where the server offers it. */
const LIKELY = { jpg: "webp", png: "webp", webp: "jpg" };

const SHORT_CHOICES_MAX = 3;

let names = 0;

export const targetsOf = (format) => format?.targets ?? [];

export function likelyTarget(format) {
  const targets = targetsOf(format).map((target) => target.id);
  const likely = LIKELY[format.id];
  if (targets.includes(likely)) return likely;
  return targets.find((id) => id !== format.id) ?? targets[0];
}

/** The options of a pair, as the server describes them. */
export function optionsOf(format, to) {
  const target = targetsOf(format).find((one) => one.id === to);
  const described = (name) => session.options.get(name);
  // An option may mean something of its own for a target: another default, other choices.
  return (target?.options ?? []).filter(described).map((name) => ({ ...described(name), ...described(name).targets?.[to] }));
}

/** Of what was set, only what this pair takes goes out. */
export function sentOptions(format, { to, options }) {
  const sent = {};
  for (const { name, kind } of optionsOf(format, to)) {
    const value = options[name];
    if (value === undefined || value === "") continue;
    if (kind === "boolean" && value === false) continue;
    if (name === "quality" && options.lossless && to === "webp") continue;
    sent[name] = kind === "boolean" ? "1" : String(value);
  }
  return sent;
}

/** What was set, in words for a card: "quality 60, lossless". */
export function optionWords(format, settings) {
  return Object.entries(sentOptions(format, settings))
    .map(([name, value]) => (session.options.get(name).kind === "boolean" ? label(name).toLowerCase() : `${label(name).toLowerCase()} ${value}`))
    .join(", ");
}

export function label(name) {
  return LABELS[name] ?? name.charAt(0).toUpperCase() + name.slice(1).replaceAll("-", " ");
}

export const targetName = (id) => (formatById(id)?.id === "text" ? "TXT" : id.toUpperCase());

/** A target as segments, for the settings for all. */
export function targetSegments(format, value, onchange) {
  return segments("Convert to", targetsOf(format).map(({ id }) => [id, targetName(id)]), value, onchange, "to");
}

/** The controls of all options that a pair has. `change(name, value)`; undefined is the default. */
export function optionFields(format, settings, change) {
  const fields = optionsOf(format, settings.to).map((option) => {
    const value = settings.options[option.name];
    return MAKERS[option.kind]?.(option, value, (next) => change(option.name, next)) ?? textField(option, value, (next) => change(option.name, next));
  });
  return h("div", { class: "options" }, fields);
}

const MAKERS = { integer: numberField, number: numberField, boolean: switchField, choice: choiceField, colour: colourField, color: colourField };

function numberField(option, value, change) {
  const id = newId();
  const shown = value ?? option.default ?? "";
  const scale = { min: option.min, max: option.max, step: option.kind === "integer" ? 1 : "any" };
  const box = h("input", { id, class: "input short", type: "number", inputmode: "decimal", ...scale, value: shown, placeholder: "auto", "data-focus": option.name, "aria-describedby": `${id}-help` });
  box.addEventListener("change", () => {
    if (!box.validity.valid) box.value = Math.min(option.max ?? Infinity, Math.max(option.min ?? -Infinity, Math.round(box.valueAsNumber) || 0));
    if (slider) slider.value = box.value || option.max;
    change(box.value === "" ? undefined : Number(box.value));
  });
  // A slider suits a scale that all know; a length in millimetres is typed.
  const slider = option.name === "quality" && h("input", { class: "range", type: "range", ...scale, step: 1, value: shown || 80, "aria-label": `${label(option.name)}, slider`, "data-focus": `${option.name}-range` });
  if (slider) {
    slider.addEventListener("input", () => (box.value = slider.value));
    slider.addEventListener("change", () => change(Number(slider.value)));
  }
  return field(option, id, h("div", { class: "field-row" }, slider, box));
}

function switchField(option, value, change) {
  const id = newId();
  const box = h("input", { id, type: "checkbox", role: "switch", checked: value ?? option.default === true, "data-focus": option.name, "aria-describedby": `${id}-help`, onchange: () => change(box.checked) });
  return h("div", { class: "field" }, h("label", { class: "switch" }, label(option.name), box), help(option, id));
}

function choiceField(option, value, change) {
  const pairs = option.choices.map((choice) => [choice, WORDS[choice] ?? choice.charAt(0).toUpperCase() + choice.slice(1)]);
  const chosen = value ?? option.default;
  if (pairs.length <= SHORT_CHOICES_MAX) {
    const id = newId();
    return h("div", { class: "field" }, h("span", { class: "label", "aria-hidden": "true" }, label(option.name)), segments(label(option.name), pairs, chosen, change, option.name), help(option, id));
  }
  const id = newId();
  const select = h("select", { id, class: "select", "data-focus": option.name, "aria-describedby": `${id}-help`, onchange: () => change(select.value) }, pairs.map(([key, text]) => h("option", { value: key, selected: key === chosen }, text)));
  return field(option, id, select);
}

function colourField(option, value, change) {
  const id = newId();
  const shown = value ?? option.default ?? "#ffffff";
  const swatch = h("input", { id, class: "swatch", type: "color", value: shown, "data-focus": option.name, "aria-describedby": `${id}-help` });
  const text = h("span", { class: "muted" }, shown);
  swatch.addEventListener("input", () => (text.textContent = swatch.value));
  swatch.addEventListener("change", () => change(swatch.value));
  return field(option, id, h("div", { class: "field-row" }, swatch, text));
}

function textField(option, value, change) {
  const id = newId();
  const box = h("input", { id, class: "input", value: value ?? "", placeholder: option.default ?? "", "data-focus": option.name, "aria-describedby": `${id}-help`, onchange: () => change(box.value || undefined) });
  return field(option, id, box);
}

function field(option, id, control) {
  return h("div", { class: "field" }, h("label", { for: id }, label(option.name)), control, help(option, id));
}

const help = (option, id) => h("p", { class: "help", id: `${id}-help` }, option.help ?? "");

function segments(legend, pairs, chosen, change, focus) {
  const name = newId();
  return h(
    "fieldset",
    { class: "segments" },
    h("legend", { class: "sr" }, legend),
    pairs.map(([key, text]) =>
      h("label", {}, h("input", { type: "radio", name, value: key, checked: key === chosen, "data-focus": `${focus}-${key}`, onchange: () => change(key) }), h("span", {}, text)),
    ),
  );
}

function newId() {
  names += 1;
  return `option-${names}`;
}
