import type { Command } from "commander";
import { integerOf } from "../arguments.js";
import { learningText, print } from "../print.js";
import { formatDuration, Progress } from "../progress.js";
import { withStore } from "../store.js";

interface TrainCommandOptions {
  epochs?: number;
  config?: string;
  json?: boolean;
}

export function trainCommand(program: Command): void {
  program
    .command("train")
    .summary("train on all feedback kept")
    .description("Trains the learners on all feedback kept, and decides by cross-fitting which of them serve queries.")
    .argument("<store>", "directory of the store")
    .option("-e, --epochs <n>", "passes over the feedback", integerOf)
    .option("-c, --config <file>", "settings, laid out like config.toml")
    .option("--json", "print one line of JSON")
    .addHelpText("after", "\nExample:\n  hebb train notes.hebb")
    .action(train);
}

async function train(store: string, { epochs, config, json }: TrainCommandOptions): Promise<void> {
  const report = await withStore(store, config === undefined ? {} : { config }, async (index) => {
    const progress = new Progress("training", "steps");
    // Interrupting leaves what was learned before as it is.
    const stop = new AbortController();
    const interrupt = () => stop.abort();
    process.once("SIGINT", interrupt);
    try {
      const onProgress = (done: number, total: number) => progress.update(done, total > 0 ? done / total : undefined);
      await index.train({ ...(epochs !== undefined && { epochs }), onProgress, signal: stop.signal });
    } finally {
      process.off("SIGINT", interrupt);
      progress.stop();
    }
    return { seconds: progress.seconds, learning: index.stats().learning };
  });
  print(json, { store, ...report }, () =>
    report.learning.events === 0
      ? `${store} has no feedback to train on; "hebb learn ${store}" gives it some`
      : `trained in ${formatDuration(report.seconds)}\n${learningText(report.learning)}`,
  );
}
