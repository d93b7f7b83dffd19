// Files in, options, results out: what comes down is decoded by others than the server.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { before, test } from "node:test";

import { card, decode, downloaded, drop, inState, up, withPage } from "./harness.mjs";
import { jpeg, pdf, png } from "./samples.mjs";

let url;

before(async () => ({ url } = await up("--slots", "2")));

const REFUSED = [/the server responded with a status of 4\d\d/];

test("three kinds of files are dropped, converted with options, and come down whole", () =>
  withPage(url, async (page) => {
    await drop(page, [
      { name: "half clear.png", bytes: png(64, 48, [0, 0, 255, 0]) },
      { name: "Grüße.txt", bytes: Buffer.from("Grüße, мир\n") },
      { name: "paper.pdf", bytes: pdf("Hello from a page") },
    ]);
    await page.getByText("3 files ready").waitFor();

    const picture = card(page, "half clear.png");
    await picture.getByRole("combobox").selectOption("jpg");
    await picture.getByRole("button", { name: /^Options/ }).click();
    const background = picture.getByLabel("Background");
    await background.fill("#ff0000");
    await background.dispatchEvent("change");
    const quality = picture.getByRole("spinbutton", { name: "Quality" });
    await quality.fill("90");
    await quality.press("Tab");
    await picture.getByText("quality 90").waitFor();

    const asked = [];
    page.on("request", (request) => request.method() === "POST" && asked.push(new URL(request.url()).search));
    await page.getByRole("button", { name: "Convert 3 files" }).click();
    for (const name of ["half clear.png", "Grüße.txt", "paper.pdf"]) await inState(page, name, "done");
    assert.deepEqual(asked.toSorted(), ["?to=jpg&quality=90&background=%23ff0000", "?to=pdf", "?to=txt"].toSorted());

    const jpg = await downloaded(page, card(page, "half clear.png").getByRole("button", { name: /^Download/ }));
    assert.equal(jpg.name, "half clear.jpg");
    const { width, height, pixel } = await decode(page, jpg.bytes, "image/jpeg");
    assert.deepEqual([width, height], [64, 48]);
    assert.ok(pixel[0] > 240 && pixel[1] < 15 && pixel[2] < 15, `the background shows: ${pixel}`);

    const document = await downloaded(page, card(page, "Grüße.txt").getByRole("button", { name: /^Download/ }));
    assert.equal(document.name, "Grüße.pdf");
    assert.equal(execFileSync("pdftotext", [document.path, "-"]).toString().trim(), "Grüße, мир");

    const text = await downloaded(page, card(page, "paper.pdf").getByRole("button", { name: /^Download/ }));
    assert.equal(text.name, "paper.txt");
    assert.equal(text.bytes.toString().trim(), "Hello from a page");
  }));

test("all results come as one ZIP, which another program takes apart", () =>
  withPage(url, async (page) => {
    const picture = png(10, 10, [10, 20, 30]);
    await drop(page, [{ name: "a.png", bytes: picture }, { name: "a.png", bytes: picture }, { name: "ü.txt", bytes: Buffer.from("x") }]);
    await page.getByRole("radio", { name: "PNG" }).check();
    await page.getByRole("button", { name: "Convert 3 files" }).click();
    const { name, path } = await downloaded(page, page.getByRole("button", { name: "Download all as ZIP" }));
    assert.equal(name, "converted.zip");
    const listed = execFileSync("python3", ["-c", "import json, sys, zipfile\nz = zipfile.ZipFile(sys.argv[1])\nassert z.testzip() is None\nprint(json.dumps([[i.filename, i.file_size] for i in z.infolist()]))", path]);
    const entries = JSON.parse(listed);
    assert.deepEqual(entries.map(([entry]) => entry), ["a.png", "a (2).png", "ü.pdf"]);
    assert.ok(entries.every(([, size]) => size > 50));
  }));

test("a type is told by the bytes, and a name that lies is pointed at", () =>
  withPage(url, async (page) => {
    await drop(page, [{ name: "really.png", bytes: jpeg() }, { name: "clip.jpg", bytes: Buffer.from("GIF89a\x01\0\x01\0\0\0\0;", "latin1") }, { name: "empty", bytes: Buffer.alloc(0) }]);
    const lying = card(page, "really.png");
    await lying.getByText("named .png, but its bytes are JPG").waitFor();
    await card(page, "clip.jpg").getByText("GIF image").waitFor();
    await card(page, "clip.jpg").getByText("has no conversion for this file").waitFor();
    await card(page, "empty").getByText("TXT").waitFor();
    await lying.getByRole("combobox").selectOption("png");
    await lying.getByRole("button", { name: "Convert really.png" }).click();
    await inState(page, "really.png", "done");
    const { bytes } = await downloaded(page, lying.getByRole("button", { name: /^Download/ }));
    const { width, pixel } = await decode(page, bytes, "image/png");
    assert.equal(width, 8);
    assert.ok(Math.abs(pixel[0] - 128) < 3, `grey: ${pixel}`);
  }));

