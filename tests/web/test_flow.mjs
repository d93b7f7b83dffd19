// What happens on the way: progress, cancelling, a busy server, a token, a server that goes.

import assert from "node:assert/strict";
import { closeSync, ftruncateSync, openSync, writeSync } from "node:fs";
import { join } from "node:path";
import { before, test } from "node:test";

import { card, directory, drop, eventually, inState, tiers, withPage } from "./harness.mjs";
import { jpeg, png } from "./samples.mjs";

const MIB = 1024 * 1024;

let dir;
let all;

before(async () => {
  dir = directory();
  all = await tiers({ worker: ["--slots", "1"] });
});

/** A picture with much behind its end, which decoders do not look at. */
function longJpeg(name, bytes) {
  const path = join(dir, name);
  const file = openSync(path, "w");
  writeSync(file, jpeg());
  ftruncateSync(file, bytes);
  closeSync(file);
  return path;
}

/** Milliseconds that a small conversion takes. */
async function converted() {
  const started = performance.now();
  const answer = await fetch(new URL("/v1/convert?to=png", all.url), { method: "POST", body: jpeg() });
  assert.equal(answer.status, 200);
  await answer.arrayBuffer();
  return performance.now() - started;
}

async function slowUploads(page, bytesPerSecond) {
  const session = await page.context().newCDPSession(page);
  await session.send("Network.enable");
  await session.send("Network.emulateNetworkConditions", { offline: false, latency: 0, downloadThroughput: -1, uploadThroughput: bytesPerSecond });
  return session;
}

test("200 MB go up with progress that moves, through a gateway whose memory does not", () =>
  withPage(all.url, async (page) => {
    await page.getByText("Up to").waitFor();
    await page.setInputFiles("#files", longJpeg("large.jpg", 200_000_000));
    await card(page, "large.jpg").getByText("200 MB").waitFor();
    const before = all.gateway.rss();
    let peak = 0;
    const watch = setInterval(() => (peak = Math.max(peak, all.gateway.rss())), 20);
    await page.evaluate(() => {
      window.seen = new Set();
      const look = () => {
        const bar = document.querySelector("[role=progressbar]");
        if (bar?.hasAttribute("aria-valuenow") && document.querySelector(".job[data-state=uploading]")) window.seen.add(bar.getAttribute("aria-valuenow"));
        requestAnimationFrame(look);
      };
      look();
    });
    await page.getByRole("button", { name: "Convert 1 file" }).click();
    await inState(page, "large.jpg", "done");
    clearInterval(watch);
    const seen = await page.evaluate(() => [...window.seen].map(Number));
    assert.ok(seen.length >= 5, `progress was shown at ${seen}`);
    assert.deepEqual(seen, seen.toSorted((a, b) => a - b));
    const grown = peak - before;
    assert.ok(grown < 16 * MIB, `the gateway grew by ${grown} bytes`);
    // The page holds the file as the browser's own, not in its heap.
    const heap = await page.evaluate(() => performance.memory.usedJSHeapSize);
    assert.ok(heap < 50_000_000, `the page's heap has ${heap} bytes`);
  }));

test("cancelling midway frees the worker's slot within a second", () =>
  withPage(all.url, async (page) => {
    await page.getByText("Up to").waitFor();
    // What the machine has to do beside this is in both.
    const alone = await converted();
    const throttle = await slowUploads(page, 4 * MIB);
    await page.setInputFiles("#files", longJpeg("slow.jpg", 100_000_000));
    await page.getByRole("button", { name: "Convert 1 file" }).click();
    await page.waitForFunction(() => Number(document.querySelector("[role=progressbar]")?.getAttribute("aria-valuenow")) >= 3);
    await page.getByRole("button", { name: "Cancel slow.jpg" }).click();
    await inState(page, "slow.jpg", "cancelled");
    // The worker has one slot: this is answered once it is free.
    const took = await converted();
    assert.ok(took < 1000 + 3 * alone, `the slot was free after ${took} ms; a conversion takes ${alone} ms`);
    assert.equal(await page.locator("#live").innerText(), "slow.jpg: cancelled");
    // The focus went with the button that was pressed to what is there now.
    assert.ok(await card(page, "slow.jpg").evaluate((node) => node.contains(document.activeElement)));
    await throttle.send("Network.emulateNetworkConditions", { offline: false, latency: 0, downloadThroughput: -1, uploadThroughput: -1 });
    await page.getByRole("button", { name: "Retry slow.jpg" }).click();
    await inState(page, "slow.jpg", "done");
  }));

