#!/usr/bin/env node
/** The command `hebb`. Results go to stdout; progress, warnings and the one line of an error to stderr. */
import { readFileSync } from "node:fs";
import { Command, CommanderError } from "commander";
import { addCommand } from "./commands/add.js";
import { benchCommand } from "./commands/bench.js";
import { checkCommand } from "./commands/check.js";
import { createCommand } from "./commands/create.js";
import { demoCommand } from "./commands/demo.js";
import { learnCommand } from "./commands/learn.js";
import { queryCommand, searchCommand } from "./commands/search.js";
import { statsCommand } from "./commands/stats.js";
import { trainCommand } from "./commands/train.js";

const COMMANDS = [
  createCommand,
  addCommand,
  searchCommand,
  queryCommand,
  learnCommand,
  trainCommand,
  statsCommand,
  checkCommand,
  demoCommand,
  benchCommand,
];

function programOf(): Command {
  const { version } = JSON.parse(readFileSync(new URL("../../../package.json", import.meta.url), "utf8")) as {
    version: string;
  };
  const program = new Command("hebb")
    .description("An embedded vector index that learns from its use.")
    .version(version)
    .addHelpText(
      "after",
      '\nStart with:\n  hebb demo\n  hebb create notes.hebb --text && hebb add notes.hebb ~/notes && hebb search notes.hebb "some words"',
    );
  for (const add of COMMANDS) add(program);
  // Errors are thrown and reported in one line by `main`; subcommands have their own settings.
  for (const command of [program, ...program.commands]) {
    command.exitOverride().configureOutput({ outputError: () => undefined });
  }
  return program;
}

/** `CODE: message` in one line. */
function errorLine(error: unknown): string {
  if (!(error instanceof Error)) return `FAILED: ${String(error)}`;
  const message = error.message.replaceAll(/\s*\n\s*/g, " ");
  if (error instanceof CommanderError) return `USAGE: ${message.replace(/^error: /, "")}`;
  if (error instanceof TypeError || error instanceof RangeError) return `BAD_ARGUMENT: ${message}`;
  const code = (error as { code?: unknown }).code;
  // A HebbError's message begins with its code.
  return typeof code === "string" && !message.startsWith(`${code}: `) ? `${code}: ${message}` : message;
}

async function main(): Promise<void> {
  // A reader that has seen enough, such as `head`, is no error.
  process.stdout.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code === "EPIPE") process.exit();
    throw error;
  });
  try {
    await programOf().parseAsync();
  } catch (error) {
    if (error instanceof CommanderError && error.exitCode === 0) return; // --help and --version
    process.exitCode = 1;
    if (error instanceof CommanderError && error.code === "commander.help") return; // no command: help was shown
    process.stderr.write(`hebb: ${errorLine(error)}\n`);
  }
}

await main();
