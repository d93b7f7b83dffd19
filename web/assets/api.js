// The server's HTTP API as this page uses it. The token stays in this module's memory.

let token = "";
const listeners = new Set();
let tellKnown;

export const session = {
  /** Settles once the server has said what it takes; what needs that waits for it. */
  known: new Promise((resolve) => (tellKnown = resolve)),
  info: null,
  formats: [],
  options: new Map(),
  online: null,
};

export const hasToken = () => token !== "";

export function setToken(value) {
  token = value.trim();
}

/** Calls `listener` whenever the server comes or goes. */
export function onOnline(listener) {
  listeners.add(listener);
}

export function setOnline(online) {
  if (session.online === online) return;
  session.online = online;
  for (const listener of listeners) listener(online);
}

/** A request that failed, with what the server said about it (RFC 9457). */
export class Problem extends Error {
  constructor({ title, detail, hint, code, status, request_id: requestId, retry_after_ms: retryAfterMs }) {
    super(detail || title || "the request failed");
    Object.assign(this, { title: title ?? "The request failed", detail: detail ?? "", hint: hint ?? "", code: code ?? "", status: status ?? 0, requestId: requestId ?? "", retryAfterMs: retryAfterMs ?? 0 });
  }

  get isUnauthorized() {
    return this.status === 401;
  }

  get isBusy() {
    return this.code === "BUSY" || this.status === 429;
  }
}

export const gone = () =>
  new Problem({
    title: "The server cannot be reached",
    detail: "the connection broke, or nothing listens there any more",
    hint: "see whether fxsrv is running, then retry; the file is still here",
    code: "OFFLINE",
  });

/** The problem of an answer that is not a success. Anything but Problem Details is told by its status. */
export function problemOf(status, text, headers) {
  let given = {};
  try {
    given = JSON.parse(text);
  } catch {
    // A proxy between may answer in its own words.
  }
  const after = Number(headers("Retry-After"));
  const problem = { title: `The server answered ${status}`, ...given, status };
  if (!problem.retry_after_ms && after > 0) problem.retry_after_ms = after * 1000;
  return new Problem(problem);
}

export function authorization() {
  return token ? { Authorization: `Bearer ${token}` } : {};
}

/** `fetch` with the token; every failure is a Problem. */
export async function request(path, { headers = {}, ...rest } = {}) {
  let response;
  try {
    response = await fetch(path, { ...rest, headers: { ...authorization(), ...headers }, cache: "no-store", redirect: "error" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    setOnline(false);
    throw gone();
  }
  setOnline(true);
  if (response.ok) return response;
  throw problemOf(response.status, await response.text(), (name) => response.headers.get(name));
}

export const json = async (path, init) => (await request(path, init)).json();

/** Asks what the server is and can; the page begins with it, and comes back to it when it was gone. */
export async function load() {
  const [info, formats] = await Promise.all([json("/v1/info"), json("/v1/formats")]);
  session.info = info;
  session.formats = formats.formats;
  session.options = new Map(formats.options.map((option) => [option.name, option]));
  tellKnown();
}

export const formatOf = (media) => session.formats.find((format) => format.media_types.includes(media)) ?? null;
export const formatById = (id) => session.formats.find((format) => format.id === id) ?? null;

/** A name's type by its extension, to tell where it lies. */
export function formatByName(name) {
  const extension = name.includes(".") ? name.split(".").pop().toLowerCase() : "";
  return session.formats.find((format) => format.extensions.includes(extension)) ?? null;
}

/** Sends one file to be converted, and takes the result. */
export function convert(file, { media, to, options }, hear) {
  const { done, abort } = send("POST", `/v1/convert?${new URLSearchParams({ to, ...options })}`, file, media, hear);
  return { done: done.then((xhr) => ({ blob: xhr.response, ms: convertMs(xhr) })), abort };
}

/** Sends one file to be kept under `path`. */
export const put = (path, file, onsent) => send("PUT", path, file, "application/octet-stream", { onsent }).done;

/**
 * A file on its way. XMLHttpRequest, since it alone tells how much of an upload has left; the body is
 * read from the blob as it goes, and the answer becomes a blob again.
 */
function send(method, path, file, media, { onsent, onwait, onreceived }) {
  const xhr = new XMLHttpRequest();
  const done = new Promise((resolve, reject) => {
    xhr.open(method, path);
    xhr.responseType = "blob";
    xhr.setRequestHeader("Content-Type", media);
    for (const [name, value] of Object.entries(authorization())) xhr.setRequestHeader(name, value);
    xhr.upload.addEventListener("progress", (event) => onsent(event.loaded));
    xhr.upload.addEventListener("load", () => onwait?.());
    xhr.addEventListener("progress", (event) => onreceived?.(event.loaded, event.lengthComputable ? event.total : 0));
    xhr.addEventListener("abort", () => reject(new DOMException("cancelled", "AbortError")));
    xhr.addEventListener("error", () => reject(gone()));
    xhr.addEventListener("load", async () => {
      setOnline(true);
      if (xhr.status < 300) resolve(xhr);
      else reject(problemOf(xhr.status, await xhr.response.text(), (name) => xhr.getResponseHeader(name)));
    });
    xhr.send(file);
  });
  return { done, abort: () => xhr.abort() };
}

function convertMs(xhr) {
  const timing = /(?:^|,\s*)convert;(?:[^,]*;)?\s*dur=([\d.]+)/.exec(xhr.getResponseHeader("Server-Timing") ?? "");
  return timing ? Number(timing[1]) : null;
}
