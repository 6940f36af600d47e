/**
 * The command `hebb`, as a function. Results go to stdout; progress, warnings and the one line of an error to stderr.
 */
import { Command, CommanderError } from "commander";
import { addCommand } from "./commands/add.js";
import { backupCommand } from "./commands/backup.js";
import { benchCommand } from "./commands/bench.js";
import { checkCommand, FAULTS_FOUND } from "./commands/check.js";
import { compactCommand } from "./commands/compact.js";
import { createCommand } from "./commands/create.js";
import { demoCommand } from "./commands/demo.js";
import { freezeCommand } from "./commands/freeze.js";
import { inspectCommand } from "./commands/inspect.js";
import { learnCommand } from "./commands/learn.js";
import { NOT_REPAIRED, repairCommand } from "./commands/repair.js";
import { reportCommand } from "./commands/report.js";
import { retierCommand } from "./commands/retier.js";
import { queryCommand, searchCommand } from "./commands/search.js";
import { statsCommand } from "./commands/stats.js";
import { trainCommand } from "./commands/train.js";
import { verifyCommand } from "./commands/verify.js";
import { printable } from "./terminal.js";
import { versionOf } from "./version.js";

const COMMANDS = [
  createCommand,
  addCommand,
  searchCommand,
  queryCommand,
  learnCommand,
  trainCommand,
  retierCommand,
  compactCommand,
  statsCommand,
  inspectCommand,
  reportCommand,
  checkCommand,
  repairCommand,
  backupCommand,
  freezeCommand,
  verifyCommand,
  demoCommand,
  benchCommand,
];

/** Codes of failures that have been shown: the help in place of a command, a store's faults. */
const SAID = ["commander.help", FAULTS_FOUND, NOT_REPAIRED];

function programOf(): Command {
  const program = new Command("hebb")
    .description("An embedded vector index that learns from its use.")
    .version(versionOf())
    .addHelpText(
      "after",
      '\nStart with:\n  hebb demo\n  hebb create notes.hebb --text && hebb add notes.hebb ~/notes && hebb search notes.hebb "some words"',
    );
  for (const add of COMMANDS) add(program);
  // Errors are thrown and reported in one line by `main`; subcommands have their own settings.
  for (const command of [program, ...program.commands]) {
    const name = command === program ? "hebb" : `hebb ${command.name()}`;
    command.configureOutput({ outputError: () => undefined }).exitOverride((error) => {
      if (error.exitCode === 0 || error.code === "commander.help") throw error;
      const what = error.message.replace(/^error: /, "").replace(/\.$/, "");
      throw new CommanderError(error.exitCode, error.code, `${what}; see "${name} --help"`);
    });
  }
  return program;
}

/** `CODE: message` in one line. */
function errorLine(error: unknown): string {
  if (!(error instanceof Error)) return `FAILED: ${String(error)}`;
  const message = printable(error.message.replaceAll(/\s*\n\s*/g, " "));
  if (error instanceof CommanderError) return `USAGE: ${message}`;
  if (error instanceof TypeError || error instanceof RangeError) return `BAD_ARGUMENT: ${message}`;
  const code = (error as { code?: unknown }).code;
  // A HebbError's message begins with its code.
  return typeof code === "string" && !message.startsWith(`${code}: `) ? `${code}: ${message}` : message;
}

/** Runs the command with the arguments behind its name; resolves to the exit code. */
export async function run(args: readonly string[]): Promise<number> {
  try {
    await programOf().parseAsync(args, { from: "user" });
    return 0;
  } catch (error) {
    const isSaid = error instanceof CommanderError && SAID.includes(error.code);
    if (error instanceof CommanderError && (isSaid || error.exitCode === 0)) return error.exitCode;
    process.stderr.write(`hebb: ${errorLine(error)}\n`);
    return 1;
  }
}
