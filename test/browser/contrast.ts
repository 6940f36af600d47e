/** Contrast of texts with what is behind them (WCAG 2.1, 1.4.3), computed in the page. */
import type { Page } from "puppeteer-core";

export interface Contrast {
  text: string;
  ratio: number;
}

/** Of each element with a text of its own: its colour, or fill in SVG, against the nearest opaque background. */
export const contrasts = (page: Page): Promise<Contrast[]> =>
  page.evaluate(() => {
    const parts = (colour: string): number[] => (colour.match(/[\d.]+/g) ?? []).map(Number);
    const luminance = (colour: string): number => {
      const [r, g, b] = parts(colour)
        .slice(0, 3)
        .map((value) => value / 255)
        .map((value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4)) as [
        number,
        number,
        number,
      ];
      return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const behind = (element: Element): string => {
      for (let at: Element | null = element; at; at = at.parentElement) {
        const { backgroundColor } = getComputedStyle(at);
        if ((parts(backgroundColor)[3] ?? 1) === 1) return backgroundColor;
      }
      return "rgb(255, 255, 255)";
    };
    const found: { text: string; ratio: number }[] = [];
    for (const element of document.body.querySelectorAll("*")) {
      if (element.closest("script, title")) continue;
      const text = Array.from(element.childNodes)
        .filter((node) => node.nodeType === Node.TEXT_NODE)
        .map((node) => node.textContent?.trim() ?? "")
        .join("");
      if (text === "" || element.getClientRects().length === 0) continue;
      const style = getComputedStyle(element);
      const front = luminance(element instanceof SVGElement ? style.fill : style.color);
      const back = luminance(behind(element));
      found.push({ text, ratio: (Math.max(front, back) + 0.05) / (Math.min(front, back) + 0.05) });
    }
    return found;
  });
