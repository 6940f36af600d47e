import { type Command, CommanderError } from "commander";
import { type RepairLoss, type RepairReport, repair } from "../../index.js";
import { print } from "../print.js";
import { counted, during, formatDuration } from "../progress.js";
import { faultLine } from "./check.js";

/** The code of the error that `hebb repair` ends with, once it has listed what would be lost. */
export const NOT_REPAIRED = "hebb.not-repaired";
/** Ids and LSNs that a line lists; `--json` has all. */
const LISTED = 20;

export function repairCommand(program: Command): void {
  program
    .command("repair")
    .summary("make a damaged store whole again")
    .description(
      "Makes anew what is derived (graph, full text, indexes, checksums, ids) from what it is derived of. Where something else is lost, it changes nothing, lists what would be dropped, and exits with 1, unless --accept-loss is given. Nobody may have the store open. Needs room for a second copy of it meanwhile.",
    )
    .argument("<store>", "directory of the store")
    .option("--accept-loss", "drop what is lost, and list it")
    .option("--json", "print one line of JSON")
    .addHelpText("after", "\nExample:\n  hebb repair notes.hebb\n  hebb repair notes.hebb --accept-loss")
    .action(async (store: string, { acceptLoss = false, json }: { acceptLoss?: boolean; json?: boolean }) => {
      const start = performance.now();
      const report = await during("repairing", repair(store, { acceptLoss }));
      print(json, report, () => textOf(store, report, formatDuration((performance.now() - start) / 1000)));
      if (!report.ok) throw new CommanderError(1, NOT_REPAIRED, "the store was not repaired");
    });
}

function textOf(store: string, { ok, repaired, faults, rebuilt, lost }: RepairReport, took: string): string {
  if (ok && !repaired) return `${store}: nothing to repair (${took})`;
  const [made, gone] = repaired ? ["made anew", "lost"] : ["could be made anew", "would be lost"];
  const lines = [
    ...faults.map(faultLine),
    ...rebuilt.map((what) => `${made}: ${what}`),
    ...lost.map((loss) => `${gone}: ${lossLine(loss)}`),
  ];
  const end = repaired ? "repaired" : "nothing was changed; --accept-loss drops what would be lost";
  return `${lines.join("\n")}\n${store}: ${end} (${took})`;
}

const UNITS: Record<RepairLoss["what"], string> = {
  rows: "row",
  payloads: "payload",
  proof: "proof",
  feedback: "event",
  settings: "setting",
  log: "record",
  learned: "learned part",
  gradients: "gradient",
  section: "section",
};

function lossLine({ what, count, message, ids = [], lsns = [] }: RepairLoss): string {
  const some = ids.length > 0 ? ids : lsns;
  const names = some.slice(0, LISTED).map((one) => JSON.stringify(one));
  const rest = some.length > LISTED ? `, and ${some.length - LISTED} more` : "";
  const list = some.length > 0 ? ` (${ids.length > 0 ? "id" : "LSN"} ${names.join(", ")}${rest})` : "";
  return `${count > 0 ? counted(count, UNITS[what]) : what}: ${message}${list}`;
}
