// The processes under test, and pages that are watched while they are driven.
//
// Every wait has an end. A page that logs an error, breaks the content security policy, or asks
// another host for anything fails its test, whatever else it shows.

import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { accessSync, constants, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { after } from "node:test";
import { fileURLToPath } from "node:url";

import { chromium } from "playwright-core";

export const ROOT = resolve(dirname(fileURLToPath(import.meta.url)), "../..");

/** Longest wait for one step. A debug build on a busy machine needs a few seconds. */
export const PATIENCE_MS = 30_000;

export function binary() {
  const named = process.env.FXSRV_BIN;
  const tried = named ? [resolve(named)] : ["release", "debug"].map((profile) => join(ROOT, "target", profile, "fxsrv"));
  for (const path of tried) {
    try {
      accessSync(path, constants.X_OK);
      return path;
    } catch {
      // The next one, perhaps.
    }
  }
  throw new Error(`no binary at ${tried.join(", ")}; build one with \`cargo build --release\`, or set FXSRV_BIN`);
}

function environment() {
  const kept = Object.entries(process.env).filter(([key]) => !key.startsWith("FXSRV_"));
  return { ...Object.fromEntries(kept), NO_COLOR: "1", RUST_BACKTRACE: "1" };
}

export function fxsrv(...args) {
  return execFileSync(binary(), args, { env: environment(), timeout: PATIENCE_MS, stdio: "pipe" });
}

const directories = [];
const servers = [];

/** A directory that goes when the tests are over. */
export function directory() {
  directories.push(mkdtempSync(join(tmpdir(), "fxsrv-web-")));
  return directories.at(-1);
}

// What still runs is ended as an operator would, the last first: a test that failed midway leaves
// servers behind, and the run would wait for them for ever.
after(async () => {
  try {
    for (const server of servers.toReversed()) await server.stop();
  } finally {
    for (const { process: child } of servers) child.kill("SIGKILL");
    for (const path of directories) rmSync(path, { recursive: true, force: true });
  }
});

/** A server process. */
export class Server {
  constructor(...args) {
    this.name = args[0];
    this.lines = [];
    this.log = [];
    this.process = spawn(binary(), args, { env: environment(), stdio: ["ignore", "pipe", "pipe"] });
    servers.push(this);
    this.ended = new Promise((done) => this.process.on("exit", (code, signal) => done({ code, signal })));
    createInterface({ input: this.process.stdout }).on("line", (line) => this.lines.push(line));
    createInterface({ input: this.process.stderr }).on("line", (line) => this.log.push(line));
  }

  /** What follows `prefix` on its stdout, as soon as it is said. */
  said(prefix) {
    return eventually(`${this.name} says "${prefix}"`, () => {
      const line = this.lines.find((one) => one.startsWith(prefix));
      if (!line && this.process.exitCode !== null) throw new Error(`${this.name} has ended: ${this.log.join("\n")}`);
      return line?.slice(prefix.length);
    });
  }

  /** Bytes of memory that are its own. */
  rss() {
    const status = readFileSync(`/proc/${this.process.pid}/status`, "utf8");
    return Number(/^RssAnon:\s+(\d+) kB/m.exec(status)[1]) * 1024;
  }

  /** Ends it as an operator would; it must end well, and must not have panicked. */
  async stop(signal = "SIGINT") {
    if (this.process.exitCode === null && this.process.signalCode === null) this.process.kill(signal);
    const { code } = await this.ended;
    assert.equal(code, 0, `${this.name} ended with ${code}: ${this.log.join("\n")}`);
    assert.doesNotMatch(this.log.join("\n"), /panicked/);
  }
}

/** `fxsrv up` with its page at a free port. */
export async function up(...args) {
  const server = new Server("up", "--listen", "127.0.0.1:0", "--web", "127.0.0.1:0", "--state", directory(), ...args);
  return { url: await server.said("the page is at ") };
}

/** Worker, master and gateway as processes of their own, to be measured and ended one by one. */
export async function tiers({ worker = [], master = [], web = [], withToken = true } = {}) {
  const dir = directory();
  const [certs, token] = [join(dir, "certs"), join(dir, "token")];
  fxsrv("certs", "init", "--dir", certs, "--name", "127.0.0.1");
  const secret = fxsrv("token", "new").toString().trim();
  writeFileSync(token, `${secret}\n`, { mode: 0o600 });
  const w = new Server("worker", "--listen", "127.0.0.1:0", "--certs", certs, ...worker);
  const m = new Server("master", "--listen", "127.0.0.1:0", "--certs", certs, "--token-file", token, "--worker", await w.said("listening on "), ...master);
  const server = await m.said("listening on ");
  const start = async (listen) => {
    const shown = withToken ? ["--token-file", token] : [];
    const gateway = new Server("web", "--listen", listen, "--server", server, "--ca", join(certs, "ca.pem"), ...shown, ...web);
    return { gateway, url: await gateway.said("the page is at ") };
  };
  const { gateway, url } = await start("127.0.0.1:0");
  return { worker: w, master: m, gateway, url, secret, start, stop: async (...more) => {
    for (const one of [...more, m, w]) await one.stop();
  } };
}

export async function eventually(what, condition, ms = PATIENCE_MS) {
  const ends = performance.now() + ms;
  for (;;) {
    const value = await condition();
    if (value) return value;
    if (performance.now() > ends) throw new Error(`${what}: did not happen within ${ms} ms`);
    await new Promise((done) => setTimeout(done, 10));
  }
}

let browser = null;

async function theBrowser() {
  browser ??= await chromium.launch({
    executablePath: execFileSync("sh", ["-c", `command -v ${process.env.CHROMIUM ?? "chromium"}`]).toString().trim(),
    // A container has no namespaces of its own to give, and little shared memory.
    args: ["--no-sandbox", "--disable-dev-shm-usage"],
  });
  return browser;
}

after(async () => browser?.close());

/**
 * Opens a page and runs `drive(page)`. `expected` are patterns of console errors that belong to the
 * test: the browser logs every answer that is an error.
 */
export async function withPage(url, drive, { expected = [], path = "", ...context } = {}) {
  const own = await (await theBrowser()).newContext({ viewport: { width: 1280, height: 860 }, acceptDownloads: true, reducedMotion: "reduce", ...context });
  own.setDefaultTimeout(PATIENCE_MS);
  const page = await own.newPage();
  const wrong = [];
  const host = new URL(url).host;
  page.on("pageerror", (error) => wrong.push(`exception: ${error.stack ?? error}`));
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type()) && !expected.some((one) => one.test(message.text()))) wrong.push(`console: ${message.text()}`);
  });
  page.on("request", (request) => {
    const to = new URL(request.url());
    if (["http:", "https:", "ws:", "wss:"].includes(to.protocol) && to.host !== host) wrong.push(`a request left the host: ${to}`);
  });
  await page.exposeFunction("reportViolation", (text) => wrong.push(`policy: ${text}`));
  await page.addInitScript(() => addEventListener("securitypolicyviolation", (event) => window.reportViolation(`${event.violatedDirective} ${event.blockedURI}`)));
  try {
    await page.goto(new URL(path, url).href);
    await drive(page);
    assert.deepEqual(wrong, []);
  } finally {
    await own.close();
  }
}

