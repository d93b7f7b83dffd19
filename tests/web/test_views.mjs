// The other views: the store, the fleet, and the reference of the API.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { before, test } from "node:test";

import { Server, directory, downloaded, drop, eventually, tiers, withPage } from "./harness.mjs";
import { jpeg, png } from "./samples.mjs";

const NUMBERS = "1\n2.5\n4\n";

let files;
let store;
let all;

before(async () => {
  files = directory();
  store = new Server("store", "--listen", "127.0.0.1:0", "--plain", "--root", files);
  store.address = await store.said("listening on ");
  all = await tiers({ worker: ["--slots", "2"], web: ["--store", store.address, "--store-plain", "--store-root", files] });
});

const row = (page, name) => page.locator(".row", { hasText: name });

async function openStore(page) {
  await page.locator("[data-view=store]").click();
  await page.getByRole("heading", { name: "Store", exact: true }).waitFor();
}

test("files are stored, listed, summed up, renamed and fetched", () =>
  withPage(all.url, async (page) => {
    await openStore(page);
    await page.getByText("The store is empty").waitFor();
    await page.locator("#view-store input[type=file]").setInputFiles([
      { name: "numbers.txt", mimeType: "", buffer: Buffer.from(NUMBERS) },
      { name: "photo.png", mimeType: "", buffer: png(20, 20, [1, 2, 3]) },
    ]);
    await page.getByText(/^2 files, /).waitFor();
    const shown = await row(page, "numbers.txt").innerText();
    assert.match(shown, /8 B/);
    assert.match(shown, new RegExp(String(new Date().getFullYear())), "when it was stored");
    assert.deepEqual(readdirSync(files).filter((name) => /^\w/.test(name)).sort(), ["numbers.txt", "photo.png"]);

    await page.getByRole("button", { name: "Summary of numbers.txt" }).click();
    const numbers = page.locator(".numbers .number");
    await numbers.first().waitFor();
    assert.deepEqual((await numbers.allInnerTexts()).map((text) => text.split("\n").at(-1)), ["4", "2.5", "1"]);
    assert.equal(await page.locator(".summary .column").count(), 3);
    assert.equal(await page.locator(".summary .mean").count(), 1);
    await page.getByRole("button", { name: "Close" }).click();
    assert.equal(await page.evaluate(() => document.activeElement.getAttribute("aria-label")), "Summary of numbers.txt");

    await page.getByRole("button", { name: "Rename numbers.txt" }).click();
    await page.getByLabel("New name of numbers.txt").fill("figures.txt");
    await page.keyboard.press("Enter");
    await row(page, "figures.txt").waitFor();
    const { name, bytes } = await downloaded(page, page.getByRole("button", { name: "Download figures.txt" }));
    assert.equal(name, "figures.txt");
    assert.equal(bytes.toString(), NUMBERS);

    await drop(page, [{ name: "dropped.txt", bytes: Buffer.from("x\n") }]);
    await row(page, "dropped.txt").waitFor();
    await page.getByRole("button", { name: "Summary of dropped.txt" }).click();
    const problem = page.locator("#store-problem");
    await problem.getByText("STORE_REFUSED").waitFor();
    assert.match(await problem.innerText(), /not one of numbers/);
    await drop(page, [{ name: `${"long".repeat(8)}.txt`, bytes: Buffer.from("x") }]);
    await problem.getByText("The name is too long").waitFor();
  }, { expected: [/status of 409/] }));

test("a store that does not list its files is asked by name", async () => {
  const own = await tiers({ web: ["--store", store.address, "--store-plain"] });
  await withPage(own.url, async (page) => {
    await openStore(page);
    await page.getByText("Nothing asked for yet").waitFor();
    await page.getByLabel("Name", { exact: true }).fill("named.txt");
    await page.getByRole("button", { name: "Get", exact: true }).click();
    await page.locator("#store-problem").getByText("NOT_FOUND").waitFor();
    await drop(page, [{ name: "named.txt", bytes: Buffer.from(NUMBERS) }]);
    await row(page, "named.txt").waitFor();
    const { bytes } = await downloaded(page, page.getByRole("button", { name: "Get", exact: true }));
    assert.equal(bytes.toString(), NUMBERS);
  }, { expected: [/status of 404/] });
  await own.stop(own.gateway);
});