test("a busy server is asked again after the time that it names, with a countdown", () =>
  withPage(all.url, async (page) => {
    let asked = 0;
    await page.route("**/v1/convert?*", (route) => {
      asked += 1;
      if (asked > 1) return route.continue();
      return route.fulfill({ status: 503, headers: { "Retry-After": "2" }, contentType: "application/problem+json", body: JSON.stringify({ title: "The server is busy", status: 503, code: "BUSY", detail: "no slot is free", retry_after_ms: 1500 }) });
    });
    await drop(page, [{ name: "a.png", bytes: png(9, 9, [1, 2, 3]) }]);
    // Watched from inside: half a second is short for who looks from outside.
    await page.evaluate(() => {
      window.counted = [];
      const look = () => window.counted.push(...(/Next try in (\d) s/.exec(document.querySelector("#jobs").textContent) ?? []).slice(1));
      new MutationObserver(look).observe(document.querySelector("#jobs"), { childList: true, subtree: true, characterData: true });
    });
    await page.getByRole("button", { name: "Convert 1 file" }).click();
    await inState(page, "a.png", "done");
    assert.deepEqual(await page.evaluate(() => [...new Set(window.counted)]), ["2", "1"]);
    assert.equal(asked, 2);
  }, { expected: [/status of 503/] }));

test("many files go three at a time", () =>
  withPage(all.url, async (page) => {
    let [now, most, asked] = [0, 0, 0];
    await page.route("**/v1/convert?*", async (route) => {
      now += 1;
      asked += 1;
      most = Math.max(most, now);
      await eventually("three are on their way", () => asked >= 3);
      // A fourth that should not come has this long to do so.
      await new Promise((done) => setTimeout(done, 50));
      now -= 1;
      await route.continue();
    });
    await drop(page, Array.from({ length: 12 }, (_, i) => ({ name: `${i}.png`, bytes: png(5, 5, [i, i, i]) })));
    await page.getByRole("button", { name: "Convert 12 files" }).click();
    await page.getByText("12 files converted").waitFor();
    assert.equal(most, 3);
  }));

test("a file over the limit is refused before a byte of it is sent", () =>
  withPage(all.url, async (page) => {
    await page.getByText("Up to").waitFor();
    const { body_bytes_max: max } = await (await fetch(new URL("/v1/info", all.url))).json();
    const sent = [];
    page.on("request", (request) => request.method() === "POST" && sent.push(request.url()));
    await page.setInputFiles("#files", longJpeg("huge.jpg", max + 1));
    await inState(page, "huge.jpg", "failed");
    assert.match(await card(page, "huge.jpg").innerText(), /The file is too large/);
    await page.getByText("1 failed").waitFor();
    assert.equal(await page.getByRole("button", { name: /^(Convert|Retry)/ }).count(), 0);
    assert.deepEqual(sent, []);
  }));

test("when the server goes the page says so, keeps the files, and goes on once it is back", async () => {
  const own = await tiers();
  let second;
  await withPage(own.url, async (page) => {
    await drop(page, [{ name: "a.png", bytes: png(9, 9, [1, 2, 3]) }]);
    await page.getByRole("button", { name: "Convert 1 file" }).waitFor();
    await own.gateway.stop();
    await page.getByRole("button", { name: "Convert 1 file" }).click();
    await inState(page, "a.png", "failed");
    await page.getByText("Offline", { exact: true }).waitFor();
    assert.match(await page.locator("#notice").innerText(), /cannot be reached/);
    second = await own.start(new URL(own.url).host);
    await page.getByText("Connected", { exact: true }).waitFor();
    await page.getByRole("button", { name: "Retry 1 file" }).click();
    await inState(page, "a.png", "done");
  }, { expected: [/ERR_CONNECTION_REFUSED|ERR_EMPTY_RESPONSE|ERR_CONNECTION_RESET/] });
  await own.stop(second.gateway);
});

test("a token is asked for where one is needed, a wrong one is said, and it is kept nowhere", async () => {
  const own = await tiers({ withToken: false });
  await withPage(own.url, async (page) => {
    await drop(page, [{ name: "a.png", bytes: png(9, 9, [1, 2, 3]) }]);
    await page.getByRole("button", { name: "Convert 1 file" }).click();
    const dialog = page.getByRole("dialog");
    const field = dialog.getByLabel("Token", { exact: true });
    await field.fill("not.the.token");
    await field.press("Enter");
    await dialog.getByText("does not accept that token").waitFor();
    await field.fill(own.secret);
    await field.press("Enter");
    await inState(page, "a.png", "done");
    const kept = await page.evaluate(() => JSON.stringify([localStorage, sessionStorage, document.cookie, location.href]));
    assert.ok(!kept.includes(own.secret));
    await page.reload();
    await drop(page, [{ name: "a.png", bytes: png(9, 9, [1, 2, 3]) }]);
    await page.getByRole("button", { name: "Convert 1 file" }).click();
    await page.getByRole("dialog").waitFor();
  }, { expected: [/status of 401/] });
  // A link may bring it, and loses it at once.
  await withPage(own.url, async (page) => {
    assert.equal(new URL(page.url()).hash, "");
    await drop(page, [{ name: "a.png", bytes: png(9, 9, [1, 2, 3]) }]);
    await page.getByRole("button", { name: "Convert 1 file" }).click();
    await inState(page, "a.png", "done");
  }, { path: `/#token=${own.secret}` });
  const log = [...own.gateway.log, ...own.master.log, ...own.worker.log].join("\n");
  assert.ok(!log.includes(own.secret));
  await own.stop(own.gateway);
});
