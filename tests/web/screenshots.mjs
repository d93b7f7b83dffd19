// Takes pictures of every state of the page, to be looked at: in both schemes, narrow and wide.
//
//   SHOTS=directory tests/web/run screenshots.mjs
//   SHOTS_DOCS=yes tests/web/run screenshots.mjs      # those of README and docs, into docs/images
//
// The latter are made small by fxsrv itself.

import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";

import { ROOT, card, directory, drop, fxsrv, up, withPage } from "./harness.mjs";
import { pdf, png } from "./samples.mjs";

const FOR_DOCS = process.env.SHOTS_DOCS;
const DIR = process.env.SHOTS ?? directory();
mkdirSync(DIR, { recursive: true });

/** What docs show, by the name of its picture here. */
const IN_DOCS = { "convert-done-light": "web-done", "convert-ready-dark": "web-dark", "preview-light": "web-preview" };

const PHONE = 375;

/** A picture with something in it: hills before a sky, as the page's own pencil draws them. */
async function landscape(page, seed) {
  const bytes = await page.evaluate(async (n) => {
    const canvas = new OffscreenCanvas(1200, 800);
    const c = canvas.getContext("2d");
    let state = n * 7919 + 1;
    const random = () => ((state = (state * 48271) % 2147483647) / 2147483647);
    const sky = c.createLinearGradient(0, 0, 0, 800);
    const hue = [28, 200, 265, 155][n % 4];
    sky.addColorStop(0, `hsl(${hue + 20} 60% 38%)`);
    sky.addColorStop(0.6, `hsl(${hue} 75% 68%)`);
    sky.addColorStop(1, `hsl(${hue - 12} 85% 84%)`);
    c.fillStyle = sky;
    c.scale(0.75, 0.75);
    c.fillRect(0, 0, 1600, 1067);
    c.fillStyle = `hsl(${hue + 10} 95% 92%)`;
    c.beginPath();
    c.arc(380 + n * 210, 330, 90, 0, 7);
    c.fill();
    for (let layer = 0; layer < 6; layer += 1) {
      c.fillStyle = `hsl(${hue + 150 + layer * 6} ${24 + layer * 6}% ${58 - layer * 9}%)`;
      c.beginPath();
      c.moveTo(0, 1067);
      const [p, q, a] = [random() * 6, random() * 6, 70 + random() * 70];
      for (let x = 0; x <= 1600; x += 8) c.lineTo(x, 480 + layer * 95 + a * Math.sin(x / 210 + p) * 0.6 + a * Math.sin(x / 83 + q) * 0.35);
      c.lineTo(1600, 1067);
      c.fill();
    }
    const noise = c.getImageData(0, 0, 1200, 800);
    for (let i = 0; i < noise.data.length; i += 4) {
      const grain = (random() - 0.5) * 14;
      for (let k = 0; k < 3; k += 1) noise.data[i + k] += grain;
    }
    c.putImageData(noise, 0, 0);
    const blob = await canvas.convertToBlob({ type: n === 1 ? "image/jpeg" : "image/png", quality: 0.95 });
    return [...new Uint8Array(await blob.arrayBuffer())];
  }, seed);
  return Buffer.from(bytes);
}

const TEXT = "Minutes of the meeting\n\nPresent: Ana, Björn, Чеслав, Δήμητρα.\n\n1. The report was approved.\n2. The next one is due in June.\n";

