import type { Command } from "commander";
import type { Stats } from "../../index.js";
import { curveChart } from "../curve-chart.js";
import { learningText, print, table, tierTable } from "../print.js";
import { formatBytes, formatCount } from "../progress.js";
import { warn, withStore } from "../store.js";

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
    .summary("sizes, tiers, and what was learned")
    .description(
      "Shows how much a store holds, where its bytes are, what the learners are doing, and what queries gained by it so far.",
    )
    .argument("<store>", "directory of the store")
    .option("--json", "print one line of JSON")
    .addHelpText("after", "\nExample:\n  hebb stats notes.hebb --json")
    .action(async (store: string, { json }: { json?: boolean }) => {
      const stats = await withStore(store, { readOnly: true }, async (index) => index.stats());
      if (!json) warn(stats.warnings);
      print(json, stats, () => statsText(stats));
    });
}

function statsText(stats: Stats): string {
  const facts = [
    ["rows", formatCount(stats.size)],
    ["dimensions", String(stats.dimensions)],
    ["metric", stats.metric],
    ["encoder", stats.encoder ?? "none"],
    ["kernel", stats.kernel],
    ["not linked yet", formatCount(stats.backlog)],
    ...Object.entries(stats.bytes).map(([what, bytes]) => [BYTES[what] ?? what, formatBytes(bytes)]),
  ];
  const parts = [table(facts), tierTable(stats), learningText(stats.learning), curveChart(stats.learning.curve)];
  return parts.filter((part) => part !== "").join("\n\n");
}
