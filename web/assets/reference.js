// Draws the OpenAPI document as a page to read: operations, parameters, answers, commands to try.

import { button, byId, h, replace, say } from "./dom.js";
import { openTheme } from "./theme-toggle.js";

const METHODS = ["get", "post", "put", "delete", "patch", "head", "options"];

/** References may lead in a circle. */
const DEPTH_MAX = 4;

let spec = {};

openTheme();
open();

async function open() {
  try {
    const [answer, info] = await Promise.all([fetch("/v1/openapi.json"), fetch("/v1/info").then((one) => one.json())]);
    if (!answer.ok) throw new Error(`the server answered ${answer.status}`);
    spec = await answer.json();
    document.querySelector("[data-view=store]").hidden = !info.store.available;
  } catch (error) {
    replace(byId("reference"), h("h1", {}, "HTTP API"), h("p", { class: "intro", role: "alert" }, `The document could not be read: ${error.message}. Reload the page once the server is back.`));
    return;
  }
  draw();
  // The place that the address names is there only now.
  if (location.hash) byId(decodeURIComponent(location.hash.slice(1)))?.scrollIntoView();
}

function draw() {
  const operations = Object.entries(spec.paths ?? {}).flatMap(([path, item]) =>
    METHODS.filter((method) => item[method]).map((method) => ({
      path,
      method,
      id: `${method}${path.replace(/[^a-z0-9]+/gi, "-")}`.replace(/-$/, ""),
      ...item[method],
      parameters: [...(item.parameters ?? []), ...(item[method].parameters ?? [])].map(resolve),
    })));
  const groups = Map.groupBy(operations, ({ tags }) => tags?.[0] ?? "operations");
  const { title = "HTTP API", version = "", description = "" } = spec.info ?? {};
  replace(byId("contents"), [...groups].map(([name, list]) => [h("h2", {}, name), h("ul", {}, list.map(({ id, method, path }) => h("li", {}, h("a", { href: `#${id}` }, verb(method), h("span", {}, path)))))]).flat());
  replace(
    byId("reference"),
    h("h1", {}, "HTTP API"),
    h("p", { class: "intro" }, prose(description || `${title} ${version}`)),
    operations.map(operation),
  );
}

const verb = (method) => h("span", { class: "method" }, method.toUpperCase());

function operation(op) {
  const { id, method, path, summary, description, parameters, requestBody, responses = {} } = op;
  return h(
    "article",
    { class: "operation", id, "aria-labelledby": `${id}-title` },
    h("header", {}, h("h2", { id: `${id}-title` }, verb(method), h("span", {}, path)), summary && h("p", { class: "title" }, prose(summary)), description && description !== summary && h("p", { class: "what" }, prose(description))),
    parameters.length > 0 && h("section", {}, h("h3", {}, "Parameters"), h("dl", { class: "params" }, parameters.map((one) => param(one.name, one.in, one.required, one.description, one.schema)))),
    requestBody && h("section", {}, h("h3", {}, "Body"), body(resolve(requestBody))),
    h("section", {}, h("h3", {}, "Answers"), h("ul", { class: "answers" }, Object.entries(responses).map(([status, one]) => answer(status, resolve(one))))),
    h("section", {}, h("h3", {}, "Try it"), shell(curl(op))),
  );
}

function param(name, place, required, description, schema) {
  return h(
    "div",
    { class: "param" },
    h("dt", {}, h("code", {}, name), h("small", {}, place), required && h("small", { class: "must" }, "required")),
    h("dd", {}, description && h("p", {}, prose(description)), h("p", { class: "kind" }, kind(schema))),
  );
}

function body({ description, content = {} }) {
  return h("div", {}, description && h("p", { class: "what" }, prose(description)), Object.entries(content).map(([media, { schema }]) => h("div", {}, h("p", {}, h("code", {}, media)), fields(schema))));
}

function answer(status, { description, content = {}, headers = {} }) {
  const medias = Object.entries(content);
  const names = Object.keys(headers);
  return h(
    "li",
    {},
    h("b", { class: /^[45]/.test(status) ? "fail" : "" }, status),
    h(
      "div",
      {},
      h("p", {}, prose(description ?? "")),
      medias.length > 0 && h("p", { class: "kind" }, medias.map(([media]) => media).join(", ")),
      names.length > 0 && h("p", { class: "kind" }, `Headers: ${names.join(", ")}`),
      /^2/.test(status) && medias.map(([, { schema }]) => fields(schema)),
    ),
  );
}

/** The fields of a JSON body, folded away. */
function fields(schema) {
  const list = schema && flat(resolve(schema), "", 0);
  if (!list?.length) return null;
  return h("details", {}, h("summary", {}, `${list.length} fields`), h("dl", { class: "params fields" }, list.map(({ name, required, schema: one }) => param(name, "", required, one.description, one))));
}