for (const colorScheme of ["light", "dark"]) {
  for (const width of FOR_DOCS ? [1280] : [PHONE, 1600]) {
    test(`${colorScheme}, ${width} px`, async () => {
      const files = directory();
      const { url } = await up("--slots", "2", "--store-root", files, "--workers", "2");
      const shoot = async (page, name, options = {}) => {
        const path = join(DIR, `${name}-${colorScheme}-${width}.png`);
        await page.screenshot({ path, animations: "disabled", caret: "hide", ...options });
        const shown = FOR_DOCS && IN_DOCS[`${name}-${colorScheme}`];
        if (shown) fxsrv("convert", path, "--to", "webp", "--quality", "82", "--force", "-o", join(ROOT, "docs/images", `${shown}.webp`));
      };
      await withPage(url, async (page) => {
        await page.getByText("Up to").waitFor();
        await shoot(page, "convert-empty");
        const pictures = [await landscape(page, 0), await landscape(page, 1), await landscape(page, 2)];
        await page.evaluate(() => {
          const transfer = new DataTransfer();
          transfer.items.add(new File(["x"], "x"));
          dispatchEvent(new DragEvent("dragenter", { dataTransfer: transfer }));
        });
        await shoot(page, "convert-dragging");
        await drop(page, [
          { name: "evening over the hills.png", bytes: pictures[0] },
          { name: "morning.jpg", bytes: pictures[1] },
          { name: "minutes.txt", bytes: Buffer.from(TEXT) },
          { name: "paper.pdf", bytes: pdf("Read me") },
        ]);
        await page.getByText("4 files ready").waitFor();
        await page.waitForFunction(() => document.querySelectorAll(".job .thumb canvas, .job .thumb .lines").length === 3);
        await card(page, "evening over the hills.png").getByRole("button", { name: /^Options/ }).click();
        await shoot(page, "convert-ready", { fullPage: width === PHONE });
        await card(page, "evening over the hills.png").getByRole("button", { name: /^Options/ }).click();
        let held = [];
        await page.route("**/v1/convert?*", (route) => held.push(route));
        await page.getByRole("button", { name: "Convert 4 files" }).click();
        await page.locator(".job[data-state=uploading]").nth(2).waitFor();
        await shoot(page, "convert-uploading", { fullPage: width === PHONE });
        await page.getByRole("button", { name: "Cancel all" }).click();
        await shoot(page, "convert-cancelled", { fullPage: width === PHONE });
        for (const route of held) await route.abort().catch(() => {});
        held = [];
        await page.unroute("**/v1/convert?*");
        await drop(page, [{ name: "torn.png", bytes: pictures[2].subarray(0, 4000) }, { name: "clip.gif", bytes: Buffer.from("GIF89a\x01\0\x01\0\0\0\0;", "latin1") }]);
        await card(page, "torn.png").getByRole("combobox").waitFor();
        await page.locator("[data-focus=convert-all]").click();
        await page.getByText("4 files converted, 1 failed").waitFor();
        await shoot(page, "convert-done", { fullPage: width === PHONE });
        await page.getByRole("button", { name: "Preview evening over the hills.webp" }).click();
        await page.waitForFunction(() => [...document.querySelectorAll("dialog img")].length === 2 && [...document.querySelectorAll("dialog img")].every((image) => image.complete && image.naturalWidth));
        await shoot(page, "preview");
        await page.keyboard.press("Escape");
        await page.getByRole("button", { name: "Preview paper.txt" }).click();
        await page.getByRole("dialog").locator("pre").waitFor();
        await shoot(page, "preview-text");
        await page.keyboard.press("Escape");

        await page.locator("[data-view=store]").click();
        await page.getByText("The store is empty").waitFor();
        await shoot(page, "store-empty");
        const numbers = Array.from({ length: 4000 }, (_, i) => (Math.sin(i / 90) * 40 + Math.sin(i / 7) * 6 + i / 90).toFixed(2)).join("\n");
        for (const [name, body] of [["numbers.txt", `${numbers}\n`], ["few.txt", "3\n5\n-2\n8\n13\n"], ["report.pdf", pdf("x")], ["holiday.png", pictures[0]]]) await fetch(new URL(`/v1/store/${name}`, url), { method: "PUT", body });
        await page.getByRole("button", { name: "Refresh" }).click();
        await page.getByText(/^4 files, /).waitFor();
        await shoot(page, "store");
        await page.getByRole("button", { name: "Summary of numbers.txt" }).click();
        await page.getByText("Mean", { exact: true }).waitFor();
        await shoot(page, "store-summary", { fullPage: width === PHONE });
        await page.getByRole("button", { name: "Rename holiday.png" }).click();
        await shoot(page, "store-rename", { fullPage: width === PHONE });
        await page.getByRole("button", { name: "Summary of report.pdf" }).click();
        await page.locator("#store-problem .problem").waitFor();
        await shoot(page, "store-problem");

        await page.locator("[data-view=status]").click();
        await page.locator(".worker").first().waitFor();
        const body = pictures[1];
        for (let i = 0; i < 6; i += 1) await Promise.all([1, 2, 3].map(() => fetch(new URL("/v1/convert?to=webp", url), { method: "POST", body })));
        await page.waitForTimeout(1500);
        await shoot(page, "status", { fullPage: width === PHONE });

        await page.goto(new URL("/api.html", url).href);
        await page.locator(".operation").first().waitFor();
        await shoot(page, "api");
        await page.locator("#post-v1-convert").scrollIntoViewIfNeeded();
        await page.locator("#post-v1-convert").evaluate((node) => node.scrollIntoView());
        await shoot(page, "api-convert");
      }, { colorScheme, viewport: { width, height: width === PHONE ? 780 : FOR_DOCS ? 800 : 1000 }, deviceScaleFactor: width === PHONE ? 2 : 1, expected: [/status of 4\d\d/] });
    });
  }
}
