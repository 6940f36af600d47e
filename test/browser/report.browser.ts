/** A report in a browser: it asks for nothing, everything is drawn and fits, and can be read, light and dark. */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import type { Browser, Page } from "puppeteer-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { open } from "../../src/index.js";
import { hebb } from "../support/cli.js";
import { randomRows, rowOf, scratch } from "../support/rows.js";
import { launchChromium } from "./chromium.js";
import { contrasts } from "./contrast.js";

const place = scratch();
const D = 16;
const ROWS = 1200;
const GROUPS = 8;
const HOSTILE = `</title></script><script>window.hit=1</script><img src=x onerror="window.hit=1">`;
const LEAST_CONTRAST = 4.5;

let browser: Browser;
const pages: Record<string, string> = {};

/** Rows in tiers, with feedback and ids that would like to be markup. */
async function fullStore(path: string): Promise<void> {
  const [centres, noise] = [randomRows(GROUPS, D, 1), randomRows(ROWS, D, 2)];
  const near = (group: number, i: number, share: number) =>
    Array.from(rowOf(centres, group, D), (x, j) => x + share * rowOf(noise, i % ROWS, D)[j]!);
  const index = await open(path, { dimensions: D, metric: "cosine", durability: "off" });
  await index.putMany(
    Array.from({ length: ROWS }, (_, i) => ({
      id: i === 0 ? HOSTILE : `row-${i}`,
      vector: near(i % GROUPS, i, 0.5),
      payload: { text: `${HOSTILE} ${i}`, group: i % 3 === 0 ? HOSTILE : `group ${i % GROUPS}`, price: i },
    })),
  );
  await index.settle();
  await index.learn(
    Array.from({ length: 80 }, (_, i) => ({
      query: near(i % 3, i + 50, 0.4),
      chosen: [`row-${(i % 3) + GROUPS * 5}`],
    })),
  );
  await index.train();
  await index.retier({ force: "cold" });
  await index.close();
}

beforeAll(async () => {
  browser = await launchChromium();
  const [full, small] = [place("full.hebb"), place("small.hebb")];
  await fullStore(full);
  const index = await open(small, { dimensions: 2, metric: "l2", durability: "off" });
  await index.put(1, [1, 2]);
  await index.close();
  for (const [name, ...args] of [
    ["full", full],
    ["group", full, "--color", "group"],
    ["small", small],
  ] as const) {
    const [store, ...more] = args;
    const out = place(`${name}.html`);
    const { code, err } = await hebb("report", store, out, "--queries", "50", ...more);
    expect({ code, err }).toEqual({ code: 0, err: "" });
    pages[name] = pathToFileURL(out).href;
  }
});
afterAll(() => browser?.close());

interface Seen {
  page: Page;
  /** What the console and failed scripts said. */
  said: string[];
  /** Addresses that were asked for. */
  asked: string[];
}

async function see(name: string, width: number, scheme: "light" | "dark", use: (seen: Seen) => Promise<void>) {
  const page = await browser.newPage();
  const [said, asked]: [string[], string[]] = [[], []];
  page.on("console", (message) => said.push(message.text()));
  page.on("pageerror", (error) => said.push(String(error)));
  page.on("request", (request) => asked.push(request.url()));
  await page.setViewport({ width, height: 900, deviceScaleFactor: 1 });
  await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: scheme }]);
  await page.goto(pages[name]!);
  try {
    await use({ page, said, asked });
  } finally {
    const { HEBB_SCREENSHOTS: folder } = process.env; // to look at
    if (folder !== undefined) {
      mkdirSync(folder, { recursive: true });
      await page.screenshot({
        path: join(folder, `${name}-${width}-${scheme}.png`) as `${string}.png`,
        fullPage: true,
      });
    }
    await page.close();
  }
}

describe.each(["full", "group", "small"])("a report, %s", (name) => {
  describe.each([390, 1280])("at %i px", (width) => {
    it.each(["light", "dark"] as const)("%s", async (scheme) => {
      await see(name, width, scheme, async ({ page, said, asked }) => {
        expect(said).toEqual([]);
        expect(asked).toEqual([pages[name]]);
        expect(await page.evaluate(() => ("hit" in window ? "a payload ran" : "nothing ran"))).toBe("nothing ran");
        expect(await page.evaluate(() => document.querySelectorAll("img, link, iframe, script").length)).toBe(1);

        const plots = await page.evaluate(() =>
          Array.from(document.querySelectorAll("svg"), (svg) => {
            const { width, height, left, right } = svg.getBoundingClientRect();
            const marks = Array.from(svg.querySelectorAll(".mark > :not(title), .bar, circle"), (mark) =>
              mark.getBoundingClientRect(),
            );
            const outside = marks.filter((mark) => mark.left < left - 1 || mark.right > right + 1).length;
            const texts = Array.from(svg.querySelectorAll("text"), (text) => text.getBoundingClientRect());
            const cut = texts.filter((text) => text.left < left - 1 || text.right > right + 1).length;
            const label = svg.getAttribute("aria-label") ?? "";
            return {
              label,
              width,
              height,
              marks: marks.filter((mark) => mark.width > 0 && mark.height > 0).length,
              outside,
              cut,
            };
          }),
        );
        expect(plots.map(({ label }) => label)).toHaveLength(name === "small" ? 7 : 8);
        for (const plot of plots) {
          expect(plot).toMatchObject({ outside: 0, cut: 0, label: expect.stringMatching(/\w{3}/) });
          expect(Math.min(plot.width, plot.height)).toBeGreaterThan(100);
          expect(plot.marks).toBeGreaterThan(0);
        }
        expect(plots.at(-1)!.marks).toBe(name === "small" ? 1 : 1000);

        expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBe(width);
        const weak = (await contrasts(page)).filter(({ ratio }) => ratio < LEAST_CONTRAST);
        expect(weak).toEqual([]);
        const least = await page.evaluate(() =>
          Math.min(
            ...Array.from(document.querySelectorAll("svg text"), (text) => {
              const scale = (text as SVGTextElement).getScreenCTM()!.a;
              return scale * Number.parseFloat(getComputedStyle(text).fontSize);
            }),
          ),
        );
        expect(least).toBeGreaterThanOrEqual(10); // px, as it is seen
      });
    });
  });
});

it("the map names the row that is nearest to the pointer, and takes its id for text", async () => {
  await see("full", 1280, "light", async ({ page, said }) => {
    const at = await page.evaluate(() => {
      const circle = Array.from(document.querySelectorAll("#map circle")).find(
        (one) => one.textContent?.includes("window.hit=1</script><img") && one.textContent.startsWith('"</title>'),
      )!;
      circle.scrollIntoView({ block: "center" });
      const { x, y, width, height } = circle.getBoundingClientRect();
      return { x: x + width / 2, y: y + height / 2 };
    });
    await page.mouse.move(at.x, at.y);
    const seen = await page.evaluate(() => document.getElementById("seen")!.textContent);
    expect(seen).toContain("tier cold");
    expect(await page.evaluate(() => document.querySelectorAll("#map circle.seen").length)).toBe(1);
    expect(await page.evaluate(() => "hit" in window)).toBe(false);
    expect(said).toEqual([]);
  });
});