/** Puts files into the page as a person does: by dropping them somewhere on it. */
export async function drop(page, files) {
  const given = files.map(({ name, bytes }) => ({ name, base64: Buffer.from(bytes).toString("base64") }));
  await page.evaluate((list) => {
    const transfer = new DataTransfer();
    for (const { name, base64 } of list) transfer.items.add(new File([Uint8Array.from(atob(base64), (c) => c.charCodeAt(0))], name));
    for (const type of ["dragenter", "dragover", "drop"]) {
      document.querySelector("footer").dispatchEvent(new DragEvent(type, { dataTransfer: transfer, bubbles: true, cancelable: true }));
    }
  }, given);
}

export const card = (page, name) => page.locator(".job", { has: page.locator(`.job-name[title="${name}"]`) });

export const inState = (page, name, state) => card(page, name).and(page.locator(`[data-state="${state}"]`)).waitFor();

/** The bytes that a press on `locator` downloads. */
export async function downloaded(page, locator) {
  const [download] = await Promise.all([page.waitForEvent("download"), locator.click()]);
  return { name: download.suggestedFilename(), path: await download.path(), bytes: readFileSync(await download.path()) };
}

/** Size and one pixel of a picture, by the browser's codecs, which are not the server's. */
export function decode(page, bytes, type) {
  return page.evaluate(async ([base64, media]) => {
    const bitmap = await createImageBitmap(new Blob([Uint8Array.from(atob(base64), (c) => c.charCodeAt(0))], { type: media }));
    const context = new OffscreenCanvas(bitmap.width, bitmap.height).getContext("2d");
    context.drawImage(bitmap, 0, 0);
    return { width: bitmap.width, height: bitmap.height, pixel: [...context.getImageData(bitmap.width >> 1, bitmap.height >> 1, 1, 1).data] };
  }, [bytes.toString("base64"), type]);
}
