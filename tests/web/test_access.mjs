// For everyone: by keyboard alone, by ear, in both schemes, on a telephone and on a wide screen.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { before, test } from "node:test";

import { card, directory, drop, eventually, inState, up, withPage } from "./harness.mjs";
import { pdf, png } from "./samples.mjs";

const AXE = createRequire(import.meta.url).resolve("axe-core/axe.min.js");

let url;

before(async () => {
  ({ url } = await up("--slots", "2", "--store-root", directory()));
  const numbers = Array.from({ length: 100 }, (_, i) => i * i).join("\n");
  for (const [name, body] of [["numbers.txt", numbers], ["words.txt", "no numbers"]]) {
    const stored = await fetch(new URL(`/v1/store/${name}`, url), { method: "PUT", body });
    assert.equal(stored.status, 204);
  }
});

const FILES = [
  { name: "a.png", bytes: png(64, 64, [20, 120, 90]) },
  { name: "b.png", bytes: png(64, 64, [120, 20, 90]) },
  { name: "lying.jpg", bytes: Buffer.from("just words") },
  { name: "cut.png", bytes: png(300, 300, [1, 2, 3]).subarray(0, 60) },
  { name: "what.bin", bytes: Buffer.from([1, 2, 3, 0, 255]) },
  { name: "a name that goes on and on, far beyond what any card has room for.pdf", bytes: pdf("x") },
];

/** axe runs by the debugger's leave, not the page's: its policy allows no other script. */
async function check(page, state) {
  const session = await page.context().newCDPSession(page);
  const { readFileSync } = await import("node:fs");
  await session.send("Runtime.evaluate", { expression: readFileSync(AXE, "utf8") });
  const found = await page.evaluate(async () => {
    const { violations } = await window.axe.run(document, { resultTypes: ["violations"] });
    return violations.map(({ id, impact, nodes }) => `${impact} ${id}: ${nodes.map((node) => `${node.html.slice(0, 120)} ${node.any[0]?.message ?? ""}`).join(" | ")}`);
  });
  assert.deepEqual(found, [], `in ${state}`);
  const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  assert.ok(wide <= 0, `${state} is ${wide} px wider than the window`);
}

for (const colorScheme of ["light", "dark"]) {
  for (const width of [375, 1600]) {
    test(`no finding in any state, ${colorScheme}, ${width} px`, () =>
      withPage(url, async (page) => {
        await page.getByText("Up to").waitFor();
        await check(page, "empty");
        await page.evaluate(() => {
          const transfer = new DataTransfer();
          transfer.items.add(new File(["x"], "x"));
          dispatchEvent(new DragEvent("dragenter", { dataTransfer: transfer }));
        });
        await check(page, "dragging");
        await drop(page, FILES);
        await card(page, "lying.jpg").getByText("its bytes are TXT").waitFor();
        await card(page, "a.png").getByRole("button", { name: /^Options/ }).click();
        await check(page, "ready");

        let held = [];
        await page.route("**/v1/convert?*", (route) => held.push(route));
        await page.getByRole("button", { name: "Convert 5 files" }).click();
        await page.locator(".job[data-state=uploading]").nth(2).waitFor();
        await check(page, "uploading and in line");
        await page.getByRole("button", { name: "Cancel all" }).click();
        await inState(page, "a.png", "cancelled");
        await check(page, "cancelled");
        for (const route of held) await route.abort().catch(() => {});
        held = [];
        await page.unroute("**/v1/convert?*");

        await page.getByRole("button", { name: "Retry 5 files" }).click();
        await page.getByText("4 files converted, 1 failed").waitFor();
        await check(page, "done and failed");
        for (const name of ["a.webp", "lying.pdf"]) {
          await page.getByRole("button", { name: `Preview ${name}` }).click();
          await page.getByRole("dialog").locator("img, iframe, pre").first().waitFor();
          await check(page, `preview of ${name}`);
          await page.keyboard.press("Escape");
        }
        await page.getByRole("button", { name: "Dark colours" }).click();
        await check(page, "the other scheme");
      }, { colorScheme, viewport: { width, height: 800 }, expected: [/status of 4\d\d/] }));

    test(`no finding in the other views, ${colorScheme}, ${width} px`, () =>
      withPage(url, async (page) => {
        await page.goto(new URL("/api.html", url).href);
        await page.locator(".operation").first().waitFor();
        await check(page, "the API's reference");
        await page.goto(new URL("/#status", url).href);
        await page.locator(".worker").first().waitFor();
        await check(page, "status");
        await page.goto(new URL("/#store", url).href);
        await page.locator(".row").nth(1).waitFor();
        await check(page, "store");
        await page.getByRole("button", { name: "Summary of numbers.txt" }).click();
        await page.locator(".summary svg").waitFor();
        await check(page, "a summary");
        await page.getByRole("button", { name: "Rename words.txt" }).click();
        await page.getByLabel("New name of words.txt").waitFor();
        await check(page, "a file that is being renamed");
        await page.getByRole("button", { name: "Summary of words.txt" }).click();
        await page.locator("#store-problem .problem").waitFor();
        await check(page, "a problem with the store");
      }, { colorScheme, viewport: { width, height: 800 }, expected: [/status of 409/] }));
  }
}