function flat(schema, prefix, depth) {
  if (depth > DEPTH_MAX) return [];
  if (schema.allOf) return schema.allOf.flatMap((one) => flat(resolve(one), prefix, depth + 1));
  if (schema.type === "array" && schema.items) return flat(resolve(schema.items), `${prefix}[]`, depth + 1);
  return Object.entries(schema.properties ?? {}).flatMap(([key, given]) => {
    const name = prefix ? `${prefix}.${key}` : key;
    const one = resolve(given);
    return [{ name, required: schema.required?.includes(key), schema: { ...one, description: given.description ?? one.description } }, ...flat(one, name, depth + 1)];
  });
}

function resolve(thing = {}) {
  const seen = new Set();
  let one = thing;
  while (one.$ref && !seen.has(one.$ref)) {
    seen.add(one.$ref);
    one = one.$ref.replace(/^#\//, "").split("/").reduce((at, key) => at?.[key.replaceAll("~1", "/").replaceAll("~0", "~")], spec) ?? {};
  }
  return one;
}

/** What a value may be, in a few words. */
function kind(given) {
  const schema = resolve(given);
  const options = schema.oneOf ?? schema.anyOf;
  if (options) return options.map(kind).filter((text) => text !== "null").join(" or ");
  const types = [schema.type].flat().filter((type) => type && type !== "null");
  const parts = [types.join(" or ") || (schema.enum ? "" : "any")];
  if (schema.enum) parts.push(`one of ${schema.enum.join(", ")}`);
  if (schema.const !== undefined) parts.push(`always ${schema.const}`);
  if (schema.minimum !== undefined || schema.maximum !== undefined) parts.push(`${schema.minimum ?? ""} to ${schema.maximum ?? ""}`);
  if (schema.maxLength !== undefined) parts.push(`at most ${schema.maxLength} characters`);
  if (schema.default !== undefined && schema.default !== null) parts.push(`${schema.default} by default`);
  if (schema.type === "array" && schema.items) parts.push(`of ${kind(schema.items)}`);
  return parts.filter(Boolean).join(", ");
}

/** Text with `code` in it. Its lines end where those of its source did, which says nothing. */
function prose(text) {
  return text.replace(/\s+/g, " ").split(/(`[^`]+`)/).map((part) => (part.startsWith("`") && part.length > 2 ? h("code", {}, part.slice(1, -1)) : part));
}

/** A command for an operation: required parameters, and a body from a file. */
function curl({ method, path, parameters, requestBody, security }) {
  const sample = ({ name, example, examples, schema }) => {
    const first = example ?? Object.values(examples ?? {})[0]?.value ?? schema?.example ?? schema?.examples?.[0];
    return first ?? { to: "png", name: "numbers.txt" }[name] ?? resolve(schema).enum?.[0] ?? name;
  };
  const filled = path.replace(/\{(\w+)\}/g, (_, name) => encodeURIComponent(sample(parameters.find((one) => one.name === name) ?? { name })));
  const query = parameters.filter((one) => one.in === "query" && one.required).map((one) => `${one.name}=${encodeURIComponent(sample(one))}`).join("&");
  const words = ["curl"];
  const medias = Object.keys(resolve(requestBody).content ?? {});
  const isJson = medias.length > 0 && medias.every((media) => media === "application/json");
  const isFile = medias.length > 0 && !isJson;
  if (isFile && method === "post") words.push("--data-binary @photo.jpg", "-H 'Content-Type: application/octet-stream'");
  else if (isFile) words.push(`-T ${filled.split("/").pop()}`);
  else if (isJson) words.push(`--json '{"to": "renamed.txt"}'`);
  else if (method !== "get") words.push(`-X ${method.toUpperCase()}`);
  if (path.endsWith("/events")) words.push("-N");
  if (security?.length || (!security && spec.security?.length)) words.push('-H "Authorization: Bearer $TOKEN"');
  if (method === "post" && isFile) words.push(`-o photo.${sample({ name: "to" })}`);
  return `${words.join(" \\\n  ")} \\\n  '${location.origin}${filled}${query ? `?${query}` : ""}'`;
}

let commands = 0;

function shell(text) {
  const copy = button({ text: "Copy", kind: "small", onclick: async () => {
    try {
      await navigator.clipboard.writeText(text);
      say("Copied");
      copy.textContent = "Copied";
    } catch {
      // Without a secure origin there is no clipboard: the command is selected instead.
      getSelection().selectAllChildren(code);
      copy.textContent = "Selected";
    }
    setTimeout(() => (copy.textContent = "Copy"), 1500);
  } });
  // Whoever goes from region to region tells them apart by name, so each has its own.
  commands += 1;
  const code = h("pre", { tabindex: "0", role: "region", "aria-label": `Command ${commands}` }, text);
  return h("div", { class: "shell" }, code, copy);
}