test("an error is shown with what is wrong, what to do, and its code; a retry after a change works", () =>
  withPage(url, async (page) => {
    const whole = png(300, 300, [1, 2, 3]);
    await drop(page, [{ name: "cut.png", bytes: whole.subarray(0, 60) }, { name: "fine.txt", bytes: Buffer.from("fine") }]);
    await page.getByRole("button", { name: "Convert 2 files" }).click();
    await inState(page, "cut.png", "failed");
    const shown = await card(page, "cut.png").locator(".problem").innerText();
    assert.match(shown, /The file is damaged/);
    assert.match(shown, /MALFORMED_INPUT/);
    assert.match(await page.locator("#alert").innerText(), /^cut\.png: /);
    await inState(page, "fine.txt", "done");

    // An option that the server refuses comes with its hint; the page itself would not send it.
    await page.route("**/v1/convert?*", (route) => route.continue({ url: route.request().url().replace("to=webp", "to=xyz") }));
    await page.getByRole("button", { name: "Retry 1 file" }).click();
    const hint = card(page, "cut.png").locator(".problem-hint");
    await hint.waitFor();
    assert.match(await hint.innerText(), /the types are jpg, png/);
    assert.match(await card(page, "cut.png").locator(".problem-facts").innerText(), /BAD_OPTION · request \S+/);
  }, { expected: REFUSED }));

test("settings for all reach all of a kind, and one file may have its own", () =>
  withPage(url, async (page) => {
    const picture = png(40, 40, [200, 100, 50]);
    await drop(page, [{ name: "a.png", bytes: picture }, { name: "b.png", bytes: picture }]);
    const common = page.locator("#common");
    await common.getByRole("radio", { name: "JPG" }).check();
    await common.getByRole("slider").fill("40");
    await card(page, "b.png").getByRole("combobox").selectOption("png");
    const asked = [];
    page.on("request", (request) => request.method() === "POST" && asked.push(new URL(request.url()).search));
    await page.getByRole("button", { name: "Convert 2 files" }).click();
    await inState(page, "a.png", "done");
    await inState(page, "b.png", "done");
    assert.deepEqual(asked.toSorted(), ["?to=jpg&quality=40", "?to=png"]);
    // Another quality makes the result stale, and only that one.
    await common.getByRole("slider").fill("50");
    await common.getByText("1 file has").waitFor({ state: "detached" });
    await page.getByRole("button", { name: "Convert 2 files" }).waitFor();
  }));

test("previews show a picture beside its original, text, and a PDF", () =>
  withPage(url, async (page) => {
    await drop(page, [{ name: "a.png", bytes: png(400, 300, [20, 90, 70]) }, { name: "t.txt", bytes: Buffer.from("one line") }, { name: "p.pdf", bytes: pdf("Read me") }]);
    await page.getByRole("button", { name: "Convert 3 files" }).click();
    for (const name of ["a.png", "t.txt", "p.pdf"]) await inState(page, name, "done");
    await page.getByRole("button", { name: "Preview a.webp" }).click();
    const dialog = page.getByRole("dialog");
    await dialog.getByRole("img", { name: "Result: a.webp" }).waitFor();
    const loaded = () => dialog.locator("img").evaluateAll((images) => images.every((image) => image.complete && image.naturalWidth === 400));
    await page.waitForFunction(() => [...document.querySelectorAll("dialog img")].every((image) => image.complete));
    assert.ok(await loaded());
    await page.keyboard.press("Escape");
    await dialog.waitFor({ state: "detached" });
    assert.equal(await page.evaluate(() => document.activeElement.dataset.focus), "preview");
    await page.getByRole("button", { name: "Preview p.txt" }).click();
    await dialog.getByText("Read me").waitFor();
    await page.keyboard.press("Escape");
    await page.getByRole("button", { name: "Preview t.pdf" }).click();
    assert.match(await dialog.locator("iframe").getAttribute("src"), /^blob:/);
  }));

test("text that is pasted becomes a file", () =>
  withPage(url, async (page) => {
    await page.locator("#choose").waitFor();
    await page.getByText("Up to").waitFor();
    await page.evaluate(() => {
      const data = new DataTransfer();
      data.setData("text/plain", "pasted words");
      document.body.dispatchEvent(new ClipboardEvent("paste", { clipboardData: data, bubbles: true, cancelable: true }));
    });
    await page.getByRole("button", { name: "Convert 1 file" }).click();
    await inState(page, "pasted.txt", "done");
    const { path } = await downloaded(page, card(page, "pasted.txt").getByRole("button", { name: /^Download/ }));
    assert.equal(execFileSync("pdftotext", [path, "-"]).toString().trim(), "pasted words");
  }));
