/** How a report looks, and the little that it does by itself. Both are in the page, and named there by their hashes. */
import { COLOURS } from "./svg.js";

/** Tiers from hot to archive, by their places in COLOURS. */
const TIER_COLOURS = { hot: 0, warm: 4, cool: 2, cold: 1, archive: 5 } as const;

const paints = (ground: "light" | "dark"): string =>
  [
    ...COLOURS.map((colour, i) => `.s${i}{fill:${colour[ground]};stroke:${colour[ground]};color:${colour[ground]}}`),
    // A seventh, for what has no group of its own.
    `.s6{fill:none;stroke:${COLOURS[5]![ground]};color:${COLOURS[5]![ground]}}`,
    ...Object.entries(TIER_COLOURS).map(([tier, at]) => {
      const paint = COLOURS[at]![ground];
      return `.t-${tier}{fill:${paint};stroke:${paint};color:${paint}}`;
    }),
  ].join("");

export const STYLE = `
:root{color-scheme:light dark;--ground:#f6f7f9;--card:#fff;--ink:#1b2027;--quiet:#57606a;--line:#e3e7ec;--strong:#8c959f}
*{box-sizing:border-box}
body{margin:0;background:var(--ground);color:var(--ink);font:15px/1.5 system-ui,-apple-system,"Segoe UI",sans-serif;overflow-wrap:anywhere}
main{max-width:1240px;margin:0 auto;padding:28px 16px 40px}
h1{font-size:25px;line-height:1.25;margin:0}
h2{font-size:18px;margin:34px 0 12px}
h3{font-size:15px;margin:0 0 2px}
p{margin:0}
.quiet,figcaption,dt{color:var(--quiet)}
figcaption{font-size:13.5px;margin:0 0 10px;color:var(--quiet)}
.facts{display:grid;grid-template-columns:repeat(auto-fit,minmax(132px,1fr));gap:1px;margin:20px 0 0;background:var(--line);border:1px solid var(--line);border-radius:10px;overflow:hidden}
.facts div{background:var(--card);padding:11px 14px}
dt{font-size:13px}dd{margin:0;font-size:17px;font-weight:600;font-variant-numeric:tabular-nums}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,330px),1fr));gap:16px;align-items:stretch}
.card{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:16px;margin:0;min-width:0}
.wide{grid-column:span 2}
.all{grid-column:1/-1}
@media(max-width:760px){.wide{grid-column:auto}}
svg{display:block;width:100%;height:auto;max-width:480px;margin:0 auto}
svg text{font-size:12px;fill:var(--ink);stroke:none}
svg text.axis{fill:var(--quiet)}
.grid,.base{stroke:var(--line)}.base{stroke:var(--strong)}
.zero{stroke:var(--strong)}.training{stroke:var(--quiet);stroke-dasharray:2 3;stroke-width:1.5}
polyline{fill:none;stroke-width:2}.dashed{stroke-width:2;stroke-dasharray:6 4}
.track{fill:var(--ground)}.bar{stroke:none}
.mark:hover{stroke-width:4}.bar:hover{opacity:.75}
#map{max-width:880px;touch-action:pan-y;cursor:crosshair}
#map circle{fill-opacity:.72;stroke-width:1;stroke-opacity:.9}
#map circle.s6{fill-opacity:0}
#map circle.seen{stroke:var(--ink);stroke-width:3;fill-opacity:1;stroke-opacity:1}
#seen{display:block;min-height:3em;margin-top:8px;font-size:14px}
.key{display:flex;flex-wrap:wrap;gap:4px 16px;list-style:none;margin:0 0 10px;padding:0;font-size:13.5px}
.key li{display:flex;align-items:center;gap:6px;min-width:0}
.key i{width:11px;height:11px;border-radius:50%;background:currentColor;flex:none}
.key i.s6{background:none;border:1.5px solid currentColor}
.key i.rule{height:0;width:16px;border-radius:0;background:none;border-top:2px dashed currentColor}
.scroll{overflow-x:auto}
th,td{white-space:nowrap;overflow-wrap:normal}
table{border-collapse:collapse;width:100%;font-size:14px;font-variant-numeric:tabular-nums}
th,td{text-align:left;padding:6px 10px 6px 0;border-bottom:1px solid var(--line);vertical-align:top}
th{font-weight:600;font-size:13px;color:var(--quiet)}
td.n,th.n{text-align:right}
tr:last-child td{border-bottom:0}
.warning{background:var(--card);border:1px solid var(--line);border-left:4px solid #c2410c;border-radius:6px;padding:9px 13px;margin:12px 0 0}
footer{margin-top:34px;font-size:13.5px;color:var(--quiet)}
${paints("light")}
@media(prefers-color-scheme:dark){:root{--ground:#0d1117;--card:#151b23;--ink:#e6edf3;--quiet:#9da7b3;--line:#2a313c;--strong:#6e7681}${paints("dark")}}
@media print{.card{break-inside:avoid}}
`;

/** Names the point of the map that is nearest to the pointer. Without it the points' own titles do, one by one. */
export const SCRIPT = `
const map = document.getElementById("map");
const seen = document.getElementById("seen");
if (map && seen) {
  const circles = Array.from(map.querySelectorAll("circle"), (circle) => ({
    circle, x: Number(circle.getAttribute("cx")), y: Number(circle.getAttribute("cy")),
  }));
  let shown;
  const show = (event) => {
    const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(map.getScreenCTM().inverse());
    let best, least = Infinity;
    for (const one of circles) {
      const far = (one.x - at.x) ** 2 + (one.y - at.y) ** 2;
      if (far < least) [best, least] = [one, far];
    }
    if (!best || best === shown) return;
    shown?.circle.classList.remove("seen");
    best.circle.classList.add("seen");
    seen.textContent = best.circle.textContent;
    shown = best;
  };
  map.addEventListener("pointermove", show);
  map.addEventListener("pointerdown", show);
}
`;
