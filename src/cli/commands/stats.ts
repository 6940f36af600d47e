import type { Command } from "commander";
import type { Stats } from "../../index.js";
import { curveChart } from "../curve-chart.js";
import { type GraphHealth, graphHealthOrFault, healthText } from "../graph-health.js";
import { learningText, print, table, tierTable } from "../print.js";
import { formatBytes, formatCount } from "../progress.js";
import { warn, withStore } from "../store.js";
import { type Canvas, canvasOf, coloured } from "../terminal.js";

const BYTES: Record<string, string> = {
  file: "index on disk",
  journal: "journal on disk",
  wal: "log on disk",
  catalog: "catalog on disk",
  resident: "index in memory",
  dirty: "changed in memory",
};

export function statsCommand(program: Command): void {
  program
    .command("stats")
    .summary("sizes, tiers, the graph, and what was learned")
    .description(
      "Shows how much a store holds, where its bytes are, the tiers, how the graph is by a look at 1,000 rows, what the learners are doing, and what queries gained by it so far.",
    )
    .argument("<store>", "directory of the store")
    .option("--json", "print one line of JSON")
    .addHelpText("after", "\nExample:\n  hebb stats notes.hebb --json")
    .action(async (store: string, { json }: { json?: boolean }) => {
      const { stats, health, fault } = await withStore(store, { readOnly: true }, async (index) => {
        const stats = index.stats(); // before searches bring more of it into memory
        return { stats, ...(await graphHealthOrFault(index)) };
      });
      const warnings = fault === undefined ? stats.warnings : [...stats.warnings, fault];
      if (!json) warn(warnings);
      print(json, { ...stats, warnings, health: health ?? null }, () => statsText(stats, health, canvasOf()));
    });
}

function statsText(stats: Stats, health: GraphHealth | undefined, canvas: Canvas): string {
  const facts = [
    ["rows", formatCount(stats.size)],
    ["dimensions", String(stats.dimensions)],
    ["metric", stats.metric],
    ["encoder", stats.encoder ?? "none"],
    ["kernel", stats.kernel],
    ...Object.entries(stats.bytes).map(([what, bytes]) => [BYTES[what] ?? what, formatBytes(bytes)]),
  ];
  const parts = [
    ["Store", table(facts)],
    ["Tiers", tierTable(stats, canvas)],
    ["Graph", healthText(stats, health, canvas)],
    ["Learning", learningText(stats.learning, canvas)],
    ["", curveChart(stats.learning.curve, canvas)],
  ].filter(([, part]) => part !== "");
  return parts.map(([title, part]) => (title ? `${coloured(canvas, "bold", title!)}\n${part}` : part)).join("\n\n");
}
