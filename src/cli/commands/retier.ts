import { type Command, Option } from "commander";
import { TIERS, type Tier } from "../../../base/types.js";
import { print, tierTable } from "../print.js";
import { formatCount } from "../progress.js";
import { withStore } from "../store.js";

interface RetierCommandOptions {
  force?: Tier;
  config?: string;
  json?: boolean;
}

export function retierCommand(program: Command): void {
  program
    .command("retier")
    .summary("move vectors to the tiers that their use asks for")
    .description("Moves vectors to the tiers that their use asks for, or all of them to one.")
    .argument("<store>", "directory of the store")
    .addOption(new Option("-f, --force <tier>", "move every vector to this tier").choices(TIERS))
    .option("-c, --config <file>", "settings, laid out like config.toml")
    .option("--json", "print one line of JSON")
    .addHelpText("after", "\nExample:\n  hebb retier notes.hebb --force cold")
    .action(retier);
}

async function retier(store: string, { force, config, json }: RetierCommandOptions): Promise<void> {
  const { report, stats } = await withStore(store, config === undefined ? {} : { config }, async (index) => {
    const report = await index.retier(force === undefined ? {} : { force });
    return { report, stats: index.stats() };
  });
  const { promoted, demoted, refused, untrained } = report;
  print(json, { store, ...report }, () =>
    [
      `${formatCount(promoted)} promoted, ${formatCount(demoted)} demoted`,
      ...(refused > 0 ? [`${formatCount(refused)} stayed: their originals were not kept`] : []),
      ...(untrained > 0 ? [`${formatCount(untrained)} went to tier warm: too few rows to train a codebook`] : []),
      "",
      tierTable(stats),
    ].join("\n"),
  );
}