/** What has the focus, as a screen reader would call it; nothing where the page has none. */
const focused = (page) => page.evaluate(() => {
  const at = document.activeElement;
  if (at === document.body) return "";
  return at.getAttribute("aria-label") ?? at.labels?.[0]?.textContent ?? at.textContent.trim();
});

/** Tabs until the name fits; a trap would never get there. */
async function tabTo(page, name) {
  const passed = [];
  for (let i = 0; i < 60; i += 1) {
    await page.keyboard.press("Tab");
    passed.push(await focused(page));
    if (name.test(passed.at(-1))) return;
  }
  assert.fail(`${name} is not reached by Tab: ${passed.join(" > ")}`);
}

test("a file goes in, is changed, converted, looked at and taken by keyboard alone", () =>
  withPage(url, async (page) => {
    await page.getByText("Up to").waitFor();
    // Playwright takes choosers in the place of the browser from the first listener on, and only
    // then: one that is added as the key is pressed may come late.
    const choosers = [];
    page.on("filechooser", (one) => choosers.push(one));
    await page.keyboard.press("Tab");
    assert.equal(await focused(page), "Skip to content");
    await page.keyboard.press("Enter");
    await tabTo(page, /^Choose files$/);
    await page.keyboard.press("Enter");
    const chooser = await eventually("the chooser opens", () => choosers[0]);
    await chooser.setFiles([{ name: "key.png", mimeType: "", buffer: png(50, 40, [9, 99, 9]) }]);
    // The card has nothing to come to before its bytes have been looked at.
    await page.getByText("1 file ready").waitFor();
    await tabTo(page, /Convert key\.png to/);
    await page.keyboard.press("j");
    await page.waitForFunction(() => document.querySelector(".job select").value === "jpg");
    await tabTo(page, /^Options of key\.png/);
    await page.keyboard.press("Enter");
    await tabTo(page, /^Quality, slider/);
    for (let i = 0; i < 3; i += 1) await page.keyboard.press("ArrowLeft");
    await card(page, "key.png").getByText(/quality \d+/).waitFor();
    await tabTo(page, /^Convert 1 file$/);
    await page.keyboard.press("Enter");
    await inState(page, "key.png", "done");
    await page.waitForFunction(() => /key\.png: converted to key\.jpg/.test(document.querySelector("#live").textContent));
    await page.evaluate(() => document.querySelector("#main").focus());
    await tabTo(page, /^Preview key\.jpg/);
    await page.keyboard.press("Enter");
    await page.getByRole("dialog").waitFor();
    await page.keyboard.press("Escape");
    assert.match(await focused(page), /^Preview key\.jpg/);
    await tabTo(page, /^Download JPG: key\.jpg/);
    const [download] = await Promise.all([page.waitForEvent("download"), page.keyboard.press("Enter")]);
    assert.equal(download.suggestedFilename(), "key.jpg");
    // Round and out again: nothing holds the focus.
    await tabTo(page, /^HTTP API$/);
  }));

test("the chosen scheme stays, and the page draws no motion where none is wanted", () =>
  withPage(url, async (page) => {
    await page.getByRole("button", { name: "Dark colours" }).click();
    const background = () => page.evaluate(() => getComputedStyle(document.documentElement).backgroundColor);
    const dark = await background();
    await page.reload();
    assert.equal(await background(), dark);
    assert.equal(await page.getByRole("button", { name: "Dark colours" }).getAttribute("aria-pressed"), "true");
    const longest = await page.evaluate(() => Math.max(...[...document.querySelectorAll("*")].map((node) => parseFloat(getComputedStyle(node).transitionDuration))));
    assert.ok(longest <= 0.001);
  }, { colorScheme: "light" }));