test("the fleet is shown as it is, every second, and the page finds back to it", async () => {
  const own = await tiers({ worker: ["--slots", "2"] });
  let second;
  await withPage(own.url, async (page) => {
    await page.locator("[data-view=status]").click();
    await page.getByText("1 of 1 worker healthy, 0 of 2 slots busy, 0 in line").waitFor();
    await page.getByText("Live", { exact: true }).waitFor();
    await page.getByText("127.0.0.1:").first().waitFor();
    const line = page.locator(".tile path.a").first();
    const points = async () => ((await line.getAttribute("d")) ?? "").split("L").length;
    const answer = await fetch(new URL("/v1/convert?to=png", own.url), { method: "POST", body: jpeg() });
    assert.equal(answer.status, 200);
    await page.getByText(/^p50 \d/).waitFor();
    await eventually("the plot grows", async () => (await points()) >= 3);

    await own.worker.stop();
    await page.getByText("0 of 1 worker healthy").waitFor();
    await own.gateway.stop();
    await page.getByText("Paused", { exact: true }).waitFor();
    await page.getByText(/Connecting again in \d+ s/).waitFor();
    second = await own.start(new URL(own.url).host);
    await page.getByText("Live", { exact: true }).waitFor();
  }, { expected: [/ERR_CONNECTION_REFUSED|ERR_EMPTY_RESPONSE|ERR_CONNECTION_RESET|ERR_INCOMPLETE_CHUNKED_ENCODING/] });
  await second.gateway.stop();
  await own.master.stop();
});

test("the page of the API has every operation, and its commands do what they say", () =>
  withPage(all.url, async (page) => {
    const document = await (await fetch(new URL("/v1/openapi.json", all.url))).json();
    const operations = Object.values(document.paths).flatMap((path) => Object.keys(path));
    await page.locator(".operation").first().waitFor();
    assert.equal(await page.locator(".operation").count(), operations.length);
    assert.equal(await page.locator("#contents li").count(), operations.length);

    const dir = directory();
    writeFileSync(join(dir, "photo.jpg"), jpeg());
    writeFileSync(join(dir, "numbers.txt"), NUMBERS);
    const run = async (id) => {
      const command = await page.locator(`#${id} .shell pre`).innerText();
      const env = { ...process.env, TOKEN: all.secret };
      return execFileSync("sh", ["-euc", command.replace("curl", "curl -fsS")], { cwd: dir, env, stdio: ["ignore", "pipe", "inherit"] });
    };
    assert.equal(JSON.parse(await run("get-v1-info")).token_required, false);
    assert.ok(JSON.parse(await run("get-v1-formats")).formats.length >= 5);
    assert.equal(JSON.parse(await run("get-v1-status")).master.role, "master");
    await run("post-v1-convert");
    assert.equal(readFileSync(join(dir, "photo.png")).subarray(1, 4).toString(), "PNG");
    await run("put-v1-store-name");
    assert.equal((await run("get-v1-store-name")).toString(), NUMBERS);
    assert.equal(JSON.parse(await run("get-v1-store-name-summary")).mean, "2.5");
    await run("post-v1-store-name-rename");
    assert.ok(JSON.parse(await run("get-v1-store")).files.some(({ name }) => name === "renamed.txt"));

    const copy = page.locator("#get-v1-info").getByRole("button", { name: "Copy" });
    await copy.click();
    assert.match(await page.evaluate(() => navigator.clipboard.readText()), /^curl/);
  }, { path: "/api.html", permissions: ["clipboard-read", "clipboard-write"] }));
